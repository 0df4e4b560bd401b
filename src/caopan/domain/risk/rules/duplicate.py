"""RISK_DUPLICATE, RISK_SELF_TRADE: one working order per symbol and side, none against our own.

Must never cancel anything.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse an order beside, or against, one of ours that is still working."""
    order, working = question.order, question.standing.working
    if (order.symbol, order.side) in working:
        return question.no("RISK_DUPLICATE", f"a {order.side} of {order.symbol} is already working")
    other = Side.SELL if order.side is Side.BUY else Side.BUY
    if (order.symbol, other) in working:
        return question.no(
            "RISK_SELF_TRADE", f"a {other} of {order.symbol} is working: it could trade with us"
        )
    return None


RULE = Rule(
    codes=("RISK_DUPLICATE", "RISK_SELF_TRADE"),
    exchange=False,
    source="self-trading is an abnormal pattern under the programme-trading rules of 2025-07-07",
    zh="重复委托或可能自成交",
    en="Duplicate order, or one that could trade with our own",
    judge=judge,
)
