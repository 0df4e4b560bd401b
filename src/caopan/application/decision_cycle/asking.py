"""One question to a model and the record of it, whoever asks: actor or checker.

Owns Question and the ModelCall made of an answer or of its absence. Must never read an answer.
Tests: tests/unit/application/decision_cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from caopan.application.decision_cycle.observe import Observation
from caopan.application.ports.model import Model, ModelReply, ModelRequest, Unread
from caopan.application.ports.prompts import Prompt
from caopan.application.ports.store import ModelCall
from caopan.domain.decision.cycle import Cycle
from caopan.kernel.clock import iso
from caopan.kernel.errors import Unavailable
from caopan.kernel.ids import derived_uuid

MODEL_TIMEOUT: Final = "MODEL_TIMEOUT"


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked, whatever becomes of it."""

    role: str
    model: Model
    cycle: Cycle
    observation: Observation
    prompt: Prompt | None
    """None for a built-in trader, which reads the observation itself."""
    reply_schema: Mapping[str, Any]
    deadline_ms: int
    config_version: str
    now: datetime

    @property
    def prompt_version(self) -> str:
        """Return the version of the prompt, or of the rule, an answer rests on."""
        return self.model.prompt_version if self.prompt is None else self.prompt.version

    @property
    def prompt_hash(self) -> str:
        """Return the SHA-256 of what is asked, or of the rule."""
        return self.model.prompt_hash if self.prompt is None else self.prompt.digest

    def call_id(self, number: int) -> UUID:
        """Return the id of the question's `number`-th call; a repeated one has it again."""
        kind = "model_call" if self.role == "actor" else f"{self.role}_call"
        return derived_uuid(self.now, str(self.cycle.decision_id), kind, number)

    def known(self, number: int) -> dict[str, Any]:
        """Return what is evidence of a call whatever comes of it."""
        return {
            "call_id": str(self.call_id(number)),
            "is_language_model": self.model.is_language_model,
            "made_at": iso(self.now),
            "model": self.model.alias,
            "prompt_hash": self.prompt_hash,
            "prompt_version": self.prompt_version,
        }


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one call: an answer, or why there is none."""

    reply: ModelReply | None
    outage: Unavailable | None
    waited_ms: int
    is_late: bool = False
    """A language model's answer that came after its time; it is kept, and not read."""


async def put(
    question: Question,
    left_ms: int,
    monotonic_ms: Callable[[], float],
    previous: tuple[Unread, ...] = (),
) -> Heard:
    """Ask once, within `left_ms`."""
    began = monotonic_ms()
    request = ModelRequest(
        role=question.role,
        decision_id=question.cycle.decision_id,
        trace_id=question.cycle.trace_id,
        observation=question.observation.values,
        observation_hash=question.observation.content_hash,
        observation_json=question.observation.body.decode(),
        reply_schema=question.reply_schema,
        deadline_ms=left_ms,
        previous=previous,
        prompt=question.prompt,
    )
    try:
        reply = await question.model.complete(request)
    except Unavailable as outage:
        return Heard(None, outage, int(monotonic_ms() - began))
    waited_ms = monotonic_ms() - began
    reply = replace(reply, text=_storable(reply.text), model_served=_storable(reply.model_served))
    late = question.model.is_language_model and waited_ms > left_ms
    return Heard(reply, None, int(waited_ms), late)


def answered(
    question: Question,
    number: int,
    reply: ModelReply,
    *,
    response: str,
    outcome: str,
    code: str | None,
) -> ModelCall:
    """Return the record of a call that was answered."""
    return ModelCall(
        call_id=question.call_id(number),
        trace_id=question.cycle.trace_id,
        decision_id=question.cycle.decision_id,
        role=question.role,
        alias=question.model.alias,
        endpoint=reply.endpoint,
        provider=reply.provider,
        model_asked=reply.model_asked,
        model_served=reply.model_served,
        prompt_hash=question.prompt_hash,
        prompt_version=question.prompt_version,
        config_version=question.config_version,
        request=reply.request,
        response=response,
        outcome=outcome,
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


def unanswered(question: Question, number: int, code: str, waited_ms: int) -> ModelCall:
    """Return the record of a call that brought no answer."""
    model = question.model
    return ModelCall(
        call_id=question.call_id(number),
        trace_id=question.cycle.trace_id,
        decision_id=question.cycle.decision_id,
        role=question.role,
        alias=model.alias,
        endpoint=model.alias,
        provider="unknown",
        model_asked=model.alias,
        model_served="",
        prompt_hash=question.prompt_hash,
        prompt_version=question.prompt_version,
        config_version=question.config_version,
        request={},
        response="",
        outcome="failed",
        error_code=code,
        created_at=question.now,
        latency_ms=waited_ms,
        attempt=number,
    )


def _storable(text: str) -> str:
    """Return `text` with lone surrogates written out as escapes.

    JSON may spell them, UTF-8 cannot: evidence that cannot be stored would stop the cycle for good.
    """
    return text.encode("utf-8", "backslashreplace").decode()
