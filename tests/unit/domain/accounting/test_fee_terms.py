"""Fees as plain integers are the dated schedule's, to the last unit."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fee_terms import EXACT_STEP, FeeTerms, fee_terms
from caopan.domain.accounting.fees import fee_schedule, order_fees, upper_bound
from caopan.domain.market.reference import Exchange, Instrument
from caopan.domain.orders.order import Side
from caopan.kernel.money import units

DAY = date(2024, 1, 2)
SCHEDULE = fee_schedule(load_rules().fees)


@given(
    amount=st.integers(1, 10**13),
    side=st.sampled_from(Side),
    place=st.tuples(st.sampled_from([Exchange.SH, Exchange.SZ]), st.sampled_from(Instrument)),
)
def test_the_terms_of_a_day_charge_what_the_schedule_charges(amount, side, place):
    terms = fee_terms(SCHEDULE, DAY, *place)
    fees = order_fees(SCHEDULE, side, amount, DAY, *place)
    assert terms.commission(amount) == fees.commission
    assert terms.transfer(amount) == fees.transfer_fee
    assert (terms.stamp_duty(amount) if side is Side.SELL else 0) == fees.stamp_duty
    if side is Side.BUY:
        assert amount + terms.buy_bound(amount) == upper_bound(SCHEDULE, 1, amount, DAY, *place)


def test_fees_may_be_left_unrounded():
    plain = FeeTerms(Fraction(1, 4000), units("5"), Fraction(1, 2000), Fraction(0), EXACT_STEP)
    assert plain.commission(units("28380")) == units("7.095")
    assert plain.stamp_duty(units("5310")) == units("2.655")
    assert plain.commission(units("100")) == units("5")


@given(parts=st.lists(st.integers(1, 10**9), min_size=1, max_size=8))
def test_what_fills_pay_one_by_one_is_what_the_order_pays(parts):
    """Never more than the bound frozen for the whole, however it is cut up."""
    terms = fee_terms(SCHEDULE, DAY, Exchange.SH)
    paid = total = 0
    for part in parts:
        before = terms.buy_bound(total) if total else 0
        total += part
        step = terms.buy_bound(total) - before
        assert step >= 0
        paid += step
    assert paid == terms.buy_bound(total)
