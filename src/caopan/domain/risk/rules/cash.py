"""RISK_INSUFFICIENT_CASH: a buy must be payable with fees from free cash.

Must never count on the proceeds of a sale that has not filled.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse buys that free cash does not cover."""
    if question.order.side is not Side.BUY:
        return None
    free = question.standing.cash_free
    if question.cost_bound <= free:
        return None
    return question.no(
        "RISK_INSUFFICIENT_CASH",
        f"the buy may need {yuan(question.cost_bound)} with fees, {yuan(free)} is free",
        limit=yuan(free),
        actual=yuan(question.cost_bound),
    )


RULE = Rule(
    codes=("RISK_INSUFFICIENT_CASH",),
    exchange=True,
    source="full payment in advance; fees by date",
    zh="可用资金不足（含费用）",
    en="Free cash does not cover the buy with fees",
    judge=judge,
)
