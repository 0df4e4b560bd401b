"""RISK_DRIFT: a buy may not pay much more, nor a sale take much less, than the price it saw.

Must never judge a price that is on the careful side of the quote.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan

_BPS = 10_000


def judge(question: Question) -> Reason | None:
    """Refuse limit prices beyond `max_drift_bps` on the unfavourable side of the quote."""
    quote, order = question.quote, question.order
    if quote is None or quote.price <= 0:
        return None  # stale_price refuses
    against = order.price - quote.price if order.side is Side.BUY else quote.price - order.price
    if against * _BPS <= question.policy.max_drift_bps * quote.price:
        return None
    return question.no(
        "RISK_DRIFT",
        f"limit price {yuan(order.price)} against the price {yuan(quote.price)}",
        limit=f"{question.policy.max_drift_bps} bps",
        actual=f"{against * _BPS // quote.price} bps",
    )


RULE = Rule(
    codes=("RISK_DRIFT",),
    exchange=False,
    source="policy max_drift_bps",
    zh="委托价偏离行情过大",
    en="The limit price is too far on the wrong side of the quote",
    judge=judge,
)
