"""RISK_GROSS_CAP: total exposure as a share of NAV.

Must never stop a sale.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.shares import exceeds
from caopan.kernel.money import UNITS_PER_FEN, yuan


def judge(question: Question) -> Reason | None:
    """Refuse buys that would take total exposure over the cap."""
    if not question.is_buy:
        return None
    standing, cap = question.standing, question.policy.gross_cap
    after = standing.gross + question.value
    if not exceeds(after, cap, standing.nav):
        return None
    return question.no(
        "RISK_GROSS_CAP",
        f"total exposure would be {yuan(after)}",
        limit=yuan(int(standing.nav * cap) // UNITS_PER_FEN * UNITS_PER_FEN),
        actual=yuan(after),
    )


RULE = Rule(
    codes=("RISK_GROSS_CAP",),
    exchange=False,
    source="policy gross_cap",
    zh="超过总仓位上限",
    en="Over the gross exposure cap",
    judge=judge,
    parameters=("gross_cap",),
)
