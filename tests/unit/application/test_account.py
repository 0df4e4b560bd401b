"""The account as the gate sees it: what is reserved is not free, what is not priced is not gone."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from caopan.application.account import AccountCache, saved_once
from caopan.application.ports.store import NavPoint
from caopan.domain.accounting.bookings import book_fill, deposit, freeze_buy, freeze_sell
from caopan.domain.accounting.journal import Book
from caopan.domain.orders.order import Fill, Order, OrderStatus, Side, moved, with_fill
from caopan.domain.risk.gate import judge_order
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


def book_fill_of(book: Book, number: int, symbol: str, day: date, qty: int, price: str) -> None:
    fill = Fill(
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


def standing(cache: AccountCache, **how: Any):
    return cache.standing(REFERENCES, PRICES, DAY, **how)


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
    assert account().standing(references, PRICES, DAY).sellable == {SYMBOL: 1_200}
    # A share of which nothing is known today is taken for T+1.
    assert account().standing({}, PRICES, DAY).sellable == {SYMBOL: 1_000}


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
    cache.orders_by_day[DAY] = 1
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
    found = account().standing(REFERENCES, {}, DAY)
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
    cache.apply(orders=[with_fill(order, order.qty, units(10), NOW)])
    assert cache.working == {}
    assert cache.orders_on(DAY) == 0


def test_on_an_empty_image_every_order_is_refused():
    found = AccountCache(Book(), ()).standing({}, {}, DAY)
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
