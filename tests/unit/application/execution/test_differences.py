"""Differences that a comparison must not miss: terms, older days, orders without a price."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import time, timedelta

import pytest

from caopan.application.ports.broker import VenueOrder
from caopan.domain.orders.order import OrderStatus, Side
from caopan.domain.risk.kill_switch import Control
from caopan.domain.risk.venue import Licence, Venue
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import Conflict
from caopan.kernel.money import units
from caopan.testing.counter import COUNTER
from caopan.testing.models import buy_action
from caopan.testing.table_desk import DAY, FIRST, SECOND, SESSIONS, TableDesk
from caopan.testing.venues import Fault, FaultyBroker

S = OrderStatus
TOMORROW = SESSIONS[SESSIONS.index(DAY) + 1]
Change = Callable[[VenueOrder], VenueOrder]


@pytest.mark.parametrize(
    ("change", "theirs"),
    [
        (lambda one: replace(one, symbol=SECOND), "buy 1000 600002.SH at 10.00"),
        (lambda one: replace(one, side=Side.SELL), "sell 1000 600001.SH at 10.00"),
        (lambda one: replace(one, qty=900), "buy 900 600001.SH at 10.00"),
        (lambda one: replace(one, price=units("10.01")), "buy 1000 600001.SH at 10.01"),
    ],
    ids=["symbol", "side", "qty", "price"],
)
async def test_an_order_that_the_venue_has_on_other_terms_is_a_difference(
    change: Change, theirs: str
):
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    slip = desk.counter.slip(order)
    slip.listed = change(slip.listed)
    result = await desk.pipeline.reconcile("interval")
    assert list(result.differences) == [
        {
            "kind": "order_terms",
            "key": order.client_order_id,
            "ours": "buy 1000 600001.SH at 10.00",
            "theirs": theirs,
        }
    ]


async def test_a_counter_that_shows_no_price_of_an_order_shows_no_other_price():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    slip = desk.counter.slip(order)
    slip.listed = replace(slip.listed, price=0)
    assert (await desk.pipeline.reconcile("interval")).passed


# --- over a night -----------------------------------------------------------------------------


async def test_an_order_of_yesterday_open_here_and_forgotten_there_is_a_difference():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    # A counter shows the orders of the day.
    desk.counter.slips.clear()
    desk.clock.set(at_shanghai(TOMORROW, time(9)))
    result = await desk.pipeline.reconcile("start")
    assert [(one["kind"], one["key"]) for one in result.differences] == [
        ("order", order.client_order_id)
    ]
    assert (await desk.order(order)).status is S.ACCEPTED


async def test_an_order_of_yesterday_that_ended_is_none():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.counter.end(order, S.EXPIRED)
    await desk.settle()
    desk.counter.slips.clear()
    desk.clock.set(at_shanghai(TOMORROW, time(9)))
    assert (await desk.pipeline.reconcile("start")).passed


@pytest.mark.parametrize(("remembers", "ends"), [(True, S.NOT_SENT), (False, S.UNKNOWN)])
async def test_over_a_night_absence_proves_something_only_where_days_are_remembered(
    remembers: bool,
    ends: OrderStatus,
):
    desk = TableDesk(
        capabilities=replace(COUNTER, remembers_days=remembers),
        wrap=lambda venue: FaultyBroker(venue, [Fault.REQUEST_VANISHED]),
    )
    await desk.open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.clock.set(at_shanghai(TOMORROW, time(9)))
    for _ in range(2):
        await desk.restart()
        await desk.settle()
        assert (await desk.order(order)).status is ends
    # What may have been bought is not spent again.
    assert bool(desk.pipeline.account.book.cash_frozen) == (not remembers)


async def test_what_was_bought_unheard_is_shown_by_a_venue_that_forgets_its_order():
    desk = TableDesk(wrap=lambda venue: FaultyBroker(venue, [Fault.ANSWER_LOST]))
    await desk.open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.counter.fill(order.client_order_id, 1_000)
    desk.counter.slips.clear()
    desk.clock.set(at_shanghai(TOMORROW, time(9)))
    await desk.restart()
    result = await desk.pipeline.reconcile("start")
    assert {one["kind"] for one in result.differences} == {"cash", "position"}
    assert (await desk.order(order)).status is S.UNKNOWN


async def test_what_was_bought_unheard_is_booked_where_days_are_remembered():
    desk = TableDesk(
        capabilities=replace(COUNTER, remembers_days=True),
        wrap=lambda venue: FaultyBroker(venue, [Fault.ANSWER_LOST]),
    )
    await desk.open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.counter.fill(order.client_order_id, 1_000)
    desk.clock.set(at_shanghai(TOMORROW, time(9)))
    await desk.restart()
    assert (await desk.pipeline.reconcile("start")).passed
    assert (await desk.order(order)).status is S.FILLED
    assert await desk.agrees()


# --- without a price --------------------------------------------------------------------------


async def test_a_market_order_placed_outside_reserves_what_it_can_cost_at_most():
    desk = await TableDesk().open()
    theirs = desk.counter.place_outside(FIRST, Side.BUY, 0, 50_000)
    assert (await desk.pipeline.reconcile("interval")).passed
    (order,) = desk.pipeline.account.working.values()
    # Limit-up of a share that closed at 10.00.
    assert order.price == units(11)
    at_most = 50_000 * units(11)
    book = desk.pipeline.account.book
    assert at_most <= book.cash_frozen < at_most + units(1_000)
    licence = Licence(Venue.SANDBOX)
    standing = desk.pipeline.account.standing({}, {}, DAY, control=Control(), licence=licence)
    assert standing.exposure[FIRST] == at_most
    desk.counter.fill(theirs.broker_order_id, 50_000, units("10.05"))
    await desk.settle(timedelta(seconds=1))
    book = desk.pipeline.account.book
    assert (book.cash_frozen, book.quantities()) == (0, {FIRST: 50_000})
    assert (await desk.pipeline.reconcile("interval")).passed
    assert await desk.agrees()


async def test_a_person_may_say_that_an_unknown_order_was_never_taken():
    desk = TableDesk(wrap=lambda venue: FaultyBroker(venue, [Fault.REQUEST_VANISHED]))
    await desk.open()
    await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.clock.set(at_shanghai(TOMORROW, time(9)))
    await desk.restart()
    (waiting,) = desk.pipeline.account.working.values()
    assert (waiting.status, desk.pipeline.account.book.cash_frozen > 0) == (S.UNKNOWN, True)
    ended = await desk.pipeline.controller.declare_never_taken(waiting)
    assert (ended.status, ended.reject_code) == (S.NOT_SENT, "OPERATOR_NEVER_TAKEN")
    assert desk.pipeline.account.book.cash_frozen == 0
    with pytest.raises(Conflict) as caught:
        await desk.pipeline.controller.declare_never_taken(ended)
    assert caught.value.code == "ORDER_NOT_UNKNOWN"
