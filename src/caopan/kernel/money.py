"""Exact money, price and rounding.

Owns the integer units (1 yuan = 10_000 units, so a price with four decimals is exact) and every
rounding rule. Must never touch a binary float. Tests: tests/property/kernel/test_money.py.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

from caopan.kernel.errors import ConfigInvalid

UNITS_PER_YUAN = 10_000
UNITS_PER_FEN = 100
_DECIMALS = 4
_SMALLEST = Decimal("0.0001")
_RATE_DIGITS = 12
"""Before or after the point: "1e999999999" would fill the memory as a fraction."""


def units(text: str | int | Decimal) -> int:
    """Return `text` yuan as integer units.

    Raises:
        ConfigInvalid: MONEY_INVALID if it is no finite decimal or has more than four decimals.
    """
    try:
        value = Decimal(text)
        # Not a product, which would be rounded to 28 digits before anything could be compared.
        exact = value.quantize(_SMALLEST)
        whole = int(exact.scaleb(_DECIMALS))
    except (InvalidOperation, ValueError, OverflowError, TypeError) as error:
        raise ConfigInvalid(
            "MONEY_INVALID", f"{text!r} is not an amount in yuan", remedy="write it as 1234.56"
        ) from error
    if exact != value:
        raise ConfigInvalid(
            "MONEY_INVALID",
            f"{text!r} yuan has more than four decimals",
            remedy="round it to 0.0001 yuan",
        )
    return whole


def yuan(amount: int) -> str:
    """Return units as the shortest decimal string with at least two decimals ("1.50", "3.456")."""
    sign = "-" if amount < 0 else ""
    whole, rest = divmod(abs(amount), UNITS_PER_YUAN)
    decimals = f"{rest:04d}"
    if decimals.endswith("00"):
        decimals = decimals[:2]
    elif decimals.endswith("0"):
        decimals = decimals[:3]
    return f"{sign}{whole}.{decimals}"


def half_up(value: Fraction, step: int) -> int:
    """Return `value` rounded half up (away from zero on ties) to a multiple of `step` units."""
    quotient = abs(value) / step
    rounded = int(quotient + Fraction(1, 2)) * step
    return rounded if value >= 0 else -rounded


def ratio_half_up(numerator: int, denominator: int, step: int) -> int:
    """Return numerator/denominator rounded half up to a multiple of `step`; both non-negative."""
    scaled = denominator * step
    return (2 * numerator + scaled) // (2 * scaled) * step


def to_fen(value: Fraction) -> int:
    """Return `value` units rounded half up to whole fen, still in units."""
    return half_up(value, UNITS_PER_FEN)


def rate(text: str) -> Fraction:
    """Return a rate such as "0.00025" exactly.

    Raises:
        ConfigInvalid: RATE_INVALID if it is no finite decimal of a rate's size.
    """
    try:
        value = Decimal(text)
        if abs(value.adjusted()) > _RATE_DIGITS:
            raise ValueError(text)
        return Fraction(value)
    except (InvalidOperation, ValueError, OverflowError) as error:
        raise ConfigInvalid(
            "RATE_INVALID", f"{text!r} is not a rate", remedy="write it as 0.00025"
        ) from error
