"""Ex-right reference prices: worked examples, and what the formula must keep."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.domain.accounting.corporate_actions import Entitlement, ex_reference, share_factor
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units, yuan


def terms(cash="0", bonus="0", rights="0", price="0"):
    return Entitlement(Fraction(units(cash)), Fraction(bonus), Fraction(rights), units(price))


@pytest.mark.parametrize(
    ("close", "given_terms", "reference"),
    [
        # 5 yuan per 10 shares.
        ("10.00", terms("0.50"), "9.50"),
        # 5 new shares and 1 yuan per 10: (20 - 0.10) / 1.5 = 13.2667.
        ("20.00", terms("0.10", "0.5"), "13.27"),
        # 3 for 10 at 8.00: (12 + 2.4) / 1.3 = 11.0769.
        ("12.00", terms(rights="0.3", price="8.00"), "11.08"),
        # All three: (10 - 0.2 + 0.5) / 1.4 = 7.357.
        ("10.00", terms("0.20", "0.3", "0.1", "5.00"), "7.36"),
        # Half a fen rounds up.
        ("10.01", terms(bonus="1"), "5.01"),
    ],
)
def test_worked_examples(close, given_terms, reference):
    assert yuan(ex_reference(units(close), given_terms, 100)) == reference


def test_where_only_some_shares_take_part_the_terms_are_spread():
    # Nine tenths take part: 0.50 counts as 0.45.
    spread = terms("0.50").taken_by(Fraction(9, 10))
    assert yuan(ex_reference(units("10.00"), spread, 100)) == "9.55"


@given(st.integers(1_000, 10**7), st.fractions(0, 3, max_denominator=20))
def test_free_shares_leave_a_holder_as_rich_to_half_a_tick_a_share(close, bonus):
    given_terms = Entitlement(bonus=bonus)
    after = ex_reference(close, given_terms, 100) * share_factor(given_terms)
    assert abs(after - close) <= 50 * (1 + bonus)


def test_terms_worth_more_than_the_price_and_negative_terms_are_refused():
    with pytest.raises(ConfigInvalid, match="leaves nothing"):
        ex_reference(units("0.50"), terms("0.50"), 100)
    with pytest.raises(ConfigInvalid, match="cash"):
        terms("-0.10")
