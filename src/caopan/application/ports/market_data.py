"""The market-data port: what a decision may know, and when it may know it.

Owns the protocol that every data source is read through and the point-in-time rule: each read
names the instant it happens at, and data not yet known then is refused. Must never know a file
format or a vendor. Tests: tests/contract/market_data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol, TypeAlias

from caopan.domain.market.reference import DailyBar, Reference

FeatureRow: TypeAlias = Mapping[str, float | int | str | Sequence[str]]
"""One symbol's features by name; absent means unknown, never zero."""


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """What a data set is and where it came from; goes into the ledger of each run."""

    label: str
    """What a person reads: a file name, or "synthetic market (seed 7)"."""
    synthetic: bool
    checksum: str
    """SHA-256 of the normalised rows, so that two files with equal rows are equal."""
    first_day: date
    last_day: date
    symbols: tuple[str, ...]
    rows: int
    calendar: str
    """Name and version of the trading calendar, for example "exchange_calendars 4.13.2 XSHG"."""
    rules_citation: str
    """Citation of the exchange-rule tables the references were computed with."""


class MarketData(Protocol):
    """A warm, in-memory view of one data set, read point in time.

    Every method raises CorruptState LOOK_AHEAD when what it would return was not yet known at
    `now`: references and features of a day from 08:50 that day, bars from 15:00 of their day
    (Asia/Shanghai).
    """

    @property
    def info(self) -> DatasetInfo:
        """Return what the data set is."""
        ...

    def sessions(self, start: date, end: date) -> tuple[date, ...]:
        """Return the trading days from `start` to `end` inclusive, by the calendar.

        Raises Denied DATA_CALENDAR for years the calendar does not know.
        """
        ...

    def references(self, day: date, now: datetime) -> Mapping[str, Reference]:
        """Return, by symbol, what is known of each listed symbol before the open of `day`.

        A symbol without a row on `day` is absent (not listed, or missing in the data).
        """
        ...

    def features(self, day: date, now: datetime) -> Mapping[str, FeatureRow]:
        """Return, by symbol, features over sessions strictly before `day`."""
        ...

    def market(self, day: date, now: datetime) -> Mapping[str, float | int]:
        """Return breadth figures of the session before `day` (advancers, limit-ups, ...)."""
        ...

    def bar(self, symbol: str, day: date, now: datetime) -> DailyBar | None:
        """Return the finished bar of `symbol` on `day`, or None where there is none."""
        ...

    def closes(self, day: date, now: datetime) -> Mapping[str, int]:
        """Return, by symbol, the last close (units) on or before `day`."""
        ...
