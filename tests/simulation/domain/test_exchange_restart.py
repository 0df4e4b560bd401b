"""Real days: a restart in the middle of one changes nothing; a tick file matched print by print.

Auctions are synthesised from a day's first and last bar: the opening price is the first bar's open
and the closing price the last bar's close (a documented assumption of the policy "book").
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from pathlib import Path

import polars as pl
import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fee_terms import FeeTerms
from caopan.domain.accounting.journal import Book
from caopan.domain.accounting.movements import transaction
from caopan.domain.accounting.trading_account import TradingAccount, prove
from caopan.domain.market.order_types import ExchangeOrderType as OrderType
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.bars import read_bars
from caopan.domain.matching.choice import POLICIES, policy_named
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.models import SeededLatency, TickSlippage
from caopan.domain.matching.snapshot import export, rebuild
from caopan.domain.matching.terms import Bar, DayQuote, EventKind, SecurityTerms
from caopan.domain.orders.order import Side
from caopan.kernel.money import units

TICK = 100
ORDERS = 1_000
FEES = dict.fromkeys(
    Exchange, FeeTerms(Fraction(1, 4000), 50_000, Fraction(1, 2000), Fraction(1, 100_000))
)
FIRST, LAST = "2025-03-03", "2025-03-04"


@pytest.fixture(scope="module")
def quarter_hours(real_data: Path) -> dict[date, dict[str, list[Bar]]]:
    """Two days of real 15-minute bars by day and symbol."""
    path = real_data / "bars_15min.parquet"
    if not path.exists():
        pytest.skip(f"no {path.name} in {real_data} (CAOPAN_REAL_DATA names the folder)")
    frame = (
        pl.scan_parquet(path)
        .filter(pl.col("datetime").str.slice(0, 10).is_in([FIRST, LAST]))
        .sort("symbol", "datetime")
        .collect()
    )
    rows: dict[tuple[date, str], list[dict[str, object]]] = {}
    for row in frame.iter_rows(named=True):
        moment = datetime.fromisoformat(row["datetime"])
        end_ms = (moment.hour * 60 + moment.minute) * 60_000
        day = rows.setdefault((moment.date(), row["symbol"]), [])
        # The first bar of the day holds the opening auction's print.
        start_ms = end_ms - 900_000 if day else 33_900_000
        day.append({**row, "start_ms": start_ms, "end_ms": end_ms})
    days: dict[date, dict[str, list[Bar]]] = {}
    for (day, symbol), of_day in rows.items():
        prices = [dict(row, amount=None) for row in of_day]
        days.setdefault(day, {})[symbol] = read_bars(prices, symbol, day)
    return days


class Day:
    """A second day with random orders, steppable, so that it can be cut anywhere."""

    def __init__(self, policy, days, seed: int) -> None:
        (self.before, earlier), (self.day, self.bars) = sorted(days.items())
        self.closes = {symbol: bars[-1].close for symbol, bars in earlier.items()}
        self.symbols = sorted(self.bars)
        self.terms = ExchangeTerms(
            policy,
            Fraction(1, 10),
            latency=SeededLatency(seed, 0, 3_000),
            slippage=TickSlippage(1),
            rules=DayRules(load_rules().market),
        )
        self.securities = [
            SecurityTerms(name, Exchange(name[-2:]), Board.MAIN, TICK, 100, 100, 100, 10**6, 10**6)
            for name in self.symbols
        ]
        account = TradingAccount(10**11, self.before)
        self.exchange = SandboxExchange(self.terms, self.securities, account, FEES)
        self.steps = self._plan(random.Random(seed))  # noqa: S311 - a day, no secret
        self.booked = Book()
        self.log: list[str] = []
        self.entries = 0
        self._begin()

    def _begin(self) -> None:
        """Buy some of everything the day before, then open the day."""
        exchange = self.exchange
        earlier = [DayQuote(name, close, None, None) for name, close in self.closes.items()]
        exchange.open_day(self.before, earlier)
        for name, close in self.closes.items():
            exchange.place(33_360_000, name, Side.BUY, 2000, close * 11 // 10 // TICK * TICK)
        for name, close in self.closes.items():
            exchange.on_bar(name, Bar(33_900_000, 54_000_000, close, close, close, close, 10**6))
        exchange.close_day()
        exchange.open_day(
            self.day,
            [
                DayQuote(name, close, _limit(close, 110), _limit(close, 90))
                for name, close in self.closes.items()
            ],
        )

    def _plan(self, draw: random.Random) -> list[tuple[int, int, str, object]]:
        """Return (moment, rank, symbol, bar or order), bars of a moment before its orders."""
        plan: list[tuple[int, int, str, object]] = [
            (bar.end_ms, 0, symbol, bar) for symbol, bars in self.bars.items() for bar in bars
        ]
        for _ in range(ORDERS):
            symbol = draw.choice(self.symbols)
            close = self.closes[symbol]
            off = draw.randrange(-150, 151) * close // 10_000
            kind = draw.choice([OrderType.LIMIT] * 4 + [OrderType.MARKET_BEST5_CANCEL])
            asked = (
                draw.choice(list(Side)),
                draw.randrange(1, 10) * 100,
                (close + off) // TICK * TICK if kind is OrderType.LIMIT else 0,
                kind,
                draw.randrange(4) == 0,
            )
            morning = draw.random() < 0.5
            at = (
                draw.randrange(33_300_000, 41_400_000)
                if morning
                else (draw.randrange(46_800_000, 54_000_000))
            )
            plan.append((at, 1, symbol, asked))
        return sorted(plan, key=lambda step: step[:3])

    def run(self, restart_at: int | None = None) -> None:
        """Run the day; at step `restart_at` only text survives."""
        for number, (at, _, symbol, what) in enumerate(self.steps):
            if number == restart_at:
                self._restart()
            exchange = self.exchange
            if isinstance(what, Bar):
                exchange.on_bar(symbol, what)
                continue
            assert isinstance(what, tuple)
            side, qty, price, kind, withdraws = what
            order = exchange.place(at, symbol, side, qty, price, kind)
            if withdraws:
                exchange.cancel(at, order.number)
        self.exchange.close_day()
        self._write()

    def _restart(self) -> None:
        self._write()
        text = json.dumps(export(self.exchange))
        # A new process has a new clock table, which knows no day yet.
        terms = replace(self.terms, rules=DayRules(load_rules().market))
        self.exchange = rebuild(terms, self.securities, FEES, json.loads(text))
        assert json.dumps(export(self.exchange)) == text

    def _write(self) -> None:
        self.log.extend(event.line() for event in self.exchange.take_events())
        for row in self.exchange.account.take_movements():
            self.entries += 1
            self.booked.post(transaction(self.entries, row))
        prove(self.exchange.account, self.booked)


def _limit(close: int, percent: int) -> int:
    return (2 * close * percent + 100 * TICK) // (200 * TICK) * TICK


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_restart_in_the_middle_of_a_real_day_changes_nothing(policy, quarter_hours):
    plain = Day(policy, quarter_hours, seed=1)
    plain.run()
    kinds = [line.split()[3] for line in plain.log]
    assert sum(kind == EventKind.ACCEPTED for kind in kinds) > ORDERS // 2
    assert sum(kind == EventKind.TRADED for kind in kinds) > 100
    for restart_at in (1, len(plain.steps) // 3, len(plain.steps) // 2, len(plain.steps) - 1):
        cut = Day(policy, quarter_hours, seed=1)
        cut.run(restart_at)
        assert cut.log == plain.log
        assert cut.exchange.account.export() == plain.exchange.account.export()
        assert cut.booked.balances == plain.booked.balances


@pytest.fixture(scope="module")
def prints(real_data: Path) -> dict[date, list[tuple[int, int, int]]]:
    """The tick file by day: moment, price, volume of each print."""
    path = real_data / "ticks_600000_2019.parquet"
    if not path.exists():
        pytest.skip(f"no {path.name} in {real_data} (CAOPAN_REAL_DATA names the folder)")
    found: dict[date, list[tuple[int, int, int]]] = {}
    for row in pl.read_parquet(path).iter_rows(named=True):
        moment = datetime.fromisoformat(row["datetime"])
        at = ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1000
        found.setdefault(moment.date(), []).append((at, units(str(row["price"])), row["volume"]))
    return found


@pytest.mark.parametrize("side", list(Side))
def test_a_real_tick_file_print_by_print(side, prints):
    """A limit order beside a naive reading of the tape: it trades at each print it reaches.

    With the policy "next_bar_open" a print is a bar of one price: an order that stood before it
    trades at it, a tenth of its volume, in whole lots, until it is done.
    """
    symbol, qty = "600000.SH", 200_000
    terms = SecurityTerms(symbol, Exchange.SH, Board.MAIN, TICK, 100, 100, 100, 10**6, 10**6)
    account = TradingAccount(10**11, min(prints) - timedelta(days=2))
    exchange = SandboxExchange(
        ExchangeTerms(policy_named("next_bar_open"), Fraction(1, 10)), [terms], account, FEES
    )
    flat = prints[min(prints)][0][1]
    exchange.open_day(min(prints) - timedelta(days=1), [DayQuote(symbol, flat, None, None)])
    exchange.place(0, symbol, Side.BUY, 500_000, flat)
    exchange.on_print(symbol, 1, flat, 10**7)
    exchange.close_day()
    checked = 0
    for day, tape in sorted(prints.items()):
        exchange.take_events()
        exchange.open_day(day, [DayQuote(symbol, flat, None, None)])
        begin = len(tape) // 3
        limit = sorted(price for _, price, _ in tape)[len(tape) // 2]
        wanted, expected = qty, []
        for number, (at, price, volume) in enumerate(tape):
            if number == begin:
                exchange.place(max(at, exchange.now_ms), symbol, side, qty, limit)
            exchange.on_print(symbol, at, price, volume)
            reaches = price <= limit if side is Side.BUY else price >= limit
            if number >= begin and reaches and wanted:
                take = min(wanted, volume // 10 // 100 * 100)
                if wanted <= volume // 10:
                    take = wanted
                if take:
                    expected.append((at, take, price))
                    wanted -= take
        exchange.close_day()
        done = [
            (event.at_ms, event.qty, event.price)
            for event in exchange.events
            if event.kind is EventKind.TRADED
        ]
        assert done == expected
        checked += len(done)
    assert checked > 50
