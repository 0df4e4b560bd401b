"""RISK_RULES_UNKNOWN: no trading where the exchange's rules for this symbol and day are not known.

Must never guess a missing rule.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse symbols without reference data, with unknown limits, or with a data problem."""
    reference = question.reference
    symbol = question.order.symbol
    if reference is None:
        return question.no(
            "RISK_RULES_UNKNOWN", f"no reference data of {symbol} for {question.trading_day}"
        )
    if reference.problems:
        return question.no(
            "RISK_RULES_UNKNOWN",
            f"{symbol}: {', '.join(reference.problems)}",
            actual=",".join(reference.problems),
        )
    if not reference.limits_known:
        return question.no(
            "RISK_RULES_UNKNOWN", f"the price limits of {symbol} today are not known"
        )
    return None


RULE = Rule(
    codes=("RISK_RULES_UNKNOWN",),
    exchange=True,
    source="spec: unknown date, board or state is a refusal, never a default",
    zh="规则未知：缺少该证券当日的交易规则或数据存在矛盾，拒绝交易",
    en="Rules unknown: no or contradictory rule data for this security today",
    judge=judge,
)
