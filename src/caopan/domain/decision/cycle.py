"""The cycle of one decision: which stage may follow which.

Owns Cycle and its edges. Must never do a stage's work (application/pipeline.py does).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import UUID

from caopan.domain.decision.shapes import CycleStage, DecisionStatus, Origin
from caopan.kernel.errors import CorruptState

_C = CycleStage

NEXT: Mapping[CycleStage, frozenset[CycleStage]] = {
    _C.OPENED: frozenset({_C.OBSERVED, _C.CLOSED}),
    _C.OBSERVED: frozenset({_C.ACTED, _C.CLOSED}),
    _C.ACTED: frozenset({_C.CHECKED, _C.CLOSED}),
    _C.CHECKED: frozenset({_C.JUDGED, _C.CLOSED}),
    _C.JUDGED: frozenset({_C.ORDERED, _C.CLOSED}),
    _C.ORDERED: frozenset({_C.CLOSED}),
    _C.CLOSED: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Cycle:
    """One decision's row: identity, how far it is recorded, and what became of it."""

    decision_id: UUID
    trace_id: UUID
    account_id: str
    trading_day: date
    slot: str
    opened_at: datetime
    stage: CycleStage = CycleStage.OPENED
    status: DecisionStatus = DecisionStatus.IN_PROGRESS
    status_code: str | None = None
    """The code that explains a status such as failed or no_op."""
    observation_id: UUID | None = None
    valid_until: datetime | None = None
    closed_at: datetime | None = None
    origin: Origin = Origin.MODEL


def advanced(cycle: Cycle, stage: CycleStage) -> Cycle:
    """Return the cycle one stage on.

    Raises:
        CorruptState: CYCLE_EDGE if that stage may not follow.
    """
    if stage not in NEXT[cycle.stage]:
        raise CorruptState(
            "CYCLE_EDGE",
            f"decision {cycle.decision_id} cannot go from {cycle.stage} to {stage}",
            remedy="run `caopan ledger verify`; the stored stage was changed from outside",
        )
    return replace(cycle, stage=stage)


def closed(cycle: Cycle, status: DecisionStatus, at: datetime, code: str | None = None) -> Cycle:
    """Return the cycle closed with its final status."""
    return replace(
        advanced(cycle, CycleStage.CLOSED), status=status, status_code=code, closed_at=at
    )
