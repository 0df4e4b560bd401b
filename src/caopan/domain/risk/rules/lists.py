"""RISK_BLACKLIST: symbols the policy forbids, or does not name where it names any.

An empty whitelist names none: nothing may be bought. Sales are exempt: a forbidden symbol may
always be left.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse buys of blacklisted symbols and of symbols outside a whitelist."""
    symbol, policy = question.order.symbol, question.policy
    if not question.is_buy:
        return None
    if symbol in policy.blacklist:
        return question.no("RISK_BLACKLIST", f"{symbol} is on the blacklist")
    if policy.whitelist is not None and symbol not in policy.whitelist:
        return question.no("RISK_BLACKLIST", f"{symbol} is not on the whitelist")
    return None


RULE = Rule(
    codes=("RISK_BLACKLIST",),
    exchange=False,
    source="policy lists",
    zh="黑名单或不在白名单",
    en="Blacklisted, or not on the whitelist",
    judge=judge,
    parameters=("blacklist", "whitelist"),
)
