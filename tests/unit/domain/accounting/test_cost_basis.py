"""Costs as brokers show them: examples worked by hand, and what must hold for all of them."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.domain.accounting.cost_basis import CostBasis
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import half_up, units


def shown(price: Fraction | None) -> int | None:
    """A price as a terminal shows it: three decimals of a yuan."""
    return None if price is None else half_up(price, 10)


def test_a_purchase_a_second_one_and_a_sale_by_hand():
    """1,000 at 10.00 and 1,000 at 12.00, then 500 sold at 15.00; 5.00 of fees each time."""
    basis = CostBasis().bought(1000, units("10000"), units("5"))
    assert shown(basis.holding_price) == shown(basis.diluted_price) == units("10.005")
    basis = basis.bought(1000, units("12000"), units("5"))
    assert shown(basis.holding_price) == units("11.005")
    basis = basis.sold(500, units("7500"), units("5"))
    # Held: 22,010 × 3/4 = 16,507.50 for 1,500. Diluted: 22,010 - 7,495 = 14,515 for 1,500.
    assert shown(basis.holding_price) == units("11.005")
    assert shown(basis.diluted_price) == units("9.677")
    # 7,495 came in for shares that had cost 5,502.50.
    assert basis.realised == units("1992.5")
    assert basis.unrealised(units("12")) == units("1492.5")
    assert basis.won(units("12")) == units("3485")


def test_gains_may_dilute_the_cost_below_nothing():
    basis = CostBasis().bought(1000, units("10000"), 0).sold(900, units("18000"), 0)
    assert basis.diluted_price == -units("80")
    assert basis.holding_price == units("10")


def test_a_new_holding_begins_anew():
    basis = CostBasis().bought(100, units("1000"), 0).sold(100, units("1100"), 0)
    assert (basis.qty, basis.holding_cost, basis.diluted_cost) == (0, 0, 0)
    assert (basis.holding_price, basis.diluted_price) == (None, None)
    assert basis.realised == units("100")
    assert basis.bought(100, units("1200"), 0).diluted_price == units("12")


def test_dividend_bonus_rights_and_split_by_hand():
    """1,000 at 14.00; ten get 2.00 yuan and 5 shares, then rights of 3 for ten at 6.00."""
    basis = CostBasis().bought(1000, units("14000"), 0)
    basis = basis.entitled(1000 * units("0.2"), Fraction(3, 2))
    assert basis.qty == 1500
    assert shown(basis.holding_price) == units("9.333")
    # 13,800 for 1,500 shares.
    assert basis.diluted_price == units("9.2")
    basis = basis.bought(450, 450 * units("6"), 0)
    # 16,700 and 16,500 for 1,950 shares.
    assert shown(basis.holding_price) == units("8.564")
    assert shown(basis.diluted_price) == units("8.462")
    halved = basis.entitled(0, Fraction(1, 2))
    assert (halved.qty, halved.holding_cost) == (975, basis.holding_cost)


def test_purchase_partial_sale_dividend_and_bonus_in_one_life():
    """1,000 at 10.00 (5.00 of fees), 400 sold at 12.00 (7.40), then 1.00 and 5 shares for ten.

    持仓成本: 10,005 × 6/10 = 6,003.00 for 600 shares, 10.005 each; a dividend leaves it alone and
    the bonus spreads it over 900: 6.670.
    摊薄成本: 10,005 less 4,792.60 = 5,212.40 for 600, 8.687 each; less 60.00 of dividend 5,152.40,
    over 900: 5.725. At 7.00 the rest has won 297.00, the whole holding 1,147.60: the difference is
    the 790.60 of the sale and the 60.00.
    """
    basis = CostBasis().bought(1000, units("10000"), units("5"))
    basis = basis.sold(400, units("4800"), units("7.4"))
    assert (basis.holding_cost, basis.diluted_cost) == (units("6003"), units("5212.4"))
    assert (shown(basis.holding_price), shown(basis.diluted_price)) == (
        units("10.005"),
        units("8.687"),
    )
    basis = basis.entitled(600 * units("0.1"), Fraction(3, 2))
    assert (basis.qty, basis.holding_cost, basis.diluted_cost) == (
        900,
        units("6003"),
        units("5152.4"),
    )
    assert (shown(basis.holding_price), shown(basis.diluted_price)) == (
        units("6.67"),
        units("5.725"),
    )
    assert (basis.unrealised(units("7")), basis.won(units("7"))) == (units("297"), units("1147.6"))
    assert (basis.realised, basis.dividends) == (units("790.6"), units("60"))


def test_dividend_tax_at_the_sale_gives_part_of_the_dividend_back():
    basis = CostBasis().bought(1000, units("10000"), 0).entitled(units("200"), Fraction(1))
    basis = basis.sold(500, units("5000"), 0).taxed(units("20"))
    assert basis.dividends == units("180")
    assert basis.diluted_price == units("9.64")


def test_a_delisted_holding_is_lost_whole():
    basis = CostBasis().bought(1000, units("10000"), units("5")).written_off()
    assert (basis.qty, basis.realised) == (0, -units("10005"))
    assert CostBasis().written_off() == CostBasis()


@pytest.mark.parametrize("qty", [0, -100, 101])
def test_what_is_not_held_is_not_sold(qty):
    with pytest.raises(CorruptState):
        CostBasis().bought(100, 1, 0).sold(qty, 1, 0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["buy", "sell", "dividend"]),
        st.integers(1, 5_000),
        st.integers(1, 10**6),
        st.integers(0, 10**5),
    ),
    max_size=25,
)


@given(steps=steps, price=st.integers(1, 10**6))
def test_both_costs_tell_the_same_gain(steps, price):
    """Won by the holding = realised + unrealised + dividends since it was opened."""
    basis = CostBasis().bought(10_000, 10**9, 0)
    opened = basis
    paid = 10**9
    for what, qty, each, fees in steps:
        if what == "buy":
            basis, paid = basis.bought(qty, qty * each, fees), paid + qty * each + fees
        elif what == "sell" and qty < basis.qty:
            basis, paid = basis.sold(qty, qty * each, fees), paid - qty * each + fees
        elif what == "dividend":
            basis, paid = basis.entitled(each, Fraction(11, 10)), paid - each
    since = basis.realised - opened.realised + basis.dividends - opened.dividends
    assert basis.won(price) == since + basis.unrealised(price)
    assert basis.diluted_cost == paid
    assert basis.holding_cost > 0
