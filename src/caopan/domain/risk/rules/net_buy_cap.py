"""RISK_NET_BUY_CAP: how much more may be bought than sold in a day.

Sales that have not filled do not make room: `sold_value` counts fills only. Must never stop a sale.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule
from caopan.kernel.money import yuan


def judge(question: Question) -> Reason | None:
    """Refuse buys that would take today's net buying over the cap."""
    cap, standing = question.policy.daily_net_buy_cap, question.standing
    if cap is None or not question.is_buy:
        return None
    if standing.bought_value is None or standing.sold_value is None:
        return question.unknown("RISK_NET_BUY_CAP", "daily_net_buy_cap", "what was traded today")
    after = standing.bought_value + question.value - standing.sold_value
    if after <= cap:
        return None
    return question.no(
        "RISK_NET_BUY_CAP",
        f"today's net buying would be {yuan(after)}",
        limit=yuan(cap),
        actual=yuan(after),
    )


RULE = Rule(
    codes=("RISK_NET_BUY_CAP",),
    exchange=False,
    source="policy daily_net_buy_cap",
    zh="超过当日净买入上限",
    en="Over the day's net buying cap",
    judge=judge,
    parameters=("daily_net_buy_cap",),
)
