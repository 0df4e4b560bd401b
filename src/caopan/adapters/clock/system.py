"""Real time for live desks.

Owns the reading of the system clock. Must never be used in a replay.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """The machine's own time."""

    def now(self) -> datetime:
        """Return the present instant in UTC."""
        return datetime.now(UTC)


def monotonic_ms() -> float:
    """Return a stopwatch reading in milliseconds."""
    return time.perf_counter() * 1000
