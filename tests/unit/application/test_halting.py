"""Carrying out a halt: what is cancelled at each level, what is sold, and again until done."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta

import pytest

from caopan.application import account_movements as movements
from caopan.application.halting import carry_out, stop_account
from caopan.domain.accounting.bookings import BroughtLot
from caopan.domain.decision.shapes import Action, ActionType
from caopan.domain.orders.order import OrderStatus, OrderType, Side
from caopan.domain.risk.kill_switch import Control, KillLevel
from caopan.kernel.errors import Denied, Unavailable
from caopan.kernel.money import units
from caopan.testing.models import buy_action, decision_json, sell_action
from caopan.testing.table_desk import CASH, DAY, FIRST, SECOND, SESSIONS, THIRD, TableDesk
from caopan.testing.venues import Fault, FaultyBroker

S = OrderStatus
AUCTION = time(9, 16)
"""Orders can be cancelled until 9:20, then from 9:30 again."""


async def holding(desk: TableDesk | None = None) -> TableDesk:
    """Return a desk with shares of yesterday and of today, and a buy that rests."""
    desk = await (desk or TableDesk()).open()
    lots = [
        BroughtLot(SECOND, 700, units(7_000), date(2023, 6, 2)),
        BroughtLot(SECOND, 300, units(3_000), DAY),
    ]
    await movements.open_with(desk.pipeline.seat, "file", CASH, lots, "me")
    await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    return desk


async def stocked(desk: TableDesk, qty: int) -> TableDesk:
    """Return the desk with `qty` settled shares of FIRST, here and at the counter."""
    await desk.open()
    lot = BroughtLot(FIRST, qty, units(10) * qty, SESSIONS[0])
    await movements.open_with(desk.pipeline.seat, "file", CASH, [lot], "me")
    desk.counter.move(**{FIRST: qty})
    return desk


async def up_for_sale(desk: TableDesk) -> dict[str, int]:
    found: dict[str, int] = {}
    for order in await desk.orders():
        if order.side is Side.SELL and order.status is S.ACCEPTED:
            found[order.symbol] = found.get(order.symbol, 0) + order.open_qty
    return found


@pytest.mark.parametrize("level", [KillLevel.OFF, KillLevel.NO_OPENINGS])
async def test_below_no_orders_what_is_open_stays_open(level):
    desk = await holding()
    desk.lever.at = level
    assert len((await carry_out(desk.pipeline, "drill")).still_open) == 1
    await desk.settle(timedelta(minutes=1))
    assert desk.counter.cancels == []


async def test_no_orders_cancels_everything_and_sells_nothing():
    desk = await holding()
    desk.lever.at = KillLevel.NO_ORDERS
    for _ in range(2):
        assert not (await carry_out(desk.pipeline, "drill")).still_open
    assert [one.status for one in await desk.orders()] == [S.CANCELED]


# --- level three ------------------------------------------------------------------------------


async def test_flatten_puts_up_for_sale_what_is_sellable_once():
    desk = await holding()
    desk.lever.at = KillLevel.FLATTEN
    for _ in range(2):
        left = await carry_out(desk.pipeline, "drill")
        assert left.unsold == {SECOND: 300}
    sales = [one for one in await desk.orders() if one.side is Side.SELL]
    assert [(one.symbol, one.qty) for one in sales] == [(SECOND, 700)]
    buys = [one for one in await desk.orders() if one.side is Side.BUY]
    assert [one.status for one in buys] == [S.CANCELED]


async def test_what_flattens_is_not_cancelled_again_by_the_halt():
    desk = await holding()
    desk.lever.at = KillLevel.FLATTEN
    await carry_out(desk.pipeline, "drill")
    for restart in (False, True):
        if restart:
            await desk.restart()
        await desk.settle(timedelta(minutes=1))
        assert await up_for_sale(desk) == {SECOND: 700}
    # At level two nothing may rest, not even that.
    desk.lever.at = KillLevel.NO_ORDERS
    await desk.settle(timedelta(minutes=1))
    assert await up_for_sale(desk) == {}


async def test_what_a_resting_sale_holds_is_put_up_for_sale_as_well():
    desk = await stocked(TableDesk(at=AUCTION), 1_000)
    (resting,) = await desk.placed(sell_action(FIRST, 500, "10.90"))
    desk.lever.at = KillLevel.FLATTEN
    left = await carry_out(desk.pipeline, "drill")
    assert left.unsold == {}
    assert [(one.qty, one.price) for one in left.still_open] == [(1_000, units(9))]
    assert (await desk.order(resting)).status is S.CANCELED


@pytest.mark.parametrize("at", [time(3), time(12), time(15, 30)])
async def test_nothing_is_put_up_for_sale_while_the_exchange_takes_no_orders(at):
    desk = await stocked(TableDesk(at=at), 1_000)
    desk.lever.at = KillLevel.FLATTEN
    left = await carry_out(desk.pipeline, "drill")
    assert left.unsold == {FIRST: 1_000}
    assert await desk.cycles() == []


async def test_an_account_is_stopped_once_and_what_stands_higher_stays():
    desk = await TableDesk().open()
    seat = desk.pipeline.seat
    for _ in range(2):
        await stop_account(seat, "x" * 900, "test")
        assert (seat.control.level, seat.control.version) == (KillLevel.NO_ORDERS, 1)
    assert len(seat.control.reason) == 500
    async with seat.begin() as uow:
        await uow.controls.put(replace(seat.control, level=KillLevel.FLATTEN, version=2))
        await uow.commit()
    await stop_account(seat, "y", "test")
    assert (seat.control.level, seat.control.version) == (KillLevel.FLATTEN, 2)


async def test_what_a_slow_venue_frees_is_put_up_for_sale_by_the_next_look():
    desk = await stocked(TableDesk(at=AUCTION, cancels_at_once=False), 1_000)
    (resting,) = await desk.placed(sell_action(FIRST, 500, "10.90"))
    desk.lever.at = KillLevel.FLATTEN
    began = desk.clock.now()
    await carry_out(desk.pipeline, "drill")
    # It does not wait for ever for a venue that says nothing.
    assert desk.clock.now() - began < timedelta(seconds=10)
    assert await up_for_sale(desk) == {FIRST: 500}
    desk.counter.end(resting, S.CANCELED)
    await carry_out(desk.pipeline, "drill")
    assert await up_for_sale(desk) == {FIRST: 1_000}


async def test_a_holding_larger_than_one_order_may_be_is_sold_in_several():
    desk = await stocked(TableDesk(at=AUCTION), 2_500_000)
    desk.lever.at = KillLevel.FLATTEN
    left = await carry_out(desk.pipeline, "drill")
    assert left.unsold == {}
    assert sum(one.qty for one in left.still_open) == 2_500_000
    # Neither the exchange's largest order nor the second gate's notional stands in the way.
    assert max(one.qty for one in left.still_open) <= 1_000_000
    assert max(one.qty * one.price for one in left.still_open) <= units(5_000_000)


# --- a halt goes on cancelling ----------------------------------------------------------------


async def test_an_order_that_turns_up_after_the_halt_is_cancelled():
    desk = TableDesk(wrap=lambda venue: FaultyBroker(venue, [Fault.REQUEST_DELAYED]))
    await desk.open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    assert order.status is S.UNKNOWN
    find = desk.counter.find

    async def away(tag):
        raise Unavailable("BROKER_DISCONNECTED", "down")

    desk.counter.find = away  # type: ignore[method-assign]
    desk.lever.at = KillLevel.NO_ORDERS
    (left,) = (await carry_out(desk.pipeline, "drill")).still_open
    assert left.status is S.UNKNOWN
    desk.counter.find = find  # type: ignore[method-assign]
    for _ in range(2):
        await desk.settle(timedelta(seconds=30))
    assert (await desk.order(order)).status is S.CANCELED
    assert await desk.agrees()


async def test_a_cancel_that_the_exchange_refuses_for_now_is_asked_again():
    desk = await TableDesk(at=AUCTION).open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    await desk.clock.pause(timedelta(minutes=5))
    desk.counter.refuses_cancels = Denied("BROKER_REJECT_SESSION", "no cancels until 9:25")
    desk.lever.at = KillLevel.NO_ORDERS
    (left,) = (await carry_out(desk.pipeline, "drill")).still_open
    assert left.status is S.ACCEPTED
    desk.counter.refuses_cancels = None
    await desk.settle(timedelta(minutes=6))
    assert (await desk.order(order)).status is S.CANCELED


async def test_a_halt_while_a_decision_is_made_cancels_what_rested_before_it():
    desk = await TableDesk().open()
    (resting,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))

    def pulled(request):
        desk.lever.at = KillLevel.NO_ORDERS
        return decision_json(request, buy_action(SECOND, 1_000, "10.00"))

    desk.says = pulled
    cycle = await desk.pipeline.run_cycle("second", DAY)
    assert cycle.status_code == "RISK_KILL_SWITCH"
    await desk.settle()
    assert (await desk.order(resting)).status is S.CANCELED
    assert len(desk.counter.sent) == 1


async def test_the_reconcilers_own_halt_cancels_too():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.counter.move(cash=-units(5))
    for _ in range(2):
        assert desk.counter.cancels == []
        await desk.clock.pause(timedelta(seconds=1))
        await desk.pipeline.reconcile("interval")
    assert desk.pipeline.seat.level() is KillLevel.NO_ORDERS
    assert len(desk.counter.cancels) == 1
    await desk.settle()
    assert (await desk.order(order)).status is S.CANCELED


async def test_what_another_process_has_stored_holds_back_what_waits():
    desk = await stocked(TableDesk(), 1_000)
    first, waits = await desk.placed(
        sell_action(FIRST, 1_000, "10.00"), buy_action(THIRD, 1_000, "10.00") | {"depends_on": 0}
    )
    async with desk.pipeline.seat.begin() as uow:
        halt = Control(KillLevel.NO_ORDERS, reason="x", by="me", at=desk.clock.now(), version=1)
        await uow.controls.put(halt)
        await uow.commit()
    desk.counter.fill(first, 1_000)
    await desk.settle()
    assert (await desk.order(waits)).status is S.CANCELED
    assert len(desk.counter.sent) == 1


async def test_what_a_person_sells_by_hand_is_not_cancelled_by_flattening():
    desk = await stocked(TableDesk(), 1_000)
    desk.lever.at = KillLevel.FLATTEN
    by_hand = Action(
        index=0,
        type=ActionType.PLACE_ORDER,
        symbol=FIRST,
        side=Side.SELL,
        order_type=OrderType.LIMIT,
        price=units("9.95"),
        qty=400,
    )
    await desk.pipeline.operate("by hand", [by_hand], "anna", "out of it")
    await carry_out(desk.pipeline, "drill")
    assert desk.counter.cancels == []
    assert await up_for_sale(desk) == {FIRST: 1_000}
