"""The actor: asks the model and reads its answer, or records that there is none.

Owns `ask`, the Answer it gives and the bounded re-asks that show a model what could not be read. A
model that is late, down or unreadable is a recorded no_op with its code, never an exception. Must
never send, size or time an order, nor wait beyond the decision's deadline. Tests:
tests/unit/application/decision_cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from caopan.application.contracts.decision import (
    MODEL_PARSE_FAIL,
    REPLY_SCHEMA,
    Reading,
    read_reply,
)
from caopan.application.decision_cycle.observe import Observation
from caopan.application.ports.model import Model, ModelReply, ModelRequest, Unread
from caopan.application.ports.store import ModelCall
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import Decision
from caopan.kernel.canonical import sha256_hex
from caopan.kernel.clock import iso
from caopan.kernel.errors import Unavailable
from caopan.kernel.ids import derived_uuid

PARSED = "parsed"
MODEL_TIMEOUT: Final = "MODEL_TIMEOUT"
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
class _Question:
    """What stays the same of a decision's questions."""

    model: Model
    cycle: Cycle
    observation: Observation
    deadline_ms: int
    config_version: str
    now: datetime
    valid_until: datetime


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One question and what came of it."""

    evidence: Mapping[str, Any]
    call: ModelCall
    code: str | None
    decision: Decision | None = None
    unread: Unread | None = None
    """What to show the model, where asking it again may help."""


async def ask(  # noqa: PLR0913 - each is one thing the question or its record is made of
    model: Model,
    cycle: Cycle,
    observation: Observation,
    *,
    deadline_ms: int,
    config_version: str,
    now: datetime,
    valid_until: datetime,
    monotonic_ms: Callable[[], float],
    repair_attempts: int = 0,
) -> Answer:
    """Return the model's answer to `observation`.

    One that cannot be read is asked for again `repair_attempts` times at most, with what is wrong
    with it, while the deadline lasts; a built-in trader, which would only say the same, never.
    """
    question = _Question(model, cycle, observation, deadline_ms, config_version, now, valid_until)
    began = monotonic_ms()
    most = 1 + (repair_attempts if model.is_language_model else 0)
    attempts: list[_Attempt] = []
    previous: tuple[Unread, ...] = ()
    while len(attempts) < most:
        left = deadline_ms
        if attempts:
            left -= int(monotonic_ms() - began)
            if left < _LEAST_LEFT_MS:
                break
        attempt = await _attempt(question, len(attempts) + 1, previous, left, monotonic_ms)
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


async def _attempt(
    question: _Question,
    number: int,
    previous: tuple[Unread, ...],
    left_ms: int,
    monotonic_ms: Callable[[], float],
) -> _Attempt:
    """Ask once. A language model's answer that comes too late is kept, but not read."""
    model, observation = question.model, question.observation
    began = monotonic_ms()
    try:
        reply = await model.complete(
            ModelRequest(
                role="actor",
                decision_id=question.cycle.decision_id,
                observation=observation.values,
                observation_hash=observation.content_hash,
                observation_json=observation.body.decode(),
                reply_schema=REPLY_SCHEMA,
                deadline_ms=left_ms,
                previous=previous,
            )
        )
    except Unavailable as outage:
        return _unanswered(question, number, outage, int(monotonic_ms() - began))
    reply = replace(reply, text=_storable(reply.text), model_served=_storable(reply.model_served))
    if model.is_language_model and monotonic_ms() - began > left_ms:
        reading = Reading(None, errors=(f"the answer came after {question.deadline_ms} ms",))
        return _answered(question, number, reply, reading, MODEL_TIMEOUT)
    reading = read_reply(
        reply.text,
        decision_id=question.cycle.decision_id,
        made_at=question.now,
        valid_until=question.valid_until,
    )
    code = None if reading.decision is not None else MODEL_PARSE_FAIL
    return _answered(question, number, reply, reading, code)


def _answered(
    question: _Question, number: int, reply: ModelReply, reading: Reading, code: str | None
) -> _Attempt:
    model = question.model
    call_id = _call_id(question, number)
    kept = _kept(reply.text, reading)
    evidence: dict[str, Any] = {
        **_known(question, call_id),
        "fixes": list(reading.fixes),
        "model_served": reply.model_served,
        "observation_ref": question.observation.content_hash,
        "outcome": code or PARSED,
        **kept,
    }
    if reading.errors:
        evidence["detail"] = "; ".join(reading.errors)
    call = ModelCall(
        call_id=call_id,
        trace_id=question.cycle.trace_id,
        decision_id=question.cycle.decision_id,
        role="actor",
        alias=model.alias,
        endpoint=reply.endpoint,
        provider=reply.provider,
        model_asked=reply.model_asked,
        model_served=reply.model_served,
        prompt_hash=model.prompt_hash,
        prompt_version=model.prompt_version,
        config_version=question.config_version,
        request=reply.request,
        response=kept["reply"],
        outcome="ok" if code is None else "invalid" if code == MODEL_PARSE_FAIL else "failed",
        error_code=code,
        created_at=question.now,
        latency_ms=reply.latency_ms,
        attempt=number,
        tokens_prompt=reply.tokens_prompt,
        tokens_completion=reply.tokens_completion,
        tokens_reasoning=reply.tokens_reasoning,
        tokens_cached=reply.tokens_cached,
        usage_raw=reply.usage_raw,
    )
    unread = None
    if code == MODEL_PARSE_FAIL:
        shown = reply.text[reading.start : reading.end] or reply.text[-_SHOWN_AGAIN:]
        unread = Unread(shown[:_SHOWN_AGAIN], reading.errors)
    return _Attempt(evidence, call, code, reading.decision, unread)


def _unanswered(question: _Question, number: int, outage: Unavailable, waited_ms: int) -> _Attempt:
    model = question.model
    call_id = _call_id(question, number)
    evidence = {
        **_known(question, call_id),
        "detail": outage.message,
        "outcome": outage.code,
    }
    call = ModelCall(
        call_id=call_id,
        trace_id=question.cycle.trace_id,
        decision_id=question.cycle.decision_id,
        role="actor",
        alias=model.alias,
        endpoint=model.alias,
        provider="unknown",
        model_asked=model.alias,
        model_served="",
        prompt_hash=model.prompt_hash,
        prompt_version=model.prompt_version,
        config_version=question.config_version,
        request={},
        response="",
        outcome="failed",
        error_code=outage.code,
        created_at=question.now,
        latency_ms=waited_ms,
        attempt=number,
    )
    return _Attempt(evidence, call, outage.code)


def _known(question: _Question, call_id: UUID) -> dict[str, Any]:
    """Return what is known of a question whatever comes of it."""
    model = question.model
    return {
        "call_id": str(call_id),
        "is_language_model": model.is_language_model,
        "made_at": iso(question.now),
        "model": model.alias,
        "prompt_hash": model.prompt_hash,
        "prompt_version": model.prompt_version,
    }


def _call_id(question: _Question, number: int) -> UUID:
    return derived_uuid(question.now, str(question.cycle.decision_id), "model_call", number)


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


def _storable(text: str) -> str:
    """Return `text` with lone surrogates written out as escapes.

    JSON may spell them, UTF-8 cannot: evidence that cannot be stored would stop the cycle for good.
    """
    return text.encode("utf-8", "backslashreplace").decode()
