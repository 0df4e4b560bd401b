"""RISK_STALE_ACCOUNT: no order on an account that was confirmed too long ago.

A book of our own (the sandbox) is never behind. Must never let a broker's account pass undated.
"""

from __future__ import annotations

from datetime import timedelta

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.venue import Venue


def judge(question: Question) -> Reason | None:
    """Refuse orders on an account older than `max_account_age_ms`, or from the future."""
    as_of, most = question.standing.as_of, question.policy.max_account_age_ms
    if as_of is None:
        if question.standing.venue is Venue.SANDBOX:
            return None
        return question.no("RISK_STALE_ACCOUNT", "when the account was confirmed is not known")
    age = question.now - as_of
    if timedelta(0) <= age <= timedelta(milliseconds=most):
        return None
    actual = age // timedelta(milliseconds=1)
    return question.no(
        "RISK_STALE_ACCOUNT",
        f"the account was confirmed {actual} ms ago",
        limit=f"{most} ms",
        actual=f"{actual} ms",
    )


RULE = Rule(
    codes=("RISK_STALE_ACCOUNT",),
    exchange=False,
    source="policy max_account_age_ms",
    zh="账户数据过期",
    en="The account is stale",
    judge=judge,
    parameters=("max_account_age_ms",),
)
