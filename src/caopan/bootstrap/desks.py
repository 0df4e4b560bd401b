"""The desk's own account: found or opened, sat down at, brought up to the present.

Owns the object graph of a desk run for every command that acts on it (`cycle`, `account`,
`cancel`, `reconcile`, `halt`, `trader`). A desk is created once and lives on; days that passed
since the last decision are settled and closed first, in order. Must never let two data sets share
one desk, nor two processes one account.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from caopan.adapters.brokers.remote.client import RemoteBroker
from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.brokers.second_gate import SecondGate
from caopan.adapters.clock.system import SystemClock, monotonic_ms
from caopan.adapters.kill_switch.switch import FlagSwitch, flag_sources
from caopan.adapters.market_data.panel import KNOWN_BEFORE_OPEN, MarketPanel
from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.rules.book import load_rules
from caopan.application.account_movements import follow
from caopan.application.config_changes import note_policy
from caopan.application.desk import Desk
from caopan.application.halting import carry_out
from caopan.application.line import Line, WatchedBroker
from caopan.application.pipeline import Pipeline
from caopan.application.ports.broker import VenueAccount, VenueMovement
from caopan.application.ports.store import Run, RunKind, Store
from caopan.application.replay.clock import ReplayClock
from caopan.application.replay.runner import SETTLE_AT
from caopan.bootstrap.broker_line import BrokerDoor, desk_over_line
from caopan.bootstrap.build import stamp
from caopan.bootstrap.gate_check import policy_at_any_rate, policy_in_force
from caopan.bootstrap.markets import open_calendar, open_files, open_synthetic
from caopan.bootstrap.models import choose_deciders
from caopan.bootstrap.replaying import DeskParts, Restraints, opened_desk
from caopan.bootstrap.run_config import DEFAULT_CASH, DEFAULT_MODEL, RunConfig, config_hash
from caopan.domain.accounting.bookings import BroughtLot
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.risk.kill_switch import KillLevel
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.canonical import sha256_hex
from caopan.kernel.clock import Clock, at_shanghai, iso, shanghai
from caopan.kernel.errors import ConfigInvalid, Denied
from caopan.kernel.money import units
from caopan.settings import Settings

BY_COUNTER = "counter"
"""Who booked a movement that was cut off between the counter and the books."""
_SYNTHETIC_DAYS = 330
_SYNTHETIC_BREADTH = 40
_NONCE_BYTES = 16
_PLACE_DIGITS = 8
_NAME_CHARS = 60
"""A desk's note is a file named after the account: no file's name may pass 255 bytes."""


@dataclass(frozen=True, slots=True)
class DeskChoice:
    """Which desk, and what a new one begins with. Cash in units."""

    cash: int = DEFAULT_CASH
    model: str | None = None
    data: Path | None = None
    """None means the synthetic market of `seed`."""
    seed: int = 7

    @property
    def account_id(self) -> str:
        """Return the desk's name, which is its market's: one account never trades two data sets."""
        if self.data is None:
            return f"sandbox-synthetic-{self.seed}"
        place = sha256_hex(str(self.data.resolve()).encode())[:_PLACE_DIGITS]
        return f"sandbox-{self.data.name[:_NAME_CHARS]}-{place}"


class Opening(Protocol):
    """What is to be done at a desk before its days go on: the opening of an existing account."""

    def check(self, market: MarketPanel, calendar: TradingCalendar, now: datetime) -> None:
        """Refuse, by raising, before there is a desk at all."""
        ...

    async def carry(self, pipeline: Pipeline) -> None:
        """Do it."""
        ...


class Counter(Protocol):
    """Where money and shares are moved beside all trading: the sandbox's, here or over a line."""

    async def deposit(self, key: str, cash: int) -> None:
        """Pay in units, once per key."""
        ...

    async def withdraw(self, key: str, cash: int) -> None:
        """Pay out units, once per key."""
        ...

    async def bring_in(self, key: str, lots: Sequence[BroughtLot]) -> None:
        """Add holdings, once per key."""
        ...

    async def movements(self) -> Sequence[VenueMovement]:
        """Return all that ever came in or went out, oldest first."""
        ...

    async def account(self) -> VenueAccount:
        """Return cash and positions."""
        ...


@dataclass(frozen=True, slots=True)
class Keeper:
    """A process that watches its line to the venue, as one does that stays at a desk."""

    name: str
    """What others are told of who sits there."""
    line: Line
    """What it knows of its line to the venue, over all its sittings."""
    door: BrokerDoor | None = None
    """None: the sandbox lives in the same process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What somebody sits down at a desk for."""

    create: bool = False
    """Open the desk if there is none."""
    opening: Opening | None = None
    trigger: str = "start"
    """Why the books are compared with the venue's."""
    to_trade: bool = True
    """Else neither fresh data nor a usable model is asked for: a cancel must not wait for them."""
    keeper: Keeper | None = None


TO_TRADE = Purpose()


@asynccontextmanager
async def sat_down(
    database_url: str,
    settings: Settings,
    choice: DeskChoice,
    clock: Clock,
    purpose: Purpose = TO_TRADE,
) -> AsyncGenerator[Pipeline]:
    """Give the chosen desk's pipeline: leased, started, and brought up to the present.

    A halt is carried out before the desk is left, too. What moved at the counter is booked first,
    then the opening is done, then the days that have passed are closed and the books compared with
    the venue's.

    Raises:
        ConfigInvalid: POLICY_INVALID or GATE_FILE_UNREADABLE if risk.json in CAOPAN_HOME is wrong;
            DB_NEWER or DB_NOT_MIGRATED if the database is at another schema than this build.
        Denied: DATA_CALENDAR outside the calendar's years, DATA_STALE if the data ends before the
            present session.
        ConfigInvalid: DESK_UNKNOWN if there is no such desk and none is to be opened,
            CLOCK_BACKWARDS if the desk has already acted after `clock`.
        Conflict: RUN_BUSY if another process sits there.
        Unavailable: BROKER_DISCONNECTED if the broker's process does not answer, BROKER_BUILD if
            it runs another build.
    """
    home, to_trade, opening = settings.home, purpose.to_trade, purpose.opening
    policy = policy_in_force(home)[0] if to_trade else policy_at_any_rate(home)
    stays = to_trade or purpose.keeper is not None
    build = await asyncio.to_thread(stamp, database_url) if stays else ""
    name = purpose.keeper.name if purpose.keeper else process_name()
    async with PostgresStore(database_url, name=name) as store:
        calendar = await open_calendar(store)
        today = session_in_hand(calendar, clock)
        market = open_market(choice, calendar, today)
        if to_trade:
            refuse_stale(market, today)
        today = min(today, market.info.last_day)
        if opening is not None:
            opening.check(market, calendar, clock.now())
        asked = choice.model if to_trade else DEFAULT_MODEL
        deciders = choose_deciders(asked, settings, policy.version)
        run = await _desk_run(store, choice, market, today, policy, create=purpose.create)
        switch = FlagSwitch(
            flag_sources(settings.home, run.run_id, conninfo(database_url)),
            lambda: monotonic_ms() / 1000,
        )
        async with store.lease(run.run_id):
            with switch:
                held = Restraints(policy, switch)
                parts = DeskParts(store, run, market, deciders, clock, calendar, held)
                async with _at_its_venue(database_url, parts, purpose.keeper, build) as desk:
                    pipeline = Pipeline(desk)
                    await _bring_up(pipeline, today, purpose)
                    note_place(settings, choice, clock)
                    yield pipeline
                    if pipeline.seat.level() >= KillLevel.NO_ORDERS:
                        await carry_out(pipeline, "halted meanwhile")


def process_name() -> str:
    """Return what others are told of a command that sits at a desk."""
    return f"caopan, process {os.getpid()}"


def _at_its_venue(
    database_url: str, parts: DeskParts, keeper: Keeper | None, build: str
) -> AbstractAsyncContextManager[Desk]:
    if keeper is None:
        return opened_desk(database_url, parts)
    if keeper.door is None:
        return opened_desk(database_url, parts, keeper.line)
    return desk_over_line(keeper.door, parts, keeper.line, build)


async def _bring_up(pipeline: Pipeline, today: date, purpose: Purpose) -> None:
    """Start, book what moved at the counter, do the opening, and go through the days since."""
    await _refuse_going_back(pipeline)
    if purpose.to_trade:
        await note_policy(pipeline.seat)
    # What the desk was opened with, on both sides, whatever is asked for now.
    await pipeline.start(units(str(pipeline.desk.run.config["cash"])))
    await follow(pipeline.seat, await counter_of(pipeline).movements(), BY_COUNTER)
    if purpose.opening is not None:
        await purpose.opening.carry(pipeline)
    await _catch_up(pipeline, pipeline.desk.calendar, today, purpose.trigger)


def choice_of(settings: Settings, run: Run) -> tuple[DeskChoice, Clock]:
    """Return how a desk that exists was chosen, and the time it lives in.

    A desk that last acted on a past moment (`--at`) stays there until it is told another.

    Raises:
        ConfigInvalid: DESK_UNNOTED if this machine never sat at the desk.
    """
    note = _note(settings, run.account_id)
    try:
        noted = json.loads(note.read_text("utf-8"))
        data = None if noted["data"] is None else Path(noted["data"])
        at = None if noted["at"] is None else datetime.fromisoformat(noted["at"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigInvalid(
            "DESK_UNNOTED",
            f"where the data of desk {run.run_id} ({run.account_id}) lies is not noted here",
            remedy="run `caopan reconcile` with its --data once",
        ) from error
    choice = DeskChoice(data=data, seed=int(run.config["seed"]))
    return choice, SystemClock() if at is None else ReplayClock(at)


def session_in_hand(calendar: TradingCalendar, clock: Clock) -> date:
    """Return the session to act on: until the rules of a day are known, still the one before."""
    local = shanghai(clock.now())
    known = local.time() >= KNOWN_BEFORE_OPEN
    return calendar.on_or_before(local.date() if known else local.date() - timedelta(days=1))


def counter_of(pipeline: Pipeline) -> Counter:
    """Return the counter at which money and shares move: the desk's venue is the sandbox."""
    broker = pipeline.desk.broker
    while isinstance(broker, WatchedBroker | SecondGate):
        broker = broker.inner
    if not isinstance(broker, SandboxVenue | RemoteBroker):
        raise Denied(
            "PERMISSION_COUNTER",
            f"money and shares are not moved at {broker.name} from here",
            remedy="do it at the broker; the reconciliation shows it",
        )
    return broker


async def _catch_up(
    pipeline: Pipeline, calendar: TradingCalendar, today: date, trigger: str
) -> None:
    """Settle, reconcile and close, in order, every session that ended since the last close.

    A halt that nobody has carried out yet is carried out before anything else.
    """
    now = pipeline.desk.clock.now()
    if pipeline.seat.level() >= KillLevel.NO_ORDERS:
        await carry_out(pipeline, "found halted at the start")
    await pipeline.settle()
    last = pipeline.account.last_nav
    if last is None:
        # No close yet: the days to go through begin where the desk was opened, not today.
        first = date.fromisoformat(str(pipeline.desk.run.config["start"]))
    else:
        first = calendar.next_session(last.trading_day)
    for day in calendar.between(first, today) if first <= today else ():
        await pipeline.open_day(day)
        if at_shanghai(day, SETTLE_AT) <= now:
            await pipeline.close_day(day, None)
    await pipeline.reconcile(trigger)


def open_market(choice: DeskChoice, calendar: TradingCalendar, today: date) -> MarketPanel:
    """Return the market of a desk as it stands on `today`."""
    if choice.data is not None:
        return open_files(choice.data, calendar, None)[0]
    return open_synthetic(
        choice.seed, calendar, end=today, days=_SYNTHETIC_DAYS, breadth=_SYNTHETIC_BREADTH
    )[0]


def refuse_stale(market: MarketPanel, today: date) -> None:
    """Refuse, by Denied DATA_STALE, a market that ends before the session to decide on."""
    if market.info.last_day < today:
        raise Denied(
            "DATA_STALE",
            f"{market.info.label} ends on {market.info.last_day}, the decision is for {today}",
            remedy="give newer data, or decide on a past day with --at",
        )


async def _refuse_going_back(pipeline: Pipeline) -> None:
    now = pipeline.desk.clock.now()
    async with pipeline.seat.begin() as uow:
        newest = await uow.cycles.last()
        compared = await uow.reconciliations.all()
    acted = [] if newest is None else [newest.opened_at]
    acted.extend(one.at for one in compared[-1:])
    if acted and max(acted) > now:
        raise ConfigInvalid(
            "CLOCK_BACKWARDS",
            f"the desk has already acted at {iso(max(acted))}, after {iso(now)}",
            remedy="choose a later --at",
        )


async def _desk_run(
    store: Store,
    choice: DeskChoice,
    market: MarketPanel,
    today: date,
    policy: RiskPolicy,
    *,
    create: bool,
) -> Run:
    """Return the running desk of this market, opening one if there is none and it may be."""
    for run in await store.runs(RunKind.DESK, unfinished=True):
        if run.account_id == choice.account_id:
            return run
    if not create:
        raise ConfigInvalid(
            "DESK_UNKNOWN",
            f"there is no desk on {market.info.label}",
            remedy="open one with `caopan account import` or `caopan cycle`",
        )
    config: dict[str, Any] = RunConfig(
        kind=RunKind.DESK,
        account_id=choice.account_id,
        model=choice.model or "default",
        cash=choice.cash,
        start=today,
        end=today,
        seed=choice.seed,
        symbols=None,
        nonce=secrets.token_hex(_NONCE_BYTES),
    ).as_json(market.info, policy, fee_schedule(load_rules().fees))
    return await store.create_run(
        RunKind.DESK, choice.account_id, config, config_hash(config), SystemClock().now()
    )


def note_place(settings: Settings, choice: DeskChoice, clock: Clock) -> None:
    """Note on this machine where the desk's data lies and which time it lives in."""
    note = _note(settings, choice.account_id)
    note.parent.mkdir(parents=True, exist_ok=True)
    data = None if choice.data is None else str(choice.data.resolve())
    at = None if isinstance(clock, SystemClock) else iso(clock.now())
    fresh = note.with_suffix(".new")
    fresh.write_text(json.dumps({"data": data, "at": at}), encoding="utf-8")
    fresh.replace(note)


def _note(settings: Settings, account_id: str) -> Path:
    """Return where this machine keeps the note on a desk: no ledger holds a path."""
    return settings.home / "desks" / f"{account_id}.json"
