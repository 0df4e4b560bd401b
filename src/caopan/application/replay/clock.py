"""The clock of history: it stands where the replay puts it.

Owns ReplayClock. Must never go backwards.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from caopan.kernel.clock import iso
from caopan.kernel.errors import CorruptState


class ReplayClock:
    """A Clock that is set by the replay."""

    def __init__(self, start: datetime) -> None:
        """Stand at `start` (aware)."""
        self._now = start

    def now(self) -> datetime:
        """Return where the clock stands."""
        return self._now

    def set(self, instant: datetime) -> None:
        """Move on to `instant`.

        Raises:
            CorruptState: CLOCK_BACKWARDS if it lies in the past.
        """
        if instant < self._now:
            raise CorruptState(
                "CLOCK_BACKWARDS", f"the clock stands at {iso(self._now)}, not after {iso(instant)}"
            )
        self._now = instant

    async def pause(self, by: timedelta) -> None:
        """Move on by `by`: in history nobody has to wait."""
        self._now += by
