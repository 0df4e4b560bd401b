"""A whole desk in memory, in front of a Counter: the pipeline as it is, everything else by hand.

Owns TableDesk: one account from nothing over a flat market, a model that answers what the test
has just written, a kill switch to pull and a process to kill. Must never be used by production
code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from caopan.adapters.rules.book import load_rules
from caopan.application.decision_cycle.briefing import Prompting
from caopan.application.decision_cycle.model_checker import ModelChecker
from caopan.application.desk import Desk
from caopan.application.line import Line, WatchedBroker
from caopan.application.pipeline import Pipeline
from caopan.application.ports.broker import Broker, Capabilities
from caopan.application.ports.model import ModelRequest
from caopan.application.ports.store import ModelCall, RunKind, Store
from caopan.application.replay.clock import ReplayClock
from caopan.application.reporting import RunReport, report_run
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.decision.cycle import Cycle
from caopan.domain.ledger.chain import Stage
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.orders.order import Fill, Order
from caopan.domain.risk.kill_switch import KillLevel
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.venue import Licence, Venue
from caopan.kernel.clock import Clock, at_shanghai
from caopan.kernel.errors import CaopanError
from caopan.kernel.money import units
from caopan.testing.counter import COUNTER, Counter
from caopan.testing.crash_points import CrashPlan, PointBroker, PointStore
from caopan.testing.market import TableMarket, flat_bar
from caopan.testing.memory_store import MemoryDatabase, MemoryStore
from caopan.testing.models import Script, ScriptedModel, decision_json
from caopan.testing.sim_loop import SimulatedCrash

SESSIONS = tuple(date(2023, 6, day) for day in (1, 2, 5, 6, 7, 8))
DAY = SESSIONS[3]
CASH = units(1_000_000)
FIRST, SECOND, THIRD = "600001.SH", "600002.SH", "000003.SZ"
POLICY = RiskPolicy(max_quote_age_ms=10**8)
"""A flat market of daily bars has no fresher price than the morning's."""


class Lever:
    """A kill switch in a test's hand."""

    def __init__(self) -> None:
        """Stand at OFF."""
        self.at = KillLevel.OFF

    def level(self) -> KillLevel:
        """Return where the lever stands."""
        return self.at


class TableDesk:
    """One account at one counter, from its opening."""

    def __init__(
        self,
        *,
        policy: RiskPolicy = POLICY,
        capabilities: Capabilities = COUNTER,
        cancels_at_once: bool = True,
        order_timeout: timedelta | None = None,
        wrap: Callable[[Broker], Broker] = lambda broker: broker,
        at: time = time(10),
        clock: Clock | None = None,
        line: Line | None = None,
    ) -> None:
        """Stand at `at` of DAY, or go by `clock`; `wrap` may stand between hand and counter.

        With a `line` the broker is watched, as in a process that keeps the account.
        """
        self.rules = load_rules()
        self.fees = fee_schedule(self.rules.fees)
        self.clock = ReplayClock(at_shanghai(DAY, at))
        self._goes_by: Clock = clock or self.clock
        self.counter = Counter(
            self._goes_by,
            self.fees,
            CASH,
            capabilities=capabilities,
            cancels_at_once=cancels_at_once,
        )
        self.broker = wrap(self.counter)
        self.line = line or Line()
        if line is not None:
            self.broker = WatchedBroker(self.broker, line)
        self.lever = Lever()
        self.policy = policy
        self.order_timeout = order_timeout
        self.database = MemoryDatabase()
        self.store: Store = MemoryStore(self.database)
        bars = [
            flat_bar(symbol, day, "10.00") for symbol in (FIRST, SECOND, THIRD) for day in SESSIONS
        ]
        self.market = TableMarket(SESSIONS, bars)
        self.model = ScriptedModel(self._answer)
        self.prompting: Prompting | None = None
        self.checker: ModelChecker | None = None
        self.samples = 1
        self.stopwatch: Callable[[], float] = lambda: 0.0
        self.says: Script = decision_json
        self._run_id = 0
        self.pipeline: Pipeline

    def led_by_a_language_model(
        self, prompting: Prompting, *, checker: ModelChecker | None = None, samples: int = 1
    ) -> TableDesk:
        """Let a language model decide, shown what `prompting` renders; before `open`."""
        self.model = ScriptedModel(self._answer, language=True)
        self.prompting, self.checker, self.samples = prompting, checker, samples
        return self

    async def open(self) -> TableDesk:
        """Open the account."""
        at = datetime(2023, 6, 1, tzinfo=UTC)
        run = await self.store.create_run(RunKind.DESK, "sandbox", {}, "a" * 64, at)
        self._run_id = run.run_id
        await self.restart()
        return self

    async def restart(self, plan: CrashPlan | None = None) -> None:
        """Begin a new process over the same durable facts; it may die by `plan`."""
        await self._begin(plan)
        await self.pipeline.start(CASH)

    async def _begin(self, plan: CrashPlan | None) -> None:
        run = next(one for one in await self.store.runs() if one.run_id == self._run_id)
        desk = Desk(
            run=run,
            store=self.store,
            market=self.market,
            model=self.model,
            broker=self.broker,
            clock=self._goes_by,
            calendar=TradingCalendar("table", SESSIONS[0], SESSIONS[-1], SESSIONS),
            phases=self.rules.market.phases,
            policy=self.policy,
            fees=self.fees,
            model_deadline_ms=1_000,
            licence=Licence(Venue.SANDBOX),
            monotonic_ms=self.stopwatch,
            rules=self.rules.market,
            kill_switch=self.lever,
            line=self.line,
            order_timeout=self.order_timeout,
            prompting=self.prompting,
            checker=self.checker,
            samples=self.samples,
        )
        if plan is not None:
            desk = replace(
                desk, store=PointStore(self.store, plan), broker=PointBroker(self.broker, plan)
            )
        self.pipeline = Pipeline(desk)

    async def crashing(self, crash_at: int, work: Callable[[], Any]) -> Sequence[str]:
        """Do `work` in a process that dies at point `crash_at`; then start anew.

        Returns the points passed.
        """
        plan = CrashPlan(crash_at, _die)
        with suppress(SimulatedCrash):
            await self.restart(plan)
            await work()
        await self.restart()
        return plan.passed

    def _answer(self, request: ModelRequest) -> str | CaopanError:
        return self.says(request)

    async def decide(self, *actions: Mapping[str, Any], slot: str = "first") -> Cycle:
        """Let the model decide on these actions."""
        self.says = lambda request: decision_json(request, *actions)
        return await self.pipeline.run_cycle(slot, DAY)

    async def placed(self, *actions: Mapping[str, Any], slot: str = "first") -> list[Order]:
        """Let the model decide, and return the orders of it."""
        cycle = await self.decide(*actions, slot=slot)
        async with self.pipeline.seat.begin() as uow:
            return list(await uow.orders.of_decision(cycle.decision_id))

    async def settle(self, after: timedelta = timedelta()) -> None:
        """Let time pass, and hear what the counter has to say."""
        await self._goes_by.pause(after)
        await self.pipeline.settle()

    async def order(self, order: Order) -> Order:
        """Return an order as it is stored."""
        return next(one for one in await self.orders() if one.order_id == order.order_id)

    async def orders(self) -> Sequence[Order]:
        """Return every stored order."""
        async with self.store.begin(self._run_id) as uow:
            return await uow.orders.all()

    async def fills(self) -> Sequence[Fill]:
        """Return every stored fill."""
        async with self.store.begin(self._run_id) as uow:
            return await uow.orders.fills()

    async def cycles(self) -> Sequence[Cycle]:
        """Return every stored decision."""
        async with self.store.begin(self._run_id) as uow:
            return await uow.cycles.all()

    async def evidence(self, cycle: Cycle, stage: Stage) -> dict[str, Any]:
        """Return what the ledger holds first of a decision's stage; nothing where it has none."""
        async with self.store.begin(self._run_id) as uow:
            async for entry, payload in uow.ledger.entries(cycle.decision_id):
                if entry.stage is stage and payload:
                    return dict(json.loads(payload))
        return {}

    async def model_calls(self, cycle: Cycle) -> Sequence[ModelCall]:
        """Return the stored calls of a decision."""
        async with self.store.begin(self._run_id) as uow:
            return await uow.model_calls.of_decision(cycle.decision_id)

    async def report(self) -> RunReport:
        """Return the report; the chain is verified and every decision traced."""
        return await report_run(self.store, self._run_id, CASH)

    async def agrees(self) -> bool:
        """Return whether our books hold what the counter's hold."""
        async with self.store.begin(self._run_id) as uow:
            book = await uow.journal.balances()
        theirs = await self.counter.account()
        held = {symbol: one.qty for symbol, one in theirs.positions.items()}
        ours = {symbol: qty for symbol, qty in book.quantities().items() if qty}
        cash = theirs.cash_free + theirs.cash_frozen
        return ours == held and book.cash_free + book.cash_frozen - book.cash_owed == cash


def _die(label: str) -> None:
    raise SimulatedCrash(label)
