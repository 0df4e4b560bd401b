"""A replay or demo from request to report.

Owns the object graph of a simulated run, and which unfinished run a request goes on with. Must
never hold a rule of trading. The bars a run reads are kept in the database, as evidence.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.brokers.second_gate import SecondGate, SecondLimits
from caopan.adapters.clock.system import SystemClock, monotonic_ms
from caopan.adapters.market_data.panel import Finding, MarketPanel
from caopan.adapters.postgres.bars import import_bars
from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.postgres.venue_journal import PostgresVenueJournal
from caopan.adapters.rules.book import load_rules
from caopan.application.desk import Desk
from caopan.application.line import Line, WatchedBroker
from caopan.application.pipeline import Pipeline
from caopan.application.ports.broker import Broker
from caopan.application.ports.kill_switch import KillSwitch, Released
from caopan.application.ports.market_data import DatasetInfo, MarketData
from caopan.application.ports.model import Model
from caopan.application.ports.store import Run, RunKind, RunStatus, Store
from caopan.application.replay.clock import ReplayClock
from caopan.application.replay.runner import ReplayPlan, replay
from caopan.application.reporting import RunReport, report_run
from caopan.bootstrap.build import software_version
from caopan.bootstrap.markets import open_calendar, open_files, open_synthetic
from caopan.bootstrap.models import MODEL_DEADLINE_MS, Deciders, choose_deciders
from caopan.bootstrap.run_config import RunConfig, config_hash
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.venue import Licence, Venue, strategy_hash_of
from caopan.kernel.clock import Clock, at_shanghai
from caopan.kernel.errors import ConfigInvalid, Conflict
from caopan.kernel.money import units
from caopan.settings import Settings

ACCOUNT = "sandbox"
SYNTHETIC_END = date(2025, 12, 31)
"""The demo's market ends here, whatever today is, so that a seed means one result."""
_WARM_UP = 80
"""Sessions before the first decision, so that its features exist."""


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What a person asked for. Cash in units."""

    kind: RunKind
    cash: int
    model: str | None
    seed: int
    data: Path | None = None
    """A file or folder of bars; None means the synthetic market."""
    start: date | None = None
    end: date | None = None
    symbols: tuple[str, ...] | None = None
    days: int = 0
    """For the synthetic market: how many sessions to decide on."""
    breadth: int = 0
    """For the synthetic market: how many symbols it has."""
    policy: RiskPolicy = field(default_factory=RiskPolicy)
    """The built-in one unless another is asked for: a desk's own file does not reach a replay."""


@dataclass(frozen=True, slots=True)
class Restraints:
    """What holds a desk's trading back."""

    policy: RiskPolicy
    kill_switch: KillSwitch


@dataclass(frozen=True, slots=True)
class DeskParts:
    """What a desk is made of beside its broker."""

    store: Store
    run: Run
    market: MarketData
    deciders: Deciders
    clock: Clock
    calendar: TradingCalendar
    restraints: Restraints


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """A finished run with its measured times."""

    run: Run
    report: RunReport
    info: DatasetInfo
    model_alias: str
    is_language_model: bool
    stage_ms: Mapping[str, Sequence[float]]
    elapsed_s: float
    resumed: bool
    findings: Sequence[Finding]
    """What stands out in the data, looking back over all of it."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Whom a long run tells how far it is."""

    on_start: Callable[[int, DatasetInfo, bool], None]
    """Told the number of days, the data set, and whether an unfinished run goes on."""
    on_day: Callable[[date, int], None]
    """Told each closed day and its NAV in units."""


async def run_replay(
    database_url: str, settings: Settings, request: ReplayRequest, watcher: Watcher
) -> ReplayOutcome:
    """Run `request` to its end, going on with the same request's unfinished run if there is one.

    Raises:
        ConfigInvalid: for data, dates, symbols or a model that cannot be used.
        Conflict: RUN_BUSY if another process is on the same run.
    """
    began = monotonic_ms()
    async with PostgresStore(database_url, synchronous_commit=False) as store:
        calendar = await open_calendar(store)
        market, frame = _open_market(request, calendar)
        days = _days(market, request)
        deciders = choose_deciders(request.model, settings, request.policy.version)
        model = deciders.model
        config = _config(request, market.info, days, model)
        await asyncio.to_thread(
            import_bars,
            database_url,
            label=market.info.label,
            source="synthetic" if market.info.synthetic else "file",
            checksum=market.info.checksum,
            synthetic=market.info.synthetic,
            frame=frame,
        )
        run, resumed = await _find_or_create(store, request.kind, config)
        watcher.on_start(len(days), market.info, resumed)
        clock = ReplayClock(at_shanghai(days[0], time(9)))
        async with (
            store.lease(run.run_id),
            opened_desk(
                database_url,
                DeskParts(
                    store,
                    run,
                    market,
                    deciders,
                    clock,
                    calendar,
                    # A market that is over hurts nobody: what halts a desk does not halt a replay.
                    Restraints(request.policy, Released()),
                ),
            ) as desk,
        ):
            await _refuse_finished(store, run)
            pipeline = Pipeline(desk)
            await replay(pipeline, clock, ReplayPlan(days, request.cash), watcher.on_day)
            report = await report_run(store, run.run_id, request.cash)
            async with store.begin(run.run_id) as uow:
                at = SystemClock().now()
                await uow.run.finish(RunStatus.FINISHED, at, report.as_json())
                await uow.commit()
    return ReplayOutcome(
        run=run,
        report=report,
        info=market.info,
        model_alias=model.alias,
        is_language_model=model.is_language_model,
        stage_ms=pipeline.seat.stage_ms,
        elapsed_s=(monotonic_ms() - began) / 1000,
        resumed=resumed,
        findings=market.audit(),
    )


@asynccontextmanager
async def opened_desk(
    database_url: str, parts: DeskParts, line: Line | None = None
) -> AsyncGenerator[Desk]:
    """Give the desk of `parts` on the sandbox venue, whose journal is closed at the end."""
    rules, run, clock = load_rules(), parts.run, parts.clock
    journal = PostgresVenueJournal(database_url, synchronous_commit=run.kind is RunKind.DESK)
    venue = SandboxVenue(
        run_id=run.run_id,
        journal=journal,
        market=parts.market,
        clock=clock,
        calendar=parts.calendar,
        rules=rules.market,
        fees=fee_schedule(rules.fees),
    )
    gate = SecondGate(
        venue,
        clock=clock,
        switch=parts.restraints.kill_switch,
        limits=SecondLimits(orders_per_second=venue.capabilities.orders_per_second),
    )
    try:
        await venue.load()
        # The desk pays in the same sum on its own side; the venue never reads our books.
        await venue.deposit("opening", units(str(run.config["cash"])))
        yield desk_on(gate, parts, line)
    finally:
        await journal.close()


def desk_on(broker: Broker, parts: DeskParts, line: Line | None) -> Desk:
    """Return the desk of `parts` on `broker`, which is watched where there is a `line`."""
    rules, policy, deciders = load_rules(), parts.restraints.policy, parts.deciders
    timeout = policy.order_timeout_s
    return Desk(
        run=parts.run,
        store=parts.store,
        market=parts.market,
        model=deciders.model,
        prompting=deciders.prompting,
        checker=deciders.checker,
        samples=deciders.samples,
        broker=broker if line is None else WatchedBroker(broker, line),
        clock=parts.clock,
        calendar=parts.calendar,
        phases=rules.market.phases,
        rules=rules.market,
        kill_switch=parts.restraints.kill_switch,
        line=line or Line(),
        policy=policy,
        order_timeout=None if timeout is None else timedelta(seconds=timeout),
        fees=fee_schedule(rules.fees),
        model_deadline_ms=MODEL_DEADLINE_MS,
        licence=Licence(
            Venue.SANDBOX,
            software_version=software_version(),
            strategy_hash=strategy_hash_of(
                deciders.model.alias, deciders.model.prompt_hash, policy.version
            ),
        ),
        monotonic_ms=monotonic_ms,
    )


def _open_market(
    request: ReplayRequest, calendar: TradingCalendar
) -> tuple[MarketPanel, pl.DataFrame]:
    if request.data is not None:
        return open_files(request.data, calendar, request.symbols)
    return open_synthetic(
        request.seed,
        calendar,
        end=SYNTHETIC_END,
        days=request.days + _WARM_UP,
        breadth=request.breadth,
    )


def _days(market: MarketPanel, request: ReplayRequest) -> tuple[date, ...]:
    info = market.info
    start, end = request.start or info.first_day, request.end or info.last_day
    if start > end:
        raise ConfigInvalid(
            "DATE_INVALID", f"--start {start} is after --end {end}", remedy="swap them"
        )
    if start < info.first_day or end > info.last_day:
        raise ConfigInvalid(
            "DATE_INVALID",
            f"{start} to {end} is not inside the data, which goes from {info.first_day} "
            f"to {info.last_day}",
            remedy="choose --start and --end inside the data",
        )
    days = market.sessions(start, end)
    if request.days:
        days = days[-request.days :]
    if not days:
        raise ConfigInvalid("DATE_INVALID", f"no trading day lies between {start} and {end}")
    return days


def _config(
    request: ReplayRequest, info: DatasetInfo, days: Sequence[date], model: Model
) -> dict[str, Any]:
    return RunConfig(
        kind=request.kind,
        account_id=ACCOUNT,
        model=model.alias,
        cash=request.cash,
        start=days[0],
        end=days[-1],
        seed=request.seed,
        symbols=request.symbols,
    ).as_json(info, request.policy, fee_schedule(load_rules().fees))


async def _refuse_finished(store: Store, run: Run) -> None:
    async with store.begin(run.run_id) as uow:
        now = await uow.run.get()
    if now.status is not RunStatus.RUNNING:
        raise Conflict(
            "RUN_CLOSED",
            f"another process has just finished run {run.run_id}",
            remedy="start the command again: it makes a new run",
        )


async def _find_or_create(
    store: Store, kind: RunKind, config: Mapping[str, Any]
) -> tuple[Run, bool]:
    """Return the unfinished run of the same configuration, or a new one."""
    wanted = config_hash(dict(config))
    for run in await store.runs(kind, unfinished=True):
        if run.config_hash == wanted:
            return run, True
    run = await store.create_run(kind, ACCOUNT, config, wanted, SystemClock().now())
    return run, False
