"""RISK_ORDER_TYPE: only order types that the venue takes.

Must never convert one type into another.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import OrderType
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse everything but limit orders."""
    if question.order.order_type is OrderType.LIMIT and question.order.price > 0:
        return None
    return question.no("RISK_ORDER_TYPE", "only limit orders with a price are taken", limit="limit")


RULE = Rule(
    codes=("RISK_ORDER_TYPE",),
    exchange=True,
    source="capability of the sandbox venue",
    zh="仅支持限价委托",
    en="Only limit orders are supported",
    judge=judge,
)
