"""Phases of the trading day: which one an instant lies in, and what may be done in it.

Owns the phase words of contracts.md, their times, and the permissions per exchange and date. Must
never read a clock: the instant is given, and so is whether its day is a session. Tests:
tests/unit/domain/market/test_phases.py.

Times (market-rules.md §4, Asia/Shanghai): opening auction 9:15-9:25 (no cancels from 9:20),
continuous 9:30-11:30 and 13:00-14:57, closing auction 14:57-15:00 (no cancels), fixed-price trading
after hours 15:05-15:30. Shenzhen has the closing auction since 2006-07-01, Shanghai's shares since
2018-08-20 and its funds since 2026-07-06; before, they traded continuously to 15:00.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from caopan.domain.market.dated import DatedRow, find, require
from caopan.domain.market.reference import Board, Exchange, Instrument
from caopan.kernel.clock import at_shanghai, shanghai


class Phase(StrEnum):
    """The phases of a day, as contracts.md names them."""

    PRE_OPEN = "pre_open"
    OPEN_AUCTION = "open_auction"
    OPEN_AUCTION_NO_CANCEL = "open_auction_no_cancel"
    AUCTION_GAP = "auction_gap"
    CONTINUOUS_AM = "continuous_am"
    MIDDAY_BREAK = "midday_break"
    CONTINUOUS_PM = "continuous_pm"
    CLOSING_AUCTION = "closing_auction"
    POST_CLOSE_GAP = "post_close_gap"
    AFTER_HOURS_FIXED = "after_hours_fixed"
    CLOSED = "closed"
    NON_TRADING_DAY = "non_trading_day"


class OrderKind(StrEnum):
    """Kinds of order that phases treat differently."""

    LIMIT = "limit"
    MARKET = "market"
    AFTER_HOURS_FIXED = "after_hours_fixed"
    """At the day's close, matched from 15:05 (盘后固定价格)."""


class Permit(StrEnum):
    """What the exchange does with a request in a phase."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    """Taken in, and acted on when continuous trading begins."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class PhaseWindow:
    """One phase of one day, from `start` up to and excluding `end` (aware, UTC)."""

    phase: Phase
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow(DatedRow):
    """Whether a kind of security closes by auction; before the first row its hours are unknown."""

    exchange: Exchange
    instrument: Instrument
    closing_auction: bool

    def value(self) -> object:
        """Return whether there is a closing auction."""
        return self.closing_auction


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterHoursRow(DatedRow):
    """A board whose securities trade at the close after hours."""

    exchange: Exchange
    board: Board

    def value(self) -> object:
        """Return True: the row's presence is what it says."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterHoursIntakeRow(DatedRow):
    """From which phase of the day an exchange takes in orders at the close."""

    exchange: Exchange
    begins: Phase

    def value(self) -> object:
        """Return the phase."""
        return self.begins


@dataclass(frozen=True, slots=True, kw_only=True)
class GapRow(DatedRow):
    """What an exchange does with orders and cancels between the opening auction and 9:30."""

    exchange: Exchange
    permit: Permit

    def value(self) -> object:
        """Return the permit."""
        return self.permit


_DAY: tuple[tuple[Phase, time], ...] = (
    (Phase.PRE_OPEN, time(0, 0)),
    (Phase.OPEN_AUCTION, time(9, 15)),
    (Phase.OPEN_AUCTION_NO_CANCEL, time(9, 20)),
    (Phase.AUCTION_GAP, time(9, 25)),
    (Phase.CONTINUOUS_AM, time(9, 30)),
    (Phase.MIDDAY_BREAK, time(11, 30)),
    (Phase.CONTINUOUS_PM, time(13, 0)),
    (Phase.CLOSING_AUCTION, time(14, 57)),
    (Phase.POST_CLOSE_GAP, time(15, 0)),
    (Phase.AFTER_HOURS_FIXED, time(15, 5)),
    (Phase.CLOSED, time(15, 30)),
)

_AUCTIONS = frozenset({Phase.OPEN_AUCTION, Phase.OPEN_AUCTION_NO_CANCEL, Phase.CLOSING_AUCTION})
_CONTINUOUS = frozenset({Phase.CONTINUOUS_AM, Phase.CONTINUOUS_PM})
_CANCELABLE = frozenset({Phase.OPEN_AUCTION, *_CONTINUOUS})
_NO_INTAKE = frozenset({Phase.MIDDAY_BREAK, Phase.CLOSED, Phase.NON_TRADING_DAY})
_ORDER = {phase: number for number, (phase, _) in enumerate(_DAY)}


class PhaseTable:
    """The phases of each exchange, by date."""

    __slots__ = ("_after_hours", "_gaps", "_intake", "_sessions", "_windows")

    def __init__(
        self,
        sessions: Iterable[SessionRow],
        after_hours: Iterable[AfterHoursRow],
        gaps: Iterable[GapRow],
        intake: Iterable[AfterHoursIntakeRow],
    ) -> None:
        self._sessions = tuple(sessions)
        self._after_hours = tuple(after_hours)
        self._gaps = tuple(gaps)
        self._intake = tuple(intake)
        # Asked several times for every order of a day.
        self._windows: dict[tuple[Exchange, Instrument, date], tuple[PhaseWindow, ...]] = {}

    def windows(
        self,
        day: date,
        *,
        exchange: Exchange = Exchange.SH,
        instrument: Instrument = Instrument.STOCK,
    ) -> tuple[PhaseWindow, ...]:
        """Return the phases of the session `day` in order; together they fill the whole day.

        Since 2018-08-20 all exchanges keep the same hours, so the clock of the market is
        Shanghai's. The after-hours phase stands on each day; `may_place` tells whose shares use it.

        Raises:
            Denied: RISK_RULES_UNKNOWN before the first known schedule of `exchange`.
        """
        key = (exchange, instrument, day)
        known = self._windows.get(key)
        if known is None:
            known = self._windows[key] = self._resolve(day, exchange, instrument)
        return known

    def window(
        self,
        instant: datetime,
        *,
        session: bool,
        exchange: Exchange = Exchange.SH,
        instrument: Instrument = Instrument.STOCK,
    ) -> PhaseWindow:
        """Return the phase `instant` (aware) lies in; `session` tells whether its day is one.

        Raises:
            Denied: RISK_RULES_UNKNOWN as `windows`.
        """
        day = shanghai(instant).date()
        if not session:
            start = at_shanghai(day, time(0, 0))
            return PhaseWindow(Phase.NON_TRADING_DAY, start, start + timedelta(days=1))
        for window in reversed(self.windows(day, exchange=exchange, instrument=instrument)):
            if window.start <= instant:
                return window
        raise AssertionError(instant)  # the first window begins at midnight

    def phase_of(
        self,
        instant: datetime,
        *,
        session: bool,
        exchange: Exchange = Exchange.SH,
        instrument: Instrument = Instrument.STOCK,
    ) -> Phase:
        """Return the name of `window`."""
        return self.window(instant, session=session, exchange=exchange, instrument=instrument).phase

    def cancelable_until(
        self, instant: datetime, *, session: bool, exchange: Exchange = Exchange.SH
    ) -> datetime | None:
        """Return until when an order resting now can be cancelled, or None if it cannot be now."""
        window = self.window(instant, session=session, exchange=exchange)
        return window.end if window.phase in _CANCELABLE else None

    def may_place(
        self, phase: Phase, kind: OrderKind, *, exchange: Exchange, board: Board, day: date
    ) -> Permit:
        """Return what becomes of a new order of `kind` in `phase` of the session `day`.

        Orders reach the exchange only while it takes them in; what a broker keeps before 9:15 is
        not placed. Orders at the close are taken in long before it (`AfterHoursIntakeRow`).

        Raises:
            Denied: RISK_RULES_UNKNOWN if the gap before 9:30, or the taking in of orders at the
                close, is not covered for `exchange`.
        """
        if kind is OrderKind.AFTER_HOURS_FIXED:
            open_to_board = self.after_hours(exchange, board, day)
            taken = open_to_board and self._takes_in(phase, exchange, day)
            return Permit.ACCEPTED if taken else Permit.REFUSED
        if phase in _CONTINUOUS or (phase in _AUCTIONS and kind is OrderKind.LIMIT):
            return Permit.ACCEPTED
        if phase is Phase.AUCTION_GAP and kind is OrderKind.LIMIT:
            return self._gap(exchange, day)
        return Permit.REFUSED

    def may_cancel(self, phase: Phase, kind: OrderKind, *, exchange: Exchange, day: date) -> Permit:
        """Return what becomes of a cancel in `phase` of the session `day`.

        Raises:
            Denied: RISK_RULES_UNKNOWN as `may_place`.
        """
        if kind is OrderKind.AFTER_HOURS_FIXED:
            taken = self._takes_in(phase, exchange, day)
            return Permit.ACCEPTED if taken else Permit.REFUSED
        if phase in _CANCELABLE:
            return Permit.ACCEPTED
        return self._gap(exchange, day) if phase is Phase.AUCTION_GAP else Permit.REFUSED

    def after_hours(self, exchange: Exchange, board: Board, day: date) -> bool:
        """Return whether securities of `board` trade at the close after hours on `day`."""
        return self.after_hours_row(exchange, board, day) is not None

    def after_hours_row(self, exchange: Exchange, board: Board, day: date) -> AfterHoursRow | None:
        """Return the row that lets `board` trade at the close after hours, or None."""
        rows = (row for row in self._after_hours if (row.exchange, row.board) == (exchange, board))
        return find(rows, day, f"after-hours trading of {board}")

    def _takes_in(self, phase: Phase, exchange: Exchange, day: date) -> bool:
        rows = (row for row in self._intake if row.exchange is exchange)
        row = require(rows, day, f"when {exchange} takes in orders at the close")
        return phase not in _NO_INTAKE and _ORDER[phase] >= _ORDER[row.begins]

    def _gap(self, exchange: Exchange, day: date) -> Permit:
        rows = (row for row in self._gaps if row.exchange is exchange)
        return require(rows, day, f"orders between 9:25 and 9:30 on {exchange}").permit

    def session_row(self, day: date, exchange: Exchange, instrument: Instrument) -> SessionRow:
        """Return the row that gives the hours. Raises as `windows`."""
        key = (exchange, instrument)
        rows = (row for row in self._sessions if (row.exchange, row.instrument) == key)
        return require(rows, day, f"trading hours of a {instrument} on {exchange}")

    def _resolve(
        self, day: date, exchange: Exchange, instrument: Instrument
    ) -> tuple[PhaseWindow, ...]:
        row = self.session_row(day, exchange, instrument)
        phases = [
            (phase, start)
            for phase, start in _DAY
            if row.closing_auction or phase is not Phase.CLOSING_AUCTION
        ]
        starts = [at_shanghai(day, start) for _, start in phases]
        ends = [*starts[1:], starts[0] + timedelta(days=1)]
        return tuple(
            PhaseWindow(phase, start, end)
            for (phase, _), start, end in zip(phases, starts, ends, strict=True)
        )
