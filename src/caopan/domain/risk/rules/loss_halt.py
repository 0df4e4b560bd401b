"""RISK_LOSS_HALT: no buys after too large a loss today, or too deep a drawdown.

Must never stop a sale.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse buys while the account is past its loss limits."""
    if question.order.side is not Side.BUY:
        return None
    standing, policy = question.standing, question.policy
    lost = standing.nav_day_open - standing.nav
    if lost > standing.nav_day_open * policy.daily_loss_halt_pct:
        return question.no(
            "RISK_LOSS_HALT",
            f"today's loss is {lost / standing.nav_day_open:.2%}",
            limit=f"{float(policy.daily_loss_halt_pct):.2%}",
            actual=f"{lost / standing.nav_day_open:.2%}",
        )
    down = standing.nav_peak - standing.nav
    if down > standing.nav_peak * policy.max_drawdown_halt_pct:
        return question.no(
            "RISK_LOSS_HALT",
            f"the drawdown is {down / standing.nav_peak:.2%}",
            limit=f"{float(policy.max_drawdown_halt_pct):.2%}",
            actual=f"{down / standing.nav_peak:.2%}",
        )
    return None


RULE = Rule(
    codes=("RISK_LOSS_HALT",),
    exchange=False,
    source="policy daily_loss_halt_pct, max_drawdown_halt_pct",
    zh="当日亏损或回撤触发停买",
    en="The day's loss or the drawdown has halted buying",
    judge=judge,
)
