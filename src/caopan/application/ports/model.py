"""The model port: one question, one answer, everything about the call recorded.

Owns ModelRequest, Unread, ModelReply and the Model protocol. Must never parse an answer. Adapters
raise Unavailable with a MODEL_* code when no answer came; they never invent one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from caopan.application.ports.prompts import Prompt


@dataclass(frozen=True, slots=True)
class Unread:
    """An answer to the same question that could not be read, and why."""

    text: str
    """What of it the model is shown again."""
    errors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What an actor is asked."""

    role: str
    decision_id: UUID
    trace_id: UUID
    observation: Mapping[str, Any]
    observation_hash: str
    observation_json: str
    """The canonical JSON of the observation."""
    reply_schema: Mapping[str, Any]
    """JSON Schema of the answer."""
    deadline_ms: int
    """What is left of the decision's time."""
    previous: tuple[Unread, ...] = ()
    """Earlier answers to this question, oldest first; the model is asked to mend the last."""
    prompt: Prompt | None = None
    """What a language model is shown; a built-in trader reads the observation."""


@dataclass(frozen=True, slots=True)
class ModelReply:
    """What came back, verbatim, with what is known of the call."""

    text: str
    endpoint: str
    provider: str
    model_asked: str
    model_served: str
    request: Mapping[str, Any]
    """What was sent, with secrets removed and the observation replaced by its hash."""
    latency_ms: int
    tokens_prompt: int | None = None
    tokens_completion: int | None = None
    tokens_reasoning: int | None = None
    tokens_cached: int | None = None
    usage_raw: Mapping[str, Any] | None = None


class Model(Protocol):
    """Something that answers an observation with a decision in JSON."""

    @property
    def alias(self) -> str:
        """Return the name people configure, for example "builtin/momentum"."""
        ...

    @property
    def is_language_model(self) -> bool:
        """Return False for built-in rule traders, which are labelled so wherever shown."""
        ...

    @property
    def prompt_version(self) -> str:
        """Return the version of the prompt (or rule) an answer rests on."""
        ...

    @property
    def prompt_hash(self) -> str:
        """Return the SHA-256 of that prompt, so that a failed call names it too."""
        ...

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the model's answer.

        Raises Unavailable: MODEL_TIMEOUT, MODEL_AUTH, MODEL_RATE_LIMIT or MODEL_UNAVAILABLE.
        """
        ...
