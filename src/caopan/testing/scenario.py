"""A small life of a desk that touches every stage, for crash tests and simulation.

Owns Scenario: four sessions of a table market and a scripted model that buys, sells what has
settled, asks for what the gate must refuse, cancels an order, changes one and leaves it to expire,
lets one wait for another, answers garbage once and does nothing once; a person who sells, orders
entered at the venue itself, a reconciliation at every close, and a halt at the end. Must never be
used by production code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, time
from typing import Any

from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.rules.book import load_rules
from caopan.application.desk import Desk
from caopan.application.halting import carry_out, stop_account
from caopan.application.pipeline import Pipeline
from caopan.application.ports.broker import Broker
from caopan.application.ports.model import ModelRequest
from caopan.application.ports.store import Run, Store, VenueJournal
from caopan.application.replay.clock import ReplayClock
from caopan.application.replay.runner import ReplayPlan, replay
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.decision.shapes import Action, ActionType
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.orders.order import OrderType, Side
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.venue import Licence, Venue
from caopan.kernel.clock import at_shanghai, iso
from caopan.kernel.money import units
from caopan.testing.market import TableMarket, day_bar, flat_bar
from caopan.testing.models import ScriptedModel, buy_action, decision_json, sell_action

HISTORY = (date(2023, 5, 29), date(2023, 5, 30), date(2023, 5, 31))
DAYS = (date(2023, 6, 1), date(2023, 6, 2), date(2023, 6, 5), date(2023, 6, 6))
CASH = units(1_000_000)
FIRST, SECOND, THIRD = "600001.SH", "600002.SH", "000003.SZ"
FOURTH, FIFTH = "600004.SH", "600005.SH"
FLAT = (FIRST, SECOND, FOURTH, FIFTH)
SECOND_LOOK = time(9, 18)
"""Still in the part of the auction in which orders can be cancelled."""
HALT = time(9, 19)
"""As SECOND_LOOK."""
DECISIONS = 9
"""Four of the day, a second look, two of a person, and two that nobody here made."""


_SOME = Action(
    index=0,
    type=ActionType.PLACE_ORDER,
    symbol=FIRST,
    side=Side.SELL,
    order_type=OrderType.LIMIT,
    price=units("9.95"),
    qty=1_000,
)


_OFFER = replace(_SOME, symbol=THIRD, price=units("20.20"), qty=400)
"""Rests until the halt cancels it."""


def scenario_market() -> TableMarket:
    """Return the market of the scenario."""
    sessions = (*HISTORY, *DAYS)
    bars = [flat_bar(symbol, day, "10.00") for symbol in FLAT for day in sessions]
    bars += [flat_bar(THIRD, day, "20.00") for day in sessions[:-2]]
    # A thin day: only part of an order can fill. Then a day on which it falls.
    bars.append(day_bar(THIRD, sessions[-2], "20.00", "20.40", "19.80", "20.10", volume=9_000))
    bars.append(day_bar(THIRD, sessions[-1], "20.10", "20.20", "19.00", "19.10"))
    return TableMarket(sessions, bars)


def scenario_script(request: ModelRequest) -> str:
    """Return the model's answer on each day."""
    day = request.observation["clock"]["trading_day"]
    held = {p["symbol"]: p["sellable_qty"] for p in request.observation["positions"]}
    if request.observation["generated_at"] >= iso(at_shanghai(DAYS[0], SECOND_LOOK)) and (
        day == DAYS[0].isoformat()
    ):
        return _second_look(request)
    if day == DAYS[0].isoformat():
        return decision_json(
            request,
            buy_action(FIRST, 5_000, "10.05"),
            buy_action(SECOND, 3_000, "9.90"),  # never trades that low: is changed
            buy_action(FOURTH, 2_000, "9.95"),  # nor that: is cancelled
            buy_action(THIRD, 50, "20.00"),  # not a lot: refused
        )
    if day == DAYS[1].isoformat():
        return "I would rather talk about the weather."
    if day == DAYS[2].isoformat():
        return decision_json(
            request,
            sell_action(FIRST, held.get(FIRST, 0) or 100, "9.95"),
            buy_action(THIRD, 4_000, "20.10"),  # more than a tenth of the day's volume
            buy_action(SECOND, 1_000, "10.00") | {"depends_on": 0},  # waits until it is too late
        )
    return decision_json(request, {"type": "no_op"})


def _second_look(request: ModelRequest) -> str:
    """Cancel what was bid for FOURTH and change what was bid for SECOND, if they are open."""
    actions: list[dict[str, Any]] = []
    for order in request.observation["open_orders"]:
        named = {"target_order_id": order["order_id"]}
        if order["symbol"] == FOURTH:
            actions.append({"type": "cancel_order", **named})
        elif order["symbol"] == SECOND:
            actions.append({"type": "modify_order", "price": "9.95", **named})  # expires
    return decision_json(request, *(actions or [{"type": "no_op"}]))


@dataclass(slots=True)
class Scenario:
    """One process's view of the scenario: its pipeline and clock over a given store."""

    pipeline: Pipeline
    clock: ReplayClock
    venue: SandboxVenue

    async def play(self) -> None:
        """Run from wherever the store left off to the end."""
        await replay(self.pipeline, self.clock, ReplayPlan(DAYS, CASH), during=self._during)

    async def _during(self, day: date) -> None:
        """Do what happens between a day's decision and its close, and was not done before."""
        if day == DAYS[0]:
            await self._enter_outside(day, FIFTH, Side.BUY, "10.00")
            await self._look_again(day)
        elif day == DAYS[1]:
            self._stand_at(day, SECOND_LOOK)
            await self.pipeline.operate("some", [_SOME], "anna", "too much of it")
        elif day == DAYS[2]:
            await self._enter_outside(day, FIFTH, Side.SELL, "9.95")
        else:
            await self._halt(day)

    async def _halt(self, day: date) -> None:
        """Halt the account at level 2 while an order of it rests."""
        self._stand_at(day, SECOND_LOOK)
        await self.pipeline.operate("offer", [_OFFER], "anna", "at a better price")
        self._stand_at(day, HALT)
        await stop_account(self.pipeline.seat, "drill", "anna")
        await carry_out(self.pipeline, "drill")

    async def _enter_outside(self, day: date, symbol: str, side: Side, price: str) -> None:
        """Enter an order at the venue's own counter."""
        if not any(not one.client_order_id for one in await self.venue.orders(day)):
            await self.venue.place_outside(symbol, side, units(price), 400)

    async def _look_again(self, day: date) -> None:
        self._stand_at(day, SECOND_LOOK)
        async with self.pipeline.seat.begin() as uow:
            known = {(one.trading_day, one.slot) for one in await uow.cycles.all()}
        if (day, "second") not in known:
            await self.pipeline.run_cycle("second", day)

    def _stand_at(self, day: date, moment: time) -> None:
        instant = at_shanghai(day, moment)
        if self.clock.now() < instant:
            self.clock.set(instant)


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
        licence=Licence(Venue.SANDBOX),
        monotonic_ms=lambda: 0.0,
    )
    return Scenario(Pipeline(desk), clock, venue)
