"""RISK_SESSION: an order may only be placed in a phase that takes it.

Must never look at anything but the phase.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse orders outside the phases that accept them."""
    if question.may_place:
        return None
    return question.no(
        "RISK_SESSION", f"no order can be placed in phase {question.phase}", actual=question.phase
    )


RULE = Rule(
    codes=("RISK_SESSION",),
    exchange=True,
    source="SSE and SZSE Trading Rules (2026-07-06), sessions",
    zh="非可申报时段",
    en="Orders are not accepted in this phase",
    judge=judge,
)
