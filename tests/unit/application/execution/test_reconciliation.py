"""Our books against the venue's: what is foreign is adopted once, what differs restrains."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from caopan.application.ports.store import Reconciliation
from caopan.domain.accounting.bookings import BroughtLot, brought_in
from caopan.domain.decision.shapes import CycleStage, DecisionStatus, Origin
from caopan.domain.orders.order import OrderStatus, Side
from caopan.domain.risk.kill_switch import KillLevel, Posture
from caopan.kernel.errors import Denied, Unavailable
from caopan.kernel.money import units
from caopan.testing.models import buy_action, sell_action
from caopan.testing.samples import sample_id
from caopan.testing.table_desk import FIRST, SECOND, SESSIONS, THIRD, TableDesk
from caopan.testing.venues import Fault, FaultyBroker

S = OrderStatus
TEN = units(10)


async def reconciled(desk: TableDesk, trigger: str = "interval") -> Reconciliation:
    await desk.clock.pause(timedelta(seconds=1))
    return await desk.pipeline.reconcile(trigger)


async def whole(desk: TableDesk) -> None:
    report = await desk.report()
    assert report.verification.verified
    assert report.trace_coverage == 1.0
    assert await desk.agrees()


async def test_equal_books_pass_and_are_recorded():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.counter.fill(order, 300)
    result = await reconciled(desk, "close")
    assert (result.passed, list(result.differences), result.trigger) == (True, [], "close")
    # What the venue had to say was settled first.
    assert (await desk.order(order)).filled_qty == 300
    async with desk.pipeline.seat.begin() as uow:
        (stored,) = await uow.reconciliations.all()
        assert replace(stored, differences=[]) == result
        assert (await uow.controls.get()).version == 0
    await whole(desk)


@pytest.mark.parametrize(
    ("what", "kinds"),
    [
        ("cash", {"cash"}),
        ("position", {"position"}),
        ("order", {"order"}),
        ("fill", {"cash", "fill", "order", "position"}),
    ],
)
async def test_each_difference_is_told_with_both_sides(what, kinds):
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    if what == "cash":
        desk.counter.move(cash=-units(5))
    elif what == "position":
        desk.counter.move(**{SECOND: 100})
    elif what == "order":
        del desk.counter.slips[desk.counter.slip(order).listed.broker_order_id]
    else:
        desk.counter.fill(order, 300)
        await desk.settle()
        slip = desk.counter.slip(order)
        slip.listed = await _forgotten(desk, slip)
    result = await reconciled(desk)
    assert not result.passed
    assert {one["kind"] for one in result.differences} == kinds
    for one in result.differences:
        assert set(one) == {"kind", "key", "ours", "theirs"}
        assert one["ours"] != one["theirs"]


async def _forgotten(desk, slip):
    """Let the counter forget an execution that it had told of."""
    (fill,) = slip.fills
    desk.counter.move(cash=fill.qty * fill.price + units("5.03"), **{FIRST: -fill.qty})
    slip.fills.clear()
    return replace(slip.listed, filled_qty=0, status=S.ACCEPTED)


async def test_a_first_difference_lets_only_reduce_a_second_one_stops():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.counter.fill(order, 1_000)
    await desk.settle()
    desk.counter.move(cash=-units(5))
    await reconciled(desk)
    control = desk.pipeline.seat.control
    assert (control.posture, control.level) == (Posture.FLAT_ONLY, KillLevel.OFF)
    assert "cash CNY" in control.reason
    cycle = await desk.decide(buy_action(SECOND, 1_000, "10.00"), slot="second")
    assert cycle.status is DecisionStatus.REJECTED_RISK

    await reconciled(desk)
    assert desk.pipeline.seat.level() is KillLevel.NO_ORDERS
    with pytest.raises(Denied) as caught:
        await desk.decide(slot="third")
    assert caught.value.code == "RISK_KILL_SWITCH"
    # The next process knows it too.
    await desk.restart()
    assert desk.pipeline.seat.level() is KillLevel.NO_ORDERS
    assert desk.pipeline.seat.control.posture is Posture.FLAT_ONLY


async def test_a_clean_one_lifts_nothing_and_begins_the_count_anew():
    desk = await TableDesk().open()
    desk.counter.move(cash=-units(5))
    await reconciled(desk)
    desk.counter.move(cash=units(5))
    assert (await reconciled(desk)).passed
    control = desk.pipeline.seat.control
    assert (control.posture, control.level, control.version) == (
        Posture.FLAT_ONLY,
        KillLevel.OFF,
        1,
    )
    desk.counter.move(cash=-units(5))
    await reconciled(desk)
    assert desk.pipeline.seat.control.level is KillLevel.OFF
    await reconciled(desk)
    assert desk.pipeline.seat.control.level is KillLevel.NO_ORDERS
    entries = (await desk.report()).verification
    assert entries.verified


async def test_a_level_that_a_person_set_is_never_loosened():
    desk = await TableDesk().open()
    desk.counter.move(cash=-units(5))
    await reconciled(desk)
    await reconciled(desk)
    before = desk.pipeline.seat.control
    await reconciled(desk)
    # As tight already: nothing to change.
    assert desk.pipeline.seat.control == before


async def test_a_venue_that_cannot_be_asked_proves_nothing():
    desk = await TableDesk().open()

    async def away(day):
        raise Unavailable("BROKER_DISCONNECTED", "down")

    desk.counter.orders = away  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await reconciled(desk)
    async with desk.pipeline.seat.begin() as uow:
        assert await uow.reconciliations.all() == []


# --- foreign orders ---------------------------------------------------------------------------


async def adopted(desk: TableDesk):
    """Return the one adopted order and its decision."""
    (cycle,) = [one for one in await desk.cycles() if one.origin is Origin.FOREIGN]
    (order,) = [one for one in await desk.orders() if one.decision_id == cycle.decision_id]
    return order, cycle


@pytest.mark.parametrize("filled", [0, 300, 1_000])
async def test_a_foreign_buy_is_adopted_and_followed(filled):
    desk = await TableDesk().open()
    theirs = desk.counter.place_outside(FIRST, Side.BUY, TEN, 1_000)
    if filled:
        desk.counter.fill(theirs.broker_order_id, filled)
    assert (await reconciled(desk)).passed
    order, cycle = await adopted(desk)
    assert (order.filled_qty, order.is_foreign) == (filled, True)
    book = desk.pipeline.account.book
    assert book.quantities().get(FIRST, 0) == filled
    assert (cycle.stage is CycleStage.CLOSED) == (filled == 1_000)
    # What is open is reserved: our own orders may not count on it.
    assert (book.cash_frozen >= (1_000 - filled) * TEN) if filled < 1_000 else not book.cash_frozen
    await whole(desk)
    if filled < 1_000:
        desk.counter.fill(theirs.broker_order_id, 1_000 - filled)
        await desk.settle()
    order, cycle = await adopted(desk)
    assert (order.status, cycle.status) == (S.FILLED, DecisionStatus.EXECUTED)
    await whole(desk)


@pytest.mark.parametrize("filled", [0, 300])
async def test_a_foreign_order_can_be_cancelled_by_hand(filled):
    desk = await TableDesk().open()
    theirs = desk.counter.place_outside(FIRST, Side.BUY, TEN, 1_000)
    if filled:
        desk.counter.fill(theirs.broker_order_id, filled)
    assert (await reconciled(desk)).passed
    order, _ = await adopted(desk)
    assert (await desk.pipeline.controller.cancel_confirmed(order)).status is S.CANCELED
    assert desk.counter.slip(theirs.broker_order_id).listed.status is S.CANCELED
    assert desk.pipeline.account.book.cash_frozen == 0
    await whole(desk)


async def test_a_fund_bought_outside_pays_as_a_fund_on_both_sides():
    desk = await TableDesk().open()
    theirs = desk.counter.place_outside("510300.SH", Side.BUY, TEN, 90_000)
    assert (await reconciled(desk)).passed
    assert desk.pipeline.account.book.cash_frozen == units("900225")
    desk.counter.fill(theirs.broker_order_id, 80_000)
    await desk.settle()
    (fill,) = await desk.fills()
    assert (fill.commission, fill.stamp_duty, fill.transfer_fee) == (units("200"), 0, 0)
    assert await desk.agrees()


@pytest.mark.parametrize("filled", [0, 400, 1_000])
async def test_a_foreign_sale_is_adopted_with_the_shares_it_holds(filled):
    desk = await TableDesk().open()
    await _held(desk)
    theirs = desk.counter.place_outside(FIRST, Side.SELL, TEN, 1_000)
    if filled:
        desk.counter.fill(theirs.broker_order_id, filled)
    assert (await reconciled(desk)).passed
    order, _ = await adopted(desk)
    assert (order.side, order.filled_qty) == (Side.SELL, filled)
    # The same shares are not sold twice.
    cycle = await desk.decide(sell_action(FIRST, 2_000, "10.00"), slot="second")
    assert cycle.status is DecisionStatus.REJECTED_RISK
    await whole(desk)


async def _held(desk: TableDesk) -> None:
    """Hold 2,000 settled shares of FIRST on both sides."""
    lot = BroughtLot(FIRST, 2_000, units(20_000), SESSIONS[0])
    await desk.pipeline.seat.record(
        [], transactions=[brought_in(sample_id(9), [lot], desk.clock.now())]
    )
    desk.counter.move(**{FIRST: 2_000})


@pytest.mark.parametrize("before", [True, False])
async def test_it_does_not_matter_who_came_first(before):
    desk = await TableDesk().open()
    if before:
        desk.counter.place_outside(SECOND, Side.BUY, TEN, 500)
    (ours,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    if not before:
        await desk.clock.pause(timedelta(seconds=5))
        desk.counter.place_outside(SECOND, Side.BUY, TEN, 500)
    assert (await reconciled(desk)).passed
    order, _ = await adopted(desk)
    assert order.symbol == SECOND
    for slip in desk.counter.slips.values():
        desk.counter.fill(slip.listed.broker_order_id, slip.listed.qty)
    await desk.settle()
    assert (await desk.order(ours)).status is S.FILLED
    assert (await reconciled(desk)).passed
    await whole(desk)


async def test_what_was_adopted_is_not_adopted_again():
    desk = await TableDesk().open()
    theirs = desk.counter.place_outside(FIRST, Side.BUY, TEN, 1_000)
    desk.counter.fill(theirs.broker_order_id, 300)
    await reconciled(desk)
    before = (await desk.orders(), await desk.fills(), await desk.cycles())
    for _ in range(2):
        assert (await reconciled(desk)).passed
        await desk.restart()
        await desk.settle()
    assert (await desk.orders(), await desk.fills(), await desk.cycles()) == before


@pytest.mark.parametrize("ended", [S.CANCELED, S.EXPIRED, S.REJECTED])
async def test_what_came_to_nothing_is_left_alone(ended):
    desk = await TableDesk().open()
    theirs = desk.counter.place_outside(FIRST, Side.BUY, TEN, 1_000)
    desk.counter.end(theirs.broker_order_id, ended)
    assert (await reconciled(desk)).passed
    assert await desk.orders() == []


async def test_a_foreign_order_cancelled_in_the_app_frees_what_it_held():
    desk = await TableDesk().open()
    theirs = desk.counter.place_outside(FIRST, Side.BUY, TEN, 1_000)
    await reconciled(desk)
    desk.counter.fill(theirs.broker_order_id, 200)
    desk.counter.end(theirs.broker_order_id, S.CANCELED)
    await desk.settle()
    order, cycle = await adopted(desk)
    assert (order.status, order.filled_qty) == (S.CANCELED, 200)
    assert cycle.status is DecisionStatus.PARTIALLY_EXECUTED
    assert desk.pipeline.account.book.cash_frozen == 0
    await whole(desk)


async def test_a_foreign_buy_beyond_our_cash_is_followed_all_the_same():
    desk = await TableDesk().open()
    desk.counter.place_outside(FIRST, Side.BUY, TEN, 200_000)
    assert (await reconciled(desk)).passed
    assert desk.pipeline.account.book.cash_free == 0
    order, _ = await adopted(desk)
    assert order.qty == 200_000


async def test_a_foreign_sale_of_what_we_do_not_hold_is_a_difference():
    desk = await TableDesk().open()
    theirs = desk.counter.place_outside(THIRD, Side.SELL, TEN, 100)
    result = await reconciled(desk)
    assert not result.passed
    assert {one["kind"] for one in result.differences} == {"foreign_order", "order"}
    assert {one["key"] for one in result.differences} == {theirs.broker_order_id}
    assert await desk.orders() == []


@pytest.mark.parametrize("kind", ["cancel_order", "modify_order"])
async def test_a_model_changes_no_foreign_order(kind):
    desk = await TableDesk().open()
    desk.counter.place_outside(FIRST, Side.BUY, TEN, 1_000)
    await reconciled(desk)
    order, _ = await adopted(desk)
    action = {"type": kind, "target_order_id": str(order.order_id)}
    if kind == "modify_order":
        action["price"] = "9.95"
    cycle = await desk.decide(action)
    assert (cycle.status, cycle.status_code) == (
        DecisionStatus.REJECTED_RISK,
        "RISK_OUTSIDE_SLEEVE",
    )
    assert desk.counter.cancels == []


async def test_a_foreign_order_rests_as_long_as_it_likes():
    desk = await TableDesk(order_timeout=timedelta(minutes=5)).open()
    desk.counter.place_outside(FIRST, Side.BUY, TEN, 1_000)
    await reconciled(desk)
    await desk.settle(timedelta(minutes=10))
    assert desk.counter.cancels == []
    assert (await adopted(desk))[0].status is S.ACCEPTED


async def test_an_order_of_ours_that_was_given_up_and_lives_is_a_difference():
    class Late(FaultyBroker):
        """Its delayed request arrives only when told."""

        async def _arrive(self) -> None:
            if self.released:
                await super()._arrive()

        released = False

    desk = TableDesk(wrap=lambda venue: Late(venue, [Fault.REQUEST_DELAYED]))
    await desk.open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    await desk.settle(timedelta(seconds=2))
    assert (await desk.order(order)).status is S.NOT_SENT
    desk.broker.released = True  # type: ignore[attr-defined]
    result = await reconciled(desk)
    assert [(one["kind"], one["ours"]) for one in result.differences] == [("order", "not_sent")]
    # It is ours: nobody adopts it as foreign.
    assert len(await desk.orders()) == 1


async def test_a_trade_between_two_questions_is_no_difference():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    account, traded = desk.counter.account, []

    async def busy():
        if len(traded) < 2:
            traded.append(desk.counter.fill(order, 100))
        return await account()

    desk.counter.account = busy  # type: ignore[method-assign]
    assert (await reconciled(desk)).passed
    assert len(traded) == 2
    await whole(desk)
