"""The run a unit of work belongs to.

Owns the table run. Must never start a run (the store does, outside any unit of work).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from caopan.adapters.postgres.connection import Session
from caopan.adapters.postgres.statements import selected
from caopan.adapters.postgres.tables import RUN
from caopan.application.ports.store import Run, RunKind, RunStatus
from caopan.kernel.errors import Conflict, CorruptState

_FIELDS: Final = (
    "run_id",
    "kind",
    "account_id",
    "config_hash",
    "config",
    "status",
    "created_at",
    "finished_at",
    "result",
)
SELECT_RUNS: Final = selected(RUN, _FIELDS)
_FINISH: Final = (
    "UPDATE run SET status = %(status)s, finished_at = %(at)s, result = %(result)s::json"
    " WHERE run_id = %(run_id)s AND status = 'running'"
)


def run_of(row: Sequence[Any]) -> Run:
    """Return the run a row of SELECT_RUNS describes."""
    values = dict(zip(_FIELDS, row, strict=True))
    values["kind"] = RunKind(values["kind"])
    values["status"] = RunStatus(values["status"])
    return Run(**values)


class PostgresRun:
    """RunRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int) -> None:
        """Work for `run_id`."""
        self._session = session
        self._run_id = run_id

    async def get(self) -> Run:
        """Return the run. Raises CorruptState RUN_UNKNOWN."""
        statement = SELECT_RUNS + " WHERE run_id = %(run_id)s"
        rows = await self._session.rows(statement, {"run_id": self._run_id})
        if not rows:
            raise CorruptState(
                "RUN_UNKNOWN", f"run {self._run_id} is not stored", remedy="name an existing run"
            )
        return run_of(rows[0])

    async def finish(self, status: RunStatus, at: datetime, result: Mapping[str, Any]) -> None:
        """Close the run with its result. Raises Conflict RUN_CLOSED if it was closed before."""
        params = {
            "run_id": self._run_id,
            "status": status.value,
            "at": at,
            "result": json.dumps(result),
        }
        self._session.guard(operator=True)
        cursor = await self._session.run(_FINISH, params)
        if cursor.rowcount != 1:
            raise Conflict("RUN_CLOSED", f"run {self._run_id} is not running")
