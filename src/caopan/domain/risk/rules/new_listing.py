"""RISK_NEW_LISTING: no buys in a stock's first sessions, where no limit applies.

Sales are exempt.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse buys within the first `new_listing_days_refused` sessions."""
    reference = question.reference
    if reference is None or question.order.side is not Side.BUY:
        return None
    index = reference.listing_day_index
    if index is None or index > question.policy.new_listing_days_refused:
        return None
    return question.no(
        "RISK_NEW_LISTING",
        f"{question.order.symbol} is in session {index} after listing",
        limit=question.policy.new_listing_days_refused,
        actual=index,
    )


RULE = Rule(
    codes=("RISK_NEW_LISTING",),
    exchange=False,
    source="policy new_listing_policy",
    zh="上市初期不买入",
    en="No buys in the first sessions after listing",
    judge=judge,
    parameters=("new_listing_days_refused",),
)
