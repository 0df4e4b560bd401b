"""A seeded synthetic market, for machines without data; it is labelled so wherever it is shown.

Owns the generator. Must never pass for real prices: its codes lie in ranges no exchange has given
out (609xxx.SH, 009xxx.SZ, 309xxx.SZ, 6895xx.SH). Tests:
tests/property/adapters/market_data/test_synthetic.py.

What it has: a market factor, volatility that clusters, fat tails, limit days sealed and broken,
runs of them, suspensions of several days, ex-dates with exact dividends and bonus shares, spells of
ST, new listings, volumes that grow with the move, prices on ticks within the limits of the day.
What it has not: news, sectors, order books. No result on it says anything about real prices.

Every path begins on ORIGIN and depends only on the seed and the symbol, so asking for more days,
more symbols or a later end leaves the history before as it was.
"""

from __future__ import annotations

import math
import random  # noqa: TID251  # seeded below: the generator is a function of its seed
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

import polars as pl

from caopan.adapters.market_data.frame import SCHEMA
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.price_limits import (
    LISTING_WINDOW_DAYS,
    Band,
    LimitCase,
    PriceLimits,
    PriceLimitTable,
    band_limits,
)
from caopan.domain.market.reference import Board
from caopan.domain.market.rules import MarketRules
from caopan.domain.market.symbols import Listing, parse_symbol
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import UNITS_PER_YUAN, ratio_half_up

ORIGIN = date(2021, 1, 4)
"""First session of every path: after the ChiNext reform, so that no board is missing."""
MOST_SYMBOLS = 1000
_VERSION = "caopan synthetic market 1"
_TICK = 100
_FLOOR = 10_000
"""No path falls below one yuan: what would happen there (delisting) is not modelled."""

_CODES = (
    *("609{:03d}.SH",) * 4,
    *("009{:03d}.SZ",) * 3,
    *("309{:03d}.SZ",) * 2,
    "689{:03d}.SH",
)
_STAR_FROM = 500
_GARCH_NEWS, _GARCH_MEMORY = 0.08, 0.90
_MARKET_SIGMA = 0.010
_JUMP, _FAT = 0.005, 0.05
_HALT, _HELD = 0.0008, 0.5
_PAYS, _BONUS = 0.75, 0.15
_CHEAP, _DEAR, _CEILING = 30_000, 8_000_000, 50_000_000
"""Units between which paths are gently kept."""
_LISTINGS = {5: (60, 960), 11: (900, 1900)}
"""Shares by number modulo 12 that are listed between these sessions."""
_LISTING_EVERY = 12
_ST_EVERY, _ST_AT = 15, 8


def label(seed: int) -> str:
    """Return what the data set of `seed` is called."""
    return f"synthetic market (seed {seed})"


def generate(
    seed: int,
    calendar: TradingCalendar,
    end: date,
    days: int,
    symbols: int,
    *,
    rules: MarketRules,
) -> pl.DataFrame:
    """Return the normalised frame of the last `days` sessions up to `end`, `symbols` shares in all.

    Shares not listed yet have no rows, so a day may show fewer.

    Raises:
        ConfigInvalid: SYNTHETIC_RANGE if days or symbols are out of range.
        Denied: DATA_CALENDAR if the calendar does not reach `end`.
    """
    sessions = calendar.between(ORIGIN, end)
    if not 1 <= days <= len(sessions) or not 1 <= symbols <= MOST_SYMBOLS:
        raise ConfigInvalid(
            "SYNTHETIC_RANGE",
            f"days={days}, symbols={symbols}: from {ORIGIN} to {end} there are {len(sessions)}"
            f" sessions, and at most {MOST_SYMBOLS} symbols",
            remedy="ask for fewer days or symbols, or for a later end",
        )
    market = _market_returns(seed, len(sessions))
    bands = _Bands(rules.limits, sessions)
    rows: list[tuple[Any, ...]] = []
    for number in range(symbols):
        share = _share_rows(seed, number, sessions, market, bands)
        rows += share[max(0, len(share) - days) :]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").sort("symbol", "day")


def symbol_of(number: int) -> str:
    """Return the symbol of the share `number` (from 0)."""
    turn, place = divmod(number, len(_CODES))
    code = _CODES[place]
    serial = turn * _CODES.count(code) + place - _CODES.index(code)
    return code.format(serial + (_STAR_FROM if code.startswith("689") else 1))


def _seeded(seed: int, name: str) -> random.Random:
    return random.Random(f"{_VERSION}/{seed}/{name}")  # noqa: S311  # prices, not secrets


def _market_returns(seed: int, count: int) -> list[float]:
    rng = _seeded(seed, "market")
    variance = _MARKET_SIGMA**2
    base = variance * (1 - _GARCH_NEWS - _GARCH_MEMORY)
    returns: list[float] = []
    shock = 0.0
    for _ in range(count):
        variance = base + _GARCH_NEWS * shock * shock + _GARCH_MEMORY * variance
        shock = math.sqrt(variance) * _fat_tailed(rng)
        returns.append(0.0002 + shock)
    return returns


def _fat_tailed(rng: random.Random) -> float:
    """Return a standard draw with tails fatter than normal, variance near 1."""
    draw = rng.gauss(0.0, 0.9)
    return draw * 2.2 if rng.random() < _FAT else draw


class _Bands:
    """The limit rule of each board and state on each session."""

    def __init__(self, table: PriceLimitTable, sessions: Sequence[date]) -> None:
        self._table = table
        self._sessions = sessions
        self._known: dict[tuple[Any, ...], list[Band]] = {}

    def regular(self, listing: Listing, *, st: bool) -> list[Band]:
        """Return the bands of a share past its listing, by session."""
        key = (listing.exchange, listing.board, st)
        if key not in self._known:
            self._known[key] = [
                self._table.band(LimitCase(listing.exchange, listing.board, day, st))
                for day in self._sessions
            ]
        return self._known[key]

    def young(self, listing: Listing, at: int, listed_at: int) -> Band:
        """Return the band of one of the first trading days."""
        return self._table.band(
            LimitCase(
                listing.exchange,
                listing.board,
                self._sessions[at],
                is_st=False,
                listing_day_index=at - listed_at + 1,
                listed_on=self._sessions[listed_at],
            )
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What happens to a share whatever its price does, drawn once."""

    listed_at: int | None
    """Session of its listing; None when that is long past."""
    st: range
    ex_dates: dict[int, tuple[float, int]]
    """Session to (cash as a share of the price, new shares per ten)."""


@dataclass(frozen=True, slots=True)
class _Character:
    """How a share moves."""

    drift: float
    beta: float
    variance: float
    turnover: float


def _plan(seed: int, number: int, sessions: Sequence[date]) -> _Plan:
    rng = _seeded(seed, f"{symbol_of(number)}/plan")
    between = _LISTINGS.get(number % _LISTING_EVERY)
    listed_at = rng.randrange(*between) if between else None
    begin = rng.randrange(1500)
    spell = range(begin, begin + rng.randrange(120, 500))
    ex_dates: dict[int, tuple[float, int]] = {}
    # The years come last: a later end draws more of them and changes nothing before.
    for year in range(ORIGIN.year, sessions[-1].year + 1):
        pays, target = rng.random() < _PAYS, date(year, 5, 20) + timedelta(days=rng.randrange(60))
        cash, bonus = rng.uniform(0.004, 0.035), rng.randrange(1, 11)
        bonus = bonus if rng.random() < _BONUS else 0
        at = bisect_left(sessions, target)
        settled = -1 if listed_at is None else listed_at + 20
        if pays and settled < at < len(sessions):
            ex_dates[at] = (cash, bonus)
    return _Plan(
        listed_at=listed_at,
        st=spell if number % _ST_EVERY == _ST_AT else range(0),
        ex_dates=ex_dates,
    )


class _Day(NamedTuple):
    """One row without its symbol, day and states."""

    open: int
    high: int
    low: int
    close: int
    pre_close: int
    volume: int
    amount: int
    is_suspended: bool
    turnover_rate: float = 0.0
    cash_per_share: int | None = None
    share_factor: str | None = None


class _Share:
    """One share on its way through the sessions."""

    def __init__(self, rng: random.Random, listing: Listing, plan: _Plan) -> None:
        livelier = 1.0 if listing.board is Board.MAIN else 1.25
        sigma = rng.uniform(0.013, 0.024) * livelier
        self._rng, self._plan = rng, plan
        self._character = _Character(
            drift=rng.gauss(0.0001, 0.0003),
            beta=rng.uniform(0.6, 1.3) * livelier,
            variance=sigma * sigma,
            turnover=rng.uniform(0.004, 0.025) * livelier,
        )
        self._float = math.exp(rng.uniform(math.log(5e7), math.log(5e9)))
        self._close = _to_tick(math.exp(rng.gauss(2.7, 0.7)) * UNITS_PER_YUAN + 3 * _FLOOR)
        self._variance, self._shock = sigma * sigma, 0.0
        self._halted = self._sealed = 0

    def next_day(self, at: int, market: float, band: Band, *, debut: bool) -> _Day:
        """Return what the share does on session `at`, and move on to it."""
        before = self._close
        cash, factor = self._entitlement(at)
        given: dict[str, Any] = {}
        if factor:
            per_ten = int(factor * 10)
            before = ratio_half_up((before - cash) * 10, per_ten, _TICK)
            self._float *= factor
            given = {"cash_per_share": cash, "share_factor": str(factor)}
        self._halted = self._halted - 1 if self._halted else self._new_halt(debut=debut)
        if self._halted:
            self._close, self._sealed = before, 0
            return _Day(*(before,) * 5, volume=0, amount=0, is_suspended=True, **given)
        limits = band_limits(band, before)
        change = self._change(market, limits, before, debut=debut)
        opening, high, low, close = self._prices(before, change, limits)
        self._sealed = (close == limits.up) - (close == limits.down)
        self._close = close
        volume = self._volume(abs(close / before - 1), one_price=high == low and self._sealed != 0)
        # Weighted towards the close, where most of a day is traded.
        amount = (opening + high + low + 2 * close) // 5 * volume
        return _Day(
            opening,
            high,
            low,
            close,
            before,
            volume,
            amount,
            is_suspended=False,
            turnover_rate=round(volume / self._float, 6),
            **given,
        )

    def _entitlement(self, at: int) -> tuple[int, Fraction | None]:
        """Return the cash per share (units) and the share factor of an ex-date, else (0, None)."""
        if at not in self._plan.ex_dates:
            return 0, None
        share, bonus = self._plan.ex_dates[at]
        cash = max(_TICK, _to_tick(self._close * share))
        return cash, Fraction(10 + bonus, 10)

    def _new_halt(self, *, debut: bool) -> int:
        draw, length = self._rng.random(), self._rng.randrange(2, 11)
        return length if draw < _HALT and not debut else 0

    def _change(self, market: float, limits: PriceLimits, before: int, *, debut: bool) -> float:
        """Return the day's return as it would be without limits."""
        rng, own = self._rng, self._character
        calm = own.variance * (1 - _GARCH_NEWS - _GARCH_MEMORY)
        news = _GARCH_NEWS * self._shock * self._shock
        # Bounded, so that a run of limit days does not end in a market of its own.
        self._variance = min(calm + news + _GARCH_MEMORY * self._variance, 9 * own.variance)
        self._shock = math.sqrt(self._variance) * _fat_tailed(rng)
        jump, size = rng.random() < _JUMP, rng.uniform(0.6, 1.6)
        width = (limits.up or 2 * before) / before - 1
        change = own.drift + own.beta * market + self._shock
        if jump:
            change += math.copysign(size * width, self._shock)
        # What was sealed often opens on.
        change += self._sealed * 0.6 * width * rng.random()
        if self._close < _CHEAP:
            change += 0.003
        elif self._close > _DEAR:
            change -= 0.003
        return rng.uniform(0.05, 1.1) if debut else max(change, -0.9)

    def _prices(self, before: int, change: float, limits: PriceLimits) -> tuple[int, int, int, int]:
        rng = self._rng
        spread = math.sqrt(self._variance)
        gap = change * rng.uniform(0.1, 0.6) + 0.002 * rng.gauss(0.0, 1.0)
        opening, close = before * (1 + gap), before * (1 + change)
        top = max(opening, close) * (1 + 0.45 * spread * abs(rng.gauss(0.0, 1.0)))
        bottom = min(opening, close) * (1 - 0.45 * spread * abs(rng.gauss(0.0, 1.0)))
        most = limits.up if limits.up is not None else _CEILING
        least = max(limits.down or _TICK, min(_FLOOR, before))
        held = rng.random() < _HELD
        opening, top, bottom, close = (
            min(max(_to_tick(price), least), most) for price in (opening, top, bottom, close)
        )
        if held and opening == close and close in (limits.up, limits.down):
            # Sealed from the opening to the close: one price all day (一字板).
            top = bottom = close
        return opening, top, bottom, close

    def _volume(self, move: float, *, one_price: bool) -> int:
        busy = math.exp(self._rng.gauss(0.0, 0.35)) * (0.55 + 14.0 * move)
        shares = self._float * self._character.turnover * busy * (0.1 if one_price else 1.0)
        return max(100, int(min(shares, 0.6 * self._float)) // 100 * 100)


def _share_rows(
    seed: int, number: int, sessions: Sequence[date], market: Sequence[float], bands: _Bands
) -> list[tuple[Any, ...]]:
    symbol = symbol_of(number)
    listing, plan = parse_symbol(symbol), _plan(seed, number, sessions)
    share = _Share(_seeded(seed, symbol), listing, plan)
    normal, special = bands.regular(listing, st=False), bands.regular(listing, st=True)
    first = plan.listed_at or 0
    listed_on = sessions[first] if plan.listed_at is not None and first < len(sessions) else None
    rows: list[tuple[Any, ...]] = []
    for at in range(first, len(sessions)):
        st, age = at in plan.st, at - first
        band = special[at] if st else normal[at]
        young = listed_on is not None and age < LISTING_WINDOW_DAYS
        if young:
            band, st = bands.young(listing, at, first), False
        day = share.next_day(at, market[at], band, debut=young and age == 0)
        rows.append(
            (
                symbol,
                sessions[at],
                *day[:7],
                None,
                None,
                day.is_suspended,
                st,
                day.share_factor is not None,
                listed_on,
                day.cash_per_share,
                day.share_factor,
                day.turnover_rate,
            )
        )
    return rows


def _to_tick(price: float) -> int:
    return int(price / _TICK + 0.5) * _TICK
