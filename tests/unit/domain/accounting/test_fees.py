"""Fees of an order: rates by date, rounding per component, one minimum per order."""

from datetime import date
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fees import (
    NO_FEES,
    FeeTable,
    check_commission_floor,
    contained_fees,
    fee_schedule,
    order_fees,
    upper_bound,
)
from caopan.domain.market.reference import Exchange, Instrument
from caopan.domain.orders.order import Side
from caopan.kernel.errors import ConfigInvalid, Denied
from caopan.kernel.money import units, yuan

DAY = date(2026, 11, 20)
TABLE = load_rules().fees
SCHEDULE = fee_schedule(TABLE)
amounts = st.integers(0, 10**12)
sides = st.sampled_from(Side)
exchanges = st.sampled_from(Exchange)
days = st.dates(date(2021, 11, 15), date(2026, 12, 31))


@pytest.mark.parametrize(
    ("side", "price", "qty", "day", "commission", "duty", "transfer"),
    [
        ("sell", "10.00", 1000, "2026-11-20", "5.00", "5.00", "0.10"),
        # Stamp duty was halved on 2023-08-28.
        ("sell", "10.00", 1000, "2023-08-25", "5.00", "10.00", "0.10"),
        ("sell", "10.00", 1000, "2023-08-28", "5.00", "5.00", "0.10"),
        # The transfer fee was halved on 2022-04-29.
        ("buy", "10.00", 1000, "2022-04-28", "5.00", "0.00", "0.20"),
        ("buy", "10.00", 1000, "2022-04-29", "5.00", "0.00", "0.10"),
        # A round trip 10.00 to 10.03 on 1000 shares: 30.00 less 5.10 and 10.12 leaves 14.78.
        ("sell", "10.03", 1000, "2026-11-20", "5.00", "5.02", "0.10"),
        ("sell", "15.37", 20000, "2026-11-20", "76.85", "153.70", "3.07"),
        # Half a fen rounds up: 1230 yuan x 0.0005 = 0.615, 500 x 0.00001 = 0.005.
        ("sell", "12.30", 100, "2026-11-20", "5.00", "0.62", "0.01"),
        ("buy", "5.00", 100, "2026-11-20", "5.00", "0.00", "0.01"),
        # 20,000 yuan is where 0.025 % meets the minimum of 5.
        ("buy", "10.00", 2000, "2026-11-20", "5.00", "0.00", "0.20"),
        ("buy", "10.00", 2100, "2026-11-20", "5.25", "0.00", "0.21"),
    ],
)
def test_worked_examples(side, price, qty, day, commission, duty, transfer):
    fees = order_fees(
        SCHEDULE, Side(side), qty * units(price), date.fromisoformat(day), Exchange.SH
    )
    found = [yuan(part) for part in (fees.commission, fees.stamp_duty, fees.transfer_fee)]
    assert found == [commission, duty, transfer]
    assert fees.other_fees == 0
    assert fees.total == sum(units(part) for part in (commission, duty, transfer))


def test_the_minimum_is_charged_once_over_the_fills_of_an_order():
    # 300 + 700 shares at 10: the order's 5 yuan are charged with its first fill.
    first = order_fees(SCHEDULE, Side.BUY, units("3000"), DAY, Exchange.SH)
    whole = order_fees(SCHEDULE, Side.BUY, units("10000"), DAY, Exchange.SH)
    assert yuan(first.commission) == "5.00"
    assert (whole - first).commission == 0
    assert yuan((whole - first).transfer_fee) == "0.07"


def test_a_broker_without_a_minimum():
    schedule = fee_schedule(TABLE, commission_rate="0.0001", commission_min="0")
    fees = order_fees(schedule, Side.BUY, units("3000"), DAY, Exchange.SH)
    assert yuan(fees.commission) == "0.30"


def test_handling_and_regulatory_fee_are_inside_the_commission():
    handling, regulatory = contained_fees(TABLE, units("1000000"), DAY, Exchange.SH)
    assert (yuan(handling), yuan(regulatory)) == ("34.10", "20.00")
    assert order_fees(SCHEDULE, Side.BUY, units("1000000"), DAY, Exchange.SH).other_fees == 0


@pytest.mark.parametrize(
    ("commission_rate", "commission_min"), [("0.0031", "5"), ("-0.0001", "5"), ("0.00025", "-1")]
)
def test_an_unlawful_schedule_is_refused(commission_rate, commission_min):
    with pytest.raises(ConfigInvalid, match="FEES_INVALID"):
        fee_schedule(TABLE, commission_rate=commission_rate, commission_min=commission_min)


def test_days_and_exchanges_without_a_rate_are_refused():
    amount = units("10000")
    with pytest.raises(Denied, match="RISK_RULES_UNKNOWN"):
        order_fees(SCHEDULE, Side.SELL, amount, date(2008, 9, 18), Exchange.SH)
    with pytest.raises(Denied, match="RISK_RULES_UNKNOWN"):
        order_fees(SCHEDULE, Side.BUY, amount, date(2021, 11, 12), Exchange.BJ)
    with pytest.raises(Denied, match="RISK_RULES_UNKNOWN"):
        order_fees(fee_schedule(FeeTable([])), Side.BUY, amount, DAY, Exchange.SH)


def test_an_order_without_fills_costs_nothing_and_a_negative_amount_is_refused():
    assert order_fees(SCHEDULE, Side.SELL, 0, DAY, Exchange.SH) == NO_FEES
    with pytest.raises(ConfigInvalid, match="FEES_INVALID"):
        order_fees(SCHEDULE, Side.SELL, -1, DAY, Exchange.SH)


@given(amounts, amounts, sides, days, exchanges)
def test_fees_grow_with_the_amount_in_every_component(amount, more, side, day, exchange):
    before = order_fees(SCHEDULE, side, amount, day, exchange)
    added = order_fees(SCHEDULE, side, amount + more, day, exchange) - before
    assert min(added.commission, added.stamp_duty, added.transfer_fee, added.other_fees) >= 0


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=8), sides, days, exchanges)
def test_fees_of_fills_add_up_to_the_fees_of_the_order(fills, side, day, exchange):
    done, charged = 0, 0
    for fill in fills:
        before = order_fees(SCHEDULE, side, done, day, exchange)
        done += fill
        charged += (order_fees(SCHEDULE, side, done, day, exchange) - before).total
    assert charged == order_fees(SCHEDULE, side, sum(fills), day, exchange).total


@given(amounts.filter(bool), sides, days, exchanges)
def test_each_component_is_the_exact_rate_to_half_a_fen(amount, side, day, exchange):
    fees = order_fees(SCHEDULE, side, amount, day, exchange)
    parts = (fees.commission, fees.stamp_duty, fees.transfer_fee)
    assert all(part % 100 == 0 for part in parts)
    assert fees.commission >= units("5")
    exact = Fraction(amount) * Fraction(25, 100_000)
    assert abs(fees.commission - exact) <= 50 or exact < units("5")


@given(
    st.integers(1, 10_000),
    st.integers(1, 1000),
    st.data(),
    days,
    exchanges,
)
def test_no_way_of_filling_costs_more_than_the_upper_bound(lots, ticks, data, day, exchange):
    qty, limit = lots * 100, ticks * 100
    bound = upper_bound(SCHEDULE, qty, limit, day, exchange)
    part = data.draw(st.integers(0, qty))
    amount = part * data.draw(st.integers(1, ticks)) * 100
    amount += (qty - part) * data.draw(st.integers(1, ticks)) * 100
    assert amount + order_fees(SCHEDULE, Side.BUY, amount, day, exchange).total <= bound


def test_funds_pay_neither_stamp_duty_nor_transfer_fee():
    amount = 10_000 * units("3.512")
    fees = order_fees(SCHEDULE, Side.SELL, amount, DAY, Exchange.SH, Instrument.FUND)
    assert (yuan(fees.commission), fees.total) == ("8.78", fees.commission)
    # What the commission on a fund contains has no source.
    with pytest.raises(Denied, match="handling_fee of a fund"):
        contained_fees(TABLE, amount, DAY, Exchange.SH, Instrument.FUND)


def test_a_commission_covers_the_fees_it_contains():
    check_commission_floor(fee_schedule(TABLE, commission_rate="0.0000541"), DAY, Exchange.SH)
    low = fee_schedule(TABLE, commission_rate="0.000054")
    with pytest.raises(ConfigInvalid, match="below the fees it contains"):
        check_commission_floor(low, DAY, Exchange.SH)
