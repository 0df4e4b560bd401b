"""RISK_LOT_SIZE, RISK_MAX_ORDER_QTY: quantities the board takes, by the type of the order.

Must never trim a quantity.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.phases import OrderKind
from caopan.domain.market.quantity import check_quantity
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse quantities off the board's lot and size rules."""
    reference, order = question.reference, question.order
    if reference is None:
        return None
    kind = order.order_type.kind
    most = None
    if kind is OrderKind.AFTER_HOURS_FIXED and question.terms and question.terms.quantity:
        most = question.terms.quantity.largest(kind)
    found = check_quantity(
        reference,
        order.qty,
        selling=not question.is_buy,
        sellable=question.standing.sellable.get(order.symbol, 0),
        market_order=kind is OrderKind.MARKET,
        most=most,
    )
    if found is None:
        return None
    return question.no(found.code, found.detail, limit=found.limit, actual=order.qty)


RULE = Rule(
    codes=("RISK_LOT_SIZE", "RISK_MAX_ORDER_QTY"),
    exchange=True,
    source="SSE, SZSE and BSE Trading Rules and board rules, order quantity",
    zh="数量不符合该板块的申报单位或上限",
    en="The quantity breaks the board's lot or size rule",
    judge=judge,
)
