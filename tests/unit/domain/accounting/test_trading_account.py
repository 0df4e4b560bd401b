"""What befalls a holding, worked by hand: dividend tax at the sale, pay dates, a new code."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.account_records import rebuilt
from caopan.domain.accounting.dividend_tax import DividendTaxTable
from caopan.domain.accounting.holding_changes import (
    change_code,
    take_up_rights,
    write_off,
)
from caopan.domain.accounting.holdings import Reserve
from caopan.domain.accounting.journal import DIVIDEND, DIVIDEND_TAX, REALISED, Book, Lot
from caopan.domain.accounting.movements import transaction
from caopan.domain.accounting.trading_account import TradingAccount, prove
from caopan.kernel.errors import ConfigInvalid, CorruptState
from caopan.kernel.money import units, yuan

TABLE = load_rules().dividend_tax
SYMBOL = "600001.SH"
NO_FEES = (0, 0, 0)


def bought(account: TradingAccount, day: str, qty: int, price: str) -> None:
    account.open_day(date.fromisoformat(day))
    reserve, amount = Reserve(), qty * units(price)
    assert account.freeze_cash(1, reserve, amount)
    account.buy(1, reserve, SYMBOL, qty, amount, NO_FEES, settled=False, keep=0)


def sold(account: TradingAccount, qty: int, price: str, symbol: str = SYMBOL) -> str:
    """Sell, and return what came in, in yuan."""
    reserve, before = Reserve(), account.cash_free
    assert account.freeze_shares(2, reserve, symbol, qty)
    account.sell(2, reserve, symbol, qty, qty * units(price), NO_FEES)
    return yuan(account.cash_free - before)


def proved(account: TradingAccount) -> Book:
    """Return the book of all movements; every one must balance, and their sum be the account."""
    book = Book()
    for number, row in enumerate(account.movements, start=1):
        book.post(transaction(number, row))
    prove(account, book)
    assert sum(amount for (_, asset), amount in book.balances.items() if asset == "CNY") == 0
    return book


def three_lots(table: DividendTaxTable | None = TABLE) -> TradingAccount:
    """1,000 shares each of three ages; 0.50 yuan and 3 bonus shares per ten on 2026-06-08."""
    account = TradingAccount(units("100000"), date(2025, 5, 9), table)
    for day in ("2025-05-12", "2026-05-06", "2026-06-01"):
        bought(account, day, 1000, "10")
    account.open_day(date(2026, 6, 8))
    account.entitle(
        SYMBOL, units("0.5"), Fraction(13, 10), Fraction(3, 10), recorded_on=date(2026, 6, 5)
    )
    return account


def test_a_dividend_is_paid_whole_and_taxed_at_the_sale_by_the_age_of_the_oldest_shares():
    account = three_lots()
    assert yuan(account.cash_free) == "71500.00"
    account.open_day(date(2026, 6, 15))
    # Every lot of 1,300 has earned 500 in cash and 300 in bonus shares at par.
    # The first was held for more than a year: nothing.
    assert sold(account, 1300, "10") == "13000.00"
    # Half of the second, more than a month: 10 % of 400.
    assert sold(account, 650, "10") == "6460.00"
    # The other half, and the third, two weeks old: 10 % of 400 and 20 % of 800.
    assert sold(account, 1950, "10") == "19300.00"
    book = proved(account)
    assert (book.balance(DIVIDEND), book.balance(DIVIDEND_TAX)) == (-units("1500"), units("240"))
    assert account.holdings == {}


def test_without_rates_nothing_is_taxed_and_nothing_more_is_exported():
    account = three_lots(None)
    assert [len(lot) for lot in account.export()["holdings"][0]["lots"]] == [4, 4, 4]
    account.open_day(date(2026, 6, 15))
    assert sold(account, 3900, "10") == "39000.00"
    assert proved(account).balance(DIVIDEND_TAX) == 0


def test_what_is_owed_survives_a_restart_and_is_never_forgotten():
    account = three_lots()
    again = rebuilt(account.export(), TABLE)
    assert again.export() == account.export()
    again.open_day(date(2026, 6, 15))
    assert sold(again, 3900, "10") == "38760.00"
    blind = rebuilt(account.export())
    blind.open_day(date(2026, 6, 15))
    with pytest.raises(CorruptState, match="DIVIDEND_TAX_MISSING"):
        sold(blind, 3900, "10")


def test_shares_bought_since_owe_nothing():
    account = three_lots()
    bought(account, "2026-06-09", 1000, "10")
    account.open_day(date(2026, 6, 15))
    assert sold(account, 4900, "10") == "48760.00"
    proved(account)


def test_a_new_code_takes_lots_costs_ages_and_untaxed_income_along():
    account = three_lots()
    before = [(lot.bought_on, lot.qty, lot.cost) for lot in account.holdings[SYMBOL].lots]
    change_code(account, SYMBOL, "920001.BJ")
    change_code(account, "430001.BJ", "920002.BJ")
    assert (list(account.holdings), account.sellable(SYMBOL)) == (["920001.BJ"], 0)
    book = proved(account)
    assert book.balance(REALISED) == 0
    assert [(lot.bought_on, lot.qty, lot.cost) for lot in book.lots("920001.BJ")] == before
    assert book.lots(SYMBOL) == []
    account.open_day(date(2026, 6, 15))
    # The same sales, and the same tax, as under the old code.
    assert sold(account, 3900, "10", "920001.BJ") == "38760.00"
    assert proved(account).balance(REALISED) == units("30000") - units("39000")


def test_shares_bought_on_the_day_of_the_change_settle_under_the_new_code():
    account = TradingAccount(units("100000"), date(2026, 6, 1))
    bought(account, "2026-06-01", 1000, "10")
    change_code(account, SYMBOL, "600002.SH")
    assert account.sellable("600002.SH") == 0
    account = rebuilt(account.export())
    account.open_day(date(2026, 6, 2))
    assert account.sellable("600002.SH") == 1000


def test_no_code_change_onto_another_holding_or_under_an_order():
    account = three_lots()
    with pytest.raises(ConfigInvalid, match="CODE_TAKEN"):
        change_code(account, SYMBOL, SYMBOL)
    assert account.freeze_shares(3, Reserve(), SYMBOL, 100)
    with pytest.raises(CorruptState, match="SHARES_FROZEN"):
        change_code(account, SYMBOL, "600002.SH")


def test_a_dividend_due_is_a_receivable_until_its_pay_date():
    """1,000 shares at 10.00; 0.50 a share, ex on Monday, paid on Wednesday; half sold between."""
    account = TradingAccount(units("10000"), date(2026, 6, 5), TABLE)
    bought(account, "2026-06-05", 1000, "10")
    account.open_day(date(2026, 6, 8))
    account.entitle(SYMBOL, units("0.5"), Fraction(3, 2), pay_date=date(2026, 6, 10))
    book = proved(account)
    assert (account.cash_free, book.receivable) == (0, units("500"))
    # Earned on the ex-date, whatever the day of payment.
    assert book.balance(DIVIDEND) == -units("500")
    assert account.sellable(SYMBOL) == 1500
    account.open_day(date(2026, 6, 9))
    # 250 of the dividend fell to these 750, held for four days: 20 %.
    assert sold(account, 750, "6") == "4450.00"
    again = rebuilt(account.export(), TABLE)
    assert again.export() == account.export()
    for one in (account, again):
        # The pay date may have no session: the next one pays.
        one.open_day(date(2026, 6, 11))
        assert (yuan(one.cash_free), one.receivables) == ("4950.00", [])
    assert proved(account).receivable == 0
    assert "receivables" not in account.export()


def test_a_pay_date_not_ahead_pays_on_the_ex_date():
    account = TradingAccount(units("10000"), date(2026, 6, 5))
    bought(account, "2026-06-05", 1000, "10")
    account.open_day(date(2026, 6, 8))
    account.entitle(SYMBOL, units("0.5"), Fraction(1), pay_date=date(2026, 6, 8))
    assert (yuan(account.cash_free), account.receivables) == ("500.00", [])
    proved(account)


def bonus_listed_later() -> TradingAccount:
    """1,000 at 10.00; five for ten and 0.10 on Monday, the new shares listed on Wednesday."""
    account = TradingAccount(units("10000"), date(2026, 6, 5), TABLE)
    bought(account, "2026-06-05", 1000, "10")
    account.open_day(date(2026, 6, 8))
    account.entitle(SYMBOL, units("0.1"), Fraction(3, 2), listed_on=date(2026, 6, 10))
    return account


def test_new_shares_listed_later_are_held_and_counted_but_not_sold():
    account = bonus_listed_later()
    holding = account.holdings[SYMBOL]
    assert (holding.qty, holding.sellable, holding.unlisted) == (1500, 1000, 500)
    assert [(lot.free, lot.cost) for lot in holding.lots] == [
        (1000, units("10000") - units("10000") * 500 // 1500),
        (500, units("10000") * 500 // 1500),
    ]
    assert not account.freeze_shares(3, Reserve(), SYMBOL, 1001)
    again = rebuilt(account.export(), TABLE)
    assert again.export() == account.export()
    for one in (account, again):
        one.open_day(date(2026, 6, 9))
        assert one.sellable(SYMBOL) == 1000
        one.open_day(date(2026, 6, 10))
        assert (one.sellable(SYMBOL), len(one.holdings[SYMBOL].lots)) == (1500, 1)
        # 20 % of the 100.00 that the 1,000 old shares earned.
        assert sold(one, 1500, "6") == "8980.00"
    assert proved(account).balance(REALISED) == units("1000")


def test_new_shares_outlive_the_sale_of_the_old_ones():
    account = bonus_listed_later()
    # Two thirds of the 100.00 earned, at 20 %: 13.33.
    assert sold(account, 1000, "6") == "5986.67"
    proved(account)
    account.open_day(date(2026, 6, 11))
    assert [lot.bought_on for lot in account.holdings[SYMBOL].lots] == [date(2026, 6, 5)]
    assert sold(account, 500, "6") == "2993.33"
    assert proved(account).lots() == []


def test_new_shares_wait_through_a_dividend_a_new_code_and_a_delisting():
    account = bonus_listed_later()
    account.open_day(date(2026, 6, 9))
    account.entitle(SYMBOL, units("0.1"), Fraction(2))
    # The dividend falls to all 1,500; the children of what waits, wait with it.
    assert (account.cash_free, account.sellable(SYMBOL)) == (units("250"), 2000)
    assert take_up_rights(account, SYMBOL, 100, units("2"), date(2026, 6, 12))
    change_code(account, SYMBOL, "600002.SH")
    proved(account)
    account.open_day(date(2026, 6, 10))
    assert (account.sellable("600002.SH"), account.holdings["600002.SH"].unlisted) == (3000, 100)
    proved(account)
    assert write_off(account, "600002.SH") == units("10200")
    assert proved(account).balance(REALISED) == units("10200")
    account.open_day(date(2026, 6, 12))
    assert (account.holdings, account.unlisted) == ({}, [])


def test_a_listing_day_not_ahead_lists_on_the_ex_date():
    account = TradingAccount(units("10000"), date(2026, 6, 5))
    bought(account, "2026-06-05", 1000, "10")
    account.open_day(date(2026, 6, 8))
    account.entitle(SYMBOL, 0, Fraction(3, 2), listed_on=date(2026, 6, 8))
    assert (account.sellable(SYMBOL), len(account.holdings[SYMBOL].lots)) == (1500, 1)


def test_a_split_into_fewer_shares_loses_no_cost():
    """3 and 12 shares become one: the first lot's cost goes to the second, none is lost."""
    account = TradingAccount(units("1000"), date(2026, 6, 3))
    bought(account, "2026-06-03", 3, "10")
    bought(account, "2026-06-04", 12, "10")
    account.open_day(date(2026, 6, 8))
    account.entitle(SYMBOL, 0, Fraction(1, 10))
    assert [(lot.free, lot.cost) for lot in account.holdings[SYMBOL].lots] == [(1, units("150"))]
    assert proved(account).lots() == [Lot(SYMBOL, date(2026, 6, 4), 1, 0, units("150"))]
    account.entitle(SYMBOL, 0, Fraction(1, 10))
    # Not one whole share is left: a realised loss.
    assert account.holdings == {}
    assert proved(account).balance(REALISED) == units("150")
