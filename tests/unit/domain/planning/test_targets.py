"""Targets into orders: the cases people ask about."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from caopan.domain.orders.order import Side
from caopan.domain.planning.targets import Planned, Position, Target, Unplanned, plan
from caopan.kernel.money import units
from caopan.testing.samples import SYMBOL, sample_reference

STAR = {"min_buy_qty": 200, "qty_step": 1, "lot_size": 200}


def planned(
    weight, *, held=0, sellable=None, cash=1_000_000_000, nav=None, price=10, **changes
) -> Any:
    """Return what one target of SYMBOL leads to."""
    reference = sample_reference(**changes.pop("rules", {}))
    position = Position(held, held if sellable is None else sellable)
    found = plan(
        [Target(0, SYMBOL, Fraction(weight), **changes)],
        nav=nav or cash + held * units(price),
        cash=cash,
        positions={SYMBOL: position},
        references={SYMBOL: reference},
        prices={SYMBOL: units(price)},
        cost_of_buy=lambda _, qty, limit: qty * limit + units(5),
    )
    (one,) = (*found.orders, *found.left)
    return one


def test_an_opening_is_rounded_down_to_whole_lots_and_priced_to_be_met():
    # 15 % of 100,000 at 10.00 are 1,500 shares; half a percent above the market.
    assert planned("0.15") == Planned(0, SYMBOL, Side.BUY, 1_500, units("10.05"))
    assert planned("0.1599").qty == 1_500


def test_no_weight_sells_all_that_may_be_sold_odd_lot_included():
    assert planned(0, held=1_050) == Planned(0, SYMBOL, Side.SELL, 1_050, units("9.95"))


def test_a_part_of_a_position_is_sold_in_lots_and_leaves_the_odd_one():
    assert planned("0.055", held=1_050, nav=units(100_000)).qty == 500
    # Where the whole odd lot fits, it goes along.
    assert planned("0.05", held=1_050, nav=units(100_000)).qty == 550


def test_star_market_steps_by_one_share_above_two_hundred():
    assert planned("0.02345", rules=STAR).qty == 234
    assert planned("0.015", rules=STAR) == Unplanned(0, SYMBOL, "below_one_lot")
    assert planned(0, held=150, rules=STAR).qty == 150


def test_what_was_bought_today_waits():
    assert planned(0, held=500, sellable=0) == Unplanned(0, SYMBOL, "not_sellable_today")


def test_a_purchase_shrinks_to_the_cash_there_is_with_fees():
    # 10.05 a share and 5 yuan of fees: 2,000 yuan pay for one lot, not for two.
    assert planned("0.5", cash=units(2_000), nav=units(50_000)).qty == 100
    assert planned("0.5", cash=units(1_000), nav=units(50_000)) == Unplanned(0, SYMBOL, "no_cash")


@pytest.mark.parametrize(
    ("most", "chase", "price"),
    [(None, 0, "10"), ("9.5", 50, "9.5"), ("10.033", 50, "10.03"), (None, 5_000, "11")],
)
def test_a_purchase_is_never_dearer_than_asked_for_or_than_the_limit(most, chase, price):
    one = planned("0.1", max_price=None if most is None else units(most), chase_bps=chase)
    assert one.price == units(price)


def test_a_sale_is_never_below_the_limit():
    assert planned(0, held=100, chase_bps=5_000).price == units(9)


def test_open_orders_count_as_if_they_had_filled():
    found = plan(
        [Target(0, SYMBOL, Fraction(1, 10))],
        nav=units(100_000),
        cash=units(100_000),
        positions={SYMBOL: Position(held=0, sellable=0, buying=1_000)},
        references={SYMBOL: sample_reference()},
        prices={SYMBOL: units(10)},
        cost_of_buy=lambda _, qty, limit: qty * limit,
    )
    assert found.left == (Unplanned(0, SYMBOL, "at_target"),)


def test_without_a_price_nothing_is_planned():
    found = plan(
        [Target(0, SYMBOL, Fraction(1, 10))],
        nav=units(1),
        cash=units(1),
        positions={},
        references={},
        prices={},
        cost_of_buy=lambda _, qty, limit: qty * limit,
    )
    assert found.left == (Unplanned(0, SYMBOL, "no_price"),)
