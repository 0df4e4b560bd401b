"""A small life of a desk that touches every stage, for crash tests and simulation.

Owns Scenario: four sessions of a table market and a scripted model that buys, sells what has
settled, asks for what the gate must refuse, leaves an order to expire, answers garbage once and
does nothing once. Must never be used by production code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, time

from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.rules.book import load_rules
from caopan.application.desk import Desk
from caopan.application.pipeline import Pipeline
from caopan.application.ports.broker import Broker
from caopan.application.ports.model import ModelRequest
from caopan.application.ports.store import Run, Store, VenueJournal
from caopan.application.replay.clock import ReplayClock
from caopan.application.replay.runner import ReplayPlan, replay
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.testing.market import TableMarket, day_bar, flat_bar
from caopan.testing.models import ScriptedModel, buy_action, decision_json, sell_action

HISTORY = (date(2023, 5, 29), date(2023, 5, 30), date(2023, 5, 31))
DAYS = (date(2023, 6, 1), date(2023, 6, 2), date(2023, 6, 5), date(2023, 6, 6))
CASH = units(1_000_000)
FIRST, SECOND, THIRD = "600001.SH", "600002.SH", "000003.SZ"


def scenario_market() -> TableMarket:
    """Return the market of the scenario."""
    sessions = (*HISTORY, *DAYS)
    bars = [flat_bar(symbol, day, "10.00") for symbol in (FIRST, SECOND) for day in sessions]
    bars += [flat_bar(THIRD, day, "20.00") for day in sessions[:-2]]
    # A thin day: only part of an order can fill. Then a day on which it falls.
    bars.append(day_bar(THIRD, sessions[-2], "20.00", "20.40", "19.80", "20.10", volume=9_000))
    bars.append(day_bar(THIRD, sessions[-1], "20.10", "20.20", "19.00", "19.10"))
    return TableMarket(sessions, bars)


def scenario_script(request: ModelRequest) -> str:
    """Return the model's answer on each day."""
    day = request.observation["clock"]["trading_day"]
    held = {p["symbol"]: p["sellable_qty"] for p in request.observation["positions"]}
    if day == DAYS[0].isoformat():
        return decision_json(
            request,
            buy_action(FIRST, 5_000, "10.05"),
            buy_action(SECOND, 3_000, "9.90"),  # never trades that low: expires
            buy_action(THIRD, 50, "20.00"),  # not a lot: refused
        )
    if day == DAYS[1].isoformat():
        return "I would rather talk about the weather."
    if day == DAYS[2].isoformat():
        return decision_json(
            request,
            sell_action(FIRST, held.get(FIRST, 0) or 100, "9.95"),
            buy_action(THIRD, 4_000, "20.10"),  # more than a tenth of the day's volume
        )
    return decision_json(request, {"type": "no_op"})


@dataclass(slots=True)
class Scenario:
    """One process's view of the scenario: its pipeline and clock over a given store."""

    pipeline: Pipeline
    clock: ReplayClock

    async def play(self) -> None:
        """Run from wherever the store left off to the end."""
        await replay(self.pipeline, self.clock, ReplayPlan(DAYS, CASH))


async def open_scenario(
    run: Run,
    store: Store,
    journal: VenueJournal,
    wrap: Callable[[Broker], Broker] = lambda broker: broker,
) -> Scenario:
    """Return the scenario over `store`; `wrap` may stand between the hand and the venue."""
    rules = load_rules()
    calendar = TradingCalendar("scenario", HISTORY[0], DAYS[-1], (*HISTORY, *DAYS))
    clock = ReplayClock(at_shanghai(DAYS[0], time(9)))
    market = scenario_market()
    venue = SandboxVenue(
        run_id=run.run_id,
        journal=journal,
        market=market,
        clock=clock,
        calendar=calendar,
        rules=rules.market,
        fees=fee_schedule(rules.fees),
    )
    await venue.load()
    await venue.deposit("opening", CASH)
    desk = Desk(
        run=run,
        store=store,
        market=market,
        model=ScriptedModel(scenario_script),
        broker=wrap(venue),
        clock=clock,
        calendar=calendar,
        phases=rules.market.phases,
        rules=rules.market,
        policy=RiskPolicy(),
        fees=fee_schedule(rules.fees),
        model_deadline_ms=1_000,
        monotonic_ms=lambda: 0.0,
    )
    return Scenario(Pipeline(desk), clock)
