"""RISK_LOT_SIZE, RISK_MAX_ORDER_QTY: quantities the board takes.

Must never trim a quantity.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.quantity import check_quantity
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse quantities off the board's lot and size rules."""
    reference, order = question.reference, question.order
    if reference is None:
        return None
    sellable = question.standing.sellable.get(order.symbol, 0)
    found = check_quantity(reference, order.qty, selling=order.side is Side.SELL, sellable=sellable)
    if found is None:
        return None
    return question.no(found.code, found.detail, limit=found.limit, actual=order.qty)


RULE = Rule(
    codes=("RISK_LOT_SIZE", "RISK_MAX_ORDER_QTY"),
    exchange=True,
    source="SSE and SZSE Trading Rules and board rules, order quantity",
    zh="数量不符合该板块的申报单位或上限",
    en="The quantity breaks the board's lot or size rule",
    judge=judge,
)
