"""Dividend tax of an individual: holding periods, first in first out, tax at the sale."""

from datetime import date
from fractions import Fraction

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.dividend_tax import (
    HeldFor,
    TaxLot,
    held_for,
    record,
    tax_of_sale,
)
from caopan.kernel.errors import ConfigInvalid, Denied
from caopan.kernel.money import units, yuan

TABLE = load_rules().dividend_tax
BOUGHT = date(2026, 3, 10)


@pytest.mark.parametrize(
    ("bought", "sold", "period"),
    [
        # 8 January to 8 February: the month ended the day before the sale, and counts as one.
        (date(2026, 1, 8), date(2026, 2, 8), HeldFor.UP_TO_A_MONTH),
        (date(2026, 1, 8), date(2026, 2, 9), HeldFor.UP_TO_A_YEAR),
        (date(2026, 1, 31), date(2026, 2, 28), HeldFor.UP_TO_A_MONTH),
        (date(2025, 1, 8), date(2026, 1, 8), HeldFor.UP_TO_A_YEAR),
        (date(2025, 1, 8), date(2026, 1, 9), HeldFor.LONGER),
        (date(2024, 2, 29), date(2025, 2, 28), HeldFor.UP_TO_A_YEAR),
        (date(2026, 1, 8), date(2026, 1, 8), HeldFor.UP_TO_A_MONTH),
        # Month-ends: the month of the last day is over on the last day of a shorter one.
        (date(2026, 1, 31), date(2026, 3, 1), HeldFor.UP_TO_A_YEAR),
        (date(2026, 1, 29), date(2026, 2, 28), HeldFor.UP_TO_A_MONTH),
        (date(2024, 1, 31), date(2024, 2, 29), HeldFor.UP_TO_A_MONTH),
        (date(2026, 2, 28), date(2026, 3, 28), HeldFor.UP_TO_A_MONTH),
        (date(2026, 2, 28), date(2026, 3, 31), HeldFor.UP_TO_A_YEAR),
        (date(2026, 4, 30), date(2026, 5, 30), HeldFor.UP_TO_A_MONTH),
        (date(2026, 4, 30), date(2026, 5, 31), HeldFor.UP_TO_A_YEAR),
        (date(2025, 12, 31), date(2026, 1, 31), HeldFor.UP_TO_A_MONTH),
        (date(2025, 12, 31), date(2026, 12, 31), HeldFor.UP_TO_A_YEAR),
        (date(2025, 12, 31), date(2027, 1, 1), HeldFor.LONGER),
        (date(2024, 2, 29), date(2025, 3, 1), HeldFor.LONGER),
    ],
)
def test_holding_periods_go_by_the_calendar(bought, sold, period):
    assert held_for(bought, sold) is period


def lots(*held):
    return record([TaxLot(day, qty) for day, qty in held], date(2026, 6, 1), units("0.50"), 0)


@pytest.mark.parametrize(
    ("sold", "owed"),
    [("2026-06-08", "10.00"), ("2026-12-01", "5.00"), ("2027-06-30", "0.00")],
)
def test_tax_of_one_lot(sold, owed):
    held = lots((date(2026, 5, 20), 100))
    assert yuan(tax_of_sale(TABLE, held, 100, date.fromisoformat(sold)).tax) == owed


def test_one_sale_across_all_three_periods_by_hand():
    """Sold on 8 June 2026, 0.50 a share on each of four lots of 100, 400 shares in one sale.

    Bought 7 June 2025 (a year and a day): 0. Bought 8 June 2025 (a year exactly): 10 % of 50.
    Bought 7 May 2026 (a month and a day): 10 % of 50. Bought 8 May 2026 (a month exactly): 20 %.
    """
    ages = (date(2026, 5, 8), date(2025, 6, 7), date(2026, 5, 7), date(2025, 6, 8))
    held = lots(*((day, 100) for day in ages))
    owed = [yuan(tax_of_sale(TABLE, held, qty, date(2026, 6, 8)).tax) for qty in range(50, 401, 50)]
    assert owed == ["0.00", "0.00", "2.50", "5.00", "7.50", "10.00", "15.00", "20.00"]


def test_the_oldest_shares_go_first_and_are_taxed_once():
    held = lots((date(2026, 5, 25), 100), (date(2025, 1, 6), 100))
    first = tax_of_sale(TABLE, held, 100, date(2026, 6, 10))
    assert first.tax == 0
    assert [lot.bought_on for lot in first.left] == [date(2026, 5, 25)]
    second = tax_of_sale(TABLE, first.left, 40, date(2026, 6, 10))
    assert yuan(second.tax) == "4.00"
    assert [lot.qty for lot in second.left] == [60]
    rest = tax_of_sale(TABLE, second.left, 60, date(2026, 6, 10))
    assert yuan(rest.tax) == "6.00"
    assert rest.left == ()


def test_bonus_shares_are_taxed_at_par():
    # 3 bonus shares and 1 yuan per 10: 100 shares earned 10 + 30 yuan.
    held = record([TaxLot(BOUGHT, 100)], date(2026, 3, 12), units("0.10"), Fraction(3, 10))
    assert yuan(tax_of_sale(TABLE, held, 100, date(2026, 3, 20)).tax) == "8.00"


def test_shares_bought_after_the_record_date_owe_nothing():
    held = [*lots((date(2025, 1, 6), 100)), TaxLot(date(2026, 6, 5), 100)]
    assert tax_of_sale(TABLE, held, 200, date(2026, 6, 10)).tax == 0


def test_more_than_a_year_was_taxed_at_five_percent_until_2015_09_08():
    held = record([TaxLot(date(2013, 1, 7), 100)], date(2015, 6, 1), units("0.50"), Fraction(0))
    assert yuan(tax_of_sale(TABLE, held, 100, date(2016, 6, 1)).tax) == "2.50"


def test_impossible_sales_and_unknown_dates_are_refused():
    with pytest.raises(ConfigInvalid, match="200 shares sold of 100"):
        tax_of_sale(TABLE, [TaxLot(BOUGHT, 100)], 200, date(2026, 6, 1))
    with pytest.raises(ConfigInvalid, match="before the purchase"):
        held_for(BOUGHT, date(2026, 3, 9))
    old = record([TaxLot(date(2010, 1, 4), 100)], date(2010, 6, 1), units("0.50"), Fraction(0))
    with pytest.raises(Denied, match="RISK_RULES_UNKNOWN"):
        tax_of_sale(TABLE, old, 100, date(2011, 1, 4))
