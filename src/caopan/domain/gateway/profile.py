"""What is known of a vendor's dialect of the chat-completions protocol: facts, no code per vendor.

Owns Profile, read from one file per vendor. Must never name a vendor in a condition: a difference
that is not a field here is not known to the gateway. Tests: tests/unit/domain/gateway,
tests/unit/adapters/llm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from caopan.domain.gateway.endpoint import StructuredOutput, nothing
from caopan.domain.gateway.outcome import FailureClass


@dataclass(frozen=True, slots=True)
class ErrorSign:
    """A vendor's way of saying something that its status alone does not."""

    failure: FailureClass
    status: int | None = None
    """None: any status, 200 too."""
    code: str = ""
    """Value of error.code or error.type; "" is any."""
    text: str = ""
    """Part of the message, in lower case; "" is any."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One vendor's facts. Paths are dotted places in the JSON of an answer's `usage`."""

    name: str
    title_zh: str
    title_en: str
    url: str
    """Base URL that a preset fills in."""
    auth: str = "bearer"
    auth_header: str = "Authorization"
    structured: Mapping[str, StructuredOutput] = field(default_factory=nothing)
    """By model: exact name or prefix ending in `*`; `*` alone is the rest."""
    json_word: bool = False
    """JSON mode is refused unless the prompt says "json"."""
    stream_usage: bool = True
    """A stream tells its usage when asked by `stream_options.include_usage`."""
    embeddings: bool = False
    renamed: Mapping[str, str] = field(default_factory=nothing)
    """Request fields the vendor calls otherwise: ours -> theirs."""
    dropped: Sequence[str] = ()
    """Request fields the vendor refuses, left out and named in the record."""
    replaced: Mapping[str, Mapping[str, Any]] = field(default_factory=nothing)
    """Values the vendor does not take: field -> {value: instead}, named in the record."""
    prompt_tokens: str = "prompt_tokens"
    completion_tokens: str = "completion_tokens"
    cached_tokens: Sequence[str] = ("prompt_tokens_details.cached_tokens",)
    cache_write_tokens: Sequence[str] = ("prompt_tokens_details.cache_write_tokens",)
    reasoning_tokens: Sequence[str] = ("completion_tokens_details.reasoning_tokens",)
    reasoning_fields: Sequence[str] = ("reasoning_content", "reasoning")
    """Fields of a delta or message that hold thinking; passed on as they come."""
    default_params: Mapping[str, Any] = field(default_factory=nothing)
    """What a preset puts into a new endpoint's default_params."""
    errors: Sequence[ErrorSign] = ()
    currency: str = "CNY"
    price_provider: str = ""
    """Its name in the price library; "" if the library does not know it."""
    notes: str = ""
