"""RISK_KILL_SWITCH: what the kill switch stops.

One that cannot be read stops everything. Must never stop a cancel.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.kill_switch import KillLevel
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse by level: buys, every order, every order but those that flatten."""
    control = question.standing.control
    if control is None:
        return question.no("RISK_KILL_SWITCH", "the kill switch could not be read")
    level = control.level
    if level is KillLevel.OFF or (level is KillLevel.NO_OPENINGS and not question.is_buy):
        return None
    if level is KillLevel.FLATTEN and question.leaves:
        return None
    return question.no(
        "RISK_KILL_SWITCH",
        f"the kill switch is at level {level.value}" + (control.reason and f": {control.reason}"),
        actual=level.value,
    )


RULE = Rule(
    codes=("RISK_KILL_SWITCH",),
    exchange=True,
    source="contracts.md, kill switch levels",
    zh="急停开关已启用",
    en="The kill switch is on",
    judge=judge,
)
