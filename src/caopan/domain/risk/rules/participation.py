"""RISK_PARTICIPATION: today's orders of a symbol as a share of an average day's volume.

What leaves a position by its exit plan or by the kill switch is exempt. Must never guess a volume.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.orders.order import Side
from caopan.domain.risk.question import Question, Rule
from caopan.domain.risk.shares import exceeds


def judge(question: Question) -> Reason | None:
    """Refuse orders that would make too large a share of an average day."""
    cap, order = question.policy.participation_cap_pct, question.order
    if cap is None or question.leaves:
        return None
    average, ordered = question.stats.average_volume, question.standing.ordered_today
    if average is None or ordered is None:
        missing = "the average volume" if average is None else "what was ordered today"
        return question.unknown(
            "RISK_PARTICIPATION", "participation_cap_pct", f"{missing} of {order.symbol}"
        )
    after = order.qty + sum(ordered.get((order.symbol, side), 0) for side in Side)
    if not exceeds(after, cap, average):
        return None
    return question.no(
        "RISK_PARTICIPATION",
        f"{after} shares today are over {float(cap):.2%} of an average day's {average}",
        limit=int(cap * average),
        actual=after,
    )


RULE = Rule(
    codes=("RISK_PARTICIPATION",),
    exchange=False,
    source="policy participation_cap_pct",
    zh="超过占日均成交量的比例上限",
    en="Over the share of an average day's volume",
    judge=judge,
    parameters=("participation_cap_pct",),
)
