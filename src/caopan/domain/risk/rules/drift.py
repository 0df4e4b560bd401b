"""RISK_DRIFT: a buy may not pay much more, nor a sale take much less, than the price it saw.

The limit is held against the quote, and the quote against the price the decision saw. Must never
judge a price that is on the careful side.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import OrderType
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan

_BPS = 10_000


def judge(question: Question) -> Reason | None:
    """Refuse prices that moved, or lie, beyond `max_drift_bps` on the unfavourable side."""
    quote, order = question.quote, question.order
    if quote is None or quote.price <= 0 or question.leaves:
        return None  # without a price stale_price refuses; who leaves takes what is paid
    if order.price > 0 or order.order_type is OrderType.LIMIT:
        against = _against(question, order.price, quote.price)
        if against * _BPS > question.policy.max_drift_bps * quote.price:
            return _refused(question, "limit price", order.price, quote.price)
    seen = order.seen_price
    if seen is not None:
        against = _against(question, quote.price, seen)
        if seen <= 0 or against * _BPS > question.policy.max_drift_bps * seen:
            return _refused(question, "price now", quote.price, seen)
    return None


def _against(question: Question, price: int, base: int) -> int:
    return price - base if question.is_buy else base - price


def _refused(question: Question, what: str, price: int, base: int) -> Reason:
    moved = _against(question, price, base) * _BPS // base if base > 0 else None
    return question.no(
        "RISK_DRIFT",
        f"{what} {yuan(price)} against the price {yuan(base)}",
        limit=f"{question.policy.max_drift_bps} bps",
        actual=None if moved is None else f"{moved} bps",
    )


RULE = Rule(
    codes=("RISK_DRIFT",),
    exchange=False,
    source="policy max_drift_bps",
    zh="委托价偏离行情，或行情偏离决策所见价格过大",
    en="The price is too far on the wrong side of the quote, or the quote of what was seen",
    judge=judge,
    parameters=("max_drift_bps",),
)
