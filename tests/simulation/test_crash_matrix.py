"""The scenario in the seeded simulation: a crash at every point, faults at every submission.

Nothing here waits for real time. The checker of invariants is itself checked: planted bugs must be
caught by it.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from caopan.application.execution import hand
from caopan.application.pipeline import Pipeline
from caopan.application.ports.store import Run, RunKind
from caopan.application.reporting import RunReport, report_run
from caopan.domain.orders.order import Order, OrderStatus, moved
from caopan.domain.risk.clearance import Clearance
from caopan.kernel.money import units
from caopan.testing.crash_points import CrashPlan, PointBroker, PointJournal, PointStore
from caopan.testing.memory_store import MemoryDatabase, MemoryStore, MemoryVenueJournal
from caopan.testing.scenario import CASH, open_scenario
from caopan.testing.sim_loop import SimulatedCrash, simulate
from caopan.testing.venues import Fault, FaultyBroker

SEEDS = range(5)
RANDOM_LIVES = 120
FAULTS = [fault for fault in Fault if fault not in (Fault.CRASH_AFTER, Fault.CRASH_BEFORE)]


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
        self, crash_at: int | None = None, faults: Sequence[Fault] = (), seed: int = 0
    ) -> list[str]:
        """Live until the end or the crash; return the points passed."""
        plan = CrashPlan(crash_at, crash)

        async def life() -> None:
            scenario = await open_scenario(
                self.run,
                PointStore(MemoryStore(self.database), plan),
                PointJournal(MemoryVenueJournal(self.database), plan),
                lambda venue: PointBroker(FaultyBroker(venue, faults), plan),
            )
            await scenario.play()

        with contextlib.suppress(SimulatedCrash):
            simulate(life(), seed)
        return plan.passed

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
        tags = [str(e.body["client_order_id"]) for e in events if e.kind == "accepted"]
        traded = sorted(
            (str(e.body["client_order_id"]), int(e.body["qty"]), units(e.body["price"]))
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
            "a decision was left open": bool(unfinished),
            "an order was left open": any(not o.is_terminal for o in orders.values()),
            "the ledger does not verify": not report.verification.verified,
            "a stage is missing": report.trace_coverage != 1.0,
            "a decision is missing": report.decisions != 4,
        }
        return report, [fault for fault, broken in faults.items() if broken]


def test_an_undisturbed_life_keeps_every_invariant() -> None:
    world = World.new()
    world.live()
    report, broken = world.examine()
    assert not broken
    assert report.by_status == {
        "no_op": 2,
        "partially_executed": 2,
    }


@pytest.mark.parametrize("seed", SEEDS)
def test_a_crash_at_any_point_loses_and_doubles_nothing(seed: int) -> None:
    whole = World.new()
    points = whole.live(seed=seed)
    head = whole.examine()[0].verification.head
    for number, label in enumerate(points):
        world = World.new()
        world.live(crash_at=number, seed=seed)
        world.live(seed=seed + 1)
        report, broken = world.examine()
        assert not broken, (number, label, broken)
        sent = not label.endswith(("commit of sending", "the wire", "venue records accepted"))
        if sent or label.startswith("before commit"):
            assert report.verification.head == head, (number, label)


def test_a_crash_in_the_middle_of_recovery_is_survived_too() -> None:
    points = World.new().live()
    for first in range(0, len(points), 7):
        for second in range(0, 24, 5):
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
        faults = rng.choices(FAULTS, k=3)
        world.live(rng.choice([None, rng.randint(0, 60)]), faults, seed=rng.randint(0, 99))
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
    world.live(crash_at=world_point("after the wire"))
    world.live()
    assert "the venue works an order that we do not" in world.examine()[1]


def test_planted_bug_sending_before_the_intent_is_durable_is_caught() -> None:
    async def careless(self: Pipeline, order: Order, clearance: Clearance, now: datetime) -> Order:
        sending = moved(order, OrderStatus.SENDING, now)
        return await hand.send(sending, clearance, self.desk.broker, now)

    world = World.new()
    with pytest.MonkeyPatch.context() as planted:
        planted.setattr(Pipeline, "_on_the_wire", careless)
        points = World.new().live()
        # Two points fewer: the commit of "sending" that the bug leaves out.
        world.live(crash_at=points.index("after the wire"))
    world.live()
    assert "the venue works an order that we do not" in world.examine()[1]


def world_point(label: str) -> int:
    """Return the number of the first point of that name."""
    return World.new().live().index(label)
