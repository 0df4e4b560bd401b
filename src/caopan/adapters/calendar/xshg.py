"""Sessions of Shanghai (Shenzhen and Beijing keep the same) from exchange_calendars.

Owns the snapshot, its stored form and our overrides. Must never import pandas before a snapshot is
really made: a stored one serves without it. Tests: tests/unit/adapters/calendar/test_xshg.py.

    current = stored is not None and stored[0] == snapshot_name()
    calendar = from_snapshot(*stored) if current else load_calendar()
"""

from __future__ import annotations

import importlib
import importlib.metadata
import tomllib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, cast

from caopan.domain.market.calendar import DATA_CALENDAR, TradingCalendar
from caopan.kernel.canonical import sha256_hex
from caopan.kernel.errors import ConfigInvalid

_SATURDAY = 5
_SESSIONS_A_YEAR = range(230, 256)
"""A year has had 237 to 247 sessions since 2000; a schedule far from that is a slip."""


@dataclass(frozen=True, slots=True)
class Year:
    """A whole year, declared: every weekday but `closed` is a session."""

    number: int
    closed: frozenset[date]
    source: str


@dataclass(frozen=True, slots=True)
class Correction:
    """One day the library has wrong."""

    day: date
    session: bool
    source: str


@dataclass(frozen=True, slots=True)
class Overrides:
    """Our own word, validated, with the digest that names it."""

    years: tuple[Year, ...]
    corrections: tuple[Correction, ...]
    digest: str

    @property
    def suffix(self) -> str:
        """Return what a calendar's name gains by them."""
        return f" overrides {self.digest[:8]}" if self.years or self.corrections else ""


def snapshot_name(override_file: Path | None = None) -> str:
    """Return the name a snapshot made now would have, without making it.

    Raises:
        ConfigInvalid: DATA_CALENDAR if an override file is not valid.
    """
    version = importlib.metadata.version("exchange_calendars")
    return f"exchange_calendars {version} XSHG{_overrides(override_file).suffix}"


def load_calendar(override_file: Path | None = None) -> TradingCalendar:
    """Return a fresh snapshot: the library's sessions, our overrides on top.

    `override_file` (form: overrides.toml of this package) is added to the one shipped.

    Raises:
        ConfigInvalid: DATA_CALENDAR if an override file is not valid.
    """
    overrides = _overrides(override_file)
    first, last, sessions = _library()
    days = set(sessions)
    for correction in overrides.corrections:
        if not first <= correction.day <= last:
            raise _invalid(f"correction of {correction.day}: the library does not know that day")
        (days.add if correction.session else days.discard)(correction.day)
    for year in overrides.years:
        if date(year.number, 1, 1) != last + timedelta(days=1):
            raise _invalid(
                f"year {year.number} does not follow {last}, the last day known",
                "declare only the years that follow, in order",
            )
        last = date(year.number, 12, 31)
        days.update(_weekdays(year.number) - year.closed)
    return TradingCalendar(snapshot_name(override_file), first, last, tuple(sorted(days)))


def to_snapshot(calendar: TradingCalendar) -> tuple[str, str, Sequence[date]]:
    """Return what is stored of `calendar`: name, version (its known range) and sessions."""
    return calendar.name, f"{calendar.first}/{calendar.last}", calendar.sessions


def from_snapshot(name: str, version: str, sessions: Sequence[date]) -> TradingCalendar:
    """Return the calendar that `to_snapshot` stored.

    Raises:
        ConfigInvalid: DATA_CALENDAR if the parts do not fit together.
    """
    first, _, last = version.partition("/")
    try:
        begin, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError as error:
        raise _invalid(f"snapshot {name!r}: version {version!r} is no range of days") from error
    return TradingCalendar(name, begin, end, tuple(sessions))


@lru_cache(maxsize=1)
def _library() -> tuple[date, date, tuple[date, ...]]:
    # Importing it brings pandas, which takes more than a second.
    with warnings.catch_warnings():
        # What it leaves to do for a coming pandas is its makers' business, not our users'.
        warnings.simplefilter("ignore")
        module: Any = importlib.import_module("exchange_calendars.exchange_calendar_xshg")
        library: Any = module.XSHGExchangeCalendar
        first, last = library.bound_min(), library.bound_max()
        stamps = library(start=first, end=last).sessions
    return first.date(), last.date(), tuple(stamp.date() for stamp in stamps)


@lru_cache(maxsize=4)
def _overrides(override_file: Path | None) -> Overrides:
    shipped = (
        resources.files("caopan.adapters.calendar").joinpath("overrides.toml").read_text("utf-8")
    )
    texts = [("overrides.toml", shipped)]
    if override_file is not None:
        try:
            texts.append((str(override_file), override_file.read_text("utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            raise _invalid(f"{override_file}: {error}", "give a readable file") from error
    years: list[Year] = []
    corrections: list[Correction] = []
    for label, text in texts:
        try:
            body = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _invalid(f"{label}: {error}", "write it as TOML") from error
        years += [_year(item, label) for item in _items(body, "year", label)]
        corrections += [_correction(item, label) for item in _items(body, "correction", label)]
    years.sort(key=lambda year: year.number)
    declared = (tuple(years), tuple(corrections))
    words = [f"{year.number} {sorted(year.closed)}" for year in years]
    words += [f"{item.day} {item.session}" for item in corrections]
    return Overrides(*declared, digest=sha256_hex("\n".join(words).encode()))


def _items(body: dict[str, Any], name: str, label: str) -> list[dict[str, Any]]:
    if unknown := sorted(set(body) - {"year", "correction"}):
        raise _invalid(f"{label}: {unknown} is not understood", "use [[year]] and [[correction]]")
    items = body.get(name, [])
    if not isinstance(items, list):
        raise _invalid(f"{label}: {name} is no table list", f"write [[{name}]]")
    return cast("list[dict[str, Any]]", items)


def _year(item: dict[str, Any], label: str) -> Year:
    number, closed, source = item.get("number"), item.get("closed"), item.get("source")
    where = f"{label}: [[year]] {number}"
    if not isinstance(number, int) or not isinstance(closed, list) or not source:
        raise _invalid(f"{where}: number, closed and source are needed")
    days = cast("list[object]", closed)
    for day in days:
        if type(day) is not date or day.year != number or day.weekday() >= _SATURDAY:
            raise _invalid(f"{where}: closed {day!r} is no weekday of that year")
    known = frozenset(cast("list[date]", days))
    if len(known) != len(days):
        raise _invalid(f"{where}: a closed day comes twice")
    count = len(_weekdays(number) - known)
    if count not in _SESSIONS_A_YEAR:
        raise _invalid(f"{where}: {count} sessions are left, a year has about 243")
    for holiday in (date(number, 1, 1), date(number, 10, 1)):
        if holiday.weekday() < _SATURDAY and holiday not in known:
            raise _invalid(f"{where}: {holiday} is a national holiday and not among the closed")
    return Year(number, known, str(source))


def _correction(item: dict[str, Any], label: str) -> Correction:
    day, session, source = item.get("day"), item.get("session"), item.get("source")
    where = f"{label}: [[correction]] {day}"
    if type(day) is not date or not isinstance(session, bool) or not source:
        raise _invalid(f"{where}: day, session (true or false) and source are needed")
    if session and day.weekday() >= _SATURDAY:
        raise _invalid(f"{where}: the exchanges do not trade at weekends")
    return Correction(day, session, str(source))


def _weekdays(number: int) -> set[date]:
    first = date(number, 1, 1)
    days = (first + timedelta(days=n) for n in range((date(number + 1, 1, 1) - first).days))
    return {day for day in days if day.weekday() < _SATURDAY}


def _invalid(message: str, remedy: str = "correct the calendar overrides") -> ConfigInvalid:
    return ConfigInvalid(DATA_CALENDAR, message, remedy=remedy)
