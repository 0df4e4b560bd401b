"""Fills that took more cash than our books had: booked as owed, shown, and settled once there is.

A trade has happened whether we knew of the money or not; keeping it from the books would only hide
what is held.
"""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

from caopan.application import account_movements as movements
from caopan.application.ports.store import Reconciliation
from caopan.domain.accounting.bookings import BroughtLot
from caopan.domain.orders.order import OrderStatus, Side
from caopan.domain.risk.kill_switch import KillLevel, Posture
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.money import units
from caopan.testing.models import buy_action, sell_action
from caopan.testing.table_desk import CASH, FIRST, SECOND, SESSIONS, TableDesk

S = OrderStatus
ALL_IN = RiskPolicy(
    max_quote_age_ms=10**8,
    symbol_nav_cap=Fraction(1),
    gross_cap=Fraction(1),
    single_order_cap=units(10**7),
)
PAID_IN = units(600_000)


async def reconciled(desk: TableDesk) -> Reconciliation:
    await desk.clock.pause(timedelta(seconds=1))
    return await desk.pipeline.reconcile("interval")


async def whole(desk: TableDesk) -> None:
    report = await desk.report()
    assert report.verification.verified
    assert report.trace_coverage == 1.0
    assert await desk.agrees()


async def test_bought_outside_with_money_we_do_not_know_of():
    desk = await TableDesk().open()
    (ours,) = await desk.placed(buy_action(SECOND, 1_000, "10.00"))
    desk.counter.move(cash=PAID_IN)
    theirs = desk.counter.place_outside(FIRST, Side.BUY, units(10), 150_000)
    desk.counter.fill(theirs.broker_order_id, 150_000)
    result = await reconciled(desk)
    assert [(one["kind"], one["key"]) for one in result.differences] == [("cash", "CNY")]
    assert desk.pipeline.seat.control.posture is Posture.FLAT_ONLY
    book = desk.pipeline.account.book
    assert book.quantities() == {FIRST: 150_000}
    # What our own order has reserved is not touched.
    assert book.cash_free == 0
    assert book.cash_frozen > units(10_000)
    assert units(500_000) < book.cash_owed < units(520_000)
    # Nobody is richer for it.
    assert desk.pipeline.account.nav({FIRST: units(10)}) < CASH
    await desk.restart()
    assert desk.pipeline.account.book.cash_owed == book.cash_owed
    desk.counter.fill(ours, 1_000)
    await desk.settle()
    assert (await desk.order(ours)).status is S.FILLED

    await movements.pay_in(desk.pipeline.seat, "found", PAID_IN, "anna")
    await desk.settle()
    assert desk.pipeline.account.book.cash_owed == 0
    assert (await reconciled(desk)).passed
    # What it imposed is a person's to lift.
    assert desk.pipeline.seat.control.posture is Posture.FLAT_ONLY
    await whole(desk)


async def test_a_deposit_too_small_settles_a_part():
    desk = await TableDesk().open()
    theirs = desk.counter.place_outside(FIRST, Side.BUY, units(10), 150_000)
    desk.counter.fill(theirs.broker_order_id, 150_000)
    await reconciled(desk)
    owed = desk.pipeline.account.book.cash_owed
    for number in (1, 2):
        # The same instant, twice.
        await movements.pay_in(desk.pipeline.seat, f"part {number}", units(1_000), "anna")
        await desk.settle()
        book = desk.pipeline.account.book
        assert (book.cash_free, book.cash_owed) == (0, owed - number * units(1_000))
    await desk.restart()
    assert desk.pipeline.account.book.cash_owed == owed - units(2_000)


async def test_a_late_fill_whose_cash_another_order_has_reserved():
    desk = await TableDesk(policy=ALL_IN).open()
    (first,) = await desk.placed(buy_action(FIRST, 90_000, "10.00"))
    await desk.pipeline.controller.cancel(first)
    await desk.settle()
    (second,) = await desk.placed(buy_action(SECOND, 90_000, "10.00"), slot="second")
    assert second.status is S.ACCEPTED
    desk.counter.fill(first, 90_000)
    desk.counter.fill(second, 100)
    await desk.settle()
    assert (await desk.order(first)).status is S.FILLED
    assert (await desk.order(second)).filled_qty == 100
    assert desk.pipeline.account.book.cash_owed > units(790_000)
    assert desk.pipeline.seat.level() is KillLevel.OFF
    assert (await reconciled(desk)).passed
    # What the second order gives back settles it.
    desk.counter.end(second, S.CANCELED)
    await desk.settle()
    book = desk.pipeline.account.book
    assert (book.cash_owed, book.cash_frozen) == (0, 0)
    await whole(desk)


async def test_a_sale_that_costs_more_than_it_brings_in():
    desk = await TableDesk().open()
    lot = BroughtLot(FIRST, 100, units(1_000), SESSIONS[0])
    await movements.open_with(desk.pipeline.seat, "file", CASH, [lot], "me")
    (sale,) = await desk.placed(sell_action(FIRST, 100, "10.00"))
    await movements.pay_out(desk.pipeline.seat, "all", CASH, "me")
    desk.counter.move(cash=-CASH, **{FIRST: 100})
    desk.counter.fill(sale, 100, units("0.01"))
    await desk.settle()
    assert (await desk.order(sale)).status is S.FILLED
    book = desk.pipeline.account.book
    # One yuan in, five and a little out.
    assert book.cash_free == 0
    assert units(4) <= book.cash_owed < units(5)
    assert book.quantities() == {}
    assert (await reconciled(desk)).passed
    await movements.pay_in(desk.pipeline.seat, "more", units(10), "me")
    desk.counter.move(cash=units(10))
    await desk.settle()
    assert desk.pipeline.account.book.cash_owed == 0
    await whole(desk)
