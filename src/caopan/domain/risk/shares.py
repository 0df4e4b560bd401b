"""Comparing a value with a share of another, exactly and without making fractions.

Owns `exceeds`. Must never round.
"""

from __future__ import annotations

from fractions import Fraction


def exceeds(value: int, share: Fraction, whole: int) -> bool:
    """Return whether `value` is more than `share` of `whole` (all three in any one unit)."""
    return value * share.denominator > share.numerator * whole
