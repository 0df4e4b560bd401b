"""RISK_BLACKLIST: symbols the policy forbids, or does not name where it names any.

Sales are exempt: a forbidden symbol may always be left.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse buys of blacklisted symbols and of symbols outside a non-empty whitelist."""
    order, policy = question.order, question.policy
    if order.side is not Side.BUY:
        return None
    if order.symbol in policy.blacklist:
        return question.no("RISK_BLACKLIST", f"{order.symbol} is on the blacklist")
    if policy.whitelist and order.symbol not in policy.whitelist:
        return question.no("RISK_BLACKLIST", f"{order.symbol} is not on the whitelist")
    return None


RULE = Rule(
    codes=("RISK_BLACKLIST",),
    exchange=False,
    source="policy lists",
    zh="黑名单或不在白名单",
    en="Blacklisted, or not on the whitelist",
    judge=judge,
)
