"""Decisions and how far each is recorded.

Owns the table decision. Must never judge whether a stage may follow another (the domain does).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from caopan.adapters.postgres.connection import Session
from caopan.adapters.postgres.statements import insert, selected, updated
from caopan.adapters.postgres.tables import DECISION
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import CycleStage, DecisionStatus, Origin
from caopan.kernel.errors import CorruptState

_FIELDS: Final = (
    "decision_id",
    "trace_id",
    "account_id",
    "trading_day",
    "slot",
    "opened_at",
    "stage",
    "status",
    "status_code",
    "observation_id",
    "valid_until",
    "closed_at",
    "origin",
)
_CHANGING: Final = (
    "stage",
    "status",
    "status_code",
    "observation_id",
    "valid_until",
    "closed_at",
)
_INSERT: Final = insert(DECISION, ("run_id", *_FIELDS))
_UPDATE: Final = (
    updated(DECISION, _CHANGING) + " WHERE run_id = %(run_id)s AND decision_id = %(decision_id)s"
)
_SELECT: Final = selected(DECISION, _FIELDS) + " WHERE run_id = %(run_id)s"
_OLDEST: Final = " ORDER BY opened_at, decision_id"
_NEWEST: Final = " ORDER BY opened_at DESC, decision_id DESC"


class PostgresCycles:
    """CycleRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int) -> None:
        """Work for `run_id`."""
        self._session = session
        self._run_id = run_id

    async def add(self, cycle: Cycle) -> None:
        """Store a new cycle. Raises Conflict CYCLE_EXISTS if its slot of the day is taken."""
        self._session.queue(_INSERT, self._params(cycle))

    async def save(self, cycle: Cycle) -> None:
        """Store the cycle's present stage and status."""
        missing = CorruptState("CYCLE_MISSING", f"decision {cycle.decision_id} is not stored")
        self._session.queue(_UPDATE, self._params(cycle), missing)

    async def get(self, decision_id: UUID) -> Cycle | None:
        """Return one cycle."""
        found = await self._read(" AND decision_id = %(decision_id)s", decision_id=decision_id)
        return found[0] if found else None

    async def unfinished(self) -> Sequence[Cycle]:
        """Return cycles that are not closed, oldest first."""
        return await self._read(" AND stage <> 'closed'" + _OLDEST)

    async def last(self) -> Cycle | None:
        """Return the newest cycle."""
        found = await self._read(_NEWEST + " LIMIT 1")
        return found[0] if found else None

    async def recent(self, most: int, before: datetime) -> Sequence[Cycle]:
        """Return a model's closed decisions opened before `before`, newest first."""
        rest = " AND stage = 'closed' AND origin = 'model' AND opened_at < %(before)s"
        return await self._read(rest + _NEWEST + " LIMIT %(most)s", before=before, most=most)

    async def all(self) -> Sequence[Cycle]:
        """Return every cycle, oldest first."""
        return await self._read(_OLDEST)

    async def _read(self, rest: str, **params: object) -> list[Cycle]:
        rows = await self._session.rows(_SELECT + rest, {"run_id": self._run_id, **params})
        return [_cycle(dict(zip(_FIELDS, row, strict=True))) for row in rows]

    def _params(self, cycle: Cycle) -> dict[str, Any]:
        values = {name: getattr(cycle, name) for name in _FIELDS}
        values["stage"], values["status"] = cycle.stage.value, cycle.status.value
        values["origin"] = cycle.origin.value
        return {"run_id": self._run_id, **values}


def _cycle(row: dict[str, Any]) -> Cycle:
    row["stage"] = CycleStage(row["stage"])
    row["status"] = DecisionStatus(row["status"])
    row["origin"] = Origin(row["origin"])
    return Cycle(**row)
