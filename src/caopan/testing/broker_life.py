"""A broker and its trader, each a process of its own, either of which may be killed at a point.

Owns Stage (where one run's processes meet), BrokerLife (the sandbox behind the second gate, served
on a Unix socket) and TraderLife (the pipeline over the line), forked from a warm server so that a
life costs a fraction of a second. A killed life cleans nothing up. Must never be used by production
code.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import time as clocks  # noqa: TID251 - two processes share the machine's stopwatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

from caopan.adapters.brokers.remote.client import RemoteBroker
from caopan.adapters.kill_switch.switch import FlagSwitch, flag_sources
from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.postgres.venue_journal import PostgresVenueJournal
from caopan.adapters.rules.book import load_rules
from caopan.application.desk import Desk
from caopan.application.halting import carry_out
from caopan.application.pipeline import Pipeline
from caopan.application.ports.broker import Broker
from caopan.application.ports.kill_switch import KillSwitch
from caopan.application.ports.model import ModelRequest
from caopan.application.ports.store import Run, Store, VenueEvent, VenueJournal
from caopan.application.replay.clock import ReplayClock
from caopan.application.replay.runner import ReplayPlan, replay
from caopan.bootstrap.broker_process import Admission, served_sandbox
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.decision.shapes import Action, ActionType
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.orders.order import OrderType, Side
from caopan.domain.risk import gate
from caopan.domain.risk.kill_switch import KillLevel
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.venue import Licence, Venue
from caopan.kernel.clock import Clock, at_shanghai
from caopan.kernel.errors import CaopanError
from caopan.kernel.money import units
from caopan.settings import Secret
from caopan.testing.crash_points import CrashPlan, PointBroker, PointJournal, PointStore
from caopan.testing.market import TableMarket, day_bar, flat_bar
from caopan.testing.models import ScriptedModel, buy_action, decision_json, sell_action

SESSIONS = (date(2023, 5, 30), date(2023, 5, 31), date(2023, 6, 1), date(2023, 6, 2))
DAYS = SESSIONS[-2:]
CASH = units(1_000_000)
FILLS, MOVES, STAYS, THIN = "600001.SH", "600002.SH", "600004.SH", "000003.SZ"
"""What is bought of it fills; is changed; is cancelled; fills in part."""
FIRST_LOOK, SECOND_LOOK = time(9, 16), time(9, 18)
TOKEN = Secret("shown to nobody but this run's two processes")
ENDED_EARLY = 3
"""Exit code of a trader that ended on an error of ours, whose code is its last point."""
_WAIT_S = 60
_TOLD_UNDER_LOAD = 300

# Read once in the server, inherited by every life.
load_rules()


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the processes of one run meet."""

    url: str
    run_id: int
    home: Path
    real_time: bool = False
    """True: both live in a morning that goes on as the machine's clock does; else it is history."""
    began: float = field(default_factory=clocks.monotonic)

    @property
    def socket(self) -> Path:
        """Return where the broker listens."""
        return self.home / f"{self.run_id}.sock"

    def clock(self) -> Clock:
        """Return a clock of one process on this stage."""
        start = at_shanghai(DAYS[0], FIRST_LOOK)
        return Morning(start, self.began) if self.real_time else ReplayClock(start)

    def client(self, clock: Clock, address: Path | None = None, wait_s: float = 5) -> RemoteBroker:
        """Return a line to the broker, through `address` if given."""
        return RemoteBroker(address or self.socket, TOKEN, clock, timedelta(seconds=wait_s))


class Morning:
    """A clock that began at a moment of history; the same in all processes of a machine."""

    def __init__(self, start: datetime, began: float) -> None:
        """Show `start` when the monotonic clock shows `began`."""
        self._start, self._began = start, began

    def now(self) -> datetime:
        """Return the present instant."""
        return self._start + timedelta(seconds=clocks.monotonic() - self._began)

    async def pause(self, by: timedelta) -> None:
        """Wait for `by`."""
        await asyncio.sleep(by.total_seconds())


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """How one life of the broker goes."""

    crash_at: int | None = None
    """The point of its journal at which it dies."""
    slow_s: float = 0.0
    """How long each of its records takes."""


@dataclass(frozen=True, slots=True)
class TraderPlan:
    """How one life of the trader goes."""

    crash_at: int | None = None
    through: Path | None = None
    """The socket it dials, if not the broker's own."""
    wait_s: float = 5.0
    """How long it waits for an answer."""
    load: bool = False
    """Order after order until it is halted, instead of the two days."""
    stop_before: str = ""
    """The first point of this name at which it stops itself (SIGSTOP), to be woken by the test."""


class Life:
    """A forked process and the points it has passed."""

    def __init__(self, target: Callable[..., None], *given: object) -> None:
        """Start it."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        self._ours, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=target, args=(*given, theirs))
        self._process.start()
        theirs.close()
        self.passed: list[str] = []

    @property
    def pid(self) -> int:
        """Return its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def until(self, label: str) -> None:
        """Wait until it passes `label`. Raises EOFError if it ends before."""
        while not (self.passed and self.passed[-1] == label):
            if not self._ours.poll(_WAIT_S):
                raise TimeoutError(f"{label!r} was not passed, only {self.passed}")
            self.passed.append(self._ours.recv())

    def wait(self) -> int:
        """Return its exit code (-9 when killed) once it is over."""
        try:
            while self._ours.poll(_WAIT_S):
                self.passed.append(self._ours.recv())
        except EOFError:
            pass
        self._process.join(_WAIT_S)
        if self._process.exitcode is None:
            self.kill()
        self._ours.close()
        return self._process.exitcode if self._process.exitcode is not None else 1

    def signal(self, how: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, how)

    def wake(self) -> None:
        """Let it go on once it has stopped itself."""
        while "(stopped)" not in Path(f"/proc/{self.pid}/status").read_text("ascii"):
            clocks.sleep(0.001)
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.join()

    @property
    def is_alive(self) -> bool:
        """Tell whether it lives."""
        return self._process.is_alive()


def broker_life(stage: Stage, plan: BrokerPlan | None = None) -> Life:
    """Start a broker process, and return once it listens (or has died on its way)."""
    life = Life(_broker, stage, plan or BrokerPlan())
    life.until("listens")
    return life


def trader_life(stage: Stage, plan: TraderPlan | None = None) -> Life:
    """Start a trader process."""
    return Life(_trader, stage, plan or TraderPlan())


def market() -> TableMarket:
    """Return the market of the two days."""
    symbols = (FILLS, MOVES, STAYS)
    bars = [flat_bar(symbol, day, "10.00") for symbol in symbols for day in SESSIONS]
    bars += [flat_bar(THIN, day, "20.00") for day in SESSIONS[:-1]]
    # Only part of an order can fill on the last day.
    bars.append(day_bar(THIN, DAYS[1], "20.00", "20.40", "19.80", "20.10", volume=9_000))
    return TableMarket(SESSIONS, bars)


def calendar() -> TradingCalendar:
    """Return the calendar of the two days."""
    return TradingCalendar("two days", SESSIONS[0], SESSIONS[-1], SESSIONS)


def script(request: ModelRequest) -> str:
    """Return the model's answer at each look."""
    day = request.observation["clock"]["trading_day"]
    held = {p["symbol"]: p["sellable_qty"] for p in request.observation["positions"]}
    if day == DAYS[1].isoformat():
        return decision_json(
            request,
            sell_action(FILLS, held.get(FILLS, 0) or 100, "9.95"),
            buy_action(THIN, 4_000, "20.10"),
        )
    if request.observation["open_orders"]:
        return _second_look(request)
    return decision_json(
        request,
        buy_action(FILLS, 5_000, "10.05"),
        buy_action(MOVES, 3_000, "9.90"),
        buy_action(STAYS, 2_000, "9.90"),
    )


def _second_look(request: ModelRequest) -> str:
    actions: list[dict[str, Any]] = []
    for order in request.observation["open_orders"]:
        named = {"target_order_id": order["order_id"]}
        if order["symbol"] == STAYS:
            actions.append({"type": "cancel_order", **named})
        elif order["symbol"] == MOVES:
            actions.append({"type": "modify_order", "price": "9.95", **named})
    return decision_json(request, *(actions or [{"type": "no_op"}]))


def desk_of(run: Run, store: Store, broker: Broker, clock: Clock, switch: KillSwitch) -> Desk:
    """Return the desk of a trader over `broker`."""
    rules = load_rules()
    return Desk(
        run=run,
        store=store,
        market=market(),
        model=ScriptedModel(script),
        broker=broker,
        clock=clock,
        calendar=calendar(),
        phases=rules.market.phases,
        rules=rules.market,
        kill_switch=switch,
        policy=RiskPolicy(),
        fees=fee_schedule(rules.fees),
        model_deadline_ms=1_000,
        licence=Licence(Venue.SANDBOX),
        monotonic_ms=lambda: clocks.perf_counter() * 1000,
    )


# --- the broker's process -----------------------------------------------------------------------


class _SlowJournal:
    """A VenueJournal that takes its time."""

    def __init__(self, inner: VenueJournal, by_s: float) -> None:
        self._inner, self._by_s = inner, by_s

    async def record(self, run_id: int, events: Sequence[VenueEvent]) -> None:
        await asyncio.sleep(self._by_s)
        await self._inner.record(run_id, events)

    async def load(self, run_id: int) -> Sequence[VenueEvent]:
        return await self._inner.load(run_id)


def _broker(stage: Stage, plan: BrokerPlan, report: Connection) -> None:
    asyncio.run(_serve(stage, plan, report.send))


async def _serve(stage: Stage, plan: BrokerPlan, tell: Callable[[str], None]) -> None:
    points = CrashPlan(plan.crash_at, _die, tell)
    journal = PostgresVenueJournal(stage.url)
    sources = flag_sources(stage.home, stage.run_id, conninfo(stage.url))
    with FlagSwitch(sources, clocks.monotonic) as switch:
        async with served_sandbox(
            run_id=stage.run_id,
            journal=_SlowJournal(PointJournal(journal, points), plan.slow_s),
            market=market(),
            calendar=calendar(),
            clock=stage.clock(),
            address=stage.socket,
            admission=Admission(TOKEN),
            switch=switch,
        ):
            tell("listens")
            await asyncio.Event().wait()


# --- the trader's process -----------------------------------------------------------------------


def _trader(stage: Stage, plan: TraderPlan, report: Connection) -> None:
    told: set[str] = set()

    def tell(label: str) -> None:
        report.send(label)
        is_first = label not in told
        told.add(label)
        if is_first and label == plan.stop_before:
            os.kill(os.getpid(), signal.SIGSTOP)

    try:
        asyncio.run(_trade(stage, plan, tell))
    except CaopanError as error:
        report.send(error.code)
        sys.exit(ENDED_EARLY)


async def _trade(stage: Stage, plan: TraderPlan, tell: Callable[[str], None]) -> None:
    # Under load nobody listens to each point, and a full pipe would hold the trader back.
    points = CrashPlan(plan.crash_at, _die, _first(_TOLD_UNDER_LOAD, tell) if plan.load else tell)
    clock = stage.clock()
    sources = flag_sources(stage.home, stage.run_id, conninfo(stage.url))
    client = stage.client(clock, plan.through, plan.wait_s)
    with FlagSwitch(sources, clocks.monotonic) as switch:
        async with PostgresStore(stage.url) as store, store.lease(stage.run_id):
            run = next(run for run in await store.runs() if run.run_id == stage.run_id)
            await client.connect()
            await client.deposit("opening", CASH)
            broker = PointBroker(client, points)
            desk = desk_of(run, PointStore(store, points), broker, clock, switch)
            pipeline = Pipeline(desk)
            if plan.load:
                await _bid_until_halted(pipeline, tell)
            else:
                assert isinstance(clock, ReplayClock)
                await _play(pipeline, clock)
            await client.close()


async def _play(pipeline: Pipeline, clock: ReplayClock) -> None:
    async def look_again(day: date) -> None:
        if day != DAYS[0]:
            return
        instant = at_shanghai(day, SECOND_LOOK)
        if clock.now() < instant:
            clock.set(instant)
        async with pipeline.seat.begin() as uow:
            known = {(one.trading_day, one.slot) for one in await uow.cycles.all()}
        if (day, "second") not in known:
            await pipeline.run_cycle("second", day)

    await replay(pipeline, clock, ReplayPlan(DAYS, CASH), during=look_again)


def _first(most: int, tell: Callable[[str], None]) -> Callable[[str], None]:
    left = iter(range(most))

    def tell_some(label: str) -> None:
        if next(left, None) is not None:
            tell(label)

    return tell_some


async def _bid_until_halted(pipeline: Pipeline, tell: Callable[[str], None]) -> None:
    """Bid, again and again; once halted carry the halt out, compare the books and end."""
    # Bids of one share over and over are no strategy: of the gate only the halt is left standing.
    gate.RULEBOOK = tuple(rule for rule in gate.RULEBOOK if "RISK_KILL_SWITCH" in rule.codes)
    await pipeline.start(CASH)
    number = 0
    while pipeline.seat.level() < KillLevel.NO_ORDERS:
        number += 1
        bids = [_bid(index) for index in range(5)]
        await pipeline.operate(f"load {number} of {os.getpid()}", bids, "load", "drill")
    tell("halted")
    await carry_out(pipeline, "halted under load")
    await pipeline.reconcile("request")
    tell("carried out")


def _bid(index: int) -> Action:
    return Action(
        index=index,
        type=ActionType.PLACE_ORDER,
        symbol=STAYS,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        price=units("9.90") - index * 100,
        qty=100,
    )


def _die(_label: str) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
