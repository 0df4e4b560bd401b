"""RISK_NO_EXIT_PLAN: what opens or enlarges a position says how it will be left.

Must never judge whether the plan is a good one.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse buys without an exit plan."""
    order = question.order
    if order.side is Side.SELL or order.has_exit_plan or not question.policy.exit_plan_required:
        return None
    if question.modifies:
        return None  # the plan of the order it replaces goes on
    return question.no("RISK_NO_EXIT_PLAN", f"the buy of {order.symbol} has no exit plan")


RULE = Rule(
    codes=("RISK_NO_EXIT_PLAN",),
    exchange=False,
    source="policy exit_plan_required",
    zh="开仓缺少退出计划",
    en="The opening has no exit plan",
    judge=judge,
    parameters=("exit_plan_required",),
)
