"""The controller's own time between a cleared order and the broker, durable commits included.

A desk on real PostgreSQL with durable commits buys and sells over some sessions of a table market.
Of every second order: from the moment it is cleared (before its `sending` is committed) to the call
of the broker behind the second gate. In the place of the others, just as cold after the gate's work
and on the same disk at nearly the same time, a bare synchronous connection of the same settings
commits by turns:

- the very statements of that commit (BEGIN, guard, UPDATE, COMMIT), on an order of another run;
- the same in one exchange, the least a client can do for them;
- one changed row of a table without any rule: what the disk alone costs.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import date, datetime, time, timedelta
from itertools import cycle
from typing import Any, cast

import psycopg

from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.brokers.second_gate import SecondGate, SecondLimits
from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.embedded.services import services
from caopan.adapters.postgres.connection import PREPARE_THRESHOLD, conninfo, session_options
from caopan.adapters.postgres.statements import exactly_one
from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.postgres.venue_journal import PostgresVenueJournal
from caopan.adapters.rules.book import load_rules
from caopan.application.desk import Desk
from caopan.application.execution.controller import Controller
from caopan.application.pipeline import Pipeline
from caopan.application.ports.broker import OrderStatusReport, VenueOrder
from caopan.application.ports.kill_switch import Released
from caopan.application.ports.model import ModelRequest
from caopan.application.ports.store import RunKind
from caopan.application.replay.clock import ReplayClock
from caopan.application.replay.runner import ReplayPlan, replay
from caopan.application.seat import Seat
from caopan.bootstrap.database import ready_database
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.orders.order import Order, OrderStatus, moved
from caopan.domain.risk.clearance import Clearance
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.venue import Licence, Venue
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.settings import Settings
from caopan.testing.market import TableMarket, flat_bar
from caopan.testing.models import ScriptedModel, buy_action, decision_json, sell_action
from caopan.testing.store_samples import sample_cycle, sample_order, sample_time

SYMBOLS = [f"60{number:04d}.SH" for number in range(1, 21)]
SESSIONS = 200
A_DAY = 4
WARM_UP = 10
"""How many of each kind are not counted: each connection first prepares its statements."""
_FRIDAY = 5
CASH = units(1_000_000)
OURS, SAME, ONE_EXCHANGE, ONE_ROW = (
    "cleared_to_broker",
    "same_statements",
    "same_in_one_exchange",
    "one_row",
)
_TURNS = (OURS, SAME, OURS, ONE_EXCHANGE, OURS, ONE_ROW)
_Commit = Sequence[tuple[str, Mapping[str, Any] | None]]
"""The statements of one commit and their values."""


class _Beside:
    """Whose turn it is, commits on a bare connection, and what everything took."""

    def __init__(self, link: psycopg.Connection[Any], commits: Iterator[_Commit]) -> None:
        self.taken: defaultdict[str, list[float]] = defaultdict(list)
        self.cleared_ms: float | None = None
        """When the order on its way was cleared, None if it is not timed."""
        self._turns = cycle(_TURNS)
        self._link = link
        self._commits = commits
        link.execute("CREATE TABLE bench_commit (n int)")
        link.execute("INSERT INTO bench_commit VALUES (0)")

    def cleared(self) -> None:
        """Begin to time an order, or time a commit in its place."""
        turn = next(self._turns)
        self.cleared_ms = None
        if turn != OURS:
            self._commit(turn)
        else:
            self.cleared_ms = monotonic_ms()

    def arrived(self) -> None:
        """Note that an order came to the broker."""
        if self.cleared_ms is not None:
            self.taken[OURS].append(monotonic_ms() - self.cleared_ms)

    def _commit(self, way: str) -> None:
        statements: _Commit = [
            ("BEGIN", None),
            ("UPDATE bench_commit SET n = n + 1", None),
            ("COMMIT", None),
        ]
        if way != ONE_ROW:
            statements = next(self._commits)
        began = monotonic_ms()
        with self._link.pipeline() if way == ONE_EXCHANGE else nullcontext():
            for text, values in statements:
                self._link.execute(cast("Any", text), values)
        self.taken[way].append(monotonic_ms() - began)


class _Timed(Controller):
    """Tells when an order is cleared."""

    def __init__(self, seat: Seat, beside: _Beside) -> None:
        super().__init__(seat)
        self.beside = beside

    async def _on_the_wire(self, order: Order, clearance: Clearance, now: datetime) -> Order:
        self.beside.cleared()
        return await super()._on_the_wire(order, clearance, now)


class _Door(SandboxVenue):
    """Tells when it comes to the broker."""

    beside: _Beside

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        # The second gate asks before the first order of a day; what the venue takes is not ours.
        began = monotonic_ms()
        try:
            return await super().orders(day)
        finally:
            if self.beside.cleared_ms is not None:
                self.beside.cleared_ms += monotonic_ms() - began

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        self.beside.arrived()
        return await super().submit(order, clearance)


def run(settings: Settings) -> dict[str, Any]:
    """Return the distributions in milliseconds, and our ratio to each way of committing."""
    with services(settings) as servers:
        for _ in ready_database(servers):
            pass
        taken = asyncio.run(_orders(servers.database_url))
    counted = {name: _percentiles(values[WARM_UP:]) for name, values in taken.items()}
    ours = counted[OURS]
    return {
        "counted": {name: len(values) - WARM_UP for name, values in taken.items()},
        "ms": counted,
        **{
            f"ratio_{at}": {
                name: round(ours[at] / counted[name][at], 2)
                for name in (SAME, ONE_EXCHANGE, ONE_ROW)
            }
            for at in ("p50", "p95")
        },
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


async def _orders(url: str) -> Mapping[str, Sequence[float]]:
    rules = load_rules()
    days = [date(2023, 6, 1) + timedelta(days=number) for number in range(SESSIONS * 3 // 2)]
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
        venue = _Door(
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
        gate = SecondGate(venue, clock=clock, switch=Released(), limits=limits)
        desk = Desk(
            run=run,
            store=store,
            market=market,
            model=ScriptedModel(_script),
            broker=gate,
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
        link = psycopg.connect(
            conninfo(url, session_options()), autocommit=True, prepare_threshold=PREPARE_THRESHOLD
        )
        commits = await _sending(store, clock.now())
        with link:
            venue.beside = _Beside(link, iter(commits))
            async with store.lease(run.run_id):
                await _play(desk, clock, sessions, venue.beside)
    await journal.close()
    return venue.beside.taken


async def _play(desk: Desk, clock: ReplayClock, sessions: Sequence[date], beside: _Beside) -> None:
    pipeline = Pipeline(desk)
    pipeline.controller = _Timed(pipeline.seat, beside)
    await replay(pipeline, clock, ReplayPlan(tuple(sessions[1 : SESSIONS + 1]), CASH))


async def _sending(store: PostgresStore, at: datetime) -> Sequence[_Commit]:
    """Return the commits of as many orders of another run as are needed, as our session sends them.

    One for every third order that the desk can send. Nobody takes that run later, so the guard
    lets them through.
    """
    run = await store.create_run(RunKind.REPLAY, "beside", {}, "b" * 64, at)
    orders = [sample_order(0, number) for number in range(SESSIONS * A_DAY)]
    commits: list[_Commit] = []
    async with store.lease(run.run_id):
        async with store.begin(run.run_id) as uow:
            await uow.cycles.add(sample_cycle())
            await uow.orders.add(orders)
            await uow.commit()
        for order in orders:
            async with store.begin(run.run_id) as uow:
                await uow.orders.save([moved(order, OrderStatus.SENDING, sample_time())])
                queued = uow._session._queued  # noqa: SLF001 - the very statements, before they go
                written = [(exactly_one(text), values) for text, values, _ in queued]
            commits.append([("BEGIN", None), *written, ("COMMIT", None)])
    return commits


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49], 2), "p95": round(cuts[94], 2), "max": round(max(values), 2)}
