"""What a desk would see now, for a decision that is not acted on.

Owns `decide_on_desk`. The desk is only read: no lease, so that a trader may sit there meanwhile;
nothing is settled, sent or recorded. Must never show a desk as it is not: one that has days to
catch up is refused. Tests: tests/integration/chain/test_dry_run.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from caopan.adapters.clock.system import SystemClock
from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.rules.book import load_rules
from caopan.application.account import AccountCache
from caopan.application.day_books import entitlements_of
from caopan.application.decision_cycle.actor import REPAIR_ATTEMPTS
from caopan.application.decision_cycle.memory import own_record
from caopan.application.observing import observe
from caopan.application.ports.market_data import MarketData
from caopan.application.ports.store import Run, RunKind, Store
from caopan.application.replay.clock import ReplayClock
from caopan.application.replay.runner import SETTLE_AT
from caopan.bootstrap.account_views import control_in_force
from caopan.bootstrap.deciding import rehearsed
from caopan.bootstrap.desks import DeskChoice, open_market, refuse_stale, session_in_hand
from caopan.bootstrap.gate_check import policy_in_force
from caopan.bootstrap.markets import open_calendar
from caopan.bootstrap.models import choose_deciders
from caopan.domain.accounting.fees import FeeSchedule, fee_schedule
from caopan.domain.decision.cycle import Cycle
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.phases import PhaseTable
from caopan.domain.market.rules import MarketRules
from caopan.domain.risk.kill_switch import Control
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.clock import Clock, at_shanghai, iso
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.ids import derived_uuid
from caopan.settings import Settings


@dataclass(frozen=True, slots=True)
class Outlook:
    """The parts of a desk that an observation is made from."""

    run: Run
    market: MarketData
    calendar: TradingCalendar
    phases: PhaseTable
    policy: RiskPolicy
    fees: FeeSchedule
    rules: MarketRules | None


@dataclass(frozen=True, slots=True)
class _Books:
    """What the store holds of the account."""

    account: AccountCache
    past: Sequence[Mapping[str, Any]]
    control: Control


async def decide_on_desk(
    database_url: str, settings: Settings, choice: DeskChoice, at: datetime | None, repeat: int
) -> dict[str, Any]:
    """Return what the chosen model would decide at the desk, asked `repeat` times.

    Raises:
        Denied: DATA_CALENDAR, DATA_STALE as `caopan cycle`.
        ConfigInvalid: DESK_UNKNOWN, CLOCK_BACKWARDS; DESK_BEHIND if days of the desk are to be
            closed first; as `choose_deciders` and `policy_in_force`.
        Unavailable: GATEWAY_NOT_RUNNING.
    """
    clock: Clock = SystemClock() if at is None else ReplayClock(at)
    now, policy, rules = clock.now(), policy_in_force(settings.home)[0], load_rules()
    async with PostgresStore(database_url) as store:
        calendar = await open_calendar(store)
        day = session_in_hand(calendar, clock)
        market = open_market(choice, calendar, day)
        refuse_stale(market, day)
        run = await _run_of(store, choice)
        outlook = Outlook(
            run, market, calendar, rules.market.phases, policy, fee_schedule(rules.fees),
            rules.market,
        )  # fmt: skip
        deciders = choose_deciders(choice.model, settings, policy.version)
        books = await _read(store, settings, outlook, day, now)
    cycle = Cycle(
        decision_id=derived_uuid(now, run.config_hash, "dry run"),
        trace_id=derived_uuid(now, run.config_hash, "dry run trace"),
        account_id=run.account_id,
        trading_day=day,
        slot="dry run",
        opened_at=now,
    )
    past = books.past if deciders.model.is_language_model else ()
    observation = observe(outlook, books.account, cycle, now, past, books.control)
    told = await rehearsed(
        deciders,
        observation,
        now,
        repeat=repeat,
        policy_version=policy.version,
        repair_attempts=int(run.config.get("repair_attempts", REPAIR_ATTEMPTS)),
    )
    told["seen"] = {**observation.values, "content_hash": observation.content_hash}
    told["desk"] = {
        "run_id": run.run_id,
        "data": {"label": market.info.label, "synthetic": market.info.synthetic},
        "open_orders": len(books.account.working),
    }
    return told


async def _run_of(store: Store, choice: DeskChoice) -> Run:
    for run in await store.runs(RunKind.DESK, unfinished=True):
        if run.account_id == choice.account_id:
            return run
    raise ConfigInvalid(
        "DESK_UNKNOWN",
        f"there is no desk {choice.account_id} to look at",
        remedy="open one with `caopan account import` or `caopan cycle`",
    )


async def _read(
    store: Store, settings: Settings, outlook: Outlook, day: date, now: datetime
) -> _Books:
    """Return the books of the desk as they would be when it is next sat at."""
    run = outlook.run
    system = await store.system_control()
    async with store.begin(run.run_id) as uow:
        account = await AccountCache.load(uow)
        newest = await uow.cycles.last()
        if newest is not None and newest.opened_at > now:
            raise ConfigInvalid(
                "CLOCK_BACKWARDS",
                f"the desk has already acted at {iso(newest.opened_at)}, after {iso(now)}",
                remedy="choose a later --at",
            )
        _refuse_behind(outlook, account, day, now)
        received = entitlements_of(outlook.market, run.config_hash, account.book, day, now)
        booked = set(await uow.journal.booked([one.txn_id for one in received]))
        past = await own_record(uow, now)
        own = await uow.controls.get()
    # What holders of record receive today is booked when the desk is sat at; here it is only seen.
    account.apply([one for one in received if one.txn_id not in booked])
    return _Books(account, past, control_in_force(settings, run, own, system))


def _refuse_behind(outlook: Outlook, account: AccountCache, day: date, now: datetime) -> None:
    """Refuse a desk with days that are over and not closed: its books are not those of today."""
    calendar, last = outlook.calendar, account.last_nav
    first = date.fromisoformat(str(outlook.run.config["start"]))
    if last is not None:
        first = calendar.next_session(last.trading_day)
    days = calendar.between(first, day) if first <= day else ()
    over = [one for one in days if at_shanghai(one, SETTLE_AT) <= now]
    if over:
        raise ConfigInvalid(
            "DESK_BEHIND",
            f"{len(over)} days of the desk, from {over[0]} on, are over and not closed",
            remedy="`caopan reconcile` brings it up to the present",
        )
