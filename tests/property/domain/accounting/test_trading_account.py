"""The account of the matching loop is, movement by movement, the double-entry book."""

from __future__ import annotations

from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.domain.accounting.account_records import rebuilt
from caopan.domain.accounting.holding_changes import take_up_rights, write_off
from caopan.domain.accounting.journal import CAPITAL, DIVIDEND, REALISED, Book
from caopan.domain.accounting.movements import transaction
from caopan.domain.accounting.trading_account import Reserve, TradingAccount, prove
from caopan.kernel.errors import ConfigInvalid, CorruptState

DAY = date(2024, 1, 2)
SYMBOL = "600001.SH"
FEES = (500, 0, 10)


def booked(account: TradingAccount) -> Book:
    """Return the book of all movements; every one must balance."""
    book = Book()
    for number, row in enumerate(account.movements, start=1):
        book.post(transaction(number, row))
    return book


def bought(account: TradingAccount, order: int, qty: int, price: int) -> None:
    reserve = Reserve()
    assert account.freeze_cash(order, reserve, qty * price + 1_000)
    account.buy(order, reserve, SYMBOL, qty, qty * price, FEES, settled=False, keep=0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "hold", "night", "dividend", "release"]),
        st.integers(1, 3_000),
        st.integers(100, 200_000),
        st.sampled_from(
            [Fraction(1, 10), Fraction(1), Fraction(3, 2), Fraction(13, 10), Fraction(2)]
        ),
        st.integers(0, 4),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(steps=steps)
def test_any_history_is_the_same_in_both(steps):
    account = TradingAccount(10**10, DAY)
    held: list[tuple[int, Reserve]] = []
    for number, (what, qty, price, factor, days) in enumerate(steps, start=1):
        reserve = Reserve()
        if what == "buy" and account.cash_free > qty * price + 2_000:
            bought(account, number, qty, price)
        elif what == "sell" and account.freeze_shares(number, reserve, SYMBOL, qty):
            account.sell(number, reserve, SYMBOL, qty, qty * price, FEES)
        elif what == "hold" and account.freeze_shares(number, reserve, SYMBOL, qty):
            held.append((number, reserve))
        elif what == "release" and held:
            order, kept = held.pop()
            account.release(order, kept, SYMBOL)
        elif what in ("night", "dividend"):
            for order, kept in held:
                account.release(order, kept, SYMBOL)
            held.clear()
            account.open_day(account.today + timedelta(days=1))
            if what == "dividend":
                later = account.today + timedelta(days=days)
                account.entitle(SYMBOL, price, factor, pay_date=later, listed_on=later)
        prove(account, booked(account))
        for holding in account.holdings.values():
            assert holding.qty == sum(lot.qty for lot in holding.lots)
            held_back = sum(lot.frozen for lot in holding.lots)
            assert 0 <= holding.sellable <= holding.qty - holding.unlisted - held_back
        again = rebuilt(account.export())
        assert again.export() == account.export()
    book = booked(account)
    assert sum(amount for (_, asset), amount in book.balances.items() if asset == "CNY") == 0


def test_an_ex_date_pays_the_old_holding_and_rounds_the_new_one_once():
    account = TradingAccount(10**9, DAY)
    bought(account, 1, 101, 100)
    account.open_day(DAY + timedelta(days=1))
    bought(account, 2, 101, 100)
    account.open_day(DAY + timedelta(days=2))
    free = account.cash_free
    account.entitle(SYMBOL, 5_000, Fraction(3, 2))
    # 202 × 1.5 = 303; each lot alone would have lost half a share.
    assert [lot.free for lot in account.holdings[SYMBOL].lots] == [151, 152]
    assert account.sellable(SYMBOL) == 303
    assert account.cash_free - free == 202 * 5_000
    assert booked(account).balance(DIVIDEND) == -202 * 5_000


def test_a_reverse_split_leaves_fewer_shares_and_the_whole_cost():
    account = TradingAccount(10**9, DAY)
    bought(account, 1, 1000, 100)
    account.open_day(DAY + timedelta(days=1))
    account.entitle(SYMBOL, 0, Fraction(1, 10))
    assert (account.sellable(SYMBOL), account.holdings[SYMBOL].lots[0].cost) == (100, 100_000)
    prove(account, booked(account))


def test_rights_are_paid_and_a_delisted_holding_is_written_off():
    account = TradingAccount(10**9, DAY)
    bought(account, 1, 1000, 100)
    account.open_day(DAY + timedelta(days=1))
    # Three for ten at 0.0080 yuan.
    assert take_up_rights(account, SYMBOL, 300, 80)
    assert account.sellable(SYMBOL) == 1000
    assert not take_up_rights(account, SYMBOL, 1, 10**10)
    prove(account, booked(account))
    account.open_day(DAY + timedelta(days=2))
    assert account.sellable(SYMBOL) == 1300
    free = account.cash_free
    assert write_off(account, SYMBOL) == 100_000 + 24_000
    assert write_off(account, SYMBOL) == 0
    assert (account.holdings, account.cash_free) == ({}, free)
    book = booked(account)
    assert book.balance(REALISED) == 124_000
    prove(account, book)


def test_oldest_lots_go_first_and_gain_is_realised():
    account = TradingAccount(10**9, DAY)
    bought(account, 1, 100, 1_000)
    account.open_day(DAY + timedelta(days=1))
    bought(account, 2, 100, 2_000)
    account.open_day(DAY + timedelta(days=2))
    reserve = Reserve()
    assert account.freeze_shares(3, reserve, SYMBOL, 150)
    assert account.sellable(SYMBOL) == 50
    account.sell(3, reserve, SYMBOL, 150, 150 * 3_000, FEES)
    # 100 at 1,000 and 50 at 2,000 were sold at 3,000.
    assert booked(account).balance(REALISED) == -(150 * 3_000 - 200_000)
    assert [(lot.free, lot.cost) for lot in account.holdings[SYMBOL].lots] == [(50, 100_000)]


def test_what_is_not_there_is_not_frozen_and_not_sold():
    account = TradingAccount(1_000, DAY)
    reserve = Reserve()
    assert not account.freeze_cash(1, reserve, 1_001)
    assert not account.freeze_shares(1, reserve, SYMBOL, 1)
    assert account.export() == TradingAccount(1_000, DAY).export()
    assert account.freeze_cash(1, reserve, 1_000)
    with pytest.raises(CorruptState, match="BALANCE_NEGATIVE"):
        account.buy(1, reserve, SYMBOL, 1, 1_001, (0, 0, 0), settled=False, keep=0)
    with pytest.raises(ConfigInvalid, match="CASH_INVALID"):
        TradingAccount(-1, DAY)
    with pytest.raises(ConfigInvalid, match="DAY_ORDER"):
        account.open_day(DAY - timedelta(days=1))


def test_a_difference_from_the_journal_is_named():
    account = TradingAccount(1_000, DAY)
    book = booked(account)
    assert book.balance(CAPITAL) == -1_000
    account.cash_free += 1
    with pytest.raises(CorruptState, match=r"cash\.free: account 1001, journal 1000"):
        prove(account, book)


def test_no_ex_date_while_an_order_holds_shares():
    account = TradingAccount(10**6, DAY)
    bought(account, 1, 100, 100)
    account.open_day(DAY + timedelta(days=1))
    assert account.freeze_shares(2, Reserve(), SYMBOL, 100)
    with pytest.raises(CorruptState, match="SHARES_FROZEN"):
        account.entitle(SYMBOL, 0, Fraction(2))
