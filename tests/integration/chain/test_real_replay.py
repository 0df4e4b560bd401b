"""The chain over real history: what it did is checked against the data it could not see.

The bars are read here a second time, from the file, by plain code: the independent side.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import NavPoint, RunKind
from caopan.bootstrap.replaying import ReplayOutcome, ReplayRequest, Watcher, run_replay
from caopan.domain.accounting.journal import Book, Transaction
from caopan.domain.orders.order import Fill, Order, Side
from caopan.kernel.clock import shanghai
from caopan.kernel.money import units
from caopan.settings import load_settings

CASH = units(1_000_000)
UNITS = 10_000


def run(
    url: str, data: Path, start: date, end: date, symbols: tuple[str, ...] | None = None
) -> ReplayOutcome:
    request = ReplayRequest(
        kind=RunKind.REPLAY,
        cash=CASH,
        model="builtin/momentum",
        seed=0,
        data=data,
        start=start,
        end=end,
        symbols=symbols,
    )
    watcher = Watcher(lambda *_: None, lambda *_: None)
    return asyncio.run(run_replay(url, load_settings({}, environ={}), request, watcher))


@dataclass
class Played:
    outcome: ReplayOutcome
    orders: list[Order]
    fills: list[Fill]
    nav: list[NavPoint]
    journal: list[Transaction]
    bars: dict[tuple[str, date], dict]


async def _rows(url: str, run_id: int):
    async with PostgresStore(url) as store, store.begin(run_id) as uow:
        return (
            list(await uow.orders.all()),
            list(await uow.orders.fills()),
            list(await uow.nav.all()),
            list(await uow.journal.transactions()),
        )


@pytest.fixture(scope="module")
def played(database_url: str, real_data: Path) -> Played:
    """All symbols from 2022-01-04 to 2023-12-29, one decision a day."""
    path = real_data / "daily_bars.parquet"
    outcome = run(database_url, path, date(2022, 1, 4), date(2023, 12, 29))
    rows = asyncio.run(_rows(database_url, outcome.run.run_id))
    frame = pl.read_parquet(path).filter(pl.col("date") >= "2022-01-01")
    bars = {(row["symbol"], date.fromisoformat(row["date"])): row for row in frame.to_dicts()}
    return Played(outcome, *rows, bars)


def test_every_day_is_decided_and_every_decision_can_be_traced(played: Played) -> None:
    report = played.outcome.report
    assert report.decisions == 484
    assert report.verification.verified
    assert report.trace_coverage == 1.0
    assert report.fills > 100
    assert sum(report.rejected_by_code.values()) > 0


def test_no_fill_lies_outside_its_bar_its_limits_or_its_volume(played: Played) -> None:
    taken: dict[tuple[str, date], int] = defaultdict(int)
    orders = {order.order_id: order for order in played.orders}
    for fill in played.fills:
        bar = played.bars[fill.symbol, fill.trading_day]
        price = fill.price / UNITS
        assert bar["low"] - 1e-9 <= price <= bar["high"] + 1e-9
        if bar["up_limit"] is not None:
            assert bar["down_limit"] - 1e-9 <= price <= bar["up_limit"] + 1e-9
        assert not bar["is_suspended"]
        order = orders[fill.order_id]
        worse = fill.price > order.price if fill.side is Side.BUY else fill.price < order.price
        assert not worse
        taken[fill.symbol, fill.trading_day] += fill.qty
    for (symbol, day), qty in taken.items():
        assert qty * 10 <= played.bars[symbol, day]["volume"]


def test_nothing_bought_today_is_sold_today(played: Played) -> None:
    held: dict[str, int] = defaultdict(int)
    by_day: dict[date, list[Fill]] = defaultdict(list)
    for fill in played.fills:
        by_day[fill.trading_day].append(fill)
    for day in sorted(by_day):
        for fill in by_day[day]:
            if fill.side is Side.SELL:
                held[fill.symbol] -= fill.qty
                assert held[fill.symbol] >= 0, (day, fill)
        for fill in by_day[day]:
            if fill.side is Side.BUY:
                held[fill.symbol] += fill.qty


def test_the_books_balance_at_every_close(played: Played) -> None:
    closes: dict[str, int] = {}
    book, waiting = Book(), list(played.journal)
    for point in played.nav:
        while waiting and shanghai(waiting[0].at).date() <= point.trading_day:
            transaction = waiting.pop(0)
            sums: dict[str, int] = defaultdict(int)
            for posting in transaction.postings:
                sums[posting.asset] += posting.amount
            assert not any(sums.values())
            book.post(transaction)
        for symbol in book.quantities():
            bar = played.bars.get((symbol, point.trading_day))
            if bar is not None:
                closes[symbol] = units(f"{bar['close']:.2f}")
        value = sum(closes[symbol] * qty for symbol, qty in book.quantities().items())
        assert book.cash_frozen == 0
        assert book.cash_free + value == point.nav
    assert not waiting


def test_the_same_request_gives_the_same_ledger_head(database_url: str, real_data: Path) -> None:
    path = real_data / "daily_bars.parquet"
    few = ("000625.SZ", "300502.SZ", "600000.SH", "600795.SH", "688012.SH")
    span = (date(2023, 1, 3), date(2023, 3, 31))
    first = run(database_url, path, *span, few)
    second = run(database_url, path, *span, few)
    assert first.run.run_id != second.run.run_id
    assert first.report.verification.head == second.report.verification.head


def test_the_future_changes_nothing_before_it(
    database_url: str, real_data: Path, tmp_path: Path
) -> None:
    """Every price after a day is altered; what was decided up to it stays the same."""
    frame = pl.read_parquet(real_data / "daily_bars.parquet").filter(
        pl.col("symbol").is_in(["000625.SZ", "300502.SZ", "600795.SH"])
    )
    seen = tmp_path / "seen.parquet"
    frame.write_parquet(seen)
    last = "2023-02-28"
    later = pl.col("date") > last
    altered = frame.with_columns(
        [
            pl.when(later).then((pl.col(name) * 2).round(2)).otherwise(pl.col(name)).alias(name)
            for name in ("open", "high", "low", "close", "pre_close", "up_limit", "down_limit")
        ]
        + [pl.when(later).then(pl.col("amount") * 2).otherwise(pl.col("amount")).alias("amount")]
    )
    other = tmp_path / "other.parquet"
    altered.write_parquet(other)
    span = (date(2023, 1, 3), date.fromisoformat(last))
    first = run(database_url, seen, *span)
    second = run(database_url, other, *span)
    assert first.info.checksum != second.info.checksum
    _, fills_first, nav_first, _ = asyncio.run(_rows(database_url, first.run.run_id))
    _, fills_second, nav_second, _ = asyncio.run(_rows(database_url, second.run.run_id))
    assert fills_first
    plain = [
        [(f.symbol, f.side, f.qty, f.price, f.filled_at) for f in fills]
        for fills in (fills_first, fills_second)
    ]
    assert plain[0] == plain[1]
    assert [p.nav for p in nav_first] == [p.nav for p in nav_second]
