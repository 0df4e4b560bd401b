"""RISK_ORDER_TYPE: a type that board, day and venue take, with a price where it needs one.

A market order without a protective price is valued at limit-up; where no limit exists there is
nothing to value it at, and it is refused. Must never turn one type into another.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import OrderType
from caopan.domain.risk.question import Question, Rule

_LIMIT_ONLY = frozenset({OrderType.LIMIT})


def judge(question: Question) -> Reason | None:
    """Refuse types that exchange or venue do not take, and orders no price can be put on."""
    order, reference = question.order, question.reference
    kind = order.order_type
    if order.price < 0 or (kind is OrderType.LIMIT and order.price == 0):
        return question.no("RISK_ORDER_TYPE", "a limit order needs a price", limit=kind)
    taken = question.venue_types or _LIMIT_ONLY
    if kind not in taken:
        return question.no(
            "RISK_ORDER_TYPE",
            f"the venue takes no {kind} orders",
            limit=", ".join(sorted(taken)),
            actual=kind,
        )
    if kind is OrderType.LIMIT or reference is None:
        return None
    return _market(question)


def _market(question: Question) -> Reason | None:
    kind, terms = question.order.order_type, question.terms
    offered = None if terms is None else terms.order_types
    if offered is None:
        return question.no("RISK_ORDER_TYPE", f"whether {kind} is offered today is not known")
    row = offered.get(kind)
    if row is None:
        return question.no(
            "RISK_ORDER_TYPE",
            f"the exchange takes no {kind} orders on this board",
            limit=", ".join(sorted(offered)),
            actual=kind,
        )
    has_limit = question.reference is not None and question.reference.limit_up is not None
    if row.needs_limits and not has_limit:
        return question.no("RISK_ORDER_TYPE", f"{kind} is taken only where a price limit applies")
    if question.worst_price <= 0:
        return question.no(
            "RISK_ORDER_TYPE", f"{kind} without a price limit needs a protective price", limit=kind
        )
    return None


RULE = Rule(
    codes=("RISK_ORDER_TYPE",),
    exchange=True,
    source="SSE, SZSE and BSE Trading Rules, order types; the venue's capabilities",
    zh="交易所、板块或柜台不支持该委托类型，或缺少保护价",
    en="The exchange, board or venue does not take this order type, or it lacks a price",
    judge=judge,
)
