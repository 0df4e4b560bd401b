"""The dress a field's value may wear, and what is close to it and refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from caopan.application.contracts.reply.fields import (
    STATISTIC,
    SYNONYMS,
    WHOLE,
    Money,
    Price,
    Threshold,
    Weight,
)
from caopan.application.contracts.reply.scanner import Numeral
from caopan.kernel.money import units

Count = Annotated[int, Field(strict=True), WHOLE]
Share = Annotated[float, Field(strict=True, ge=0, le=1), STATISTIC]


def read(kind: Any, value: object) -> tuple[Any, set[str]]:
    """Return the value as its field reads it, and the fixes; None where it is refused."""
    fixes = set[str]()
    try:
        return TypeAdapter(kind).validate_python(value, context=fixes), fixes
    except ValidationError:
        return None, set()


@pytest.mark.parametrize(
    ("kind", "value", "expected", "fixes"),
    [
        (Price, "10.50", "10.50", set()),
        (Price, Numeral("10.50"), "10.50", {"number_for_text"}),
        (Price, Numeral("10.50000"), "10.5000", {"number_for_text", "trailing_zeros"}),
        (Price, "１０．５", "10.5", {"full_width"}),
        (Price, "\u200b10.5\n", "10.5", {"invisible_characters", "spaces"}),
        (Price, "1,688.88", "1688.88", {"thousands_separator"}),
        (Money, "1，000，000", "1000000", {"full_width", "thousands_separator"}),
        (Money, "-1,000,000.5", "-1000000.5", {"thousands_separator"}),
        (Weight, Numeral("0"), "0", {"number_for_text"}),
        (Count, Numeral("100"), 100, set()),
        (Count, Numeral("100.00"), 100, {"trailing_zeros"}),
        (Count, "100", 100, {"text_for_number"}),
        (Count, "1,000,000", 1_000_000, {"text_for_number", "thousands_separator"}),
        (Count, "１００．０", 100, {"text_for_number", "full_width", "trailing_zeros"}),
        (Share, Numeral("0.1"), 0.1, set()),
        (Share, Numeral("1e-3"), 0.001, set()),
        (Share, "０.５", 0.5, {"text_for_number", "full_width"}),
        (Threshold, Numeral("-0.05"), "-0.05", set()),
        (Threshold, "-0.05", "-0.05", {"text_for_number"}),
    ],
)
def test_the_same_value_in_another_dress(kind, value, expected, fixes):
    assert read(kind, value) == (expected, fixes)


@pytest.mark.parametrize("kind", [Price, Money, Weight, Count, Share, Threshold])
@pytest.mark.parametrize(
    "value",
    [
        *(
            None,
            True,
            False,
            [],
            {},
            "",
            " ",
            "NaN",
            "inf",
            "1e3",
            "+1",
            "１e３",
            "0x1",
            "1 0",
            "--1",
        ),
        *("¥1", "1元", "1%", "1股", "1/2", "①", "१", "一", "1_0", ".5", "1.", "1.5.5", "1，5"),
        *(Numeral("1e999"), Numeral("1e4"), "9" * 200, "1" + "\u202e"),
    ],
)
def test_what_is_no_plain_number_is_refused(kind, value):
    assert read(kind, value)[0] is None


@pytest.mark.parametrize(
    "value", ["1,000", "10,5", "1,00,000", "1,0000.5", "1.000,5", ",000.5", "12,345"]
)
def test_a_separator_that_may_be_a_decimal_comma_is_refused(value):
    assert read(Money, value)[0] is None
    assert read(Count, value)[0] is None


@given(st.decimals(0, 9_999_999, places=4), st.integers(0, 6))
def test_a_price_is_exact_in_every_dress(price, zeros):
    if price == 0:
        return
    plain = f"{price:f}"
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in plain)
    for value in (plain, Numeral(plain), Numeral(plain + "0" * zeros), wide, f"{price:,}"):
        found, _ = read(Price, value)
        assert found is not None
        assert units(found) == price * 10_000


@given(st.from_regex(r"[0-9]{1,3}(,[0-9]{3})*(\.[0-9]{1,4})?", fullmatch=True))
def test_a_separator_is_dropped_or_the_value_refused_but_never_another_number(text):
    found, _ = read(Money, text)
    if found is not None:
        assert Decimal(found) == Decimal(text.replace(",", ""))


def test_synonyms_are_words_of_the_contract_and_few():
    assert set(SYNONYMS.values()) <= {
        *("buy", "sell", "limit", "market", "lt", "le", "gt", "ge", "eq", "ne")
    }
    assert not {word for word in SYNONYMS if word.isascii() and word.isalpha()}
