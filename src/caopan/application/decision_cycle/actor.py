"""The actor: asks the model and reads its answer, or records that there is none.

Owns `ask`, the Answer it gives and the bounded re-asks that show a model what could not be read. A
model that is late, down or unreadable is a recorded no_op with its code, never an exception. Must
never send, size or time an order, nor wait beyond the decision's deadline. Tests:
tests/unit/application/decision_cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from caopan.application.contracts.decision import MODEL_PARSE_FAIL, Reading, read_reply
from caopan.application.decision_cycle.asking import (
    MODEL_TIMEOUT,
    Heard,
    Question,
    answered,
    put,
    unanswered,
)
from caopan.application.ports.model import ModelReply, Unread
from caopan.application.ports.store import ModelCall
from caopan.domain.decision.shapes import Decision
from caopan.kernel.canonical import sha256_hex

PARSED: Final = "parsed"
REPAIR_ATTEMPTS: Final = 1
"""How often a language model is asked again, where a desk does not say otherwise."""
MOST_STORED: Final = 256 * 1024
"""Bytes of a reply that are kept; its hash and length are always those of the whole."""
_SHOWN_AGAIN: Final = 8_000
"""Characters of an unreadable reply that its model is shown."""
_LEAST_LEFT_MS: Final = 1_000
"""With less left of the deadline a re-ask would only cost money."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and what of it could be read."""

    decision: Decision | None
    evidence: Mapping[str, Any]
    """The actor entry's payload: only what a replay would produce again. Of several attempts it is
    the last one's, with the others under `earlier`."""
    calls: tuple[ModelCall, ...]
    """One a question that was asked, in order."""
    code: str | None
    """Why there is no decision: MODEL_TIMEOUT, MODEL_PARSE_FAIL, ..."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One question and what came of it."""

    evidence: Mapping[str, Any]
    call: ModelCall
    code: str | None
    decision: Decision | None = None
    unread: Unread | None = None
    """What to show the model, where asking it again may help."""


async def ask(
    question: Question,
    *,
    valid_until: datetime,
    monotonic_ms: Callable[[], float],
    repair_attempts: int = 0,
    first: int = 1,
) -> Answer:
    """Return the model's answer to `question`; its calls are numbered from `first`.

    One that cannot be read is asked for again `repair_attempts` times at most, with what is wrong
    with it, while the deadline lasts; a built-in trader, which would only say the same, never.
    """
    began = monotonic_ms()
    most = 1 + (repair_attempts if question.model.is_language_model else 0)
    attempts: list[_Attempt] = []
    previous: tuple[Unread, ...] = ()
    while len(attempts) < most:
        left = question.deadline_ms
        if attempts:
            left -= int(monotonic_ms() - began)
            if left < _LEAST_LEFT_MS:
                break
        heard = await put(question, left, monotonic_ms, previous)
        attempt = _attempt(question, first + len(attempts), heard, valid_until)
        attempts.append(attempt)
        if attempt.unread is None:
            break
        previous = (*previous, attempt.unread)
    last = attempts[-1]
    evidence = last.evidence
    if len(attempts) > 1:
        evidence = {**evidence, "earlier": [one.evidence for one in attempts[:-1]]}
    return Answer(last.decision, evidence, tuple(one.call for one in attempts), last.code)


def read(
    text: str, decision_id: UUID, made_at: datetime, valid_until: datetime
) -> tuple[Decision | None, tuple[str, ...], str | None, str]:
    """Return (decision, fixes, code, detail) of a reply; a stored reply reads the same again."""
    found = read_reply(text, decision_id=decision_id, made_at=made_at, valid_until=valid_until)
    if found.decision is None:
        return None, (), MODEL_PARSE_FAIL, "; ".join(found.errors)
    return found.decision, found.fixes, None, ""


def _attempt(question: Question, number: int, heard: Heard, valid_until: datetime) -> _Attempt:
    """Return what came of one call. An answer that came too late is kept, but not read."""
    if heard.reply is None or heard.outage is not None:
        return _unanswered(question, number, heard)
    if heard.is_late:
        reading = Reading(None, errors=(f"the answer came after {question.deadline_ms} ms",))
        return _answered(question, number, heard.reply, reading, MODEL_TIMEOUT)
    reading = read_reply(
        heard.reply.text,
        decision_id=question.cycle.decision_id,
        made_at=question.now,
        valid_until=valid_until,
    )
    code = None if reading.decision is not None else MODEL_PARSE_FAIL
    return _answered(question, number, heard.reply, reading, code)


def _answered(
    question: Question, number: int, reply: ModelReply, reading: Reading, code: str | None
) -> _Attempt:
    kept = _kept(reply.text, reading)
    evidence: dict[str, Any] = {
        **question.known(number),
        "fixes": list(reading.fixes),
        "model_served": reply.model_served,
        "observation_ref": question.observation.content_hash,
        "outcome": code or PARSED,
        **kept,
    }
    if reading.errors:
        evidence["detail"] = "; ".join(reading.errors)
    outcome = "ok" if code is None else "invalid" if code == MODEL_PARSE_FAIL else "failed"
    call = answered(question, number, reply, response=kept["reply"], outcome=outcome, code=code)
    unread = None
    if code == MODEL_PARSE_FAIL:
        shown = reply.text[reading.start : reading.end] or reply.text[-_SHOWN_AGAIN:]
        unread = Unread(shown[:_SHOWN_AGAIN], reading.errors)
    return _Attempt(evidence, call, code, reading.decision, unread)


def _unanswered(question: Question, number: int, heard: Heard) -> _Attempt:
    code = MODEL_TIMEOUT if heard.outage is None else heard.outage.code
    detail = "no answer" if heard.outage is None else heard.outage.message
    evidence = {**question.known(number), "detail": detail, "outcome": code}
    return _Attempt(evidence, unanswered(question, number, code, heard.waited_ms), code)


def _kept(text: str, reading: Reading) -> dict[str, Any]:
    """Return what is stored of a reply: all of it, or within bounds the part that was read.

    The part reads back to the same decision.
    """
    whole = text.encode()
    if len(whole) <= MOST_STORED:
        return {"reply": text}
    part = text[reading.start : reading.end] if reading.decision is not None else text
    # A cut may go through a letter.
    part = part.encode()[:MOST_STORED].decode(errors="ignore")
    return {"reply": part, "reply_bytes": len(whole), "reply_sha256": sha256_hex(whole)}
