"""RISK_PRICE_BAND: a price lies inside the day's price limits (涨跌停).

Also refuses buying at limit-up unless the policy allows it: such a buy queues behind everyone and
fills only if the seal breaks. Must never apply where no limit exists.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse prices outside the limits, and buys at limit-up where the policy says so."""
    reference, order = question.reference, question.order
    if reference is None:
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
    at_limit_up = up is not None and order.side is Side.BUY and order.price == up
    if at_limit_up and not question.policy.allow_limit_up_buy:
        return question.no(
            "RISK_PRICE_BAND",
            f"the policy refuses buying at limit-up {yuan(order.price)}",
            limit="limit_up_buy: refuse",
            actual=yuan(order.price),
        )
    return None


RULE = Rule(
    codes=("RISK_PRICE_BAND",),
    exchange=True,
    source="SSE and SZSE Trading Rules, price limits; policy limit_up_buy",
    zh="价格超出涨跌停范围，或策略禁止涨停价买入",
    en="The price is outside the day's limits, or a buy at limit-up is refused by policy",
    judge=judge,
)
