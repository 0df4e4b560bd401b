"""RISK_PRICE_BAND: a price lies inside the day's price limits (涨跌停).

Must never apply where no limit exists, nor to a market order without a protective price.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import OrderType
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse prices outside the limits."""
    reference, order = question.reference, question.order
    if reference is None or (order.price == 0 and order.order_type is not OrderType.LIMIT):
        return None
    up, down = reference.limit_up, reference.limit_down
    if up is not None and order.price > up:
        return question.no(
            "RISK_PRICE_BAND",
            f"price {yuan(order.price)} is above limit-up {yuan(up)}",
            limit=yuan(up),
            actual=yuan(order.price),
        )
    if down is not None and order.price < down:
        return question.no(
            "RISK_PRICE_BAND",
            f"price {yuan(order.price)} is below limit-down {yuan(down)}",
            limit=yuan(down),
            actual=yuan(order.price),
        )
    return None


RULE = Rule(
    codes=("RISK_PRICE_BAND",),
    exchange=True,
    source="SSE, SZSE and BSE Trading Rules, price limits",
    zh="价格超出涨跌停范围",
    en="The price is outside the day's limits",
    judge=judge,
)
