"""How long many exchanges may keep us waiting, watched by one timer for all.

Owns Patience. Must never end an exchange before its time; it ends it at most one tick later. A
timer for each exchange would cost every call about a tenth of what it costs to send it.
Tests: tests/unit/adapters/llm/test_upstream.py.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

NEVER: Final = float("inf")
_TICK_S: Final = 0.02


class Waiting(Protocol):
    """Something that waits."""

    due: float
    """When its patience ends, on the loop's clock; NEVER while it does not wait."""

    def expire(self) -> None:
        """Give up. Called once its time is over."""
        ...


class Patience:
    """Whoever waits at the moment; costs nothing while nobody does."""

    __slots__ = ("_handle", "_waiting")

    def __init__(self) -> None:
        """Watch nobody yet."""
        self._waiting: set[Waiting] = set()
        self._handle: asyncio.TimerHandle | None = None

    def watch(self, one: Waiting) -> None:
        """Watch `one` until it is let go."""
        self._waiting.add(one)
        if self._handle is None:
            self._handle = asyncio.get_running_loop().call_later(_TICK_S, self._tick)

    def let_go(self, one: Waiting) -> None:
        """Stop watching."""
        self._waiting.discard(one)

    def _tick(self) -> None:
        self._handle = None
        if not self._waiting:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for one in [one for one in self._waiting if one.due <= now]:
            one.due = NEVER
            one.expire()
        self._handle = loop.call_later(_TICK_S, self._tick)
