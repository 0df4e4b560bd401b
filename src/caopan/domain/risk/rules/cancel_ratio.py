"""RISK_CANCEL_RATIO: cancels of the day per order of the day.

It refuses new orders and modifications. Must never refuse a cancel.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.shares import exceeds


def judge(question: Question) -> Reason | None:
    """Refuse orders while too many of today's were cancelled; a modification counts as one."""
    ratio, standing = question.policy.cancel_ratio, question.standing
    if ratio is None or question.leaves:
        return None  # a halt cancels everything, and sells all the same
    if standing.cancels_today is None:
        return question.unknown("RISK_CANCEL_RATIO", "cancel_ratio", "how much was cancelled today")
    cancels, orders = standing.cancels_today + question.modifies, standing.orders_today
    if orders < question.policy.cancel_ratio_from or not exceeds(cancels, ratio, orders):
        return None
    return question.no(
        "RISK_CANCEL_RATIO",
        f"{cancels} cancels of {orders} orders today",
        limit=f"{float(ratio):.2%}",
        actual=f"{cancels / orders:.2%}" if orders else str(cancels),
    )


RULE = Rule(
    codes=("RISK_CANCEL_RATIO",),
    exchange=False,
    source="policy cancel_ratio; cancelling is watched under the programme-trading rules",
    zh="当日撤单比例过高，暂停新委托和改单",
    en="Too many cancels for today's orders",
    judge=judge,
    parameters=("cancel_ratio", "cancel_ratio_from"),
)
