"""The scenario in the seeded simulation: a crash at every point, faults at every request.

Nothing here waits for real time. CAOPAN_SEEDS asks for more seeds than the few of every day. The
checker of invariants is itself checked: planted bugs must be caught by it.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Any

import pytest

from caopan.application.execution import controller, hand
from caopan.application.execution.controller import Controller
from caopan.application.execution.settlement import Settlement, settle_reports
from caopan.application.ports.broker import Broker, FillReport, Report, VenueAccount
from caopan.application.ports.kill_switch import KillSwitch
from caopan.application.ports.store import Run, RunKind, VenueEvent
from caopan.application.reporting import RunReport, report_run
from caopan.domain.accounting.journal import Book
from caopan.domain.ledger.chain import Stage
from caopan.domain.orders.order import Order, OrderStatus, moved
from caopan.domain.risk.clearance import Clearance
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import CaopanError, OutcomeUnknown
from caopan.kernel.ids import client_order_id, foreign_order_id
from caopan.kernel.money import units
from caopan.testing.crash_points import CrashPlan, PointBroker, PointJournal, PointStore
from caopan.testing.memory_store import MemoryDatabase, MemoryStore, MemoryVenueJournal
from caopan.testing.scenario import CASH, DAYS, DECISIONS, HALT, open_scenario
from caopan.testing.sim_loop import SimulatedCrash, simulate
from caopan.testing.venues import CancelFault, Fault, FaultyBroker

SEEDS = range(int(os.environ.get("CAOPAN_SEEDS", "3")))
RANDOM_LIVES = 120
FAULTS = [fault for fault in Fault if fault not in (Fault.CRASH_AFTER, Fault.CRASH_BEFORE)]
ENDINGS = ("trade", "expired", "canceled")


def crash(label: str) -> None:
    raise SimulatedCrash(label)


@dataclass
class World:
    """What outlives every process: the database, the venue's journal, the run."""

    database: MemoryDatabase
    run: Run

    @classmethod
    def new(cls) -> World:
        database = MemoryDatabase()
        at = datetime(2023, 6, 1, tzinfo=UTC)
        run = simulate(
            MemoryStore(database).create_run(RunKind.REPLAY, "sandbox", {}, "a" * 64, at)
        )
        return cls(database, run)

    def live(
        self,
        crash_at: int | None = None,
        faults: Sequence[Fault] = (),
        seed: int = 0,
        cancel_faults: Sequence[CancelFault] = (),
    ) -> list[str]:
        """Live until the end or the crash; return the points passed."""
        plan = CrashPlan(crash_at, crash)

        async def life() -> None:
            scenario = await open_scenario(
                self.run,
                PointStore(MemoryStore(self.database), plan),
                PointJournal(MemoryVenueJournal(self.database), plan),
                lambda venue: PointBroker(
                    FaultyBroker(venue, faults, cancel_faults=cancel_faults), plan
                ),
            )
            await scenario.play()

        with contextlib.suppress(SimulatedCrash):
            simulate(life(), seed)
        return plan.passed

    def stumble(self, crash_at: int | None = None, **faults: Any) -> None:
        """Live with a planted bug, of which the desk itself may die or halt."""
        with contextlib.suppress(CaopanError):
            self.live(crash_at, **faults)

    def examine(self) -> tuple[RunReport, list[str]]:
        """Return the report and every broken invariant."""
        return simulate(self._examine())

    async def _examine(self) -> tuple[RunReport, list[str]]:
        store, journal = MemoryStore(self.database), MemoryVenueJournal(self.database)
        report = await report_run(store, self.run.run_id, CASH)
        events = await journal.load(self.run.run_id)
        async with store.begin(self.run.run_id) as uow:
            orders = {o.order_id: o for o in await uow.orders.all()}
            fills = await uow.orders.fills()
            unfinished = await uow.cycles.unfinished()
            book = await uow.journal.balances()
            reconciled = await uow.reconciliations.all()
            control = await uow.controls.get()
        scenario = await open_scenario(self.run, store, journal)
        scenario.clock.set(at_shanghai(DAYS[-1], time(15, 1)))
        theirs = await scenario.venue.account()
        tags = [str(e.body["client_order_id"]) for e in events if e.kind == "accepted"]
        tags = [tag for tag in tags if tag]
        traded = sorted(
            (_tag(e.body), int(e.body["qty"]), units(e.body["price"]))
            for e in events
            if e.kind == "trade"
        )
        booked = sorted((orders[f.order_id].client_order_id, f.qty, f.price) for f in fills)
        wanted = [(o.symbol, o.side, o.decision_id) for o in orders.values()]
        faults = {
            "an order reached the venue twice": len(tags) != len(set(tags)),
            "one intent became two orders": len(wanted) != len(set(wanted)),
            "the venue works an order that we do not": not set(tags)
            <= {
                o.client_order_id
                for o in orders.values()
                if o.status not in (OrderStatus.NOT_SENT, OrderStatus.REJECTED)
            },
            "our fills are not the venue's": traded != booked,
            "our books are not the venue's": _differs(book, theirs),
            "the venue worked two orders of one intent": _both_alive(events),
            "a reconciliation found a difference": not all(one.passed for one in reconciled),
            "the halt does not stand": control.level is not KillLevel.NO_ORDERS,
            "an order left after the halt": any(
                e.kind == "accepted" and e.at > at_shanghai(DAYS[-1], HALT) for e in events
            ),
            "a decision was left open": bool(unfinished),
            "an order was left open": any(not o.is_terminal for o in orders.values()),
            "the ledger does not verify": not report.verification.verified,
            "a stage is missing": report.trace_coverage != 1.0,
            "a decision is missing": report.decisions != DECISIONS,
        }
        return report, [fault for fault, broken in faults.items() if broken]

    def content(self) -> list[tuple[str, bytes | None]]:
        """Return what the chain tells, but for how often both sides were compared."""

        async def read() -> list[tuple[str, bytes | None]]:
            async with MemoryStore(self.database).begin(self.run.run_id) as uow:
                return [
                    (entry.stage.value, payload)
                    async for entry, payload in uow.ledger.entries()
                    if entry.stage is not Stage.RECONCILIATION
                ]

        return simulate(read())


def _tag(body: Any) -> str:
    """Return the tag an order has in our books, ours or not."""
    return str(body["client_order_id"] or foreign_order_id(str(body["broker_order_id"])))


def _differs(book: Book, theirs: VenueAccount) -> bool:
    ours = {symbol: qty for symbol, qty in book.quantities().items() if qty}
    cash = book.cash_free + book.cash_frozen - book.cash_owed
    held = {symbol: one.qty for symbol, one in theirs.positions.items() if one.qty}
    return ours != held or cash != theirs.cash_free + theirs.cash_frozen


def _both_alive(events: Sequence[VenueEvent]) -> bool:
    """Tell whether the venue ever worked two orders of ours for one symbol and side."""
    alive: dict[str, tuple[str, str]] = {}
    left: dict[str, int] = {}
    for event in events:
        number = str(event.body.get("broker_order_id", ""))
        if event.kind == "accepted" and event.body["client_order_id"]:
            key = (str(event.body["symbol"]), str(event.body["side"]))
            if key in alive.values():
                return True
            alive[number], left[number] = key, int(event.body["qty"])
        elif event.kind in ENDINGS and number in alive:
            left[number] -= int(event.body.get("qty", left[number]))
            if not left[number]:
                del alive[number]
    return False


def test_an_undisturbed_life_keeps_every_invariant() -> None:
    world = World.new()
    world.live()
    report, broken = world.examine()
    assert not broken
    assert report.by_status == {
        "canceled": 1,
        "executed": 3,
        "expired": 1,
        "no_op": 2,
        "partially_executed": 2,
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crash_at_any_point_loses_and_doubles_nothing(seed: int) -> None:
    whole = World.new()
    points = whole.live(seed=seed)
    told = whole.content()
    for number, label in enumerate(points):
        world = World.new()
        world.live(crash_at=number, seed=seed)
        world.live(seed=seed + 1)
        _, broken = world.examine()
        assert not broken, (number, label, broken)
        sent = not label.endswith(("commit of sending", "the wire", "venue records accepted"))
        if sent or label.startswith("before commit"):
            assert world.content() == told, (number, label)


def test_a_crash_in_the_middle_of_recovery_is_survived_too() -> None:
    points = World.new().live()
    for first in range(3, len(points), 17):
        for second in range(1, 24, 5):
            world = World.new()
            world.live(crash_at=first)
            world.live(crash_at=second)
            world.live()
            assert not world.examine()[1], (first, second)


@pytest.mark.parametrize("seed", range(RANDOM_LIVES))
def test_random_faults_and_crashes_settle_in_the_end(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311 - a fault plan, not a secret
    world = World.new()
    for _ in range(rng.randint(1, 4)):
        world.live(
            rng.choice([None, rng.randint(0, 240)]),
            rng.choices(FAULTS, k=4),
            seed=rng.randint(0, 99),
            cancel_faults=rng.choices(list(CancelFault), k=3),
        )
    world.live(seed=seed)
    assert not world.examine()[1]


def test_the_same_seed_gives_the_same_trace() -> None:
    heads = set()
    for _ in range(2):
        world = World.new()
        world.live(crash_at=20, seed=5)
        world.live(seed=6)
        heads.add(world.examine()[0].verification.head)
    assert len(heads) == 1


def test_planted_bug_forgetting_to_ask_the_venue_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def assume_unsent(order: Order, broker, now: datetime) -> Order:
        return moved(order, OrderStatus.NOT_SENT, now)

    monkeypatch.setattr(hand, "resolve", assume_unsent)
    world = World.new()
    world.stumble(crash_at=world_point("after the wire"))
    world.stumble()
    assert "the venue works an order that we do not" in world.examine()[1]


def test_planted_bug_sending_before_the_intent_is_durable_is_caught() -> None:
    async def careless(
        self: Controller, order: Order, clearance: Clearance, now: datetime
    ) -> Order:
        desk = self.seat.desk
        sending = moved(order, OrderStatus.SENDING, now)
        return await hand.send(sending, clearance, desk.broker, now, self.seat)

    world = World.new()
    with pytest.MonkeyPatch.context() as planted:
        planted.setattr(Controller, "_on_the_wire", careless)
        points = World.new().live()
        world.stumble(crash_at=points.index("after the wire"))
    world.stumble()
    assert "the venue works an order that we do not" in world.examine()[1]


def test_planted_bug_trying_again_after_a_timeout_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send = hand.send

    async def stubborn(
        order: Order, clearance: Clearance, broker: Broker, now: datetime, switch: KillSwitch
    ) -> Order:
        sent = await send(order, clearance, broker, now, switch)
        if sent.status is not OrderStatus.UNKNOWN:
            return sent
        again = client_order_id(order.decision_id, order.action_index, 2)
        report = await broker.submit(replace(order, client_order_id=again), clearance)
        return hand.acknowledged(order, report)

    monkeypatch.setattr(hand, "send", stubborn)
    world = World.new()
    world.stumble(faults=[Fault.ANSWER_LOST])
    broken = world.examine()[1]
    assert "the venue works an order that we do not" in broken
    assert "the venue worked two orders of one intent" in broken


def test_planted_bug_counting_cumulative_fills_twice_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forgetful(working: Any, reports: Sequence[Report], **how: Any) -> Settlement:
        repeated = [
            replace(one, broker_fill_id=f"{one.broker_fill_id} again")
            if isinstance(one, FillReport)
            and (one.trading_day, one.broker_fill_id, one.side) in how["booked"]
            else one
            for one in reports
        ]
        return settle_reports(working, repeated, **how)

    monkeypatch.setattr(controller, "settle_reports", forgetful)
    world = World.new()
    # Late fills are listened for, so what filled in part is told of again.
    world.stumble()
    monkeypatch.undo()
    broken = world.examine()[1]
    assert "our fills are not the venue's" in broken
    assert "our books are not the venue's" in broken
    assert "a reconciliation found a difference" in broken


async def _taken_as_ended(order: Order, broker: Broker, now: datetime) -> Order:
    """Believe the answer to a cancel, whatever was filled before it."""
    try:
        await broker.cancel(order)
    except OutcomeUnknown:
        return order
    return moved(order, OrderStatus.CANCELED, now)


async def _taken_as_confirmed(self: Controller, order: Order) -> Order:
    """Do not wait for the venue's word on a cancel."""
    asked = await self.cancel(order)
    return await self.record(asked, moved(asked, OrderStatus.CANCELED, asked.updated_at), None)


@pytest.mark.parametrize(
    ("place", "name", "bug"),
    [(hand, "cancel", _taken_as_ended), (Controller, "cancel_confirmed", _taken_as_confirmed)],
)
def test_planted_bug_replacing_what_still_lives_is_caught(
    place: Any, name: str, bug: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.new()
    world.live(cancel_faults=[CancelFault.FALSE_ANSWER])
    assert not world.examine()[1]
    monkeypatch.setattr(place, name, bug)
    world = World.new()
    world.stumble(cancel_faults=[CancelFault.FALSE_ANSWER])
    monkeypatch.undo()
    assert "the venue worked two orders of one intent" in world.examine()[1]


def world_point(label: str) -> int:
    """Return the number of the first point of that name."""
    return World.new().live().index(label)
