"""RISK_TPLUS1, RISK_NO_POSITION: only settled shares can be sold, and no short.

Must never count an unfilled buy as a holding.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse sales of more than is sellable today."""
    order = question.order
    if order.side is not Side.SELL:
        return None
    held = question.standing.held.get(order.symbol, 0)
    sellable = question.standing.sellable.get(order.symbol, 0)
    if order.qty <= sellable:
        return None
    if held < order.qty:
        return question.no(
            "RISK_NO_POSITION",
            f"{order.qty} shares of {order.symbol} to sell, {held} held",
            limit=held,
            actual=order.qty,
        )
    return question.no(
        "RISK_TPLUS1",
        f"{order.qty} shares of {order.symbol} to sell, {sellable} of {held} sellable today",
        limit=sellable,
        actual=order.qty,
    )


RULE = Rule(
    codes=("RISK_TPLUS1", "RISK_NO_POSITION"),
    exchange=True,
    source="T+1 settlement of A-shares since 1995-01-01",
    zh="超过可卖数量（T+1 或无持仓）",
    en="More than is sellable today (T+1, or not held)",
    judge=judge,
)
