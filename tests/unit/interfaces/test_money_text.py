"""Money as a person reads it: to the fen, signed, coloured, and never rounded in silence."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.interfaces.cli.money_text import change_style, grouped, price_text, signed, when
from caopan.kernel.money import UNITS_PER_FEN, units


@pytest.mark.parametrize(
    ("yuan", "text"),
    [
        ("1234567.80", "1,234,567.80"),
        ("-1234.5", "-1,234.50"),
        ("0", "0.00"),
        ("-0.5", "-0.50"),
        ("999.995", "1,000.00"),
        ("-0.005", "-0.01"),
        ("0.0049", "0.00"),
        ("-0.0049", "0.00"),
    ],
)
def test_an_amount_is_grouped_and_rounded_to_the_fen(yuan, text):
    assert grouped(units(yuan)) == text


@given(st.integers(-(10**15), 10**15))
def test_what_is_read_is_within_half_a_fen_of_what_is_there(amount):
    read = Decimal(grouped(amount).replace(",", ""))
    assert abs(read * 10_000 - amount) * 2 <= UNITS_PER_FEN
    assert signed(amount).lstrip("+") == grouped(amount)
    assert signed(amount).startswith("+") == (amount > 0)


def test_red_is_up_and_green_is_down():
    found = [change_style(amount) for amount in (1, -1, 0, None)]
    assert found == ["red", "green", "", ""]


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (units("10.05"), "10.05"),
        (units("3.456"), "3.456"),
        (Fraction(units("22015"), 2_000), "11.008"),
        (Fraction(units("10"), 3), "3.333"),
        (-units("80"), "-80.00"),
    ],
)
def test_a_price_is_shown_to_a_thousandth(price, text):
    assert price_text(price) == text


def test_a_moment_is_shown_in_shanghai():
    assert when(datetime(2023, 6, 5, 17, 30, 5, tzinfo=UTC)) == "2023-06-06 01:30:05"
