"""RISK_POSTURE: an account told to go flat only buys nothing.

Under a tightened posture the gate judges by the halved policy, so `cautious` refuses nothing here.
Must never stop what reduces a position.
"""

from __future__ import annotations

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.question import Question, Rule


def judge(question: Question) -> Reason | None:
    """Refuse buys while the posture is flat_only."""
    if not question.is_buy or question.posture is not Posture.FLAT_ONLY:
        return None
    return question.no(
        "RISK_POSTURE", "only what reduces a position is sent now", actual=Posture.FLAT_ONLY
    )


RULE = Rule(
    codes=("RISK_POSTURE",),
    exchange=False,
    source="policy posture; the account's own posture; the decision's",
    zh="当前仅允许减仓",
    en="Only what reduces a position is allowed now",
    judge=judge,
    parameters=("posture_mode", "posture_schedule"),
)
