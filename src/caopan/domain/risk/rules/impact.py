"""RISK_IMPACT: the move an order may be expected to cause.

Square-root law: volatility of a day x sqrt(shares / average volume of a day), compared squared, so
that no root is taken. What leaves a position by its exit plan or by the kill switch is exempt. Must
never guess a volume or a volatility.
"""

from __future__ import annotations

from math import sqrt

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule

_BPS = 10_000


def judge(question: Question) -> Reason | None:
    """Refuse orders whose expected impact is over the cap."""
    cap, order = question.policy.vol_impact_cap_bps, question.order
    if cap is None or question.leaves:
        return None
    average, volatility = question.stats.average_volume, question.stats.volatility
    if average is None or average <= 0 or volatility is None:
        return question.unknown(
            "RISK_IMPACT", "vol_impact_cap_bps", f"volume or volatility of {order.symbol}"
        )
    up, down = volatility.numerator * _BPS, volatility.denominator
    if up * up * order.qty <= cap * cap * down * down * average:
        return None
    expected = up / down * sqrt(order.qty / average)
    return question.no(
        "RISK_IMPACT",
        f"{order.qty} shares may move {order.symbol} by {expected:.1f} bps",
        limit=f"{cap} bps",
        actual=f"{expected:.1f} bps",
    )


RULE = Rule(
    codes=("RISK_IMPACT",),
    exchange=False,
    source="policy vol_impact_cap_bps",
    zh="预计冲击成本超出上限",
    en="The expected impact is over the cap",
    judge=judge,
    parameters=("vol_impact_cap_bps",),
)
