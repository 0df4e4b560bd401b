"""The trading calendar: which days are sessions, and for which years that is known.

Owns TradingCalendar. Must never fall back to weekdays: outside the known range every question is
refused. Tests: tests/unit/domain/market/test_calendar.py, tests/property/domain/market.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from caopan.kernel.errors import ConfigInvalid, Denied

DATA_CALENDAR = "DATA_CALENDAR"


@dataclass(frozen=True, slots=True)
class TradingCalendar:
    """Sessions within the days `first` to `last`, both inclusive and both wholly known."""

    name: str
    """Name and version of the source, for example "exchange_calendars 4.13.2 XSHG"."""
    first: date
    last: date
    sessions: tuple[date, ...]
    """Every session from `first` to `last`, ascending."""

    def __post_init__(self) -> None:
        """Refuse a table that is empty, out of order or outside its own range.

        Raises ConfigInvalid DATA_CALENDAR.
        """
        days = self.sessions
        if not days or days[0] < self.first or days[-1] > self.last:
            raise ConfigInvalid(
                DATA_CALENDAR,
                f"calendar {self.name!r}: sessions are missing or lie outside"
                f" {self.first} to {self.last}",
            )
        for earlier, later in pairwise(days):
            if later <= earlier:
                raise ConfigInvalid(
                    DATA_CALENDAR, f"calendar {self.name!r}: {later} follows {earlier}"
                )

    def covers(self, day: date) -> bool:
        """Return whether `day` lies within the known range."""
        return self.first <= day <= self.last

    def is_session(self, day: date) -> bool:
        """Return whether `day` is a session. Raises Denied DATA_CALENDAR outside the range."""
        self._require(day)
        position = bisect_left(self.sessions, day)
        return position < len(self.sessions) and self.sessions[position] == day

    def next_session(self, day: date) -> date:
        """Return the first session after `day`. Raises Denied DATA_CALENDAR if unknown."""
        self._require(day)
        return self._at(bisect_right(self.sessions, day), f"the session after {day}")

    def previous_session(self, day: date) -> date:
        """Return the last session before `day`. Raises Denied DATA_CALENDAR if unknown."""
        self._require(day)
        return self._at(bisect_left(self.sessions, day) - 1, f"the session before {day}")

    def on_or_after(self, day: date) -> date:
        """Return `day` if it is a session, else the next one. Raises Denied DATA_CALENDAR."""
        self._require(day)
        return self._at(bisect_left(self.sessions, day), f"the session on or after {day}")

    def on_or_before(self, day: date) -> date:
        """Return `day` if it is a session, else the previous one. Raises Denied DATA_CALENDAR."""
        self._require(day)
        return self._at(bisect_right(self.sessions, day) - 1, f"the session on or before {day}")

    def offset(self, day: date, count: int) -> date:
        """Return the session `count` sessions after (negative: before) the session `day`.

        Raises Denied DATA_CALENDAR if `day` is no session or the result is unknown.
        """
        return self._at(self.position(day) + count, f"the session {count:+d} from {day}")

    def position(self, day: date) -> int:
        """Return the index of the session `day`; the difference of two counts sessions.

        Raises Denied DATA_CALENDAR if `day` is no session.
        """
        if not self.is_session(day):
            raise Denied(
                DATA_CALENDAR,
                f"{day} is no trading day by calendar {self.name!r}",
                remedy="name a trading day",
            )
        return bisect_left(self.sessions, day)

    def between(self, start: date, end: date) -> tuple[date, ...]:
        """Return the sessions from `start` to `end` inclusive. Raises Denied DATA_CALENDAR."""
        self._require(start)
        self._require(end)
        return self.sessions[bisect_left(self.sessions, start) : bisect_right(self.sessions, end)]

    def days_known_after(self, day: date) -> int:
        """Return how many calendar days after `day` are still known (0 when past the end)."""
        return max(0, (self.last - day).days)

    def _at(self, position: int, what: str) -> date:
        if 0 <= position < len(self.sessions):
            return self.sessions[position]
        raise self._unknown(what)

    def _require(self, day: date) -> None:
        if not self.first <= day <= self.last:
            raise self._unknown(str(day))

    def _unknown(self, what: str) -> Denied:
        return Denied(
            DATA_CALENDAR,
            f"{what} is not known: calendar {self.name!r} covers {self.first} to {self.last}",
            remedy="update the calendar, or declare the year in the override file",
        )
