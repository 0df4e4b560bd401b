"""What a call used, in tokens.

Owns Tokens and how a vendor's usage block is read into them. Must never take a missing figure for
zero: it is estimated, and says so, or unknown. Tests: tests/unit/domain/gateway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from caopan.domain.gateway.profile import Profile

_MOST = 2**40


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one attempt; None is unknown.

    `cached` and `cache_write` are parts of `prompt`, `reasoning` is part of `completion`.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    reasoning: int | None = None
    estimated: bool = False
    """The vendor did not say; these are our own estimate."""
    cache_write: int | None = None
    """Prompt tokens that the vendor stored in its cache, where it bills them apart."""


def read_usage(usage: Mapping[str, Any], profile: Profile) -> Tokens | None:
    """Return what a vendor's usage block says, None if it names neither side's tokens."""
    prompt = _count(usage, (profile.prompt_tokens,))
    completion = _count(usage, (profile.completion_tokens,))
    if prompt is None and completion is None:
        return None
    return Tokens(
        prompt,
        completion,
        _count(usage, profile.cached_tokens),
        _count(usage, profile.reasoning_tokens),
        cache_write=_count(usage, profile.cache_write_tokens),
    )


def _count(usage: Mapping[str, Any], paths: Sequence[str]) -> int | None:
    for path in paths:
        *blocks, name = _steps(path)
        place: Mapping[str, Any] | None = usage
        for block in blocks:
            place = _mapping(place.get(block)) if place is not None else None
        found = None if place is None else place.get(name)
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < _MOST:
            return found
    return None


@lru_cache(maxsize=256)
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _mapping(value: object) -> Mapping[str, Any] | None:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else None
