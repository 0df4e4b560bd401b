"""The actor: asks the model once and reads its answer, or records that there is none.

Owns `ask` and the Answer it gives. A model that is late, down or unreadable is a recorded no_op
with its code, never an exception. Must never send, size or time an order. Tests:
tests/unit/application/decision_cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from caopan.application.contracts.decision import REPLY_SCHEMA, parse_reply
from caopan.application.decision_cycle.observe import Observation
from caopan.application.ports.model import Model, ModelReply, ModelRequest
from caopan.application.ports.store import ModelCall
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import Decision
from caopan.kernel.clock import iso
from caopan.kernel.errors import ConfigInvalid, Unavailable
from caopan.kernel.ids import derived_uuid

PARSED = "parsed"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, and what of it could be read."""

    decision: Decision | None
    evidence: Mapping[str, Any]
    """The actor entry's payload: only what a replay would produce again."""
    call: ModelCall
    code: str | None
    """Why there is no decision: MODEL_TIMEOUT, MODEL_PARSE_FAIL, ..."""


async def ask(
    model: Model,
    cycle: Cycle,
    observation: Observation,
    *,
    deadline_ms: int,
    config_version: str,
    now: datetime,
    valid_until: datetime,
    monotonic_ms: Callable[[], float],
) -> Answer:
    """Return the model's answer to `observation`."""
    call_id = derived_uuid(now, str(cycle.decision_id), "model_call", 1)
    began = monotonic_ms()
    try:
        reply = await model.complete(
            ModelRequest(
                role="actor",
                decision_id=cycle.decision_id,
                observation=observation.values,
                observation_hash=observation.content_hash,
                observation_json=observation.body.decode(),
                reply_schema=REPLY_SCHEMA,
                deadline_ms=deadline_ms,
            )
        )
    except Unavailable as outage:
        waited_ms = int(monotonic_ms() - began)
        return _unanswered(model, cycle, call_id, config_version, now, outage, waited_ms)
    reply = replace(reply, text=_storable(reply.text), model_served=_storable(reply.model_served))
    decision, fixes, code, detail = read(reply.text, cycle.decision_id, now, valid_until)
    evidence: dict[str, Any] = {
        "call_id": str(call_id),
        "fixes": list(fixes),
        "is_language_model": model.is_language_model,
        "made_at": iso(now),
        "model": model.alias,
        "model_served": reply.model_served,
        "observation_ref": observation.content_hash,
        "outcome": code or PARSED,
        "prompt_hash": model.prompt_hash,
        "prompt_version": model.prompt_version,
        "reply": reply.text,
    }
    if detail:
        evidence["detail"] = detail
    call = _call(model, cycle, call_id, config_version, now, reply, code)
    return Answer(decision, evidence, call, code)


def read(
    text: str, decision_id: UUID, made_at: datetime, valid_until: datetime
) -> tuple[Decision | None, tuple[str, ...], str | None, str]:
    """Return (decision, fixes, code, detail) of a reply; a stored reply reads the same again."""
    try:
        decision, fixes = parse_reply(
            text, decision_id=decision_id, made_at=made_at, valid_until=valid_until
        )
    except ConfigInvalid as fault:
        return None, (), fault.code, fault.message
    return decision, fixes, None, ""


def _storable(text: str) -> str:
    """Return `text` with lone surrogates written out as escapes.

    JSON may spell them, UTF-8 cannot: evidence that cannot be stored would stop the cycle for good.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def _call(
    model: Model,
    cycle: Cycle,
    call_id: UUID,
    config_version: str,
    now: datetime,
    reply: ModelReply,
    code: str | None,
) -> ModelCall:
    return ModelCall(
        call_id=call_id,
        trace_id=cycle.trace_id,
        decision_id=cycle.decision_id,
        role="actor",
        alias=model.alias,
        endpoint=reply.endpoint,
        provider=reply.provider,
        model_asked=reply.model_asked,
        model_served=reply.model_served,
        prompt_hash=model.prompt_hash,
        prompt_version=model.prompt_version,
        config_version=config_version,
        request=reply.request,
        response=reply.text,
        outcome="ok" if code is None else "invalid",
        error_code=code,
        created_at=now,
        latency_ms=reply.latency_ms,
        tokens_prompt=reply.tokens_prompt,
        tokens_completion=reply.tokens_completion,
        tokens_reasoning=reply.tokens_reasoning,
        tokens_cached=reply.tokens_cached,
        usage_raw=reply.usage_raw,
    )


def _unanswered(
    model: Model,
    cycle: Cycle,
    call_id: UUID,
    config_version: str,
    now: datetime,
    outage: Unavailable,
    waited_ms: int,
) -> Answer:
    evidence = {
        "call_id": str(call_id),
        "detail": outage.message,
        "is_language_model": model.is_language_model,
        "made_at": iso(now),
        "model": model.alias,
        "outcome": outage.code,
        "prompt_hash": model.prompt_hash,
        "prompt_version": model.prompt_version,
    }
    call = ModelCall(
        call_id=call_id,
        trace_id=cycle.trace_id,
        decision_id=cycle.decision_id,
        role="actor",
        alias=model.alias,
        endpoint=model.alias,
        provider="unknown",
        model_asked=model.alias,
        model_served="",
        prompt_hash=model.prompt_hash,
        prompt_version=model.prompt_version,
        config_version=config_version,
        request={},
        response="",
        outcome="failed",
        error_code=outage.code,
        created_at=now,
        latency_ms=waited_ms,
    )
    return Answer(None, evidence, call, outage.code)
