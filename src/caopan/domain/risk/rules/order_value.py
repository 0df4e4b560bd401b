"""RISK_ORDER_CAP, RISK_MIN_ORDER: one order is neither too large nor pointlessly small.

Sales are exempt from the minimum, so that a small rest can always be closed; sales that code or a
person sends to leave a position also from the cap, which must not keep a halt from flattening.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse orders over the cap and buys under the minimum."""
    value, policy = question.value, question.policy
    if value > policy.single_order_cap and not question.leaves:
        return question.no(
            "RISK_ORDER_CAP",
            f"order value {yuan(value)} is over the cap",
            limit=yuan(policy.single_order_cap),
            actual=yuan(value),
        )
    if question.is_buy and value < policy.min_order_value:
        return question.no(
            "RISK_MIN_ORDER",
            f"order value {yuan(value)} is under the minimum",
            limit=yuan(policy.min_order_value),
            actual=yuan(value),
        )
    return None


RULE = Rule(
    codes=("RISK_ORDER_CAP", "RISK_MIN_ORDER"),
    exchange=False,
    source="policy single_order_cap, min_order_value",
    zh="单笔金额超出上限或低于下限",
    en="The order is over the cap or under the minimum value",
    judge=judge,
    parameters=("single_order_cap", "min_order_value"),
)
