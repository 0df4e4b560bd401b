"""RISK_ORDER_RATE: orders a day and orders at once, far below the programme-trading thresholds.

Must never count cancels against a cancel.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse orders over the day's count or over the number of open orders."""
    standing, policy = question.standing, question.policy
    if standing.orders_today >= policy.orders_per_day:
        return question.no(
            "RISK_ORDER_RATE",
            f"{standing.orders_today} orders were placed today",
            limit=policy.orders_per_day,
            actual=standing.orders_today + 1,
        )
    if standing.open_orders >= policy.max_open_orders:
        return question.no(
            "RISK_ORDER_RATE",
            f"{standing.open_orders} orders are open",
            limit=policy.max_open_orders,
            actual=standing.open_orders + 1,
        )
    return None


RULE = Rule(
    codes=("RISK_ORDER_RATE",),
    exchange=False,
    source="programme-trading rules of 2025-07-07 name 20,000 a day; the policy stays far below",
    zh="委托笔数超出上限",
    en="Too many orders today or at once",
    judge=judge,
)
