"""The sandbox exchange alone, all rules on, no database: workloads A and B of the plan.

A: 50 symbols, 1,000 daily bars, each buys a lot where the bar's index % 10 is 0 and sells it where
it is 5 (10,000 orders). B: 1,000,000 minute bars of one symbol, an order every 50 bars (20,000).
Then the time per order for 1,000, 10,000 and 25,000 orders. Seeded random walks, made before the
clock starts. Every workload runs in a process of its own, so that its peak memory is its own;
medians of RUNS.

On: price limits, price cage, order types, tick, lots, T+1, cash with dated fees, phases, cap,
double-entry rows of every movement, the event log, the checks of every bar.
"""

from __future__ import annotations

import gc
import json
import random  # noqa: TID251 - seeded walks are the workload
import resource
import statistics
import subprocess
import sys
from array import array
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fee_terms import FeeTerms, fee_terms
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.choice import policy_named
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.terms import (
    CLOSE_MS,
    CONTINUOUS_MS,
    OPENING_PRINT_MS,
    Bar,
    DayQuote,
    SecurityTerms,
)
from caopan.domain.orders.order import Side
from caopan.settings import Settings

RUNS = 3
FIRST_DAY = date(2023, 9, 1)
TICK, LOT = 100, 100
AUCTION_MS = 33_360_000
"""9:16, in the opening auction."""
MINUTE_MS = 60_000
MINUTES = 240
B_BARS, B_EVERY = 1_000_000, 50
CASH = 10_000_000_000_000


def run(settings: Settings) -> dict[str, Any]:
    """Return CPU seconds, orders a second and peak memory of each workload."""
    del settings
    flat = {str(count): _median(f"orders-{count}") for count in (1_000, 10_000, 25_000)}
    return {
        "A": _figures(_median("A")),
        "B": _figures(_median("B")),
        "per_order_ms": {
            count: round(1000 * one["cpu_s"] / one["orders"], 4) for count, one in flat.items()
        },
    }


def _figures(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "cpu_s": round(one["cpu_s"], 3),
        "cpu_s_spread": [round(value, 3) for value in one["all_cpu_s"]],
        "orders": one["orders"],
        "fills": one["fills"],
        "orders_per_s": round(one["orders"] / one["cpu_s"]),
        "peak_mb": one["peak_mb"],
    }


def _median(name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    for _ in range(RUNS):
        done = subprocess.run(  # noqa: S603 - this very file, by this very interpreter
            [sys.executable, __file__, name], capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout))
    spent = sorted(one["cpu_s"] for one in found)
    middle = next(one for one in found if one["cpu_s"] == statistics.median_low(spent))
    return {**middle, "all_cpu_s": spent}


def _exchange(symbols: list[str], first_day: date) -> tuple[SandboxExchange, Callable[[date], Any]]:
    rules = load_rules()
    schedule = fee_schedule(rules.fees)
    account = TradingAccount(CASH, first_day)

    def fees(day: date) -> dict[Exchange, FeeTerms]:
        return {Exchange.SH: fee_terms(schedule, day, Exchange.SH)}

    securities = [
        SecurityTerms(symbol, Exchange.SH, Board.MAIN, TICK, LOT, 100, 100, 1_000_000, 1_000_000)
        for symbol in symbols
    ]
    terms = ExchangeTerms(
        policy=policy_named("auction_then_touch"),
        participation=Fraction(1, 10),
        rules=DayRules(rules.market),
    )
    return SandboxExchange(terms, securities, account, fees(first_day)), fees


def _limit(pre_close: int, percent: int) -> int:
    return (2 * pre_close * percent + 100 * TICK) // (200 * TICK) * TICK


def _daily(count: int, symbols: int, seed: int) -> list[list[tuple[int, Bar]]]:
    """Return, by day and symbol, (previous close, bar)."""
    draw = random.Random(seed)  # noqa: S311 - a workload
    closes = [draw.randrange(500, 5000) * TICK for _ in range(symbols)]
    days: list[list[tuple[int, Bar]]] = []
    for _ in range(count):
        today: list[tuple[int, Bar]] = []
        for i, before in enumerate(closes):
            first = before + draw.randrange(-3, 4) * TICK
            last = max(first + draw.randrange(-5, 6) * TICK, 300 * TICK)
            high, low = max(first, last) + TICK, min(first, last) - TICK
            volume = draw.randrange(100_000, 1_000_000)
            today.append((before, Bar(OPENING_PRINT_MS, CLOSE_MS, first, high, low, last, volume)))
            closes[i] = last
        days.append(today)
    return days


def daily(days: int, symbols: int) -> dict[str, Any]:
    """Run `days` daily bars of `symbols`; each orders every fifth day."""
    names = [f"{600_000 + i}.SH" for i in range(symbols)]
    made = _daily(days, symbols, seed=1)
    exchange, fees = _exchange(names, FIRST_DAY)
    tally = _Tally()

    def work() -> None:
        day = FIRST_DAY
        for index, today in enumerate(made):
            quotes = [
                DayQuote(name, before, _limit(before, 110), _limit(before, 90))
                for name, (before, _) in zip(names, today, strict=True)
            ]
            exchange.open_day(day, quotes, fees(day))
            side = {0: Side.BUY, 5: Side.SELL}.get(index % 10)
            if side is not None:
                for quote in quotes:
                    price = quote.limit_up if side is Side.BUY else quote.limit_down
                    exchange.place(AUCTION_MS, quote.symbol, side, LOT, price or 0)
            for name, (_, bar) in zip(names, today, strict=True):
                exchange.on_bar(name, bar)
            exchange.close_day()
            tally.take(exchange)
            day += timedelta(days=1)

    return _measured(exchange, work, tally)


def minutes() -> dict[str, Any]:
    """Run workload B."""
    name = "600000.SH"
    draw = random.Random(2)  # noqa: S311 - a workload
    opens, highs, lows, closes, volumes = (array("q") for _ in range(5))
    price = 1000 * TICK
    for _ in range(B_BARS):
        first = price
        price = min(max(first + draw.randrange(-1, 2) * TICK, 700 * TICK), 1400 * TICK)
        opens.append(first)
        closes.append(price)
        highs.append(max(first, price) + TICK)
        lows.append(min(first, price) - TICK)
        volumes.append(draw.randrange(1_000, 100_000))
    exchange, fees = _exchange([name], FIRST_DAY)
    tally = _Tally()
    starts = [CONTINUOUS_MS + i * MINUTE_MS for i in range(120)]
    starts += [46_800_000 + i * MINUTE_MS for i in range(120)]

    def work() -> None:
        columns = zip(opens, highs, lows, closes, volumes, strict=True)
        day, minute, before, buying = FIRST_DAY, MINUTES, opens[0], True
        new_bar, on_bar = Bar, exchange.on_bar
        for index, (first, high, low, last, volume) in enumerate(columns):
            if minute == MINUTES:
                if exchange.is_open:
                    exchange.close_day()
                    tally.take(exchange)
                    day += timedelta(days=1)
                quote = DayQuote(name, before, before + 200 * TICK, before - 200 * TICK)
                exchange.open_day(day, [quote], fees(day))
                minute = 0
            start = starts[minute]
            if index % B_EVERY == 0:
                side = Side.BUY if buying else Side.SELL
                edge = 5 * TICK if buying else -5 * TICK
                at = min(start, 53_760_000)
                exchange.place(max(at, exchange.now_ms), name, side, LOT, first + edge)
                buying = not buying
            on_bar(name, new_bar(start, start + MINUTE_MS, first, high, low, last, volume))
            before = last
            minute += 1
        exchange.close_day()
        tally.take(exchange)

    return _measured(exchange, work, tally)


class _Tally:
    """Takes log and movements each evening, as a caller does who writes them down."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.movements = 0

    def take(self, exchange: SandboxExchange) -> None:
        """Count and forget one day."""
        self.kinds.update([event.kind for event in exchange.take_events()])
        self.movements += len(exchange.account.take_movements())


def _measured(exchange: SandboxExchange, work: Callable[[], None], tally: _Tally) -> dict[str, Any]:
    gc.collect()
    begun = _cpu_s()
    work()
    spent = _cpu_s() - begun
    return {
        "cpu_s": spent,
        "orders": exchange.next_order - 1,
        "fills": tally.kinds["traded"],
        "refused": tally.kinds["rejected"],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    chosen = sys.argv[1]
    if chosen == "A":
        figures = daily(1_000, 50)
    elif chosen == "B":
        figures = minutes()
    else:
        figures = daily(int(chosen.removeprefix("orders-")) // 10, 50)
    sys.stdout.write(json.dumps(figures))
