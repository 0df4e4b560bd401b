"""Real time for live desks.

Owns the reading of the system clock. Must never be used in a replay.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(UTC)

    async def pause(self, by: timedelta) -> None:
        """Wait for `by`."""
        await asyncio.sleep(by.total_seconds())


def monotonic_ms() -> float:
    """Return a stopwatch reading in milliseconds."""
    return time.perf_counter() * 1000
