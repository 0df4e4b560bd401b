"""Stages for a broker and its trader, and what must hold of a run whatever became of them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path

import pytest

from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.postgres.venue_journal import PostgresVenueJournal
from caopan.application.account import AccountCache
from caopan.application.ports.broker import VenueAccount
from caopan.application.ports.store import RunKind
from caopan.application.replay.clock import ReplayClock
from caopan.application.reporting import RunReport, report_run
from caopan.domain.orders.order import Order, OrderStatus
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.testing.broker_life import (
    CASH,
    DAYS,
    BrokerPlan,
    Life,
    Stage,
    TraderPlan,
    broker_life,
    trader_life,
)

NEVER_PLACED = (OrderStatus.NOT_SENT, OrderStatus.REJECTED)


@dataclass(frozen=True)
class Found:
    """What the database holds of one run, and what the venue says of its account."""

    report: RunReport
    orders: list[Order]
    tags: list[str]
    """Of the orders the venue took, in their order."""
    faults: dict[str, object]
    """What must be empty or zero."""


class Theatre:
    """Makes stages and starts lives on them; ends what is left of them."""

    def __init__(self, url: str, home: Path) -> None:
        self.url, self.home = url, home
        self._lives: list[Life] = []

    async def stage(self, *, real_time: bool = False) -> Stage:
        at = datetime(2023, 6, 1, tzinfo=UTC)
        async with PostgresStore(self.url) as store:
            config = {"broker": "in its own process"}
            run = await store.create_run(RunKind.REPLAY, "sandbox", config, "a" * 64, at)
        return Stage(self.url, run.run_id, self.home, real_time)

    def broker(self, stage: Stage, plan: BrokerPlan | None = None) -> Life:
        self._lives.append(broker_life(stage, plan))
        return self._lives[-1]

    def trader(self, stage: Stage, plan: TraderPlan | None = None) -> Life:
        self._lives.append(trader_life(stage, plan))
        return self._lives[-1]

    def close(self) -> None:
        for life in self._lives:
            if life.is_alive:
                life.kill()


@pytest.fixture
def theatre(clean_database: str) -> Iterator[Theatre]:
    # A socket's path may not be long, which pytest's own folders are.
    with tempfile.TemporaryDirectory(prefix="caopan-") as home:
        theatre = Theatre(clean_database, Path(home))
        yield theatre
        theatre.close()


@pytest.fixture
def examine() -> Callable[..., object]:
    return _examine


async def _examine(stage: Stage, *, over: bool = True) -> Found:
    """Compare our books with the venue's. `over`: nothing may be open any more."""
    journal = PostgresVenueJournal(stage.url)
    events = await journal.load(stage.run_id)
    await journal.close()
    accepted = [e.body for e in events if e.kind == "accepted"]
    tags = [str(body["client_order_id"]) for body in accepted]
    numbers = {str(body["client_order_id"]): body["broker_order_id"] for body in accepted}
    traded = sorted(
        (str(e.body["client_order_id"]), int(e.body["qty"]), units(e.body["price"]))
        for e in events
        if e.kind == "trade"
    )
    clock = stage.clock()
    if over and isinstance(clock, ReplayClock):
        clock.set(at_shanghai(DAYS[-1], time(15, 1)))
    client = stage.client(clock)
    theirs = await client.account()
    await client.close()
    async with PostgresStore(stage.url) as store:
        report = await report_run(store, stage.run_id, CASH)
        async with store.begin(stage.run_id) as uow:
            orders = list(await uow.orders.all())
            by_id = {order.order_id: order for order in orders}
            booked = sorted(
                (by_id[f.order_id].client_order_id, f.qty, f.price)
                for f in await uow.orders.fills()
            )
            open_cycles = len(await uow.cycles.unfinished())
            compared = await uow.reconciliations.all()
            book = (await AccountCache.load(uow)).book
    placed = {o.client_order_id for o in orders if o.status not in NEVER_PLACED}
    refused = {o.client_order_id for o in orders if o.status in NEVER_PLACED}
    faults: dict[str, object] = {
        "orders placed twice": len(tags) - len(set(tags)),
        "orders the venue has and we gave up": refused & set(tags),
        "orders the venue never saw": placed - set(tags),
        "orders under another's number": {
            o.client_order_id
            for o in orders
            if o.client_order_id in placed and o.broker_order_id != numbers.get(o.client_order_id)
        },
        "fills that differ": set(traded) ^ set(booked),
        "fills booked otherwise often": len(traded) - len(booked),
        "comparisons that failed": [one.differences for one in compared if not one.passed],
        "books that differ": _differing(book, theirs),
        "ledger not verified": not report.verification.verified,
        "traces cut": report.trace_coverage != 1.0,
    }
    if over:
        faults["decisions left open"] = open_cycles
        faults["orders not over"] = [o.client_order_id for o in orders if not o.is_terminal]
    return Found(report, orders, tags, {k: v for k, v in faults.items() if v})


def _differing(book, theirs: VenueAccount) -> list[object]:
    ours = {symbol: qty for symbol, qty in book.quantities().items() if qty}
    held = {symbol: one.qty for symbol, one in theirs.positions.items() if one.qty}
    cash = book.cash_free + book.cash_frozen, theirs.cash_free + theirs.cash_frozen
    return [one for one in ((ours, held), cash) if one[0] != one[1]]
