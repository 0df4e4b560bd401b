"""Prices at the edges that vendors write down."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from caopan.domain.gateway.endpoint import CNY, PriceRule
from caopan.domain.gateway.pricing import FREE, ModelPrices
from caopan.domain.gateway.usage import Tokens
from caopan.kernel.errors import ConfigInvalid

MODEL = "deepseek-v4-pro"
IDLE = PriceRule(MODEL, "2026-08-23T00:00:00+08:00", "CNY", "4.5", "13.5", "0.15")
MORNING = replace(
    IDLE,
    input_mtok="9",
    output_mtok="27",
    cached_mtok="0.3",
    hours=("09:00", "12:00"),
    weekdays=(1, 2, 3, 4, 5),
    except_days=("2026-10-01",),
)
AFTERNOON = replace(MORNING, hours=("14:00", "18:00"))
VENDOR = [IDLE, MORNING, AFTERNOON]
MILLION = Tokens(1_000_000, 0)


def prices(*rules: PriceRule, usd: str | None = None, model: str = MODEL) -> ModelPrices:
    return ModelPrices(model, [rules], usd_cny=usd)


def beijing(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+08:00")


@pytest.mark.parametrize(
    ("at", "yuan"),
    [
        ("2026-11-20 08:59:59.999", "4.5"),  # a Friday
        ("2026-11-20 09:00", "9"),
        ("2026-11-20 11:59:59.999", "9"),
        ("2026-11-20 12:00", "4.5"),
        ("2026-11-20 17:59", "9"),
        ("2026-11-20 18:00", "4.5"),
        ("2026-11-21 09:30", "4.5"),  # Saturday
        ("2026-11-22 10:30", "4.5"),  # Sunday
        ("2026-10-01 10:00", "4.5"),  # a Thursday, the National Day
        ("2026-11-23 00:00", "4.5"),
    ],
)
def test_peak_hours_are_those_of_working_days(at, yuan):
    cost = prices(*VENDOR).cost(MILLION, beijing(at))
    assert cost is not None
    assert cost.amount == int(float(yuan) * CNY)


def test_a_sunday_of_utc_that_is_monday_in_beijing_is_a_working_day():
    at = datetime(2026, 11, 22, 23, 59, tzinfo=UTC)
    rule = prices(*VENDOR, replace(MORNING, hours=("07:00", "08:00"))).in_force(at, 0)
    assert rule is not None
    assert rule.hours == ("07:00", "08:00")


@pytest.mark.parametrize(
    ("at", "night"),
    [("23:59:59", False), ("00:00", True), ("00:29:59", True), ("00:30", False)],
)
def test_hours_may_begin_at_midnight(at, night):
    rule = replace(IDLE, hours=("00:00", "00:30"))
    assert (prices(rule).in_force(beijing(f"2026-11-20 {at}"), 0) is not None) == night


@pytest.mark.parametrize(
    ("at", "night"),
    [("22:29", False), ("22:30", True), ("23:59", True), ("00:00", True), ("06:00", False)],
)
def test_hours_may_wrap_midnight(at, night):
    rule = replace(IDLE, hours=("22:30", "06:00"))
    assert (prices(rule).in_force(beijing(f"2026-11-20 {at}"), 0) is not None) == night


@pytest.mark.parametrize(
    ("prompt", "amount"), [(32_000, 32_000 * 320), (32_001, 32_001 * 480), (128_001, 128_001 * 960)]
)
def test_a_tier_holds_for_the_whole_call(prompt, amount):
    tiers = [
        PriceRule(MODEL, IDLE.valid_from, "CNY", "3.2", "16"),
        PriceRule(MODEL, IDLE.valid_from, "CNY", "4.8", "24", tier_from=32_001),
        PriceRule(MODEL, IDLE.valid_from, "CNY", "9.6", "48", tier_from=128_001),
    ]
    cost = prices(*tiers).cost(Tokens(prompt, 0), beijing("2026-11-20 09:00"))
    assert cost is not None
    assert cost.amount == amount


def test_a_price_holds_from_its_first_instant():
    cut = replace(IDLE, valid_from="2026-12-01T00:00:00+08:00", input_mtok="1")
    table = prices(IDLE, cut)
    assert table.in_force(beijing("2026-11-30 23:59:59.999"), 0) == IDLE
    assert table.in_force(beijing("2026-12-01 00:00"), 0) == cut
    assert table.in_force(beijing("2026-08-22 23:59:59.999"), 0) is None


def test_a_call_over_a_change_of_price_is_claimed_at_the_dearer():
    table = prices(*VENDOR)
    begin = beijing("2026-11-20 08:59")
    assert table.most(1_000_000, 0, begin, begin + timedelta(seconds=59)) == 450_000_000
    assert table.most(1_000_000, 0, begin, begin + timedelta(seconds=60)) == 900_000_000
    end = beijing("2026-11-20 11:59:59")
    assert table.most(1_000_000, 1_000_000, end, end + timedelta(hours=1)) == 3_600_000_000


def test_a_call_over_midnight_is_claimed_at_the_dearer_day():
    weekend = replace(IDLE, input_mtok="9", weekdays=(6, 7))
    begin = beijing("2026-11-20 23:59:30")
    table = prices(IDLE, weekend)
    assert table.most(1_000_000, 0, begin, begin + timedelta(seconds=29)) == 450_000_000
    assert table.most(1_000_000, 0, begin, begin + timedelta(seconds=30)) == 900_000_000
    holiday = replace(IDLE, input_mtok="2", except_days=("2026-11-21",))
    table = prices(IDLE, replace(holiday, valid_from="2026-08-24T00:00:00+08:00"))
    assert table.most(1_000_000, 0, begin, begin + timedelta(seconds=29)) == 200_000_000
    assert table.most(1_000_000, 0, begin, begin + timedelta(seconds=30)) == 450_000_000


def test_a_call_over_a_new_price_is_claimed_at_the_dearer():
    dearer = replace(IDLE, valid_from="2026-12-01T00:00:00+08:00", input_mtok="7")
    begin = beijing("2026-11-30 23:59:00")
    table = prices(IDLE, dearer)
    assert table.most(1_000_000, 0, begin, begin + timedelta(seconds=59)) == 450_000_000
    assert table.most(1_000_000, 0, begin, begin + timedelta(seconds=60)) == 700_000_000


def test_a_tier_the_prompt_cannot_reach_is_not_claimed():
    tier = replace(IDLE, tier_from=32_001, input_mtok="9")
    at = beijing("2026-11-20 09:00")
    assert prices(IDLE, tier).most(32_000, 0, at, at) == 14_400_000
    assert prices(IDLE, tier).most(32_001, 0, at, at) == 28_800_900


def test_a_superseded_price_is_not_claimed():
    cheap = replace(IDLE, valid_from="2026-09-01T00:00:00+08:00", input_mtok="1")
    at = beijing("2026-11-20 09:00")
    assert prices(IDLE, cheap).most(1_000_000, 0, at, at) == 100_000_000


def test_half_a_unit_is_rounded_up_once():
    rule = replace(IDLE, input_mtok="0.005", output_mtok="0.005", cached_mtok=None)
    at = beijing("2026-11-20 09:00")
    amounts = [
        cost.amount
        for tokens in (Tokens(1, 0), Tokens(0, 1), Tokens(1, 1), Tokens(0, 0))
        if (cost := prices(rule).cost(tokens, at)) is not None
    ]
    assert amounts == [1, 1, 1, 0]


def test_unknown_is_not_zero():
    at = beijing("2026-11-20 09:00")
    assert prices().cost(MILLION, at) is None
    assert prices(IDLE, model="deepseek-v5").cost(MILLION, at) is None
    assert prices(IDLE).cost(Tokens(5, None), at) is None
    assert prices(IDLE).cost(Tokens(None, 5), at) is None
    dollars = replace(IDLE, currency="USD")
    assert prices(dollars).cost(MILLION, at) is None
    assert prices(dollars).most(1, 1, at, at) is None
    assert prices().most(1, 1, at, at) is None


def test_dollars_are_counted_at_the_configured_rate():
    dollars = replace(IDLE, currency="USD", input_mtok="0.003625")
    cost = prices(dollars, usd="7.1234").cost(MILLION, beijing("2026-11-20 09:00"))
    assert cost is not None
    assert cost.amount == 2_582_233  # 0.003625 * 7.1234 = 0.0258223250 yuan, half up


def test_a_local_model_costs_nothing_and_that_is_known():
    table = ModelPrices("qwen3:8b", [[], [FREE]], usd_cny=None)
    cost = table.cost(MILLION, beijing("2026-11-20 09:00"))
    assert cost is not None
    assert cost.amount == 0


def test_the_nearest_layer_with_a_price_in_force_decides():
    at = beijing("2026-11-20 09:00")
    later = replace(IDLE, valid_from="2027-01-01T00:00:00+08:00", input_mtok="2")
    own = replace(IDLE, valid_from="2026-01-01T00:00:00+08:00", model="*", input_mtok="3")
    table = ModelPrices(MODEL, [[later], [own], VENDOR], usd_cny=None)
    assert table.in_force(at, 0) == own
    assert table.in_force(beijing("2027-01-01 00:00"), 0) == later


def test_what_a_vendor_counts_from_its_cache_cannot_be_more_than_it_read():
    cost = prices(IDLE).cost(Tokens(10, 0, 99, cache_write=99), beijing("2026-11-20 09:00"))
    assert cost is not None
    assert cost.amount == 150


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_mtok", "-1"),
        ("output_mtok", "free"),
        ("cached_mtok", "NaN"),
        ("cache_write_mtok", "1e99"),
        ("currency", "EUR"),
        ("valid_from", "2026-11-20"),
        ("valid_from", "soon"),
        ("hours", ("9:00", "12:00")),
        ("hours", ("09:00", "24:00")),
        ("except_days", ("2026-02-30",)),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused_with_its_field(field, value):
    with pytest.raises(ConfigInvalid, match=field) as caught:
        prices(replace(IDLE, **{field: value}))
    assert caught.value.code == "MODEL_PRICE_INVALID"


def test_a_rate_of_exchange_that_is_none_is_refused():
    with pytest.raises(ConfigInvalid, match="usd_cny"):
        prices(replace(IDLE, currency="USD"), usd="seven")
