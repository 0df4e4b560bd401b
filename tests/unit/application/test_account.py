"""The account as the gate sees it: what is reserved is not free, what is not priced is not gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from caopan.application.account import AccountCache, saved_once
from caopan.application.ports.store import NavPoint
from caopan.domain.accounting.bookings import book_fill, deposit, freeze_buy, freeze_sell
from caopan.domain.accounting.journal import Book
from caopan.domain.orders.order import Fill, Order, OrderStatus, Side, moved, with_fill
from caopan.domain.risk.gate import judge_order
from caopan.domain.risk.kill_switch import Control
from caopan.domain.risk.venue import Licence, Permission, ProgramReport, ReportStatus, Venue
from caopan.kernel.money import units
from caopan.testing.samples import (
    DAY,
    NOW,
    SYMBOL,
    sample_id,
    sample_order,
    sample_proposal,
    sample_question,
    sample_reference,
)

EARLIER = date(2023, 5, 31)
OTHER = "600002.SH"
REFERENCES = {SYMBOL: sample_reference(), OTHER: sample_reference(OTHER)}
PRICES = {SYMBOL: units(10), OTHER: units(20)}


def fill_of(number: int, symbol: str, day: date, qty: int, price: str) -> Fill:
    return Fill(
        fill_id=sample_id(100 + number),
        order_id=sample_id(200 + number),
        decision_id=sample_id(3),
        broker="sandbox",
        broker_fill_id=f"T{number}",
        trading_day=day,
        symbol=symbol,
        side=Side.BUY,
        qty=qty,
        price=units(price),
        commission=0,
        stamp_duty=0,
        transfer_fee=0,
        other_fees=0,
        filled_at=NOW,
    )


def book_fill_of(book: Book, number: int, symbol: str, day: date, qty: int, price: str) -> None:
    fill = fill_of(number, symbol, day, qty, price)
    book.post(book_fill(sample_id(300 + number), fill, sample_order(symbol=symbol), book))


def account(*orders: Order) -> AccountCache:
    """Return an account of a million with 1,000 settled and 200 fresh shares of SYMBOL."""
    book = Book()
    book.post(deposit(sample_id(1), units(1_000_000), NOW))
    book_fill_of(book, 1, SYMBOL, EARLIER, 1_000, "9.00")
    book_fill_of(book, 2, SYMBOL, DAY, 200, "10.00")
    for number, order in enumerate(orders):
        txn_id = sample_id(400 + number)
        if order.side is Side.BUY:
            book.post(freeze_buy(txn_id, order, order.qty * order.price + units(6), NOW))
        else:
            book.post(freeze_sell(txn_id, order, book, DAY, NOW, t_plus_one=True))
    return AccountCache(book, orders)


HERE = Licence(Venue.SANDBOX)


def standing(cache: AccountCache, **how: Any):
    return cache.standing(REFERENCES, PRICES, DAY, licence=HERE, control=Control(), **how)


def test_what_the_account_may_do_at_its_venue_is_the_desks():
    report = ProgramReport(ReportStatus.CONFIRMED, 20, 1_000)
    may = Licence(Venue.BROKER, frozenset({Permission.STAR}), report)
    found = account().standing(REFERENCES, PRICES, DAY, control=Control(), licence=may)
    assert (found.venue, found.permissions, found.report) == (may.venue, may.permissions, report)


def test_an_account_without_orders():
    found = standing(account())
    assert found.cash_free == units(1_000_000 - 9_000 - 2_000)
    assert found.nav == found.cash_free + units(12_000)
    assert found.held == {SYMBOL: 1_200}
    assert found.sellable == {SYMBOL: 1_000}
    assert found.exposure == {SYMBOL: units(12_000)}
    assert (found.open_orders, found.orders_today, found.working) == (0, 0, set())


def test_where_shares_settle_at_once_all_are_sellable():
    references = {SYMBOL: sample_reference(t_plus_one=False)}
    assert account().standing(
        references, PRICES, DAY, licence=HERE, control=Control()
    ).sellable == {SYMBOL: 1_200}
    # A share of which nothing is known today is taken for T+1.
    assert account().standing({}, PRICES, DAY, licence=HERE, control=Control()).sellable == {
        SYMBOL: 1_000
    }


def test_a_working_buy_takes_cash_and_counts_as_exposure():
    buy = sample_order(1, symbol=OTHER, qty=500, price=units(20))
    found = standing(account(buy))
    free = standing(account())
    assert found.cash_free == free.cash_free - units(10_006)
    # Frozen money is still ours.
    assert found.nav == free.nav
    assert found.exposure == {SYMBOL: units(12_000), OTHER: units(10_000)}
    assert found.working == {(OTHER, Side.BUY)}
    assert found.open_orders == 1


def test_a_partly_filled_buy_counts_its_rest_only():
    buy = moved(sample_order(1, symbol=OTHER, qty=500, price=units(20)), OrderStatus.SENDING, NOW)
    cache = account(buy)
    cache.apply(orders=[with_fill(buy, 200, units(19), NOW)])
    assert standing(cache).exposure[OTHER] == 300 * units(20)


def test_a_working_sale_takes_its_shares_and_lowers_no_exposure():
    sale = sample_order(1, side=Side.SELL, qty=400)
    found = standing(account(sale))
    assert found.sellable == {SYMBOL: 600}
    assert found.held == {SYMBOL: 1_200}
    assert found.exposure == {SYMBOL: units(12_000)}
    assert found.cash_free == standing(account()).cash_free


@pytest.mark.parametrize("side", Side)
def test_an_order_judged_again_does_not_stand_in_its_own_way(side):
    order = sample_order(1, side=side, qty=400)
    cache = account(order)
    cache.apply(orders=[order])
    assert standing(cache).orders_today == 1
    # As read from the store again: equal, not the same object.
    twin = sample_order(1, side=side, qty=400)
    found = standing(cache, without=twin)
    bare = standing(account())
    assert found.cash_free == bare.cash_free
    assert found.sellable == bare.sellable
    assert found.exposure == bare.exposure
    assert (found.open_orders, found.orders_today, found.working) == (0, 0, set())
    proposal = sample_proposal(side=side, qty=400)
    assert judge_order(sample_question(order=proposal, standing=found)).passed
    again = judge_order(sample_question(order=proposal, standing=standing(cache)))
    assert {reason.code for reason in again.reasons} == {"RISK_DUPLICATE"}


def test_a_holding_without_a_price_keeps_its_cost_as_exposure():
    found = account().standing(REFERENCES, {}, DAY, licence=HERE, control=Control())
    assert found.exposure == {SYMBOL: units(11_000)}


def test_losses_are_measured_from_the_last_close_and_the_highest_one():
    cache = account()
    first = standing(cache)
    assert (first.nav_day_open, first.nav_peak) == (first.nav, first.nav)
    for nav in (units(1_200_000), units(1_100_000)):
        cache.mark(NavPoint(DAY, NOW, nav, nav, 0, 0, 0, 0))
    found = standing(cache)
    assert (found.nav_day_open, found.nav_peak) == (units(1_100_000), units(1_200_000))


def test_finished_orders_leave_the_image_and_their_fills_stay_known():
    order = moved(sample_order(1), OrderStatus.SENDING, NOW)
    cache = account(sample_order(1))
    cache.apply(orders=[order])
    assert list(cache.working.values()) == [order]
    assert cache.booked_fills == set()
    filled = with_fill(order, order.qty, units(10), NOW)
    fill = replace(fill_of(9, order.symbol, DAY, order.qty, "10.00"), order_id=order.order_id)
    cache.apply(orders=[filled], fills=[fill])
    assert cache.working == {}
    assert cache.booked_fills == {(DAY, "T9", Side.BUY)}
    # Ended or not, it was made that day and counts.
    assert cache.day_orders == {order.order_id: filled}
    assert (cache.orders_on(DAY), cache.orders_on(EARLIER)) == (1, 0)


def test_an_order_that_ended_with_something_open_is_still_listened_for():
    order = moved(moved(sample_order(1), OrderStatus.SENDING, NOW), OrderStatus.ACCEPTED, NOW)
    cache = account(sample_order(1))
    part = with_fill(order, 400, units(10), NOW)
    for ended in (
        moved(order, OrderStatus.EXPIRED, NOW),
        moved(part, OrderStatus.CANCELED, NOW),
    ):
        cache.apply(orders=[ended])
        assert cache.late == {order.order_id: ended}
    cache.apply(orders=[with_fill(part, 600, units(10), NOW)])
    assert cache.late == {}
    cache.apply(orders=[moved(order, OrderStatus.REJECTED, NOW)])
    assert cache.late == {}


def test_a_new_day_forgets_the_last_one_but_what_is_still_worked():
    order = moved(sample_order(1), OrderStatus.SENDING, NOW)
    done = moved(sample_order(2), OrderStatus.CANCELED, NOW)
    cache = account(sample_order(1))
    cache.apply(orders=[order, done], fills=[fill_of(9, order.symbol, DAY, 100, "10.00")])
    next_day = DAY + timedelta(days=1)
    cache.apply(orders=[sample_order(3, trading_day=next_day)])
    assert (cache.orders_on(next_day), cache.orders_on(DAY)) == (1, 0)
    # The old day's order may fill again: its fills stay known until it is over.
    assert cache.booked_fills == {(DAY, "T9", Side.BUY)}
    cache.apply(orders=[moved(order, OrderStatus.NOT_SENT, NOW)])
    cache.apply(orders=[sample_order(4, trading_day=next_day + timedelta(days=1))])
    assert cache.booked_fills == set()


def test_what_was_ordered_today_is_counted_by_what_it_took_or_may_take():
    sale = moved(sample_order(1, side=Side.SELL, qty=400), OrderStatus.SENDING, NOW)
    sale = with_fill(sale, 100, units(11), NOW)
    buy = moved(moved(sample_order(2), OrderStatus.SENDING, NOW), OrderStatus.ACCEPTED, NOW)
    buy = with_fill(buy, 300, units(9), NOW)
    cache = account()
    cache.apply(orders=[sale, moved(buy, OrderStatus.CANCELED, NOW)])
    found = standing(cache)
    assert found.ordered_today == {(SYMBOL, Side.SELL): 400, (SYMBOL, Side.BUY): 300}
    assert (found.sold_value, found.selling_value) == (100 * units(11), 300 * units(10))
    assert found.bought_value == 300 * units(9)
    assert found.cancels_today == 1
    # An order that never left is not a cancel at the venue.
    cache.apply(orders=[moved(sample_order(3), OrderStatus.CANCELED, NOW)])
    assert standing(cache).cancels_today == 1


def test_on_an_empty_image_every_order_is_refused():
    found = AccountCache(Book(), ()).standing({}, {}, DAY, licence=HERE, control=Control())
    for side in Side:
        question = sample_question(order=sample_proposal(side=side), standing=found)
        assert not judge_order(question).passed


def test_nav_is_cash_and_holdings_at_the_given_prices():
    cache = account(sample_order(1, symbol=OTHER, qty=100))
    assert cache.nav({SYMBOL: units(11)}) == units(1_000_000 - 11_000) + 1_200 * units(11)
    assert cache.nav({}) == units(989_000)


def test_several_steps_are_saved_as_one_change():
    stored = sample_order(1)
    order = moved(moved(stored, OrderStatus.SENDING, NOW), OrderStatus.ACCEPTED, NOW)
    assert order.version == 3
    saved = saved_once(order, stored)
    assert (saved.version, saved.status) == (2, OrderStatus.ACCEPTED)
