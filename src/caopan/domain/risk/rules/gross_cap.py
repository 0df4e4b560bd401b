"""RISK_GROSS_CAP: total exposure as a share of NAV.

Must never stop a sale.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import UNITS_PER_FEN, yuan


def judge(question: Question) -> Reason | None:
    """Refuse buys that would take total exposure over the cap."""
    order, standing, policy = question.order, question.standing, question.policy
    if order.side is not Side.BUY:
        return None
    after = standing.gross + order.value
    cap = standing.nav * policy.gross_cap
    if after <= cap:
        return None
    return question.no(
        "RISK_GROSS_CAP",
        f"total exposure would be {yuan(after)}",
        limit=yuan(int(cap) // UNITS_PER_FEN * UNITS_PER_FEN),
        actual=yuan(after),
    )


RULE = Rule(
    codes=("RISK_GROSS_CAP",),
    exchange=False,
    source="policy gross_cap",
    zh="超过总仓位上限",
    en="Over the gross exposure cap",
    judge=judge,
)
