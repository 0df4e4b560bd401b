"""A held share without a row on some days: its suspension was left out by the vendor."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime, time

from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.rules.book import load_rules
from caopan.application.desk import Desk
from caopan.application.pipeline import Pipeline
from caopan.application.ports.store import RunKind
from caopan.application.replay.clock import ReplayClock
from caopan.application.replay.runner import ReplayPlan, replay
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.ledger.chain import Stage
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.venue import Licence, Venue
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units, yuan
from caopan.testing.market import TableMarket, flat_bar
from caopan.testing.memory_store import MemoryStore, MemoryVenueJournal
from caopan.testing.models import ScriptedModel, buy_action, decision_json

BEFORE = date(2023, 5, 31)
DAYS = (date(2023, 6, 1), date(2023, 6, 2), date(2023, 6, 5))
HELD, OTHER = "600001.SH", "600002.SH"
CASH = units(1_000_000)


def script(request):
    day = request.observation["clock"]["trading_day"]
    if day == DAYS[0].isoformat():
        return decision_json(request, buy_action(HELD, 11_000, "10.05"))
    if day == DAYS[1].isoformat():
        return decision_json(request, buy_action(OTHER, 1_000, "10.05"))
    return decision_json(request, {"type": "no_op"})


async def play():
    """Return (verdict codes, NAV by the observations) of a run whose holding lacks DAYS[1]."""
    sessions = (BEFORE, *DAYS)
    bars = [flat_bar(OTHER, day, "10.00") for day in sessions]
    bars += [flat_bar(HELD, day, "10.00") for day in sessions if day != DAYS[1]]
    market, rules = TableMarket(sessions, bars), load_rules()
    calendar = TradingCalendar("rows left out", BEFORE, DAYS[-1], sessions)
    clock, store = ReplayClock(at_shanghai(DAYS[0], time(9))), MemoryStore()
    at = datetime(2023, 6, 1, tzinfo=UTC)
    run = await store.create_run(RunKind.REPLAY, "sandbox", {}, "b" * 64, at)
    venue = SandboxVenue(
        run_id=run.run_id,
        journal=MemoryVenueJournal(store.database),
        market=market,
        clock=clock,
        calendar=calendar,
        rules=rules.market,
        fees=fee_schedule(rules.fees),
    )
    await venue.deposit("opening", CASH)
    desk = Desk(
        run=run,
        store=store,
        market=market,
        model=ScriptedModel(script),
        broker=venue,
        clock=clock,
        calendar=calendar,
        phases=rules.market.phases,
        policy=RiskPolicy(),
        fees=fee_schedule(rules.fees),
        model_deadline_ms=1_000,
        licence=Licence(Venue.SANDBOX),
        monotonic_ms=lambda: 0.0,
    )
    await replay(Pipeline(desk), clock, ReplayPlan(DAYS, CASH))
    codes, seen = [], []
    async with store.begin(run.run_id) as uow:
        async for entry, payload in uow.ledger.entries():
            values = json.loads(payload or b"{}")
            if entry.stage is Stage.OBSERVATION:
                seen.append(units(values["account"]["nav"]))
            elif entry.stage is Stage.RISK:
                found = [reason["code"] for v in values["verdicts"] for reason in v["reasons"]]
                codes.append(found)
        points = [point.nav for point in await uow.nav.all()]
    return codes, seen, points


def test_a_holding_without_a_row_is_no_loss():
    codes, seen, points = asyncio.run(play())

    assert codes == [[], []], "the other share is bought on the day the held one has no row"
    assert yuan(seen[1]) == yuan(points[0]), "the model sees the NAV of the close before"
