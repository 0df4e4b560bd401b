"""RISK_ST: risk-warning stocks (风险警示) are bought only where the policy says so.

Sales are exempt.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.reference import TradingStatus
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse buys of ST stocks and of stocks in their delisting period."""
    reference = question.reference
    if reference is None or question.order.side is not Side.BUY or question.policy.allow_st:
        return None
    if reference.is_st or reference.trading_status is TradingStatus.DELISTING_PERIOD:
        return question.no("RISK_ST", f"{question.order.symbol} carries a risk warning")
    return None


RULE = Rule(
    codes=("RISK_ST",),
    exchange=False,
    source="policy st_policy",
    zh="策略不买入风险警示或退市整理股票",
    en="The policy does not buy risk-warning or delisting stocks",
    judge=judge,
    parameters=("allow_st",),
)
