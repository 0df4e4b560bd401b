"""A seeded event loop with virtual time: deterministic simulation of the whole chain.

Owns SimLoop, its clock and `simulate`: no socket is ever waited for, time jumps to the next timer,
and ready callbacks run in an order drawn from the seed, so that one seed explores one interleaving
and gives the same trace again. Must never be used outside tests: it leans on two private names of
CPython's asyncio (checked in the tests for each supported version).
"""

from __future__ import annotations

import asyncio
import collections
import random  # noqa: TID251 - seeded: it draws the interleaving
import selectors
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

T = TypeVar("T")


class SimulatedCrash(BaseException):
    """The process died here. Not an Exception, so that no handler can survive its own death."""


class Deadlock(RuntimeError):
    """Nothing is ready and nothing is scheduled: the simulated program waits for ever."""


class _NoIO(selectors.SelectSelector):
    def __init__(self, loop: SimLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("nothing is ready and nothing is scheduled")
        self._loop.advance(max(timeout, 0.0))
        return []


class SimLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is virtual and whose wake order is drawn from a seed."""

    def __init__(self, seed: int) -> None:
        """Start at time 0 with the given seed."""
        self._virtual_now = 0.0
        self.rng = random.Random(seed)  # noqa: S311 - a simulation, not a secret
        super().__init__(_NoIO(self))

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._virtual_now

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._virtual_now += seconds

    def _run_once(self) -> None:
        loop: Any = self
        if len(loop._ready) > 1:  # noqa: SLF001 - the wake order is what is simulated
            ready = list(loop._ready)  # noqa: SLF001 - as above
            self.rng.shuffle(ready)
            loop._ready = collections.deque(ready)  # noqa: SLF001 - as above
        super_loop: Any = super()
        super_loop._run_once()  # noqa: SLF001 - the base class's own step


class LoopClock:
    """A Clock whose time is that of the running event loop: virtual on a SimLoop."""

    def __init__(self, start: datetime) -> None:
        """Show `start` (aware) when the loop's time is 0."""
        self._start = start

    def now(self) -> datetime:
        """Return the present instant."""
        return self._start + timedelta(seconds=asyncio.get_running_loop().time())

    async def pause(self, by: timedelta) -> None:
        """Wait for `by`."""
        await asyncio.sleep(by.total_seconds())


def simulate(program: Coroutine[Any, Any, T], seed: int = 0) -> T:
    """Run `program` to its end on a fresh SimLoop and return its result."""
    loop = SimLoop(seed)
    try:
        return loop.run_until_complete(program)
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()
