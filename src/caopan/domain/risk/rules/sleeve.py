"""RISK_OUTSIDE_SLEEVE: only the sleeve's symbols, and only with the sleeve's money.

Must never touch what lies in the account outside the sleeve.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse symbols outside the sleeve, and buys beyond its money."""
    standing, order = question.standing, question.order
    symbols, cap = standing.sleeve_symbols, standing.sleeve_cash_cap
    if symbols is not None and order.symbol not in symbols:
        return question.no("RISK_OUTSIDE_SLEEVE", f"{order.symbol} is not managed by the sleeve")
    if cap is None or not question.is_buy:
        return None
    after = standing.gross + question.cost_bound
    if after <= cap:
        return None
    return question.no(
        "RISK_OUTSIDE_SLEEVE",
        f"the sleeve would hold {yuan(after)}",
        limit=yuan(cap),
        actual=yuan(after),
    )


RULE = Rule(
    codes=("RISK_OUTSIDE_SLEEVE",),
    exchange=True,
    source="contracts.md, sleeve: what lies outside is never traded",
    zh="证券不在本策略账户分仓范围内，或超出分仓资金上限",
    en="Outside the sleeve's symbols or money",
    judge=judge,
)
