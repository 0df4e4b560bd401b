"""RISK_PRICE_BAND: the policy's own collar around the last price, both ways.

Must never widen the exchange's limits: it stands beside them.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.shares import exceeds
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse prices further from the last one than `price_collar_pct`."""
    collar, quote, price = question.policy.price_collar_pct, question.quote, question.order.price
    if collar is None or price <= 0 or quote is None or quote.price <= 0 or question.leaves:
        return None  # without a price stale_price refuses
    if not exceeds(abs(price - quote.price), collar, quote.price):
        return None
    return question.no(
        "RISK_PRICE_BAND",
        f"price {yuan(price)} is over {float(collar):.2%} from the last price {yuan(quote.price)}",
        limit=f"{float(collar):.2%}",
        actual=f"{abs(price - quote.price) / quote.price:.2%}",
    )


RULE = Rule(
    codes=("RISK_PRICE_BAND",),
    exchange=False,
    source="policy price_collar_pct",
    zh="委托价偏离最新价超出策略上限",
    en="The price is too far from the last one",
    judge=judge,
    parameters=("price_collar_pct",),
)
