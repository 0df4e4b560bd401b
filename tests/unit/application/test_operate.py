"""What a person asks for goes the way of every order: judged, recorded, sent once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from caopan.application.pipeline import Pipeline
from caopan.domain.accounting.bookings import BroughtLot, brought_in
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import Action, ActionType, DecisionStatus, Origin
from caopan.domain.orders.order import OrderStatus, OrderType, Side
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.money import units
from caopan.testing.models import buy_action
from caopan.testing.samples import sample_id
from caopan.testing.table_desk import FIRST, SECOND, SESSIONS, TableDesk

SELL = Action(
    index=0,
    type=ActionType.PLACE_ORDER,
    symbol=FIRST,
    side=Side.SELL,
    order_type=OrderType.LIMIT,
    price=units("9.95"),
    qty=500,
)


async def stocked() -> TableDesk:
    """Return a desk with 2,000 settled shares of FIRST."""
    desk = await TableDesk().open()
    lot = BroughtLot(FIRST, 2_000, units(20_000), SESSIONS[0])
    await desk.pipeline.seat.record(
        [], transactions=[brought_in(sample_id(9), [lot], desk.clock.now())]
    )
    desk.counter.move(**{FIRST: 2_000})
    return desk


async def operate(pipeline: Pipeline, *actions: Action, slot: str = "by hand") -> Cycle:
    return await pipeline.operate(slot, actions, "anna", "out of it")


async def test_a_sale_by_hand_is_sent_and_recorded():
    desk = await stocked()
    cycle = await operate(desk.pipeline, SELL)
    assert cycle.origin is Origin.OPERATOR
    (order,) = await desk.orders()
    assert (order.status, order.qty) == (OrderStatus.ACCEPTED, 500)
    assert desk.model.requests == []
    desk.counter.fill(order, 500)
    await desk.settle()
    (cycle,) = await desk.cycles()
    assert cycle.status is DecisionStatus.EXECUTED
    report = await desk.report()
    assert report.verification.verified
    assert report.trace_coverage == 1.0
    assert await desk.agrees()


async def test_a_person_does_not_pass_by_the_gate():
    desk = await stocked()
    cycle = await operate(desk.pipeline, replace(SELL, qty=2_100))
    assert cycle.status is DecisionStatus.REJECTED_RISK
    assert desk.counter.sent == []
    assert (await desk.report()).trace_coverage == 1.0


async def test_at_level_three_a_sale_leaves_and_a_buy_does_not():
    desk = await stocked()
    desk.lever.at = KillLevel.FLATTEN
    await operate(desk.pipeline, SELL)
    buy = replace(SELL, side=Side.BUY, symbol=SECOND, price=units(10))
    cycle = await operate(desk.pipeline, buy, slot="another")
    assert cycle.status is DecisionStatus.REJECTED_RISK
    assert [order.symbol for _, order in desk.counter.sent] == [FIRST]


async def test_at_level_two_nothing_leaves():
    desk = await stocked()
    desk.lever.at = KillLevel.NO_ORDERS
    cycle = await operate(desk.pipeline, SELL)
    assert (cycle.status, cycle.status_code) == (
        DecisionStatus.REJECTED_RISK,
        "RISK_KILL_SWITCH",
    )


async def test_the_same_request_again_is_the_same_request():
    desk = await stocked()
    first = await operate(desk.pipeline, SELL)
    for restart in (False, True):
        if restart:
            await desk.restart()
        again = await operate(desk.pipeline, SELL)
        assert again.decision_id == first.decision_id
    assert len(desk.counter.sent) == 1


@pytest.mark.parametrize("what", ["sell", "market", "cancel", "modify"])
async def test_cut_off_anywhere_it_goes_on_as_it_was_asked(what):
    number = 0
    while True:
        desk = await stocked()
        (resting,) = await desk.placed(buy_action(SECOND, 1_000, "10.00"))
        named: dict[str, Any] = {"target_order_id": str(resting.order_id)}
        action = {
            "sell": SELL,
            "market": replace(SELL, order_type=OrderType.MARKET_BEST5_CANCEL, price=None),
            "cancel": Action(0, ActionType.CANCEL_ORDER, **named),
            "modify": Action(0, ActionType.MODIFY_ORDER, price=units("9.95"), **named),
        }[what]
        passed = await desk.crashing(number, lambda d=desk, a=action: operate(d.pipeline, a))
        if len(passed) <= number:
            break
        # Whoever asked hears nothing of the crash, and asks again.
        await operate(desk.pipeline, action)
        await desk.settle()
        places = {"sell": (FIRST, "9.95"), "modify": (SECOND, "9.95"), "market": (FIRST, "9.85")}
        found = [
            (order.symbol, order.price, order.status)
            for order in await desk.orders()
            if order.order_id != resting.order_id
        ]
        point = (number, passed[-1])
        if what in places:
            symbol, price = places[what]
            (one,) = found
            assert one[:2] == (symbol, units(price)), point
        if what in ("cancel", "modify"):
            assert (await desk.order(resting)).status is OrderStatus.CANCELED, point
        tags = [order.client_order_id for _, order in desk.counter.sent]
        assert len(tags) == len(set(tags)), point
        assert (await desk.report()).trace_coverage == 1.0, point
        assert await desk.agrees(), point
        number += 1
    assert number > 10


@pytest.mark.parametrize(("asked", "left"), [(None, 500), (600, 500), (400, 300)])
async def test_a_change_by_hand_is_of_what_was_open_when_it_was_asked_for(asked, left):
    """400 of 1,000 had traded then; 100 more trade while the cancel is on its way."""
    number = 0
    while True:
        desk = await stocked()
        (resting,) = await desk.placed(buy_action(SECOND, 1_000, "10.00"))
        desk.counter.fill(resting, 400)
        await desk.settle()
        desk.counter.before_cancel = lambda order, d=desk: (
            None if len(d.counter.slip(order).fills) > 1 else d.counter.fill(order, 100) and None
        )
        action = Action(
            0,
            ActionType.MODIFY_ORDER,
            price=units("9.95"),
            qty=asked,
            target_order_id=str(resting.order_id),
        )
        passed = await desk.crashing(number, lambda d=desk, a=action: operate(d.pipeline, a))
        if len(passed) <= number:
            break
        await operate(desk.pipeline, action)
        await desk.settle()
        point = (number, passed[-1])
        old = await desk.order(resting)
        (new,) = [one for one in await desk.orders() if one.order_id != old.order_id]
        assert (old.status, old.filled_qty) == (OrderStatus.CANCELED, 500), point
        assert new.qty == left, point
        number += 1
    assert number > 10
