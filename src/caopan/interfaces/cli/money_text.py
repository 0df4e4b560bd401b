"""How money, its changes and moments are written for a person.

Owns their text and the colour of a gain: red is up, as on every Chinese screen, and the sign says
it too. Must never round what goes into JSON. Tests: tests/unit/interfaces/test_money_text.py.
"""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction

from caopan.kernel.clock import shanghai
from caopan.kernel.money import UNITS_PER_FEN, half_up, yuan


def grouped(amount: int) -> str:
    """Return units as yuan to the fen, with separators: 1,234,567.80."""
    text = yuan(half_up(Fraction(amount), UNITS_PER_FEN))
    whole, _, rest = text.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.lstrip('-')):,}.{rest}"


def signed(amount: int) -> str:
    """Return a change with its sign; none for nothing."""
    return f"+{grouped(amount)}" if amount > 0 else grouped(amount)


def change_style(amount: int | None) -> str:
    """Return the colour of a change: red up, green down, none for nothing or unknown."""
    if not amount:
        return ""
    return "red" if amount > 0 else "green"


def price_text(price: Fraction | int) -> str:
    """Return a price in units, which may be a part of one, as yuan to 0.001 or finer if exact."""
    exact = Fraction(price)
    if exact.denominator == 1 and int(exact) % UNITS_PER_FEN == 0:
        return yuan(int(exact))
    return yuan(half_up(exact, UNITS_PER_FEN // 10))


def when(instant: datetime) -> str:
    """Return an instant in Shanghai to the second."""
    return f"{shanghai(instant):%Y-%m-%d %H:%M:%S}"
