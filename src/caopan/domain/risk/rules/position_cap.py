"""RISK_POSITION_CAP: one symbol's share of NAV, and the number of positions.

Must never stop a sale.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.shares import exceeds
from caopan.kernel.money import UNITS_PER_FEN, yuan


def judge(question: Question) -> Reason | None:
    """Refuse buys that would make a position, or the number of positions, too large."""
    if not question.is_buy:
        return None
    symbol, standing, policy = question.order.symbol, question.standing, question.policy
    after = standing.exposure.get(symbol, 0) + question.value
    if exceeds(after, policy.symbol_nav_cap, standing.nav):
        cap = int(standing.nav * policy.symbol_nav_cap)
        return question.no(
            "RISK_POSITION_CAP",
            f"{symbol} would be over {float(policy.symbol_nav_cap):.1%} of NAV",
            limit=yuan(cap // UNITS_PER_FEN * UNITS_PER_FEN),
            actual=yuan(after),
        )
    opened = [one for one, value in standing.exposure.items() if value > 0]
    if symbol not in opened and len(opened) >= policy.max_positions:
        return question.no(
            "RISK_POSITION_CAP",
            f"{len(opened)} positions are open",
            limit=policy.max_positions,
            actual=len(opened) + 1,
        )
    return None


RULE = Rule(
    codes=("RISK_POSITION_CAP",),
    exchange=False,
    source="policy symbol_nav_cap, max_positions",
    zh="超过单票占净值上限或持仓数上限",
    en="Over the symbol's share of NAV or the number of positions",
    judge=judge,
    parameters=("symbol_nav_cap", "max_positions"),
)
