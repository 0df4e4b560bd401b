"""What a call used, in tokens.

Owns Tokens and how a vendor's usage block is read into them. Must never take a missing figure for
zero: it is estimated, and says so, or unknown. Tests: tests/unit/domain/gateway.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, cast

from caopan.domain.gateway.profile import Profile

_MOST = 2**40
_LETTERS_A_TOKEN: Final = 4
_LETTERS: Final = string.ascii_letters.encode()
_SPACES: Final = b" \n\r\t"
_BEYOND_ASCII: Final = bytes(range(128, 256))


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


def text_tokens(text: str) -> int:
    """Return about how many tokens a text has: no fewer than vendors count.

    No tokenizer is asked, each vendor has its own. Four Latin letters make a token; every digit,
    sign and letter of another script makes one (some vendors cut numbers into single digits).
    """
    raw = text.encode("utf-8", "replace")
    plain = len(raw.translate(None, _BEYOND_ASCII))
    beyond = len(text) - plain
    letters = plain - len(raw.translate(None, _BEYOND_ASCII + _LETTERS))
    spaces = plain - len(raw.translate(None, _BEYOND_ASCII + _SPACES))
    return beyond + -(-letters // _LETTERS_A_TOKEN) + (plain - letters - spaces)
