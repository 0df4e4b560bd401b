"""Bookings, worked by hand: what each event does to every account."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction

import pytest

from caopan.domain.accounting import journal as j
from caopan.domain.accounting.bookings import (
    book_entitlement,
    book_fill,
    deposit,
    entitlement,
    freeze_buy,
    freeze_sell,
    release,
)
from caopan.domain.accounting.fees import order_fees, upper_bound
from caopan.domain.accounting.journal import Book, Kind, Lot, Posting, Transaction, fold
from caopan.domain.market.reference import CorporateAction, Exchange
from caopan.domain.orders.order import Fill, Order, Side
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import units, yuan
from caopan.testing.samples import DAY, NOW, SYMBOL, sample_fees, sample_id, sample_order

FEES = sample_fees()
NEXT = date(2023, 6, 2)
LATER = NOW + timedelta(days=1)


def trade(order: Order, number: int, qty: int, price: str, *, day: date = DAY) -> Fill:
    """Return a fill of `order` as if it were its only one, with its fees."""
    amount = qty * units(price)
    fees = order_fees(FEES, order.side, amount, day, Exchange.SH)
    return Fill(
        fill_id=sample_id(9_000 + number),
        order_id=order.order_id,
        decision_id=order.decision_id,
        broker="sandbox",
        broker_fill_id=f"T{number}",
        trading_day=day,
        symbol=order.symbol,
        side=order.side,
        qty=qty,
        price=units(price),
        commission=fees.commission,
        stamp_duty=fees.stamp_duty,
        transfer_fee=fees.transfer_fee,
        other_fees=fees.other_fees,
        filled_at=NOW,
    )


def shown(book: Book) -> dict[str, str]:
    """Return money balances as text by account, without order ids."""
    return {
        account.split("/")[0] if account.startswith(j.CASH_FROZEN) else account: yuan(amount)
        for (account, asset), amount in book.balances.items()
        if asset == j.CNY
    }


def bought(qty: int = 1_000, price: str = "10.00", *, limit: str = "10.05") -> Book:
    """Return a book of one million in which one buy was frozen, filled and released."""
    order = sample_order(1, qty=qty, price=units(limit))
    bound = upper_bound(FEES, qty, units(limit), DAY, Exchange.SH)
    book = fold(
        [
            deposit(sample_id(1), units(1_000_000), NOW),
            freeze_buy(sample_id(2), order, bound, NOW),
        ]
    )
    book.post(book_fill(sample_id(3), trade(order, 1, qty, price), order, book))
    freed = release(sample_id(4), order, book, NOW)
    if freed is not None:
        book.post(freed)
    return book


def test_a_buy_step_by_step():
    order = sample_order(1, qty=1_000, price=units("10.05"))
    # 10,050 of shares, 5 of commission (2.5125 is under the least), 0.10 transfer fee (0.1005).
    bound = upper_bound(FEES, 1_000, units("10.05"), DAY, Exchange.SH)
    assert yuan(bound) == "10055.10"
    book = fold([deposit(sample_id(1), units(1_000_000), NOW)])
    book.post(freeze_buy(sample_id(2), order, bound, NOW))
    assert yuan(book.cash_free) == "989944.90"
    assert yuan(book.cash_frozen) == "10055.10"
    book.post(book_fill(sample_id(3), trade(order, 1, 1_000, "10.00"), order, book))
    assert shown(book) == {
        "cash.free": "989944.90",
        "cash.frozen": "50.00",
        "capital": "-1000000.00",
        f"inventory/{SYMBOL}/2023-06-01": "10000.00",
        "expense.commission": "5.00",
        "expense.transfer_fee": "0.10",
    }
    freed = release(sample_id(4), order, book, NOW)
    assert freed is not None
    book.post(freed)
    assert yuan(book.cash_free) == "989994.90"
    assert book.cash_frozen == 0
    assert book.lots() == [Lot(SYMBOL, DAY, 1_000, 0, units(10_000))]
    assert release(sample_id(5), order, book, NOW) is None


def test_a_sale_the_day_after_step_by_step():
    book = bought()
    order = sample_order(2, side=Side.SELL, qty=400, price=units("10.40"), trading_day=NEXT)
    book.post(freeze_sell(sample_id(5), order, book, NEXT, LATER, t_plus_one=True))
    assert book.lots() == [Lot(SYMBOL, DAY, 600, 400, units(10_000))]
    assert book.sellable(SYMBOL, NEXT, t_plus_one=True) == 600
    # 4,200 for the shares less 5 commission, 2.10 stamp duty, 0.04 transfer fee.
    book.post(book_fill(sample_id(6), trade(order, 2, 400, "10.50", day=NEXT), order, book))
    assert shown(book) == {
        "cash.free": yuan(units("989994.90") + units("4192.86")),
        "capital": "-1000000.00",
        f"inventory/{SYMBOL}/2023-06-01": "6000.00",
        "income.realised": "-200.00",
        "expense.commission": "10.00",
        "expense.stamp_duty": "2.10",
        "expense.transfer_fee": "0.14",
    }
    assert book.lots() == [Lot(SYMBOL, DAY, 600, 0, units(6_000))]


def test_shares_bought_today_cannot_be_frozen_for_sale_today():
    book = bought()
    order = sample_order(2, side=Side.SELL, qty=100)
    assert book.sellable(SYMBOL, DAY, t_plus_one=True) == 0
    with pytest.raises(CorruptState) as caught:
        freeze_sell(sample_id(5), order, book, DAY, NOW, t_plus_one=True)
    assert caught.value.code == "SHARES_MISSING"
    assert "100 more sellable shares" in caught.value.message
    # Where the rules settle on the same day, they can.
    book.post(freeze_sell(sample_id(5), order, book, DAY, NOW, t_plus_one=False))
    assert book.lots()[0].frozen_qty == 100


def test_the_oldest_lot_goes_first_and_its_cost_with_it():
    book = bought(100, "10.00", limit="10.00")
    second = sample_order(2, qty=200, price=units("12.00"), trading_day=NEXT)
    book.post(book_fill(sample_id(6), trade(second, 2, 200, "12.00", day=NEXT), second, book))
    sale = sample_order(3, side=Side.SELL, qty=200)
    day_after = date(2023, 6, 5)
    book.post(freeze_sell(sample_id(7), sale, book, day_after, LATER, t_plus_one=True))
    assert [(lot.bought_on, lot.frozen_qty) for lot in book.lots()] == [(DAY, 100), (NEXT, 100)]
    book.post(book_fill(sample_id(8), trade(sale, 3, 200, "11.00", day=day_after), sale, book))
    assert book.lots() == [Lot(SYMBOL, NEXT, 100, 0, units(1_200))]
    # 2,200 received for what had cost 1,000 + 1,200.
    assert book.balance(j.REALISED) == 0
    assert (f"{j.INVENTORY}/{SYMBOL}/{DAY}", j.CNY) not in book.balances


def test_the_cost_of_a_lot_sold_in_odd_parts_ends_at_exactly_zero():
    book = bought(300, "0.0333", limit="0.04")
    cost = book.lots()[0].cost
    for number, qty in enumerate((100, 1, 99, 100), start=2):
        sale = sample_order(number, side=Side.SELL, qty=qty)
        book.post(freeze_sell(sample_id(number * 10), sale, book, NEXT, NOW, t_plus_one=True))
        fill = trade(sale, number, qty, "10.00", day=NEXT)
        book.post(book_fill(sample_id(number * 10 + 1), fill, sale, book))
    assert book.lots() == []
    assert book.total(j.INVENTORY) == 0
    assert -book.balance(j.REALISED) == 300 * units(10) - cost


def test_a_late_fill_of_a_released_buy_is_paid_from_free_cash():
    order = sample_order(1)
    book = fold([deposit(sample_id(1), units(20_000), NOW)])
    book.post(freeze_buy(sample_id(2), order, units(10_010), NOW))
    freed = release(sample_id(3), order, book, NOW)
    assert freed is not None
    book.post(freed)
    book.post(book_fill(sample_id(4), trade(order, 1, 1_000, "10.00"), order, book))
    assert yuan(book.cash_free) == yuan(units(20_000) - units("10005.10"))


def test_a_late_fill_of_a_released_sale_takes_free_shares_of_earlier_days():
    book = bought()
    order = sample_order(2, side=Side.SELL, qty=400)
    book.post(freeze_sell(sample_id(5), order, book, NEXT, LATER, t_plus_one=True))
    freed = release(sample_id(6), order, book, LATER)
    assert freed is not None
    book.post(freed)
    book.post(book_fill(sample_id(7), trade(order, 2, 400, "10.50", day=NEXT), order, book))
    assert book.lots() == [Lot(SYMBOL, DAY, 600, 0, units(6_000))]


def test_a_sale_of_shares_nobody_holds_is_refused_and_changes_nothing():
    book = bought()
    before = dict(book.balances)
    order = sample_order(2, side=Side.SELL, qty=400)
    for day in (DAY, NEXT):
        qty = 400 if day == DAY else 1_001
        with pytest.raises(CorruptState) as caught:
            book_fill(sample_id(7), trade(order, 2, qty, "10.50", day=day), order, book)
        assert caught.value.code == "SHARES_MISSING"
    assert book.balances == before


@pytest.mark.parametrize(
    ("per_share", "factor", "cash", "new"),
    [
        ("0.50", Fraction(1), "500.00", 0),
        ("0", Fraction(13, 10), "0.00", 300),
        ("0.1234", Fraction(11, 10), "123.40", 100),
        ("0", Fraction(10_001, 10_000), "0.00", 0),
    ],
)
def test_an_ex_date_pays_cash_and_gives_whole_shares(per_share, factor, cash, new):
    book = bought()
    before = book.cash_free
    action = CorporateAction(units(per_share), factor, estimated=False)
    given = entitlement(book.lots(SYMBOL), action)
    assert (yuan(given.cash), given.new_shares) == (cash, new)
    transaction = book_entitlement(sample_id(9), SYMBOL, book.lots(SYMBOL), action, LATER)
    book.post(transaction)
    assert transaction.kind is Kind.CORPORATE_ACTION
    assert book.cash_free - before == given.cash
    # Bonus shares join their lot: same day of purchase, same total cost.
    assert book.lots() == [Lot(SYMBOL, DAY, 1_000 + new, 0, units(10_000))]
    assert -book.balance(j.DIVIDEND) == given.cash


def test_an_estimated_entitlement_says_so():
    lots = bought().lots(SYMBOL)
    for estimated in (True, False):
        action = CorporateAction(units(1), Fraction(1), estimated=estimated)
        memo = book_entitlement(sample_id(9), SYMBOL, lots, action, NOW).memo
        assert ("estimated" in memo) == estimated
        assert SYMBOL in memo


def posted(*postings: Posting) -> Transaction:
    return Transaction(sample_id(99), Kind.DEPOSIT, NOW, postings)


@pytest.mark.parametrize(
    ("postings", "code"),
    [
        ((Posting(j.CASH_FREE, j.CNY, 1),), "JOURNAL_UNBALANCED"),
        (
            (Posting(j.CASH_FREE, j.CNY, 1), Posting(j.OUTSIDE, SYMBOL, -1)),
            "JOURNAL_UNBALANCED",
        ),
        (
            (Posting(j.CASH_FREE, j.CNY, -units(10**7)), Posting(j.CAPITAL, j.CNY, units(10**7))),
            "BALANCE_NEGATIVE",
        ),
        (
            (Posting("cash.frozen/x", j.CNY, -1), Posting(j.CASH_FREE, j.CNY, 1)),
            "BALANCE_NEGATIVE",
        ),
        (
            (Posting("shares.free/2023-06-01", SYMBOL, -1_001), Posting(j.OUTSIDE, SYMBOL, 1_001)),
            "BALANCE_NEGATIVE",
        ),
        (
            (Posting(f"inventory/{SYMBOL}/2020-01-02", j.CNY, -1), Posting(j.CAPITAL, j.CNY, 1)),
            "BALANCE_NEGATIVE",
        ),
    ],
)
def test_a_bad_transaction_is_refused_with_nothing_applied(postings, code):
    book = bought()
    before = dict(book.balances)
    good = (Posting(j.CASH_FREE, j.CNY, 5), Posting(j.CAPITAL, j.CNY, -5))
    with pytest.raises(CorruptState) as caught:
        book.post(posted(*good, *postings))
    assert caught.value.code == code
    assert str(sample_id(99)) in caught.value.message
    assert book.balances == before


def test_legs_on_one_account_count_together():
    book = bought()
    before = book.cash_free
    book.post(
        posted(
            Posting(j.CASH_FREE, j.CNY, -before - 1),
            Posting(j.CASH_FREE, j.CNY, 1),
            Posting(j.CAPITAL, j.CNY, before),
        )
    )
    assert book.cash_free == 0
    assert (j.CASH_FREE, j.CNY) not in book.balances


def test_a_copy_is_independent():
    book = bought()
    twin = book.copy()
    twin.post(deposit(sample_id(5), units(1), NOW))
    assert twin.cash_free - book.cash_free == units(1)


def test_totals_do_not_mix_accounts_whose_names_begin_alike():
    book = Book(
        {
            ("expense.commission", j.CNY): 1,
            ("expense.commissions/x", j.CNY): 10,
            ("expense.commission/x", j.CNY): 100,
            ("expense.commission/x", SYMBOL): 1_000,
        }
    )
    assert book.total("expense.commission") == 101
