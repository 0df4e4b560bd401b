"""RISK_SELF_TRADE: no order that could meet one of our own.

Where the price of the resting order is not known, or this one has none, it could. Must never cancel
anything.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.surveillance import trades_with_itself
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse an order that crosses one of ours on the other side."""
    order, standing = question.order, question.standing
    other = Side.SELL if question.is_buy else Side.BUY
    if (order.symbol, other) not in standing.working:
        return None
    price = standing.resting.get((order.symbol, other))
    crosses = trades_with_itself(order.price, price, buying=question.is_buy)
    if price and order.price > 0 and not crosses:
        return None
    return question.no(
        "RISK_SELF_TRADE",
        f"a {other} of {order.symbol} is working: it could trade with us",
        limit=yuan(price) if price else None,
        actual=yuan(order.price) if price else None,
    )


RULE = Rule(
    codes=("RISK_SELF_TRADE",),
    exchange=True,
    source="self-trading is an abnormal pattern under the programme-trading rules of 2025-07-07",
    zh="可能与自己的在途委托成交（自成交）",
    en="It could trade with an order of our own",
    judge=judge,
)
