"""Time as the core sees it: given, never taken.

Owns the Clock protocol and the exchange's time zone. Must never read the system clock itself.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

SHANGHAI = ZoneInfo("Asia/Shanghai")


class Clock(Protocol):
    """Tells the present instant, real or simulated."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        ...

    async def pause(self, by: timedelta) -> None:
        """Let `by` pass, by this clock."""
        ...


def shanghai(instant: datetime) -> datetime:
    """Return `instant` in the exchange's time zone."""
    return instant.astimezone(SHANGHAI)


def at_shanghai(day: date, moment: time) -> datetime:
    """Return the UTC instant of `moment` exchange time on `day`."""
    return datetime.combine(day, moment, tzinfo=SHANGHAI).astimezone(UTC)


def iso(instant: datetime) -> str:
    """Return ISO 8601 in UTC with milliseconds and a Z ("2023-01-03T01:16:00.000Z")."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
