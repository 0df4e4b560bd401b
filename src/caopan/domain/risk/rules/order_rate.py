"""RISK_ORDER_RATE: orders a second, a day and at once, far below the programme-trading thresholds.

The limit is the smallest of the policy's, the reported one and the exchange's. Must never count
cancels against a cancel.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse orders over a rate or over the number of open orders."""
    standing, policy, report = question.standing, question.policy, question.standing.report
    day = (
        policy.orders_per_day if report is None else min(policy.orders_per_day, report.max_per_day)
    )
    if standing.orders_today >= day:
        return _refused(question, f"{standing.orders_today} orders were placed today", day)
    if standing.open_orders >= policy.max_open_orders and not question.modifies:
        return question.no(
            "RISK_ORDER_RATE",
            f"{standing.open_orders} orders are open",
            limit=policy.max_open_orders,
            actual=standing.open_orders + 1,
        )
    return _per_second(question) or _high_frequency(question)


def _per_second(question: Question) -> Reason | None:
    second, standing = question.policy.orders_per_second, question.standing
    if standing.report is not None:
        reported = standing.report.max_per_second
        second = reported if second is None else min(second, reported)
    if second is None:
        return None
    sent = standing.requests_last_second
    if sent is None:
        return question.unknown("RISK_ORDER_RATE", "orders_per_second", "what was just sent")
    if sent < second:
        return None
    return question.no(
        "RISK_ORDER_RATE",
        f"{sent} orders and cancels were sent within a second",
        limit=second,
        actual=sent + 1,
    )


def _high_frequency(question: Question) -> Reason | None:
    """Refuse what would make the account high-frequency, whatever policy and report say."""
    terms, standing = question.terms, question.standing
    if terms is None:
        return None
    today = standing.orders_today + (standing.cancels_today or 0)
    for sent, most in (
        (today, terms.hft_per_day),
        (standing.requests_last_second or 0, terms.hft_per_second),
    ):
        if most is not None and sent + 1 >= most:
            return _refused(question, f"{sent} orders and cancels were sent", most - 1)
    return None


def _refused(question: Question, detail: str, limit: int) -> Reason:
    return question.no("RISK_ORDER_RATE", detail, limit=limit, actual=limit + 1)


RULE = Rule(
    codes=("RISK_ORDER_RATE",),
    exchange=True,
    source="programme-trading rules of 2025-07-07; the account's report; policy",
    zh="委托笔数或速率超出上限",
    en="Too many orders a second, today or at once",
    judge=judge,
    parameters=("orders_per_day", "orders_per_second", "max_open_orders"),
)
