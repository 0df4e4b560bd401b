"""One decision now, on the desk's own continuous run.

Owns the object graph of `caopan cycle`: the desk's run is created once and lives on; days that
passed since the last decision are settled and closed first, in order. Must never let the desk's
clock go back, nor let two data sets share one desk.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from caopan.adapters.clock.system import SystemClock
from caopan.adapters.market_data.panel import KNOWN_BEFORE_OPEN, MarketPanel
from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.rules.book import load_rules
from caopan.application.pipeline import Pipeline
from caopan.application.ports.store import Run, RunKind, Store
from caopan.application.replay.clock import ReplayClock
from caopan.application.replay.runner import SETTLE_AT
from caopan.bootstrap.markets import open_calendar, open_files, open_synthetic
from caopan.bootstrap.models import choose_model
from caopan.bootstrap.replaying import opened_desk
from caopan.bootstrap.run_config import RunConfig, config_hash
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.decision.cycle import Cycle
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.canonical import sha256_hex
from caopan.kernel.clock import Clock, at_shanghai, iso, shanghai
from caopan.kernel.errors import ConfigInvalid, Denied
from caopan.settings import Settings

_SYNTHETIC_DAYS = 330
_SYNTHETIC_BREADTH = 40
_NONCE_BYTES = 16
_PLACE_DIGITS = 8


@dataclass(frozen=True, slots=True)
class CycleRequest:
    """What a person asked for. Cash in units."""

    cash: int
    model: str | None
    data: Path | None
    seed: int
    at: datetime | None
    """Aware; None means now."""


@dataclass(frozen=True, slots=True)
class CycleOutcome:
    """The decision made, and on what."""

    run_id: int
    cycle: Cycle
    model_alias: str
    is_language_model: bool
    data_label: str
    synthetic: bool


async def run_cycle(database_url: str, settings: Settings, request: CycleRequest) -> CycleOutcome:
    """Make one decision and return it.

    Raises:
        Denied: DATA_CALENDAR outside the calendar's years, DATA_STALE if the data ends before the
            day to decide on.
        ConfigInvalid: CLOCK_BACKWARDS if `at` lies before the desk's last decision.
        Conflict: RUN_BUSY if another process is deciding.
    """
    clock: Clock = SystemClock() if request.at is None else ReplayClock(request.at)
    now = clock.now()
    async with PostgresStore(database_url) as store:
        calendar = await open_calendar(store)
        today = _session_in_hand(calendar, now)
        market = _open_market(request, calendar, today)
        _refuse_stale(market, today)
        model = choose_model(request.model, settings)
        run = await _desk_run(store, request, market, today)
        async with (
            store.lease(run.run_id),
            opened_desk(
                database_url, store, run, market, model, clock, calendar, durable=True
            ) as desk,
        ):
            pipeline = Pipeline(desk)
            await _refuse_going_back(pipeline, now)
            await pipeline.start(request.cash)
            await _catch_up(pipeline, calendar, today, now)
            slot = f"{shanghai(now):%H:%M:%S.%f}"
            cycle = await pipeline.run_cycle(slot, today)
    return CycleOutcome(
        run.run_id,
        cycle,
        model.alias,
        model.is_language_model,
        market.info.label,
        market.info.synthetic,
    )


def _session_in_hand(calendar: TradingCalendar, now: datetime) -> date:
    """Return the session to decide on: until the rules of a day are known, still the one before."""
    local = shanghai(now)
    known = local.time() >= KNOWN_BEFORE_OPEN
    return calendar.on_or_before(local.date() if known else local.date() - timedelta(days=1))


async def _catch_up(
    pipeline: Pipeline, calendar: TradingCalendar, today: date, now: datetime
) -> None:
    """Settle and close, in order, every session that ended since the last one closed."""
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


def _open_market(request: CycleRequest, calendar: TradingCalendar, today: date) -> MarketPanel:
    if request.data is not None:
        return open_files(request.data, calendar, None)[0]
    return open_synthetic(
        request.seed, calendar, end=today, days=_SYNTHETIC_DAYS, breadth=_SYNTHETIC_BREADTH
    )[0]


def _refuse_stale(market: MarketPanel, today: date) -> None:
    if market.info.last_day < today:
        raise Denied(
            "DATA_STALE",
            f"{market.info.label} ends on {market.info.last_day}, the decision is for {today}",
            remedy="give newer data, or decide on a past day with --at",
        )


async def _refuse_going_back(pipeline: Pipeline, now: datetime) -> None:
    async with pipeline.desk.store.begin(pipeline.desk.run.run_id) as uow:
        newest = await uow.cycles.last()
    if newest is not None and newest.opened_at > now:
        raise ConfigInvalid(
            "CLOCK_BACKWARDS",
            f"the desk has already decided at {iso(newest.opened_at)}, after {iso(now)}",
            remedy="choose a later --at",
        )


async def _desk_run(store: Store, request: CycleRequest, market: MarketPanel, today: date) -> Run:
    """Return the running desk of this market, opening one if there is none."""
    account_id = _account_id(request)
    for run in await store.runs(RunKind.DESK, unfinished=True):
        if run.account_id == account_id:
            return run
    config: dict[str, Any] = RunConfig(
        kind=RunKind.DESK,
        account_id=account_id,
        model=request.model or "default",
        cash=request.cash,
        start=today,
        end=today,
        seed=request.seed,
        symbols=None,
        nonce=secrets.token_hex(_NONCE_BYTES),
    ).as_json(market.info, RiskPolicy(), fee_schedule(load_rules().fees))
    return await store.create_run(
        RunKind.DESK, account_id, config, config_hash(config), SystemClock().now()
    )


def _account_id(request: CycleRequest) -> str:
    """Name the desk by its market: one account never trades two data sets."""
    if request.data is None:
        return f"sandbox-synthetic-{request.seed}"
    place = sha256_hex(str(request.data.resolve()).encode())[:_PLACE_DIGITS]
    return f"sandbox-{request.data.name}-{place}"
