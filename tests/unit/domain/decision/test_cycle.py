"""A decision's cycle: stages in order, closed once."""

from __future__ import annotations

from itertools import pairwise

import pytest

from caopan.domain.decision.cycle import NEXT, Cycle, advanced, closed
from caopan.domain.decision.shapes import (
    ActionType,
    ActionVerdict,
    CheckerResult,
    CycleStage,
    DecisionStatus,
    Reason,
)
from caopan.kernel.errors import CorruptState
from caopan.testing.samples import DAY, NOW, sample_id

ORDER = ["opened", "observed", "acted", "checked", "judged", "ordered", "closed"]


def cycle(stage: CycleStage = CycleStage.OPENED) -> Cycle:
    return Cycle(sample_id(1), sample_id(2), "sandbox", DAY, "open_auction", NOW, stage)


def test_stages_stand_in_their_order():
    assert [stage.value for stage in CycleStage] == ORDER
    for earlier, later in pairwise(CycleStage):
        assert later in NEXT[earlier]


@pytest.mark.parametrize("stage", CycleStage)
@pytest.mark.parametrize("after", CycleStage)
def test_only_the_next_stage_or_the_end_may_follow(stage, after):
    position = ORDER.index(stage)
    legal = after in ORDER[position + 1 : position + 2] or (
        after is CycleStage.CLOSED and stage is not CycleStage.CLOSED
    )
    if legal:
        assert advanced(cycle(stage), after).stage is after
        return
    with pytest.raises(CorruptState) as caught:
        advanced(cycle(stage), after)
    assert caught.value.code == "CYCLE_EDGE"
    assert str(sample_id(1)) in caught.value.message


def test_closing_sets_status_time_and_code_once():
    ended = closed(cycle(CycleStage.ACTED), DecisionStatus.NO_OP, NOW, "MODEL_TIMEOUT")
    assert ended.stage is CycleStage.CLOSED
    assert (ended.status, ended.status_code, ended.closed_at) == (
        DecisionStatus.NO_OP,
        "MODEL_TIMEOUT",
        NOW,
    )
    with pytest.raises(CorruptState):
        closed(ended, DecisionStatus.EXECUTED, NOW)


def test_status_and_action_words_are_the_contract():
    assert {status.value for status in DecisionStatus} - {"in_progress"} == {
        *("executed", "partially_executed", "no_op", "rejected_checker", "rejected_risk"),
        *("awaiting_approval", "expired", "declined", "canceled", "shadowed", "failed"),
    }
    assert {action.value for action in ActionType} == {
        *("set_target", "place_order", "modify_order", "cancel_order", "no_op")
    }


def test_a_reason_leaves_out_what_it_does_not_know():
    assert Reason("RISK_TICK", 0, "off tick", "0.01", "1.005").as_json() == {
        "code": "RISK_TICK",
        "action_index": 0,
        "detail": "off tick",
        "limit": "0.01",
        "actual": "1.005",
    }
    assert Reason("OBS_EXPIRED", None, "too old").as_json() == {
        "code": "OBS_EXPIRED",
        "detail": "too old",
    }


def test_a_verdict_passes_only_without_reasons():
    reason = Reason("RISK_TICK", 0, "off tick")
    assert ActionVerdict(0, ()).passed
    assert not ActionVerdict(0, (reason,)).passed
    assert CheckerResult((), NOW).passed
    assert not CheckerResult((reason,), NOW).passed
