"""What every venue owes the hand, whatever stands behind it. The venues are in worlds.py."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import time

import pytest
from tests.contract.broker.worlds import (
    AFTER_CLOSE,
    ALIEN,
    BEFORE,
    CASH,
    HELD,
    MINE,
    NEXT,
    QUIET,
    TODAY,
    VENUES,
    World,
)

from caopan.application.ports.broker import (
    FillReport,
    OrderStatusReport,
    Report,
    VenueAccount,
    VenuePosition,
)
from caopan.domain.orders.order import EDGES, TERMINAL, Order, OrderStatus, OrderType, Side
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import Denied
from caopan.kernel.ids import foreign_order_id
from caopan.kernel.money import units
from caopan.testing.samples import NOW

UNFILLED_ENDS = {OrderStatus.EXPIRED, OrderStatus.CANCELED}
"""A counter may call the end of the day a cancel."""


@pytest.fixture(params=list(VENUES.values()), ids=list(VENUES))
async def world(request) -> AsyncIterator[World]:
    opened = World(request.param)
    await opened.open()
    yield opened
    await opened.close()


def said(reports: list[Report], tag: str) -> tuple[list[FillReport], list[OrderStatusReport]]:
    mine = [report for report in dict.fromkeys(reports) if report.client_order_id == tag]
    return (
        [report for report in mine if isinstance(report, FillReport)],
        [report for report in mine if isinstance(report, OrderStatusReport)],
    )


async def test_it_has_a_name(world):
    assert world.broker.name == world.order().broker


async def test_an_order_is_acknowledged_under_our_tag(world):
    report = await world.submit(world.order())
    assert report.client_order_id == world.order().client_order_id
    assert report.status is OrderStatus.ACCEPTED
    assert report.broker_order_id
    assert report.at == NOW
    assert await world.broker.find(world.order().client_order_id) == report


async def test_what_it_has_never_seen_it_does_not_know(world):
    await world.submit(world.order())
    tag = world.order(2).client_order_id
    assert await world.broker.find(tag) is None
    assert list(await world.broker.reports([tag])) == []
    assert list(await world.broker.reports([])) == []


async def test_a_tag_is_taken_once(world):
    first = await world.submit(world.order())
    for again in (world.order(), world.order(qty=200, price=units("9.99"))):
        with pytest.raises(Denied) as caught:
            await world.submit(again)
        assert caught.value.code in {"BROKER_REJECT_OTHER", "BROKER_BLOCKED"}
    assert await world.broker.find(world.order().client_order_id) == first


async def test_orders_have_numbers_of_their_own(world):
    reports = [await world.submit(world.order(number)) for number in range(5)]
    assert len({report.broker_order_id for report in reports}) == 5


async def test_before_the_close_nothing_has_happened(world):
    await world.submit(world.order())
    fills, states = said(
        list(await world.broker.reports([world.order().client_order_id])),
        world.order().client_order_id,
    )
    assert fills == []
    assert {state.status for state in states} == {OrderStatus.ACCEPTED}


async def test_after_the_close_every_order_has_ended_and_says_how(world):
    dear, cheap, far = (
        world.order(1),
        world.order(2, price=units("9.70")),
        world.order(3, price=units("9.10")),
    )
    sale = world.order(4, side=Side.SELL, price=units("10.30"))
    orders = [dear, cheap, far, sale]
    for each in orders:
        await world.submit(each)
    world.clock.set(AFTER_CLOSE)
    reports = list(await world.broker.reports([each.client_order_id for each in orders]))
    ids: list[str] = []
    for each in orders:
        fills, states = said(reports, each.client_order_id)
        filled = sum(fill.qty for fill in fills)
        (state,) = states
        assert state.status in ({OrderStatus.FILLED} if filled == each.qty else UNFILLED_ENDS)
        assert state.at >= NOW
        for fill in fills:
            assert (fill.symbol, fill.side, fill.trading_day) == (each.symbol, each.side, TODAY)
            assert 0 < fill.qty <= each.qty
            assert units("9.60") <= fill.price <= units("10.40")
            worse = fill.price > each.price
            assert worse == (each.side is Side.SELL) or fill.price == each.price
            assert NOW < fill.at <= AFTER_CLOSE
        ids += [fill.broker_fill_id for fill in fills]
    assert len(set(ids)) == len(ids)
    assert said(reports, far.client_order_id)[0] == []
    assert said(reports, dear.client_order_id)[0] != []


async def test_reports_say_the_same_again(world):
    await world.submit(world.order(1))
    await world.submit(world.order(2, price=units("9.70")))
    tags = [world.order(1).client_order_id, world.order(2).client_order_id]
    world.clock.set(AFTER_CLOSE)
    first = list(await world.broker.reports(tags))
    assert list(await world.broker.reports(tags)) == first
    world.clock.set(at_shanghai(NEXT, time(15, 1)))
    assert list(await world.broker.reports(tags)) == first
    assert set(await world.broker.reports(tags[:1])) == {
        report for report in first if report.client_order_id == tags[0]
    }


async def test_what_has_ended_is_found_as_it_ended(world):
    await world.submit(world.order())
    world.clock.set(AFTER_CLOSE)
    found = await world.broker.find(world.order().client_order_id)
    assert found is not None
    assert found.status is OrderStatus.FILLED
    with pytest.raises(Denied):
        await world.submit(world.order())


@pytest.mark.parametrize("moment", [time(9, 30), time(10, 15), time(14, 59)])
async def test_no_fill_is_older_than_its_order(world, moment):
    world.clock.set(at_shanghai(TODAY, moment))
    await world.submit(world.order())
    world.clock.set(AFTER_CLOSE)
    fills, (state,) = said(
        list(await world.broker.reports([world.order().client_order_id])),
        world.order().client_order_id,
    )
    assert all(fill.at >= at_shanghai(TODAY, moment) for fill in fills)
    assert state.at >= at_shanghai(TODAY, moment)
    assert state.status in {OrderStatus.FILLED, *UNFILLED_ENDS}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"price": units("11.01")}, "BROKER_REJECT_PRICE_LIMIT"),
        ({"price": units("8.99")}, "BROKER_REJECT_PRICE_LIMIT"),
        ({"symbol": ALIEN}, "BROKER_REJECT_SESSION"),
        ({"symbol": QUIET}, "BROKER_REJECT_OTHER"),
    ],
)
async def test_what_the_exchange_would_refuse_is_refused(world, change, code):
    with pytest.raises(Denied) as caught:
        await world.submit(world.order(**change))
    assert caught.value.code == code
    # Nothing happened: the tag is free and unknown.
    assert await world.broker.find(world.order().client_order_id) is None


@pytest.mark.parametrize(
    "moment", [time(0, 30), time(8, 0), time(9, 14), time(9, 27), time(11, 45), time(15, 10)]
)
async def test_outside_the_session_nothing_is_taken(world, moment):
    world.clock.set(at_shanghai(NEXT, moment))
    with pytest.raises(Denied) as caught:
        await world.submit(world.order())
    assert caught.value.code in {"BROKER_REJECT_SESSION", "BROKER_BLOCKED"}


@pytest.mark.parametrize("moment", [time(9, 15), time(9, 24), time(9, 30), time(14, 59)])
async def test_inside_the_session_it_is(world, moment):
    world.clock.set(at_shanghai(NEXT, moment))
    assert (await world.submit(world.order())).status is OrderStatus.ACCEPTED


# --- capabilities -----------------------------------------------------------------------------


async def test_it_says_what_it_can_do_and_keeps_to_it(world):
    able = world.broker.capabilities
    assert OrderType.LIMIT in able.order_types
    assert able.tag_chars >= 23
    assert able.orders_per_second > 0
    assert able.settle_window.total_seconds() >= 0
    for kind in set(OrderType) - able.order_types:
        with pytest.raises(Denied):
            await world.submit(world.order(order_type=kind))
    longest = "C" * able.tag_chars
    await world.submit(world.order(2, client_order_id=longest))
    found = await world.broker.find(longest)
    assert found is not None
    assert found.client_order_id == longest


# --- cancels ----------------------------------------------------------------------------------


async def test_a_cancel_ends_what_is_open_and_asking_again_changes_nothing(world):
    order = world.order()
    await world.submit(order)
    answers = [await world.broker.cancel(order) for _ in range(3)]
    assert {one.status for one in answers} == {OrderStatus.CANCELED}
    assert {one.client_order_id for one in answers} == {order.client_order_id}
    account = await world.broker.account()
    assert (account.cash_free, account.cash_frozen) == (CASH, 0)
    world.clock.set(AFTER_CLOSE)
    assert list(await world.broker.fills(TODAY)) == []


async def test_an_order_that_has_ended_is_not_cancelled_but_told(world):
    order = world.order()
    await world.submit(order)
    world.clock.set(AFTER_CLOSE)
    assert (await world.broker.cancel(order)).status is OrderStatus.FILLED


async def test_an_order_it_does_not_know_cannot_be_cancelled(world):
    with pytest.raises(Denied) as caught:
        await world.broker.cancel(world.order())
    assert caught.value.code == "BROKER_REJECT_OTHER"


def foreign(world: World, number: str) -> Order:
    """Return our image of an order that somebody placed at the counter."""
    return world.order(9, client_order_id=foreign_order_id(number), broker_order_id=number, qty=300)


async def test_an_order_placed_outside_is_cancelled_by_its_number(world):
    ours = world.order()
    await world.submit(ours)
    outside = await world.exchange.place_outside(MINE, Side.BUY, units(10), 300)
    image = foreign(world, outside.broker_order_id)
    answers = [await world.broker.cancel(image) for _ in range(2)]
    assert {one.status for one in answers} == {OrderStatus.CANCELED}
    assert {one.broker_order_id for one in answers} == {outside.broker_order_id}
    left, gone = await world.broker.orders(TODAY)
    assert (left.status, gone.status) == (OrderStatus.ACCEPTED, OrderStatus.CANCELED)


async def test_an_order_placed_outside_that_has_ended_or_never_was_is_told(world):
    outside = await world.exchange.place_outside(MINE, Side.BUY, units(10), 300)
    world.clock.set(AFTER_CLOSE)
    told = await world.broker.cancel(foreign(world, outside.broker_order_id))
    assert told.status is OrderStatus.FILLED
    for number in ("S99999999", None):
        with pytest.raises(Denied) as caught:
            await world.broker.cancel(replace(foreign(world, "S99999999"), broker_order_id=number))
        assert caught.value.code == "BROKER_REJECT_OTHER"


@pytest.mark.parametrize("moment", [time(9, 20), time(14, 58)])
async def test_where_no_cancels_are_taken_the_order_goes_on(world, moment):
    order = world.order()
    await world.submit(order)
    world.clock.set(at_shanghai(TODAY, moment))
    with pytest.raises(Denied) as caught:
        await world.broker.cancel(order)
    assert caught.value.code == "BROKER_REJECT_SESSION"
    found = await world.broker.find(order.client_order_id)
    assert found is not None
    assert found.status is OrderStatus.ACCEPTED


async def test_a_cancel_on_its_way_ends_one_way_or_the_other(world):
    served, missed = world.order(1), world.order(2, price=units("9.70"))
    for order in (served, missed):
        await world.submit(order)
    world.clock.set(at_shanghai(TODAY, time(10)))
    for order in (served, missed):
        answer = await world.broker.cancel(order)
        assert answer.status in EDGES[OrderStatus.ACCEPTED] | EDGES[OrderStatus.PENDING_CANCEL]
    world.clock.set(AFTER_CLOSE)
    for order in (served, missed):
        found = await world.broker.find(order.client_order_id)
        assert found is not None
        assert found.status in TERMINAL
        fills, _ = said(
            list(await world.broker.reports([order.client_order_id])), order.client_order_id
        )
        filled = sum(fill.qty for fill in fills)
        assert (found.status is OrderStatus.FILLED) == (filled == order.qty)


# --- the day's lists --------------------------------------------------------------------------


async def test_the_days_orders_are_all_there_with_those_of_others(world):
    await world.submit(world.order(1))
    outside = await world.exchange.place_outside(MINE, Side.BUY, units(10), 300)
    await world.submit(world.order(2, price=units("9.10")))
    listed = list(await world.broker.orders(TODAY))
    tags = [world.order(1).client_order_id, "", world.order(2).client_order_id]
    assert [one.client_order_id for one in listed] == tags
    assert listed[1].broker_order_id == outside.broker_order_id
    assert (listed[1].symbol, listed[1].side, listed[1].qty) == (MINE, Side.BUY, 300)
    assert list(await world.broker.orders(BEFORE)) == []
    world.clock.set(AFTER_CLOSE)
    listed = list(await world.broker.orders(TODAY))
    assert [one.filled_qty for one in listed] == [1_000, 300, 0]
    assert all(one.status in TERMINAL for one in listed)
    fills = list(await world.broker.fills(TODAY))
    assert [(one.client_order_id, one.qty) for one in fills] == [(tags[0], 1_000), ("", 300)]
    assert [one.broker_order_id for one in fills] == [one.broker_order_id for one in listed[:2]]
    assert list(await world.broker.fills(NEXT)) == []


# --- the account ------------------------------------------------------------------------------


async def test_cash_is_free_or_frozen_and_bought_shares_wait_a_day(world):
    before = await world.broker.account()
    assert before == VenueAccount(CASH, 0, NOW, {MINE: VenuePosition(HELD, HELD)})
    buy, sale = world.order(1, qty=2_000), world.order(2, side=Side.SELL, price=units(10))
    await world.submit(buy)
    await world.submit(sale)
    working = await world.broker.account()
    assert working.cash_free + working.cash_frozen == CASH
    assert working.cash_frozen >= 2_000 * units(10)
    assert working.positions == {MINE: VenuePosition(HELD, HELD - 1_000)}
    world.clock.set(AFTER_CLOSE)
    after = await world.broker.account()
    assert after.cash_frozen == 0
    traded = sum(
        (1 if one.side is Side.SELL else -1) * one.qty * one.price
        for one in await world.broker.fills(TODAY)
    )
    # Two commissions of five yuan, 2023's stamp duty on the sale, the transfer fee of both.
    assert CASH + traded - after.cash_free == units("20.30")
    assert after.positions == {MINE: VenuePosition(HELD + 1_000, HELD - 1_000)}
    world.clock.set(at_shanghai(NEXT, time(9, 16)))
    tomorrow = await world.broker.account()
    assert tomorrow.positions == {MINE: VenuePosition(HELD + 1_000, HELD + 1_000)}


async def test_what_is_frozen_cannot_be_spent_or_sold_twice(world):
    await world.submit(world.order(1, qty=60_000))
    with pytest.raises(Denied) as caught:
        await world.submit(world.order(2, qty=60_000))
    assert caught.value.code == "BROKER_REJECT_FUNDS"
    await world.submit(world.order(3, side=Side.SELL, qty=HELD))
    with pytest.raises(Denied) as caught:
        await world.submit(world.order(4, side=Side.SELL, qty=100))
    assert caught.value.code == "BROKER_REJECT_POSITION"


# --- a restart in between ---------------------------------------------------------------------


async def test_a_restart_forgets_nothing(world):
    kept, gone = world.order(1), world.order(2, price=units("9.10"))
    for order in (kept, gone):
        await world.submit(order)
    await world.broker.cancel(gone)
    account = await world.broker.account()
    await world.open()
    assert await world.broker.account() == account
    with pytest.raises(Denied):
        await world.submit(kept)
    world.clock.set(AFTER_CLOSE)
    await world.open()
    fills, states = said(
        list(await world.broker.reports([kept.client_order_id])), kept.client_order_id
    )
    assert sum(fill.qty for fill in fills) == kept.qty
    assert [state.status for state in states] == [OrderStatus.FILLED]
    told = await world.broker.account(), list(await world.broker.fills(TODAY))
    await world.open()
    assert (await world.broker.account(), list(await world.broker.fills(TODAY))) == told
    found = await world.broker.find(gone.client_order_id)
    assert found is not None
    assert found.status is OrderStatus.CANCELED
