"""Money: exact in, exact out, rounded only where a rounding is named."""

from __future__ import annotations

import decimal
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import half_up, rate, ratio_half_up, to_fen, units, yuan

QUICK = settings(deadline=None, max_examples=150)
amounts = st.integers(-(10**20), 10**20)
steps = st.sampled_from([1, 100, 10_000])


@QUICK
@given(amounts)
def test_units_and_yuan_are_inverse(amount):
    text = yuan(amount)
    assert units(text) == amount
    assert units(Decimal(text)) == amount
    whole, _, decimals = text.partition(".")
    assert 2 <= len(decimals) <= 4
    assert not (len(decimals) > 2 and decimals.endswith("0"))
    assert whole.lstrip("-").isdigit()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("-0", 0), ("1", 10_000), ("0.0001", 1), ("-12.34", -123_400), ("1e-4", 1)],
)
def test_units_of_known_texts(text, expected):
    assert units(text) == expected


def test_yuan_of_known_amounts():
    assert [yuan(a) for a in (0, 1, 10, 100, 10_000, -34_560, -1)] == [
        "0.00",
        "0.0001",
        "0.001",
        "0.01",
        "1.00",
        "-3.456",
        "-0.0001",
    ]


@pytest.mark.parametrize(
    "text",
    [
        *("", "abc", "nan", "sNaN", "inf", "-inf", "1,000", "0.00001", "1.23456", "1E+999999999"),
        # More digits than the decimal context keeps: no longer exact, so no longer an amount.
        *("1.00000000000000000000000000000000001", "123456789012345678901234567890.12"),
    ],
)
def test_units_refuse_what_is_no_exact_amount(text):
    with pytest.raises(ConfigInvalid) as caught:
        units(text)
    assert caught.value.code == "MONEY_INVALID"
    assert text[:20] in caught.value.message


@QUICK
@given(st.text(max_size=12) | st.from_regex(r"-?[0-9]{0,30}\.?[0-9]{0,30}(e-?[0-9]{1,9})?"))
def test_units_give_an_exact_amount_or_refuse(text):
    try:
        found = units(text)
    except ConfigInvalid:
        return
    assert Fraction(Decimal(text)) == Fraction(found, 10_000)


@QUICK
@given(st.integers(-(10**15), 10**15), st.integers(1, 10**6), steps)
def test_half_up_is_decimal_round_half_up(numerator, denominator, step):
    value = Fraction(numerator, denominator)
    with decimal.localcontext() as context:
        context.prec = 60
        # Exact at ties: every tie has a denominator of 2, which a decimal holds exactly.
        quotient = Decimal(numerator) / Decimal(denominator) / step
        expected = int(quotient.to_integral_value(ROUND_HALF_UP)) * step
    assert half_up(value, step) == expected
    if numerator >= 0:
        assert ratio_half_up(numerator, denominator, step) == expected


@QUICK
@given(st.integers(-(10**9), 10**9), steps)
def test_ties_go_away_from_zero(count, step):
    tie = Fraction(2 * count + 1, 2) * step
    away = (count + 1 if count >= 0 else count) * step
    assert half_up(tie, step) == away


@QUICK
@given(st.fractions(min_value=-(10**9), max_value=10**9))
def test_to_fen_is_the_nearest_fen(value):
    found = to_fen(value)
    assert found % 100 == 0
    assert abs(found - value) <= 50


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.00025", Fraction(1, 4_000)), ("0", Fraction(0)), ("1e-5", Fraction(1, 100_000))],
)
def test_rates_are_exact(text, expected):
    assert rate(text) == expected


@pytest.mark.parametrize("text", ["", "a quarter", "nan", "inf", "1E+999999999", "1E-999999999"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(ConfigInvalid) as caught:
        rate(text)
    assert caught.value.code == "RATE_INVALID"
