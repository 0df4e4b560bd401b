"""The controller's own time between a cleared order and the broker, durable commits included.

A desk on real PostgreSQL with durable commits buys and sells over some sessions of a table market.
For each order: from the moment it is cleared (before its `sending` is committed) to the call of the
broker. Beside it, on the same server: one row changed and committed by a bare connection.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import psycopg

from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.brokers.second_gate import SecondGate, SecondLimits
from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.embedded.services import services
from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.postgres.venue_journal import PostgresVenueJournal
from caopan.adapters.rules.book import load_rules
from caopan.application.desk import Desk
from caopan.application.execution.controller import Controller
from caopan.application.pipeline import Pipeline
from caopan.application.ports.broker import OrderStatusReport
from caopan.application.ports.kill_switch import Released
from caopan.application.ports.model import ModelRequest
from caopan.application.ports.store import RunKind
from caopan.application.replay.clock import ReplayClock
from caopan.application.replay.runner import ReplayPlan, replay
from caopan.bootstrap.database import ready_database
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.orders.order import Order
from caopan.domain.risk.clearance import Clearance
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.venue import Licence, Venue
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.settings import Settings
from caopan.testing.market import TableMarket, flat_bar
from caopan.testing.models import ScriptedModel, buy_action, decision_json, sell_action

SYMBOLS = [f"60{number:04d}.SH" for number in range(1, 21)]
SESSIONS = 60
A_DAY = 4
_FRIDAY = 5
CASH = units(1_000_000)


class _Timed(Controller):
    """Notes when an order is cleared."""

    cleared_ms: float = 0.0

    async def _on_the_wire(self, order: Order, clearance: Clearance, now: datetime) -> Order:
        _Timed.cleared_ms = monotonic_ms()
        return await super()._on_the_wire(order, clearance, now)


class _Counter(SecondGate):
    """Notes how long it took from there to the broker's door."""

    taken: list[float]

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        self.taken.append(monotonic_ms() - _Timed.cleared_ms)
        return await super().submit(order, clearance)


def run(settings: Settings) -> dict[str, Any]:
    """Return both distributions in milliseconds, and their ratio at p95."""
    with services(settings) as servers:
        for _ in ready_database(servers):
            pass
        taken = asyncio.run(_orders(servers.database_url))
        alone = _commits(servers.database_url, len(taken))
    ours, bare = _percentiles(taken), _percentiles(alone)
    return {
        "orders": len(taken),
        "cleared_to_broker_ms": ours,
        "commit_alone_ms": bare,
        "ratio_p95": round(ours["p95"] / bare["p95"], 2),
        "ratio_p50": round(ours["p50"] / bare["p50"], 2),
    }


def _script(request: ModelRequest) -> str:
    held = {p["symbol"]: p["sellable_qty"] for p in request.observation["positions"]}
    number = date.fromisoformat(request.observation["clock"]["trading_day"]).toordinal()
    first = number * A_DAY % len(SYMBOLS)
    chosen = [SYMBOLS[(first + step) % len(SYMBOLS)] for step in range(A_DAY)]
    sold = [symbol for symbol in held if symbol not in chosen][: A_DAY * 2]
    actions = [sell_action(symbol, held[symbol], "9.95") for symbol in sold if held[symbol]]
    actions += [buy_action(symbol, 1_000, "10.05") for symbol in chosen if symbol not in held]
    return decision_json(request, *(actions or [{"type": "no_op"}]))


async def _orders(url: str) -> Sequence[float]:
    rules = load_rules()
    days = [date(2023, 6, 1) + timedelta(days=number) for number in range(SESSIONS + 40)]
    sessions = [day for day in days if day.isoweekday() <= _FRIDAY]
    market = TableMarket(
        tuple(sessions), [flat_bar(symbol, day, "10.00") for symbol in SYMBOLS for day in sessions]
    )
    calendar = TradingCalendar("bench", sessions[0], sessions[-1], tuple(sessions))
    clock = ReplayClock(at_shanghai(sessions[1], time(9)))
    journal = PostgresVenueJournal(url, synchronous_commit=True)
    async with PostgresStore(url) as store:
        run = await store.create_run(
            RunKind.DESK, "bench", {"cash": "1000000"}, "b" * 64, clock.now()
        )
        fees = fee_schedule(rules.fees)
        venue = SandboxVenue(
            run_id=run.run_id,
            journal=journal,
            market=market,
            clock=clock,
            calendar=calendar,
            rules=rules.market,
            fees=fees,
        )
        await venue.load()
        await venue.deposit("opening", CASH)
        limits = SecondLimits(orders_per_second=1_000)
        counter = _Counter(venue, clock=clock, switch=Released(), limits=limits)
        counter.taken = []
        desk = Desk(
            run=run,
            store=store,
            market=market,
            model=ScriptedModel(_script),
            broker=counter,
            clock=clock,
            calendar=calendar,
            phases=rules.market.phases,
            rules=rules.market,
            policy=RiskPolicy(),
            fees=fees,
            model_deadline_ms=1_000,
            licence=Licence(Venue.SANDBOX),
            monotonic_ms=monotonic_ms,
        )
        async with store.lease(run.run_id):
            pipeline = Pipeline(desk)
            pipeline.controller = _Timed(pipeline.seat)
            await replay(pipeline, clock, ReplayPlan(tuple(sessions[1 : SESSIONS + 1]), CASH))
    await journal.close()
    return counter.taken


def _commits(url: str, count: int) -> Sequence[float]:
    """Time one changed row and its commit, again and again, on a bare connection."""
    taken: list[float] = []
    with psycopg.connect(conninfo(url)) as connection:
        connection.execute("CREATE TABLE bench_commit (n int)")
        connection.execute("INSERT INTO bench_commit VALUES (0)")
        connection.commit()
        for _ in range(count):
            began = monotonic_ms()
            connection.execute("UPDATE bench_commit SET n = n + 1")
            connection.commit()
            taken.append(monotonic_ms() - began)
        connection.execute("DROP TABLE bench_commit")
        connection.commit()
    return taken


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 2), "p95": round(cuts[94], 2), "max": round(max(values), 2)}
