"""RISK_PRICE_BAND: buys at limit-up only where the policy says so.

Such a buy queues behind everyone and fills only if the seal breaks. Must never stop a sale.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse buys at limit-up."""
    reference, order = question.reference, question.order
    if question.policy.allow_limit_up_buy or reference is None or not question.is_buy:
        return None
    if reference.limit_up is None or order.price != reference.limit_up:
        return None
    return question.no(
        "RISK_PRICE_BAND",
        f"the policy refuses buying at limit-up {yuan(order.price)}",
        limit="limit_up_buy: refuse",
        actual=yuan(order.price),
    )


RULE = Rule(
    codes=("RISK_PRICE_BAND",),
    exchange=False,
    source="policy limit_up_buy",
    zh="策略禁止涨停价买入",
    en="The policy refuses buying at limit-up",
    judge=judge,
    parameters=("allow_limit_up_buy",),
)
