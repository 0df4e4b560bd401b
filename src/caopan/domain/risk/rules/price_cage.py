"""RISK_PRICE_CAGE: a limit order in continuous trading stays near the market (价格笼子).

Must never apply in an auction, during a temporary halt or to a market order.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.price_cage import CAGE_PHASES, applies, base_price, cage_bound
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse buys above, and sales below, what the board's cage takes."""
    order, reference = question.order, question.reference
    if question.phase not in CAGE_PHASES or reference is None:
        return None
    row = None if question.terms is None else question.terms.cage
    if row is None:
        return question.no("RISK_PRICE_CAGE", f"the price cage of {order.symbol} is not known")
    top = question.top
    kind = order.order_type.kind
    if top is None or not applies(row, question.phase, kind, halted=question.halted):
        return None  # without a price stale_price refuses
    buying = question.is_buy
    base = base_price(top, buying=buying)
    if base <= 0:
        return question.no("RISK_PRICE_CAGE", f"the base of the price cage is {yuan(base)}")
    # On the near side of the base: the bound lies at least a tick beyond it.
    near = order.price <= base if buying else order.price >= base
    bound = order.price if near else cage_bound(row, base, reference.tick_size, buying=buying)
    if (order.price <= bound) if buying else (order.price >= bound):
        return None
    return question.no(
        "RISK_PRICE_CAGE",
        f"price {yuan(order.price)} is beyond {yuan(bound)}, the cage around {yuan(base)}",
        limit=yuan(bound),
        actual=yuan(order.price),
    )


RULE = Rule(
    codes=("RISK_PRICE_CAGE",),
    exchange=True,
    source="SSE, SZSE and BSE Trading Rules, price cage by board and date",
    zh="超出连续竞价有效申报价格范围（价格笼子）",
    en="The price is outside the price cage",
    judge=judge,
)
