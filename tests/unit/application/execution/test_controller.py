"""The controller: orders leave once, in pace, and end only by the venue's own word."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import time, timedelta
from itertools import pairwise
from typing import Any

import pytest

from caopan.application.execution.controller import CANCEL_WAIT
from caopan.application.ports.broker import Broker
from caopan.domain.decision.shapes import CycleStage, DecisionStatus
from caopan.domain.orders.order import Order, OrderStatus, OrderType, Side
from caopan.domain.risk.kill_switch import Control, KillLevel
from caopan.domain.risk.venue import Licence, Venue
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import Denied, OutcomeUnknown, Unavailable
from caopan.kernel.money import units
from caopan.testing.counter import COUNTER
from caopan.testing.crash_points import CrashPlan
from caopan.testing.models import buy_action, sell_action
from caopan.testing.sim_loop import SimulatedCrash
from caopan.testing.table_desk import DAY, FIRST, POLICY, SECOND, THIRD, TableDesk
from caopan.testing.venues import CancelFault, Fault, FaultyBroker

SOON = timedelta(seconds=2)
S = OrderStatus


def buy(symbol: str = FIRST, qty: int = 1_000, price: str = "10.00", **more: Any) -> dict[str, Any]:
    return buy_action(symbol, qty, price) | more


def cancel_of(order: Order) -> dict[str, Any]:
    return {"type": "cancel_order", "target_order_id": str(order.order_id)}


def change_of(order: Order, **what: Any) -> dict[str, Any]:
    return {"type": "modify_order", "target_order_id": str(order.order_id), **what}


async def whole(desk: TableDesk) -> None:
    """Hold what must hold at any quiet moment."""
    report = await desk.report()
    assert report.verification.verified
    assert report.trace_coverage == 1.0
    assert await desk.agrees()
    tags = [order.client_order_id for _, order in desk.counter.sent]
    assert len(tags) == len(set(tags))


# --- cancels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("filled", [0, 300])
async def test_a_model_cancels_an_order(filled):
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy())
    if filled:
        desk.counter.fill(order, filled)
        await desk.settle()
    cycle = await desk.decide(cancel_of(order), slot="second")
    # Its end is the venue's to tell.
    assert (await desk.order(order)).status is S.PENDING_CANCEL
    await desk.settle()
    after = await desk.order(order)
    assert (after.status, after.filled_qty) == (S.CANCELED, filled)
    assert desk.pipeline.account.book.cash_frozen == 0
    assert {one.status for one in await desk.cycles() if one.decision_id != cycle.decision_id} == {
        DecisionStatus.PARTIALLY_EXECUTED if filled else DecisionStatus.CANCELED
    }
    await whole(desk)


async def test_an_order_that_has_not_left_is_ended_without_the_venue():
    desk = await TableDesk().open()
    first, waits = await desk.placed(buy(), buy(SECOND, depends_on=0))
    assert waits.status is S.CREATED
    await desk.decide(cancel_of(waits), slot="second")
    assert (await desk.order(waits)).status is S.CANCELED
    assert desk.counter.cancels == []
    desk.counter.fill(first, 1_000)
    await desk.settle()
    assert len(desk.counter.sent) == 1
    assert desk.pipeline.account.book.cash_frozen == 0
    await whole(desk)


@pytest.mark.parametrize(
    ("fault", "ends"), [(Fault.ANSWER_LOST, S.CANCELED), (Fault.REQUEST_VANISHED, S.NOT_SENT)]
)
async def test_an_order_whose_answer_was_lost_is_asked_after_before_it_is_cancelled(fault, ends):
    desk = await TableDesk(wrap=lambda venue: FaultyBroker(venue, [fault])).open()
    (order,) = await desk.placed(buy())
    assert order.status is S.UNKNOWN
    await desk.decide(cancel_of(order), slot="second")
    await desk.settle(SOON)
    assert (await desk.order(order)).status is ends
    assert desk.pipeline.account.book.cash_frozen == 0
    await whole(desk)


@pytest.mark.parametrize("qty", [400, 1_000])
async def test_a_fill_that_is_faster_than_the_cancel_is_booked(qty):
    desk = await TableDesk(cancels_at_once=False).open()
    (order,) = await desk.placed(buy())
    await desk.decide(cancel_of(order), slot="second")
    desk.counter.fill(order, qty)
    await desk.settle()
    after = await desk.order(order)
    assert after.filled_qty == qty
    assert after.status is (S.FILLED if qty == order.qty else S.PENDING_CANCEL)
    if qty < order.qty:
        desk.counter.end(order, S.CANCELED)
        await desk.settle()
        assert (await desk.order(order)).status is S.CANCELED
    await whole(desk)


@pytest.mark.parametrize("fault", [f for f in CancelFault if f is not CancelFault.NONE])
async def test_a_cancel_that_came_to_nothing_is_asked_again(fault):
    desk = await TableDesk(wrap=lambda venue: FaultyBroker(venue, cancel_faults=[fault])).open()
    (order,) = await desk.placed(buy())
    await desk.decide(cancel_of(order), slot="second")
    assert (await desk.order(order)).status is S.PENDING_CANCEL
    for _ in range(3):
        await desk.settle(SOON)
    assert (await desk.order(order)).status is S.CANCELED
    await whole(desk)


async def test_a_cancel_on_its_way_is_not_asked_for_again_and_again():
    desk = await TableDesk(cancels_at_once=False).open()
    (order,) = await desk.placed(buy())
    await desk.decide(cancel_of(order), slot="second")
    for _ in range(20):
        await desk.settle(timedelta(milliseconds=50))
    assert len(desk.counter.cancels) <= 2


async def test_a_venue_that_never_answers_is_asked_ever_more_rarely_and_each_request_counts():
    desk = await TableDesk(cancels_at_once=False).open()
    (order,) = await desk.placed(buy())
    await desk.decide(cancel_of(order), slot="second")
    for _ in range(100):
        await desk.settle(timedelta(seconds=1))
    asked = [at for at, _ in desk.counter.cancels]
    waits = [after - before for before, after in pairwise(asked)]
    assert waits == [timedelta(seconds=2**n) for n in range(len(waits))]
    assert len(waits) == 6
    licence = Licence(Venue.SANDBOX)
    standing = desk.pipeline.account.standing({}, {}, DAY, control=Control(), licence=licence)
    assert standing.cancels_today == len(asked)
    # It is still learned when the venue has done it.
    desk.counter.end(order, S.CANCELED)
    await desk.settle()
    assert (await desk.order(order)).status is S.CANCELED
    await whole(desk)


async def test_a_refused_cancel_leaves_the_order_at_work():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy())
    desk.counter.refuses_cancels = Denied("BROKER_REJECT_SESSION", "not now")
    await desk.decide(cancel_of(order), slot="second")
    after = await desk.order(order)
    assert (after.status, after.reject_code) == (S.ACCEPTED, "BROKER_REJECT_SESSION")
    desk.counter.fill(order, 1_000)
    await desk.settle()
    after = await desk.order(order)
    assert (after.status, after.reject_code) == (S.FILLED, None)
    await whole(desk)


async def test_cancel_all_asks_for_everything_open():
    desk = await TableDesk().open()
    orders = await desk.placed(buy(), buy(SECOND), buy(THIRD, depends_on=0))
    left = await desk.pipeline.controller.cancel_all()
    assert left == []
    assert {(await desk.order(one)).status for one in orders} == {S.CANCELED}
    assert len(desk.counter.cancels) == 2
    await whole(desk)


# --- fills ------------------------------------------------------------------------------------


async def test_a_fill_before_the_acceptance_was_heard():
    desk = await TableDesk(wrap=lambda venue: FaultyBroker(venue, [Fault.ANSWER_LOST])).open()
    (order,) = await desk.placed(buy())
    assert order.status is S.UNKNOWN
    desk.counter.fill(order, 1_000)
    await desk.settle()
    after = await desk.order(order)
    assert (after.status, after.filled_qty) == (S.FILLED, 1_000)
    (cycle,) = await desk.cycles()
    assert cycle.status is DecisionStatus.EXECUTED
    await whole(desk)


@pytest.mark.parametrize("ends", [S.CANCELED, S.EXPIRED])
@pytest.mark.parametrize("late", [250, 1_000])
@pytest.mark.parametrize("dies", [False, True])
async def test_a_fill_after_the_decision_was_closed_is_booked_and_recorded(ends, late, dies):
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy())
    desk.counter.end(order, ends)
    await desk.settle()
    (cycle,) = await desk.cycles()
    assert (cycle.stage, cycle.status.value) == (CycleStage.CLOSED, ends.value)
    entries = (await desk.report()).verification.entries
    desk.counter.fill(order, late)
    if dies:
        await desk.restart()
    await desk.settle()
    after = await desk.order(order)
    assert (after.status, after.filled_qty) == (S.FILLED if late == 1_000 else ends, late)
    (cycle,) = await desk.cycles()
    expected = DecisionStatus.EXECUTED if late == 1_000 else DecisionStatus.PARTIALLY_EXECUTED
    assert cycle.status is expected
    # The fill, the order as it now is, and once more what became of the decision.
    assert (await desk.report()).verification.entries == entries + 3
    await whole(desk)
    await desk.settle()
    assert (await desk.report()).verification.entries == entries + 3


async def test_reports_said_twice_are_booked_once():
    desk = await TableDesk(wrap=FaultyBroker).open()
    (order,) = await desk.placed(buy())
    for _ in range(4):
        desk.counter.fill(order, 250)
        # Each report repeats all that was said before.
        await desk.settle()
        await desk.settle()
    assert [fill.qty for fill in await desk.fills()] == [250] * 4
    await whole(desk)


# --- pace -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("venue", "policy", "most"), [(2, None, 2), (5, 1, 1), (1, 3, 1)])
async def test_no_second_sees_more_orders_than_are_allowed(venue, policy, most):
    desk = await TableDesk(
        capabilities=replace(COUNTER, orders_per_second=venue),
        policy=replace(POLICY, orders_per_second=policy),
    ).open()
    await desk.placed(buy(), buy(SECOND), buy(THIRD))
    await desk.placed(sell_action(FIRST, 100, "10.00"), buy(SECOND, price="9.99"), slot="second")
    times = sorted(at for at, _ in desk.counter.sent)
    assert len(times) == 3
    for number, began in enumerate(times):
        later = [at for at in times[number:] if at - began < timedelta(seconds=1)]
        assert len(later) <= most


async def test_the_pace_is_kept_where_the_wire_is_not_where_the_wish_was_recorded():
    # Each commit takes its time: what was recorded a second ago may have left just now.
    desk = TableDesk(capabilities=replace(COUNTER, orders_per_second=2))
    slow = [timedelta(milliseconds=900), timedelta(0), timedelta(0)]
    await desk.open()
    seat = desk.pipeline.seat
    record = seat.record

    async def slowly(drafts, *, transactions=(), orders=()):
        if orders and orders[0].status is S.SENDING and slow:
            await desk.clock.pause(slow.pop(0))
        await record(drafts, transactions=transactions, orders=orders)

    seat.record = slowly  # type: ignore[method-assign]
    await desk.placed(buy(), buy(SECOND), buy(THIRD))
    times = sorted(at for at, _ in desk.counter.sent)
    assert len(times) == 3
    assert times[2] - times[0] >= timedelta(seconds=1)


# --- orders that wait -------------------------------------------------------------------------


async def test_an_order_that_waits_leaves_once_the_first_is_filled():
    desk = await TableDesk().open()
    first, waits = await desk.placed(buy(), buy(SECOND, depends_on=0))
    assert (await desk.order(waits)).status is S.CREATED
    desk.counter.fill(first, 500)
    await desk.settle()
    assert len(desk.counter.sent) == 1
    desk.counter.fill(first, 500)
    await desk.settle()
    assert (await desk.order(waits)).status is S.ACCEPTED
    assert [order.symbol for _, order in desk.counter.sent] == [FIRST, SECOND]
    desk.counter.fill(waits.client_order_id, 1_000)
    await desk.settle()
    (cycle,) = await desk.cycles()
    assert cycle.status is DecisionStatus.EXECUTED
    await whole(desk)


@pytest.mark.parametrize("how", [S.REJECTED, S.NOT_SENT])
async def test_an_order_whose_first_failed_is_not_sent(how):
    desk = await TableDesk().open()
    desk.counter.refuses = (
        Denied("BROKER_REJECT_FUNDS", "no")
        if how is S.REJECTED
        else Unavailable("BROKER_DISCONNECTED", "down")
    )
    first, waits = await desk.placed(buy(), buy(SECOND, depends_on=0))
    await desk.settle()
    assert (await desk.order(first)).status is how
    after = await desk.order(waits)
    assert (after.status, after.reject_code) == (S.NOT_SENT, "DEPENDENCY_FAILED")
    assert len(desk.counter.sent) == 1
    assert desk.pipeline.account.book.cash_frozen == 0
    await whole(desk)


async def test_an_order_waits_no_longer_than_its_decision_is_valid():
    desk = await TableDesk().open()
    first, waits = await desk.placed(buy(), buy(SECOND, depends_on=0))
    await desk.settle(waits.not_after - desk.clock.now())
    assert (await desk.order(waits)).status is S.CREATED
    await desk.settle(timedelta(milliseconds=1))
    after = await desk.order(waits)
    assert (after.status, after.reject_code) == (S.EXPIRED, "RISK_EXPIRED")
    desk.counter.fill(first, 1_000)
    await desk.settle()
    assert len(desk.counter.sent) == 1
    await whole(desk)


async def test_what_the_first_fills_too_late_is_not_sent_any_more():
    desk = await TableDesk().open()
    first, waits = await desk.placed(buy(), buy(SECOND, depends_on=0))
    desk.counter.fill(first, 1_000)
    await desk.settle(waits.not_after - desk.clock.now() + timedelta(milliseconds=1))
    assert (await desk.order(waits)).status is S.EXPIRED
    assert len(desk.counter.sent) == 1


async def test_an_order_that_waits_is_judged_again_when_its_time_comes():
    desk = await TableDesk().open()
    first, waits = await desk.placed(buy(), buy(SECOND, depends_on=0))
    desk.lever.at = KillLevel.NO_OPENINGS
    desk.counter.fill(first, 1_000)
    await desk.settle()
    after = await desk.order(waits)
    assert (after.status, after.reject_code) == (S.NOT_SENT, "RISK_KILL_SWITCH")
    await whole(desk)


# --- orders that rest too long ----------------------------------------------------------------


async def test_an_order_that_rests_too_long_is_cancelled():
    desk = await TableDesk(order_timeout=timedelta(minutes=5)).open()
    (order,) = await desk.placed(buy())
    await desk.settle(timedelta(minutes=5) - timedelta(milliseconds=1))
    assert desk.counter.cancels == []
    await desk.settle(timedelta(milliseconds=1))
    await desk.settle()
    assert (await desk.order(order)).status is S.CANCELED
    await whole(desk)


async def test_it_is_not_cancelled_where_the_exchange_takes_no_cancels():
    desk = await TableDesk(order_timeout=timedelta(minutes=5), at=time(9, 17)).open()
    (order,) = await desk.placed(buy())
    for quiet in (time(9, 22), time(9, 27)):
        desk.clock.set(at_shanghai(DAY, quiet))
        await desk.settle()
        assert desk.counter.cancels == []
    desk.clock.set(at_shanghai(DAY, time(9, 30)))
    await desk.settle()
    await desk.settle()
    assert (await desk.order(order)).status is S.CANCELED


# --- changes of an order ----------------------------------------------------------------------


async def changed(desk: TableDesk, order: Order, **what: Any) -> list[Order]:
    """Let the model change `order`; return what was placed for it."""
    return await desk.placed(change_of(order, **what), slot="second")


def alive(desk: TableDesk) -> int:
    """Return how many orders the venue works."""
    working = (S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_CANCEL)
    return sum(slip.listed.status in working for slip in desk.counter.slips.values())


async def test_a_change_is_a_confirmed_cancel_and_then_a_new_order():
    desk = await TableDesk().open()
    (old,) = await desk.placed(buy())
    (new,) = await changed(desk, old, price="9.95")
    assert (await desk.order(old)).status is S.CANCELED
    assert (new.status, new.price, new.qty, new.side) == (
        S.ACCEPTED,
        units("9.95"),
        1_000,
        Side.BUY,
    )
    # The order keeps its exit plan.
    assert new.exit_plan_id == old.exit_plan_id is not None
    assert alive(desk) == 1
    await desk.settle()
    desk.counter.fill(new, 1_000)
    await desk.settle()
    await whole(desk)


async def test_the_new_order_is_placed_only_once_the_cancel_is_confirmed():
    desk = await TableDesk(cancels_at_once=False).open()
    (old,) = await desk.placed(buy())
    asked = desk.clock.now()
    confirm_at = asked + CANCEL_WAIT / 2
    pause = desk.clock.pause

    async def passing(by: timedelta) -> None:
        assert alive(desk) <= 1
        await pause(by)
        if desk.clock.now() >= confirm_at:
            desk.counter.end(old, S.CANCELED)

    desk.clock.pause = passing  # type: ignore[method-assign]
    (new,) = await changed(desk, old, qty=500)
    assert (new.status, new.qty) == (S.ACCEPTED, 500)
    assert desk.counter.sent[-1][0] >= confirm_at
    assert alive(desk) == 1


async def test_a_change_gives_up_when_the_cancel_is_not_confirmed_in_time():
    desk = await TableDesk(cancels_at_once=False).open()
    (old,) = await desk.placed(buy())
    began = desk.clock.now()
    assert await changed(desk, old, price="9.95") == []
    assert CANCEL_WAIT <= desk.clock.now() - began < 2 * CANCEL_WAIT
    desk.counter.end(old, S.CANCELED)
    await desk.settle()
    assert (await desk.order(old)).status is S.CANCELED
    assert len(desk.counter.sent) == 1
    await whole(desk)


async def test_a_refused_cancel_changes_nothing():
    desk = await TableDesk().open()
    (old,) = await desk.placed(buy())
    desk.counter.refuses_cancels = Denied("BROKER_REJECT_SESSION", "not now")
    assert await changed(desk, old, price="9.95") == []
    assert (await desk.order(old)).status is S.ACCEPTED
    assert alive(desk) == 1
    await whole(desk)


@pytest.mark.parametrize(("asked", "filled", "left"), [(None, 400, 600), (800, 300, 500)])
async def test_what_filled_meanwhile_is_part_of_what_was_asked_for(asked, filled, left):
    desk = await TableDesk().open()
    (old,) = await desk.placed(buy())
    desk.counter.before_cancel = lambda order: (
        None if desk.counter.slip(order).fills else desk.counter.fill(order, filled) and None
    )
    what = {"price": "9.95"} if asked is None else {"qty": asked}
    (new,) = await changed(desk, old, **what)
    assert new.qty == left
    await desk.settle()
    assert (await desk.order(old)).filled_qty == filled
    await whole(desk)


async def test_what_had_filled_before_the_model_looked_is_not_taken_off_again():
    desk = await TableDesk().open()
    (old,) = await desk.placed(buy())
    desk.counter.fill(old, 400)
    await desk.settle()
    (new,) = await changed(desk, old, qty=600)
    assert new.qty == 600
    await whole(desk)


@pytest.mark.parametrize("asked", [None, 800])
async def test_nothing_is_placed_for_an_order_that_filled_before_its_cancel(asked):
    desk = await TableDesk().open()
    (old,) = await desk.placed(buy())
    desk.counter.before_cancel = lambda order: (
        None if desk.counter.slip(order).fills else desk.counter.fill(order, 1_000) and None
    )
    what = {"price": "9.95"} if asked is None else {"qty": asked}
    assert await changed(desk, old, **what) == []
    await desk.settle()
    assert (await desk.order(old)).status is S.FILLED
    await whole(desk)


async def test_a_refused_change_leaves_the_order_as_it_is_whatever_else_is_done():
    desk = await TableDesk().open()
    (old,) = await desk.placed(buy())
    made = await desk.placed(change_of(old, price="99.00"), buy(SECOND), slot="second")
    assert [one.symbol for one in made] == [SECOND]
    assert desk.counter.cancels == []
    assert (await desk.order(old)).status is S.ACCEPTED


async def test_a_change_cut_off_anywhere_goes_on_and_never_has_both_alive():
    points = None
    number = 0
    while points is None or number < len(points):
        desk = await TableDesk(cancels_at_once=False).open()
        (old,) = await desk.placed(buy())
        pause = desk.clock.pause

        async def passing(by: timedelta, desk=desk, old=old, pause=pause) -> None:
            await pause(by)
            desk.counter.end(old, S.CANCELED)

        desk.clock.pause = passing  # type: ignore[method-assign]

        async def work(desk=desk, old=old) -> None:
            await changed(desk, old, price="9.95")

        passed = await desk.crashing(number, work)
        if points is None:
            points = ["?"] * 100
        if len(passed) <= number:
            break
        assert alive(desk) <= 1, (number, passed[-1])
        await desk.settle(SOON)
        assert alive(desk) <= 1, (number, passed[-1])
        report = await desk.report()
        assert report.trace_coverage == 1.0, (number, passed[-1])
        await whole(desk)
        number += 1
    assert number > 20


# --- market orders ----------------------------------------------------------------------------


async def test_a_market_order_reserves_what_it_can_cost_at_most():
    desk = await TableDesk().open()
    free = desk.pipeline.account.book.cash_free
    (order,) = await desk.placed(buy() | {"order_type": "market", "price": None})
    # Protected by what the policy lets the price drift: 1.5 %.
    assert (order.order_type, order.price) == (OrderType.MARKET_BEST5_CANCEL, units("10.15"))
    assert order.status is S.ACCEPTED
    frozen = free - desk.pipeline.account.book.cash_free
    # At its protective price, with fees.
    assert units(10_150) < frozen < units(10_170)
    desk.counter.fill(order, 1_000, units("10.12"))
    await desk.settle()
    assert (await desk.order(order)).filled_amount == units(10_120)
    assert desk.pipeline.account.book.cash_frozen == 0
    await whole(desk)


async def test_a_market_order_at_work_counts_against_the_caps():
    desk = await TableDesk().open()
    await desk.placed(buy(qty=8_000) | {"order_type": "market", "price": None})
    account = desk.pipeline.account
    found = account.standing(
        desk.market.references(desk.clock.now().date(), desk.clock.now()),
        {FIRST: units(10)},
        desk.clock.now().date(),
        control=None,
        licence=desk.pipeline.desk.licence,
    )
    assert found.exposure[FIRST] == 8_000 * units("10.15")
    assert found.bought_value == 8_000 * units("10.15")


# --- the kill switch --------------------------------------------------------------------------


@pytest.mark.parametrize("level", [KillLevel.NO_OPENINGS, KillLevel.NO_ORDERS, KillLevel.FLATTEN])
async def test_pulled_after_the_verdict_it_stops_a_buy_before_the_wire(level):
    desk = await TableDesk().open()
    seat = desk.pipeline.seat
    record = seat.record

    async def pulled(drafts, *, transactions=(), orders=()):
        await record(drafts, transactions=transactions, orders=orders)
        if orders and orders[0].status is S.SENDING:
            desk.lever.at = level

    seat.record = pulled  # type: ignore[method-assign]
    (order,) = await desk.placed(buy())
    assert (order.status, order.reject_code) == (S.NOT_SENT, "RISK_KILL_SWITCH")
    assert desk.counter.sent == []
    assert desk.pipeline.account.book.cash_frozen == 0
    await whole(desk)


@pytest.mark.parametrize("level", [KillLevel.NO_ORDERS, KillLevel.FLATTEN])
async def test_while_orders_are_stopped_no_model_is_asked(level):
    desk = await TableDesk().open()
    desk.lever.at = level
    with pytest.raises(Denied) as caught:
        await desk.decide(buy())
    assert caught.value.code == "RISK_KILL_SWITCH"
    assert desk.model.requests == []
    assert await desk.cycles() == []


async def test_at_level_one_the_model_is_asked_and_its_buys_are_refused():
    desk = await TableDesk().open()
    desk.lever.at = KillLevel.NO_OPENINGS
    cycle = await desk.decide(buy())
    assert (cycle.status, cycle.status_code) == (DecisionStatus.REJECTED_RISK, "RISK_KILL_SWITCH")


@pytest.mark.parametrize("level", KillLevel)
async def test_a_cancel_leaves_at_every_level(level):
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy())
    desk.lever.at = level
    await desk.pipeline.controller.cancel_all()
    assert (await desk.order(order)).status is S.CANCELED


# --- a lost answer ----------------------------------------------------------------------------


async def test_while_its_answer_is_lost_an_order_keeps_its_reservation():
    desk = await TableDesk().open()
    desk.counter.refuses = OutcomeUnknown("BROKER_TIMEOUT", "?")
    (order,) = await desk.placed(buy())
    assert order.status is S.UNKNOWN
    frozen = desk.pipeline.account.book.cash_frozen
    assert frozen > units(10_000)
    await desk.settle(timedelta(milliseconds=500))
    assert (await desk.order(order)).status is S.UNKNOWN
    assert desk.pipeline.account.book.cash_frozen == frozen
    await desk.settle(timedelta(milliseconds=500))
    assert (await desk.order(order)).status is S.NOT_SENT
    assert desk.pipeline.account.book.cash_frozen == 0
    assert len(desk.counter.sent) == 1


# --- all at once ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
async def test_reports_that_come_late_twice_and_in_any_order_come_out_right(seed):
    found: list[FaultyBroker] = []

    def noisy(venue: Broker) -> FaultyBroker:
        found.append(FaultyBroker(venue, seed=seed))
        return found[0]

    desk = await TableDesk(wrap=noisy).open()
    first, second = await desk.placed(buy(), buy(SECOND))
    for _ in range(4):
        desk.counter.fill(first, 250)
        await desk.settle()
    desk.counter.fill(second, 300)
    desk.counter.end(second, S.CANCELED)
    for _ in range(4):
        await desk.settle()
    found[0].calm()
    await desk.settle()
    assert (await desk.order(first)).status is S.FILLED
    after = await desk.order(second)
    assert (after.status, after.filled_qty) == (S.CANCELED, 300)
    await whole(desk)


async def test_cut_off_anywhere_an_order_that_waits_is_sent_once_or_not_at_all():
    number = 0
    while True:
        desk = await TableDesk().open()

        async def work(desk: TableDesk = desk) -> None:
            first, waits = await desk.placed(buy(), buy(SECOND, depends_on=0))
            desk.counter.fill(first, 1_000)
            await desk.settle()
            desk.counter.fill(waits.client_order_id, 1_000)
            await desk.settle()

        passed = await desk.crashing(number, work)
        if len(passed) <= number:
            break
        for _ in range(3):
            for slip in desk.counter.slips.values():
                if slip.listed.status is S.ACCEPTED:
                    desk.counter.fill(slip.listed.broker_order_id, slip.listed.qty)
            await desk.settle(SOON)
        assert all(order.is_terminal for order in await desk.orders()), passed[-1]
        assert (await desk.pipeline.reconcile("close")).passed, passed[-1]
        assert all(one.stage is CycleStage.CLOSED for one in await desk.cycles()), passed[-1]
        await whole(desk)
        number += 1
    assert number > 25


async def test_at_a_start_the_venue_is_asked_what_was_sent_before_anything_else_is():
    """An older decision's answer was lost; a newer one was cut off before it sent."""
    number, seen = 0, 0
    while True:
        desk = TableDesk(wrap=lambda venue: FaultyBroker(venue, [Fault.ANSWER_LOST]))
        await desk.open()
        find, submit = desk.counter.find, desk.counter.submit

        async def away(tag):
            raise Unavailable("BROKER_DISCONNECTED", "down")

        desk.counter.find = away  # type: ignore[method-assign]
        (lost,) = await desk.placed(buy())
        plan = CrashPlan(number, _die)
        with suppress(SimulatedCrash):
            await desk.restart(plan)
            await desk.decide(buy(SECOND), slot="second")
        assert (await desk.order(lost)).status is S.UNKNOWN
        calls: list[str] = []

        async def found(tag, find=find, calls=calls):
            calls.append("find")
            return await find(tag)

        async def submitted(order, clearance, submit=submit, calls=calls):
            calls.append("submit")
            return await submit(order, clearance)

        desk.counter.find, desk.counter.submit = found, submitted  # type: ignore[method-assign]
        if len(plan.passed) <= number:
            break
        await desk.restart()
        assert calls[:1] == ["find"], plan.passed[-1]
        assert (await desk.order(lost)).status is S.ACCEPTED
        seen += "submit" in calls
        number += 1
    assert seen


def _die(label: str) -> None:
    raise SimulatedCrash(label)
