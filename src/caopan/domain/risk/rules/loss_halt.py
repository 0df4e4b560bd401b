"""RISK_LOSS_HALT: no buys after too large a loss today, or too deep a drawdown.

Must never stop a sale.
"""

from __future__ import annotations

from fractions import Fraction

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.shares import exceeds


def judge(question: Question) -> Reason | None:
    """Refuse buys while the account is past its loss limits."""
    if not question.is_buy:
        return None
    standing, policy = question.standing, question.policy
    return _beyond(
        question, "today's loss", standing.nav_day_open, policy.daily_loss_halt_pct
    ) or _beyond(question, "the drawdown", standing.nav_peak, policy.max_drawdown_halt_pct)


def _beyond(question: Question, what: str, base: int, most: Fraction) -> Reason | None:
    lost = base - question.standing.nav
    if base > 0 and not exceeds(lost, most, base):
        return None
    actual = f"{lost / base:.2%}" if base > 0 else "no base"
    return question.no(
        "RISK_LOSS_HALT", f"{what} is {actual}", limit=f"{float(most):.2%}", actual=actual
    )


RULE = Rule(
    codes=("RISK_LOSS_HALT",),
    exchange=False,
    source="policy daily_loss_halt_pct, max_drawdown_halt_pct",
    zh="当日亏损或回撤触发停买",
    en="The day's loss or the drawdown has halted buying",
    judge=judge,
    parameters=("daily_loss_halt_pct", "max_drawdown_halt_pct"),
)
