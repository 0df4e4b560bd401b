"""RISK_EXPIRED: a decision past its valid_until buys and sells nothing.

Must never extend a time.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.clock import iso


def judge(question: Question) -> Reason | None:
    """Refuse orders of an expired decision."""
    if question.now <= question.valid_until:
        return None
    return question.no(
        "RISK_EXPIRED",
        f"the decision was valid until {iso(question.valid_until)}",
        limit=iso(question.valid_until),
        actual=iso(question.now),
    )


RULE = Rule(
    codes=("RISK_EXPIRED",),
    exchange=True,
    source="contracts.md, Decision: valid_until",
    zh="决策已过有效期",
    en="The decision has expired",
    judge=judge,
)
