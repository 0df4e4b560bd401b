"""A small hand-made market for tests: every price is chosen, nothing is drawn.

Owns TableMarket, an in-memory MarketData over plain rows. It keeps the point-in-time rule as
strictly as the real panel. Must never be used by production code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time

from caopan.application.ports.market_data import DatasetInfo, FeatureRow
from caopan.domain.market.reference import Board, DailyBar, Reference, TradingStatus
from caopan.domain.market.symbols import is_fund_code
from caopan.kernel.clock import at_shanghai, iso
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import units, yuan

_REFERENCE_KNOWN = time(8, 50)
_BAR_KNOWN = time(15, 0)
_HISTORY = 3


def flat_bar(symbol: str, day: date, price: str, *, volume: int = 1_000_000) -> DailyBar:
    """Return a bar that opened, traded and closed at `price` with limits 10 % away."""
    return day_bar(symbol, day, price, price, price, price, volume=volume)


def day_bar(
    symbol: str, day: date, open_: str, high: str, low: str, close: str, *, volume: int = 1_000_000
) -> DailyBar:
    """Return a bar; its limits are 10 % around its open, which is enough for a test."""
    opening = units(open_)
    tick = 100
    up = (opening * 11 // 10 + tick // 2) // tick * tick
    down = (opening * 9 // 10 + tick // 2) // tick * tick
    return DailyBar(
        symbol,
        day,
        opening,
        units(high),
        units(low),
        units(close),
        volume,
        units(close) * volume,
        up,
        down,
        suspended=volume == 0,
    )


class TableMarket:
    """MarketData over given bars; the reference price of a day is the close before, or the open."""

    def __init__(self, sessions: Sequence[date], bars: Sequence[DailyBar]) -> None:
        """Take the sessions and every bar there is."""
        self._sessions = tuple(sessions)
        self._bars = {(bar.symbol, bar.day): bar for bar in bars}
        symbols = tuple(sorted({bar.symbol for bar in bars}))
        self._info = DatasetInfo(
            label="table market",
            synthetic=True,
            checksum="0" * 64,
            first_day=self._sessions[0],
            last_day=self._sessions[-1],
            symbols=symbols,
            rows=len(bars),
            calendar="table",
            rules_citation="table",
        )

    @property
    def info(self) -> DatasetInfo:
        """Return what the data set is."""
        return self._info

    def sessions(self, start: date, end: date) -> tuple[date, ...]:
        """Return the given sessions between two days."""
        return tuple(day for day in self._sessions if start <= day <= end)

    def references(self, day: date, now: datetime) -> Mapping[str, Reference]:
        """Return the references of all symbols with a bar on `day`."""
        self._guard(day, _REFERENCE_KNOWN, now)
        return {
            symbol: self._reference(self._bars[symbol, day])
            for symbol in self._info.symbols
            if (symbol, day) in self._bars
        }

    def features(self, day: date, now: datetime) -> Mapping[str, FeatureRow]:
        """Return a return feature for each symbol, so that the built-in traders can rank."""
        self._guard(day, _REFERENCE_KNOWN, now)
        found: dict[str, FeatureRow] = {}
        past = [session for session in self._sessions if session < day][-_HISTORY:]
        for symbol in self._info.symbols:
            closes = [self._bars[symbol, d].close for d in past if (symbol, d) in self._bars]
            bar = self._bars.get((symbol, day))
            if bar is None or not closes:
                continue
            gain = round(closes[-1] / closes[0] - 1, 6)
            found[symbol] = {
                "last": yuan(self._pre_close(bar)),
                "ret_5d": gain,
                "ret_60d": gain + 0.01,
                "vol_20d": 0.02,
            }
        return found

    def market(self, day: date, now: datetime) -> Mapping[str, float | int]:
        """Return nothing: no breadth is known."""
        self._guard(day, _REFERENCE_KNOWN, now)
        return {}

    def bar(self, symbol: str, day: date, now: datetime) -> DailyBar | None:
        """Return a finished bar."""
        self._guard(day, _BAR_KNOWN, now)
        return self._bars.get((symbol, day))

    def closes(self, day: date, now: datetime) -> Mapping[str, int]:
        """Return the last close on or before `day`."""
        self._guard(day, _BAR_KNOWN, now)
        found: dict[str, int] = {}
        for (symbol, bar_day), bar in sorted(self._bars.items(), key=lambda item: item[0][1]):
            if bar_day <= day:
                found[symbol] = bar.close
        return found

    def _guard(self, day: date, known: time, now: datetime) -> None:
        if now < at_shanghai(day, known):
            raise CorruptState("LOOK_AHEAD", f"data of {day} was asked for at {iso(now)}")

    def _pre_close(self, bar: DailyBar) -> int:
        days = [day for symbol, day in self._bars if symbol == bar.symbol and day < bar.day]
        return self._bars[bar.symbol, max(days)].close if days else bar.open

    def _reference(self, bar: DailyBar) -> Reference:
        return Reference(
            symbol=bar.symbol,
            day=bar.day,
            board=Board.ETF if is_fund_code(bar.symbol) else Board.MAIN,
            pre_close=self._pre_close(bar),
            limit_up=bar.limit_up,
            limit_down=bar.limit_down,
            limits_known=True,
            tick_size=100,
            lot_size=100,
            min_buy_qty=100,
            qty_step=100,
            max_limit_qty=1_000_000,
            max_market_qty=500_000,
            t_plus_one=True,
            trading_status=TradingStatus.SUSPENDED if bar.suspended else TradingStatus.NORMAL,
            is_st=False,
            listing_day_index=None,
            action=None,
        )
