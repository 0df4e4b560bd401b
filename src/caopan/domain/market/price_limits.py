"""Price limits (涨跌停): how far a price may move on a day, by board, state and date.

Owns the shapes of the limit rules, the choice of the rule that applies and the exchanges' rounding.
The rows are given (adapters/rules loads them). Must never default: an unknown date, board or state
is refused. Tests: tests/unit/domain/market/test_price_limits.py, tests/property/domain/market.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from caopan.domain.market.dated import DatedRow, find, require, unknown
from caopan.domain.market.reference import Board, Exchange, Instrument
from caopan.kernel.money import ratio_half_up

LISTING_WINDOW_DAYS = 5
"""Trading days a new listing has no limit since the registration system (注册制)."""


class LimitState(StrEnum):
    """States of a security whose limits differ."""

    NORMAL = "normal"
    ST = "st"
    """ST and *ST (风险警示)."""
    LISTING_DAY = "listing_day"
    """First trading day, where the rule names only that day."""
    LISTING_WINDOW = "listing_window"
    """First five trading days, by the rule in force on the day of listing."""
    DELISTING_DAY = "delisting_day"
    """First day of the delisting period (退市整理期)."""
    DELISTING = "delisting"
    RELISTING_DAY = "relisting_day"
    """First day of a share listed again after its listing was suspended or ended."""


class LimitRounding(StrEnum):
    """How an exchange rounds a limit to the tick."""

    HALF_UP = "half_up"
    """Both limits half up; the lower one too, it is not cut inwards."""
    INWARD = "inward"
    """Upper limit cut down, lower limit cut up, so that both stay inside the percentage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRow(DatedRow):
    """The percentage for one board and state; None for no limit."""

    exchange: Exchange
    board: Board
    state: LimitState
    up: Fraction | None
    down: Fraction | None

    def value(self) -> object:
        """Return the percentages."""
        return (self.up, self.down)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundingRow(DatedRow):
    """The rounding of an exchange for one kind of security."""

    exchange: Exchange
    instrument: Instrument = Instrument.STOCK
    rounding: LimitRounding

    def value(self) -> object:
        """Return the rounding."""
        return self.rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class TickRow(DatedRow):
    """The tick of one kind of security, in units."""

    exchange: Exchange
    instrument: Instrument = Instrument.STOCK
    tick_size: int

    def value(self) -> object:
        """Return the tick."""
        return self.tick_size


@dataclass(frozen=True, slots=True, kw_only=True)
class OneTickRow(DatedRow):
    """Whether a share's limit less than one tick from the reference price moves out to one tick.

    With `below` set, it is instead that price (units; reached or undershot as `inclusive` tells)
    under which the limits are one tick either way, whatever the percentage gives.
    """

    exchange: Exchange
    state: LimitState | None = None
    """None for all states that have no row of their own."""
    applies: bool
    below: int | None = None
    inclusive: bool = False

    def value(self) -> object:
        """Return the relaxation."""
        return (self.applies, self.below, self.inclusive)


@dataclass(frozen=True, slots=True)
class LimitCase:
    """What must be known of a security to tell its limits on `day`."""

    exchange: Exchange
    board: Board
    day: date
    is_st: bool
    listing_day_index: int | None = None
    """1 on the first trading day; None when it is long past."""
    listed_on: date | None = None
    """The first trading day; needed from the second to the fifth trading day."""
    delisting_day_index: int | None = None
    """1 on the first day of the delisting period; None outside it."""
    relisted: bool = False
    """True on the first day of a share listed again (恢复上市, 重新上市)."""


class PriceLimits(NamedTuple):
    """The limits of one day, in units; both None where no limit applies."""

    up: int | None
    down: int | None
    state: LimitState
    source: str


class Band(NamedTuple):
    """A limit rule resolved for one board, state and day, ready for any reference price."""

    up: Fraction | None
    down: Fraction | None
    state: LimitState
    rounding: LimitRounding
    tick_size: int
    """0 where no limit applies."""
    one_tick: OneTickRow | None
    source: str


class PriceLimitTable:
    """The limit rules of all boards, by date."""

    __slots__ = ("_bands", "_limits", "_one_tick", "_rounding", "_ticks")

    def __init__(
        self,
        limits: Iterable[LimitRow],
        rounding: Iterable[RoundingRow],
        ticks: Iterable[TickRow],
        one_tick: Iterable[OneTickRow],
    ) -> None:
        self._limits: dict[tuple[Exchange, Board, LimitState], list[LimitRow]] = {}
        for row in limits:
            self._limits.setdefault((row.exchange, row.board, row.state), []).append(row)
        self._rounding = tuple(rounding)
        self._ticks = tuple(ticks)
        self._one_tick = tuple(one_tick)
        # Rules change a few times a decade and are asked for every symbol and day.
        self._bands: dict[LimitCase, Band] = {}

    def limits(self, case: LimitCase, pre_close: int) -> PriceLimits:
        """Return the limits for the reference price `pre_close` (units, positive).

        Raises:
            Denied: RISK_RULES_UNKNOWN if the tables do not cover the case, DATA_RULES_MISMATCH if
                they contradict each other; the security is not traded on that day.
        """
        return band_limits(self.band(case), pre_close)

    def band(self, case: LimitCase) -> Band:
        """Return the rule that applies to `case`. Raises as `limits`."""
        band = self._bands.get(case)
        if band is None:
            band = self._bands[case] = self._resolve(case)
        return band

    def tick_size(
        self, exchange: Exchange, day: date, instrument: Instrument = Instrument.STOCK
    ) -> int:
        """Return the tick of a kind of security on `exchange`, in units. Raises as `limits`."""
        return self.tick_row(exchange, day, instrument).tick_size

    def tick_row(self, exchange: Exchange, day: date, instrument: Instrument) -> TickRow:
        """Return the row that gives `tick_size`. Raises as `limits`."""
        key = (exchange, instrument)
        rows = (row for row in self._ticks if (row.exchange, row.instrument) == key)
        return require(rows, day, f"tick size of a {instrument} on {exchange}")

    def _resolve(self, case: LimitCase) -> Band:
        row = self.row(case)
        exchange, day, kind = case.exchange, case.day, case.board.instrument
        if row.up is None:
            # Nothing is computed, so nothing more has to be known.
            return Band(None, None, row.state, LimitRounding.HALF_UP, 0, None, row.source)
        return Band(
            up=row.up,
            down=row.down,
            state=row.state,
            rounding=self.rounding_row(exchange, day, kind).rounding,
            tick_size=self.tick_size(exchange, day, kind),
            one_tick=(
                self._one_tick_row(exchange, row.state, day) if kind is Instrument.STOCK else None
            ),
            source=row.source,
        )

    def rows(self, exchange: Exchange, board: Board, day: date) -> tuple[LimitRow, ...]:
        """Return the percentages of every state of `board` in force on `day`."""
        return tuple(
            row
            for state in LimitState
            for row in self._limits.get((exchange, board, state), ())
            if row.in_force(day)
        )

    def rounding_row(self, exchange: Exchange, day: date, instrument: Instrument) -> RoundingRow:
        """Return how limits are rounded on `exchange`. Raises as `limits`."""
        key = (exchange, instrument)
        rows = (row for row in self._rounding if (row.exchange, row.instrument) == key)
        return require(rows, day, f"rounding of the price limits of a {instrument} on {exchange}")

    def row(self, case: LimitCase) -> LimitRow:
        """Return the percentage that applies to `case`, with its source. Raises as `limits`."""
        if case.delisting_day_index is not None:
            first = case.delisting_day_index == 1
            state = LimitState.DELISTING_DAY if first else LimitState.DELISTING
            return self._required(case, state, case.day)
        index = case.listing_day_index
        if case.relisted:
            return self._required(case, LimitState.RELISTING_DAY, case.day)
        # A fund's first day is a day like any other.
        is_fund = case.board.instrument is Instrument.FUND
        if index is not None and index <= LISTING_WINDOW_DAYS and not is_fund:
            row = self._listing_row(case, index)
            if row is not None:
                return row
        return self._required(case, LimitState.ST if case.is_st else LimitState.NORMAL, case.day)

    def _listing_row(self, case: LimitCase, index: int) -> LimitRow | None:
        """Return the rule for a new listing, or None from the day on which it is past."""
        if index < 1:
            raise unknown(f"{case.board} share on {case.day}: not listed yet (day {index})")
        rows = self._limits.get((case.exchange, case.board, LimitState.LISTING_WINDOW))
        if rows is not None:
            listed_on = case.day if index == 1 else case.listed_on
            if listed_on is None:
                raise unknown(
                    f"{case.board} share on its trading day {index} ({case.day}): the day of"
                    " listing is needed, the rule in force then decides"
                )
            window = find(rows, listed_on, f"first days of a new listing on {case.board}")
            if window is not None:
                return window
        return self._required(case, LimitState.LISTING_DAY, case.day) if index == 1 else None

    def _required(self, case: LimitCase, state: LimitState, day: date) -> LimitRow:
        rows = self._limits.get((case.exchange, case.board, state), [])
        return require(rows, day, f"price limit of {case.board} on {case.exchange}, state {state}")

    def _one_tick_row(self, exchange: Exchange, state: LimitState, day: date) -> OneTickRow | None:
        what = f"one-tick relaxation on {exchange}"
        rows = [row for row in self._one_tick if row.exchange is exchange]
        own = find((row for row in rows if row.state is state), day, what)
        return own or find((row for row in rows if row.state is None), day, what)


def band_limits(band: Band, pre_close: int) -> PriceLimits:
    """Return the limits a resolved rule gives for `pre_close` (units, positive).

    Raises:
        Denied: RISK_RULES_UNKNOWN if it takes the one-tick relaxation and no rule tells of it.
    """
    if pre_close <= 0:
        raise unknown(f"reference price {pre_close} units is not positive")
    if band.up is None or band.down is None:
        return PriceLimits(None, None, band.state, band.source)
    tick = band.tick_size
    up_by, up_of = band.up.numerator, band.up.denominator
    down_by, down_of = band.down.numerator, band.down.denominator
    highest, lowest = pre_close * (up_of + up_by), pre_close * (down_of - down_by)
    if band.rounding is LimitRounding.HALF_UP:
        up = ratio_half_up(highest, up_of, tick)
        down = ratio_half_up(lowest, down_of, tick)
    else:
        up = highest // (up_of * tick) * tick
        down = -(-lowest // (down_of * tick)) * tick
    if up - pre_close < tick or pre_close - down < tick or _below(band.one_tick, pre_close):
        up, down = _relaxed(band, pre_close, up, down)
    # No share trades below one tick.
    return PriceLimits(up, max(down, tick), band.state, band.source)


def _below(row: OneTickRow | None, pre_close: int) -> bool:
    if row is None or row.below is None:
        return False
    return pre_close <= row.below if row.inclusive else pre_close < row.below


def _relaxed(band: Band, pre_close: int, up: int, down: int) -> tuple[int, int]:
    row, tick = band.one_tick, band.tick_size
    if row is None:
        raise unknown(
            f"reference price {pre_close} units: the limit is less than a tick away and no rule"
            " tells whether it moves out"
        )
    if _below(row, pre_close):
        return pre_close + tick, pre_close - tick
    if not row.applies:
        return up, down
    return max(up, pre_close + tick), min(down, pre_close - tick)
