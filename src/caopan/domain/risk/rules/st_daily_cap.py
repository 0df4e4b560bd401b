"""RISK_ST: an account may buy only so many shares of one risk-warning stock a day.

Must never count what another account bought.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.market.quantity import check_daily_buy
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse buys over the exchange's daily cap on one risk-warning stock."""
    reference, order = question.reference, question.order
    if reference is None or not reference.is_st or not question.is_buy:
        return None
    terms, ordered = question.terms, question.standing.ordered_today
    if terms is None or not terms.buy_cap_known:
        return question.no("RISK_ST", f"the daily cap on buying {order.symbol} is not known")
    if terms.buy_cap is None:
        return None
    if ordered is None:
        return question.no(
            "RISK_ST",
            f"how many shares of {order.symbol} were bought today is not known",
            limit=terms.buy_cap.most,
        )
    bought = ordered.get((order.symbol, order.side), 0)
    found = check_daily_buy(terms.buy_cap, order.qty, bought)
    if found is None:
        return None
    return question.no("RISK_ST", found.detail, limit=found.limit, actual=bought + order.qty)


RULE = Rule(
    codes=("RISK_ST",),
    exchange=True,
    source="SSE 2013, SZSE 2020-12, BSE 2026: 500,000 shares of one risk-warning stock a day",
    zh="单日买入单只风险警示股票超过50万股上限",
    en="Over the exchange's daily cap on buying one risk-warning stock",
    judge=judge,
)
