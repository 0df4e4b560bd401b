"""RISK_SUSPENDED: a suspended or delisted security does not trade.

Must never look at prices.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.reference import TradingStatus
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse suspended and delisted securities."""
    reference = question.reference
    if reference is None or reference.trading_status in (
        TradingStatus.NORMAL,
        TradingStatus.DELISTING_PERIOD,
    ):
        return None
    return question.no(
        "RISK_SUSPENDED",
        f"{question.order.symbol} is {reference.trading_status}",
        actual=reference.trading_status,
    )


RULE = Rule(
    codes=("RISK_SUSPENDED",),
    exchange=True,
    source="SSE and SZSE Trading Rules, suspension",
    zh="证券停牌或已退市",
    en="The security is suspended or delisted",
    judge=judge,
)
