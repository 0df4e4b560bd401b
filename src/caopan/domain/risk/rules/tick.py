"""RISK_TICK: a price lies on the security's tick.

A market order without a protective price has none. Must never round a price into place.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse prices between ticks."""
    reference = question.reference
    if reference is None or question.order.price % reference.tick_size == 0:
        return None
    return question.no(
        "RISK_TICK",
        f"price {yuan(question.order.price)} is not a multiple of {yuan(reference.tick_size)}",
        limit=yuan(reference.tick_size),
        actual=yuan(question.order.price),
    )


RULE = Rule(
    codes=("RISK_TICK",),
    exchange=True,
    source="SSE and SZSE Trading Rules, tick size 0.01 yuan for A-shares",
    zh="价格不是最小变动单位的整数倍",
    en="The price is off tick",
    judge=judge,
)
