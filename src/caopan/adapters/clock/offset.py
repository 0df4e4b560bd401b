"""A clock that is set once and runs on with the machine's: a desk that lives at another time.

Owns OffsetClock. Must never be used where the present is meant. Tests:
tests/unit/adapters/clock/test_offset.py.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from caopan.adapters.clock.system import monotonic_ms


class OffsetClock:
    """The time that has passed since it was made, counted from a chosen moment."""

    def __init__(self, start: datetime) -> None:
        """Show `start` (aware) now."""
        self._start = start
        self._began_ms = monotonic_ms()

    def now(self) -> datetime:
        """Return the present instant of this clock."""
        return self._start + timedelta(milliseconds=monotonic_ms() - self._began_ms)

    async def pause(self, by: timedelta) -> None:
        """Wait for `by`."""
        await asyncio.sleep(by.total_seconds())
