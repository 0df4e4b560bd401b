"""How a sandbox exchange is set: every choice that changes a result.

Owns ExchangeTerms. Must never hold what the dated tables say. Tests: tests/unit/domain/matching/.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.models import FixedLatency, Latency, NoSlippage, PriceModel
from caopan.domain.matching.policies import FillPolicy


@dataclass(frozen=True, slots=True)
class ExchangeTerms:
    """How this exchange is set: every choice that changes a result stands here."""

    policy: FillPolicy
    participation: Fraction
    """Share of a bar's volume that all orders of a symbol may take together."""
    freeze_market_at_close: bool = False
    """Reserve a market buy at the last price instead of at limit-up."""
    latency: Latency = field(default_factory=FixedLatency)
    slippage: PriceModel = field(default_factory=NoSlippage)
    after_hours_share: Fraction = Fraction(0)
    """Part of the day's volume that orders at the close find after hours; 0: only bars and prints
    of 15:05 to 15:30 give any."""
    rules: DayRules | None = None
    """Phases, order types, price cage and halts by date; None: they are not asked (days without
    moments, a neutral scenario), and all order types are taken."""
