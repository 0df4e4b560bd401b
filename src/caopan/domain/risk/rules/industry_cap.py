"""RISK_INDUSTRY_CAP: one industry's share of NAV.

A holding whose industry is not known counts for the industry in question: the worst case. Must
never stop a sale.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.shares import exceeds
from caopan.kernel.money import UNITS_PER_FEN, yuan


def judge(question: Question) -> Reason | None:
    """Refuse buys that would take an industry over its cap."""
    standing, cap = question.standing, question.policy.industry_nav_cap
    if cap is None or not question.is_buy:
        return None
    known = standing.industries
    own = None if known is None else known.get(question.order.symbol)
    if known is None or own is None:
        return question.unknown(
            "RISK_INDUSTRY_CAP", "industry_nav_cap", f"the industry of {question.order.symbol}"
        )
    exposure = standing.exposure
    after = sum(value for one, value in exposure.items() if known.get(one, own) == own)
    after += question.value
    if not exceeds(after, cap, standing.nav):
        return None
    return question.no(
        "RISK_INDUSTRY_CAP",
        f"the industry {own} would be over {float(cap):.1%} of NAV",
        limit=yuan(int(standing.nav * cap) // UNITS_PER_FEN * UNITS_PER_FEN),
        actual=yuan(after),
    )


RULE = Rule(
    codes=("RISK_INDUSTRY_CAP",),
    exchange=False,
    source="policy industry_nav_cap",
    zh="超过单一行业占净值上限",
    en="Over one industry's share of NAV",
    judge=judge,
    parameters=("industry_nav_cap",),
)
