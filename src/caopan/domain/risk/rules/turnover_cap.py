"""RISK_TURNOVER_CAP: how much may be bought and sold in a day, together.

What leaves a position by its exit plan or by the kill switch is exempt. Must never count twice.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse orders that would take today's turnover over the cap."""
    cap, standing = question.policy.daily_turnover_cap, question.standing
    if cap is None or question.leaves:
        return None
    if standing.bought_value is None or standing.sold_value is None:
        return question.unknown("RISK_TURNOVER_CAP", "daily_turnover_cap", "what was traded today")
    after = standing.bought_value + standing.sold_value + standing.selling_value + question.value
    if after <= cap:
        return None
    return question.no(
        "RISK_TURNOVER_CAP",
        f"today's turnover would be {yuan(after)}",
        limit=yuan(cap),
        actual=yuan(after),
    )


RULE = Rule(
    codes=("RISK_TURNOVER_CAP",),
    exchange=False,
    source="policy daily_turnover_cap",
    zh="超过当日成交额上限",
    en="Over the day's turnover cap",
    judge=judge,
    parameters=("daily_turnover_cap",),
)
