"""The account's risk policy: every tunable limit of the gate.

Owns RiskPolicy and its version. Exchange rules are not in here, because nobody may switch them
off. Must never judge. Shares are exact fractions of 1, money is units.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from caopan.kernel.canonical import content_hash
from caopan.kernel.money import units, yuan


@dataclass(frozen=True, slots=True)
class RiskPolicy:
    """Limits of one account. Defaults suit an account of about one million yuan."""

    single_order_cap: int = units(200_000)
    """Largest value of one order, units."""
    min_order_value: int = units(2_000)
    """Smallest value of a buy: below it the minimum commission eats the trade."""
    symbol_nav_cap: Fraction = Fraction(12, 100)
    gross_cap: Fraction = Fraction(95, 100)
    max_positions: int = 15
    max_open_orders: int = 40
    orders_per_day: int = 200
    max_drift_bps: int = 150
    daily_loss_halt_pct: Fraction = Fraction(5, 100)
    max_drawdown_halt_pct: Fraction = Fraction(25, 100)
    max_quote_age_ms: int = 3_000
    allow_st: bool = False
    new_listing_days_refused: int = 20
    allow_limit_up_buy: bool = False
    exit_plan_required: bool = True
    blacklist: frozenset[str] = frozenset()
    whitelist: frozenset[str] = frozenset()
    """Empty means every symbol that no rule refuses."""

    def as_json(self) -> dict[str, Any]:
        """Return the policy as JSON values: money and fractions as decimal strings."""
        return {
            "allow_limit_up_buy": self.allow_limit_up_buy,
            "allow_st": self.allow_st,
            "blacklist": sorted(self.blacklist),
            "daily_loss_halt_pct": str(float(self.daily_loss_halt_pct)),
            "exit_plan_required": self.exit_plan_required,
            "gross_cap": str(float(self.gross_cap)),
            "max_drawdown_halt_pct": str(float(self.max_drawdown_halt_pct)),
            "max_drift_bps": self.max_drift_bps,
            "max_open_orders": self.max_open_orders,
            "max_positions": self.max_positions,
            "max_quote_age_ms": self.max_quote_age_ms,
            "min_order_value": yuan(self.min_order_value),
            "new_listing_days_refused": self.new_listing_days_refused,
            "orders_per_day": self.orders_per_day,
            "single_order_cap": yuan(self.single_order_cap),
            "symbol_nav_cap": str(float(self.symbol_nav_cap)),
            "whitelist": sorted(self.whitelist),
        }

    @property
    def version(self) -> str:
        """Return the first 16 hex digits of the policy's content hash."""
        return content_hash(self.as_json())[:16]
