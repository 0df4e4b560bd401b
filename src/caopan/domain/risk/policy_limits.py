"""The limits of a risk policy as JSON: their kinds, units and ranges.

Owns Limit (one row per limit), LIMITS and the reading and writing of one value. Must never fill in
a value, nor round one: what is not exact or out of range is refused with the unit it should have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units, yuan

_MOST_MONEY = units(10**11)
_DIGITS = 12


class Kind(StrEnum):
    """How a limit is written."""

    MONEY = "money"
    """CNY, a decimal string."""
    SHARE = "share"
    """A fraction of 1, a decimal string."""
    COUNT = "count"
    """A whole number, in the unit its name says."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit: how it is written, the largest value it may have, whether it may be left unset."""

    kind: Kind
    most: int
    optional: bool = True


def _set(kind: Kind, most: int) -> Limit:
    return Limit(kind, most, optional=False)


LIMITS: Final[Mapping[str, Limit]] = {
    "price_collar_pct": Limit(Kind.SHARE, 1),
    "max_drift_bps": _set(Kind.COUNT, 10_000),
    "single_order_cap": _set(Kind.MONEY, _MOST_MONEY),
    "daily_net_buy_cap": Limit(Kind.MONEY, _MOST_MONEY),
    "daily_turnover_cap": Limit(Kind.MONEY, _MOST_MONEY),
    "symbol_nav_cap": _set(Kind.SHARE, 1),
    "industry_nav_cap": Limit(Kind.SHARE, 1),
    "gross_cap": _set(Kind.SHARE, 1),
    "participation_cap_pct": Limit(Kind.SHARE, 1),
    "vol_impact_cap_bps": Limit(Kind.COUNT, 10_000),
    "max_open_orders": _set(Kind.COUNT, 1_000),
    # A tenth of what makes an account high-frequency (300 a second, 20,000 a day).
    "orders_per_second": Limit(Kind.COUNT, 30),
    "orders_per_day": _set(Kind.COUNT, 2_000),
    "cancel_ratio": Limit(Kind.SHARE, 1),
    "cancel_ratio_from": _set(Kind.COUNT, 2_000),
    "daily_loss_halt_pct": _set(Kind.SHARE, 1),
    "max_drawdown_halt_pct": _set(Kind.SHARE, 1),
    "max_positions": _set(Kind.COUNT, 10_000),
    "max_new_positions_per_day": Limit(Kind.COUNT, 10_000),
    "min_holding_days": Limit(Kind.COUNT, 3_650),
    "reentry_cooldown_days": Limit(Kind.COUNT, 3_650),
    "min_order_value": _set(Kind.MONEY, _MOST_MONEY),
    "max_round_trip_cost_bps": Limit(Kind.COUNT, 10_000),
    "loss_streak_pause": Limit(Kind.COUNT, 1_000),
    "max_quote_age_ms": _set(Kind.COUNT, 60_000),
    "max_account_age_ms": _set(Kind.COUNT, 600_000),
    "order_timeout_s": Limit(Kind.COUNT, 86_400),
}

_HOW: Final[Mapping[Kind, str]] = {
    Kind.MONEY: 'write CNY as a decimal string with at most four decimals, for example "200000.00"',
    Kind.SHARE: 'write a fraction of 1 as a decimal string, for example "0.12" for 12 %',
    Kind.COUNT: "write a whole number",
}


def written(value: int | Fraction | None, kind: Kind) -> str | int | None:
    """Return a limit's value as JSON."""
    if value is None:
        return None
    if kind is Kind.MONEY:
        return yuan(int(value))
    return decimal_text(Fraction(value)) if kind is Kind.SHARE else int(value)


def decimal_text(value: Fraction) -> str:
    """Return a fraction as the shortest decimal string, cut after 28 digits where it never ends."""
    text = f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def read_limit(path: str, limit: Limit, value: object) -> int | Fraction | None:
    """Return what JSON states for a limit. Numbers must be exact: int or Decimal, not float.

    Raises:
        ConfigInvalid: POLICY_INVALID naming the field, the value and the unit.
    """
    if value is None:
        if limit.optional:
            return None
        raise refused(path, value, "leave the field out for its default; it cannot be switched off")
    found = read_number(value)
    if found is None or (limit.kind is Kind.COUNT and found.denominator != 1):
        raise refused(path, value, _HOW[limit.kind])
    if limit.kind is Kind.MONEY:
        found *= units(1)
        if found.denominator != 1:
            raise refused(path, value, _HOW[limit.kind])
    if not 0 <= found <= limit.most:
        most = yuan(limit.most) if limit.kind is Kind.MONEY else limit.most
        raise refused(path, value, f"it lies from 0 to {most}; {_HOW[limit.kind]}")
    return found if limit.kind is Kind.SHARE else int(found)


def read_number(value: object) -> Fraction | None:
    """Return an exact number from JSON, or None if it is none."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        return None
    try:
        number = Decimal(value)
        if not number.is_finite() or (number and abs(number.adjusted()) > _DIGITS):
            return None
    except (InvalidOperation, ValueError):
        return None
    return Fraction(number)


def refused(path: str, value: Any, remedy: str) -> ConfigInvalid:  # noqa: ANN401 - anything at all
    """Return the error for a field of a policy that is wrong."""
    return ConfigInvalid("POLICY_INVALID", f"{path}: {value!r} is not taken", remedy=remedy)
