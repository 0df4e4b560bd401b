"""RISK_DUPLICATE: one working order per symbol and side.

Must never cancel anything.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse an order beside one of ours that is still working."""
    order = question.order
    if (order.symbol, order.side) not in question.standing.working or question.leaves:
        # What is left takes as many sales as the largest order makes of it; no share is sold twice
        # all the same, because the one before took its shares from what is sellable.
        return None
    return question.no("RISK_DUPLICATE", f"a {order.side} of {order.symbol} is already working")


RULE = Rule(
    codes=("RISK_DUPLICATE",),
    exchange=False,
    source="contracts.md: no two orders for one symbol and side",
    zh="同一证券同方向已有在途委托",
    en="An order of the same symbol and side is working",
    judge=judge,
)
