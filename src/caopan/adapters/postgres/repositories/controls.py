"""What stands against trading, and how our books compared with the venue's.

Owns the tables control, system_control and reconciliation. Of controls the newest version is in
force. Must never decide what a level lets through (the domain does).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from caopan.adapters.postgres.connection import Session
from caopan.adapters.postgres.statements import insert, selected
from caopan.adapters.postgres.tables import CONTROL, RECONCILIATION, SYSTEM_CONTROL
from caopan.application.ports.store import Reconciliation
from caopan.domain.risk.kill_switch import Control, KillLevel, Posture
from caopan.kernel.errors import Conflict

_CONTROL: Final = ("level", "posture", "reason", "set_by", "at", "version")
_VALUES: Final = (
    "%(level)s::bigint, %(posture)s::text, %(reason)s::text, %(set_by)s::text,"
    " %(at)s::timestamptz, %(version)s::bigint"
)
_NEWEST: Final = " ORDER BY version DESC LIMIT 1"
_LISTED: Final = ", ".join(_CONTROL)
_IN_FORCE: Final = selected(CONTROL, _CONTROL) + " WHERE run_id = %(run_id)s" + _NEWEST
# A version that someone else took is refused by the key, one that leaves a gap by the condition.
_PUT: Final = f"""
    INSERT INTO control (run_id, {_LISTED}) SELECT %(run_id)s::bigint, {_VALUES}
    WHERE %(version)s::bigint <= 1 + coalesce(
        (SELECT max(version) FROM control WHERE run_id = %(run_id)s::bigint), 0)
"""  # noqa: S608 - our own statements
SYSTEM_CONTROL_IN_FORCE: Final = selected(SYSTEM_CONTROL, _CONTROL) + _NEWEST
PUT_SYSTEM_CONTROL: Final = f"""
    INSERT INTO system_control ({_LISTED}) SELECT {_VALUES}
    WHERE %(version)s::bigint <= 1 + coalesce((SELECT max(version) FROM system_control), 0)
"""  # noqa: S608 - our own statements
_RECONCILIATION: Final = (
    "reconciliation_id",
    "at",
    "trading_day",
    "cause",
    "passed",
    "differences",
)
_ADD: Final = insert(RECONCILIATION, ("run_id", *_RECONCILIATION))
_ALL: Final = (
    selected(RECONCILIATION, _RECONCILIATION)
    + " WHERE run_id = %(run_id)s ORDER BY at, reconciliation_id"
)


def control_of(row: Sequence[Any]) -> Control:
    """Return the control a row describes."""
    level, posture, *rest = row
    return Control(KillLevel(level), Posture(posture), *rest)


def control_values(control: Control) -> dict[str, Any]:
    """Return the parameters of a control."""
    return {
        "level": int(control.level),
        "posture": control.posture.value,
        "reason": control.reason,
        "set_by": control.by,
        "at": control.at,
        "version": control.version,
    }


def version_taken(control: Control) -> Conflict:
    """Return the refusal of a control that is not the next one."""
    return Conflict(
        "CONTROL_VERSION",
        f"version {control.version} of the control is not the next one",
        remedy="load the control in force and decide again",
    )


class PostgresControls:
    """ControlRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int) -> None:
        """Work for `run_id`."""
        self._session = session
        self._run_id = run_id

    async def get(self) -> Control:
        """Return the account's own control, `Control()` before the first."""
        rows = await self._session.rows(_IN_FORCE, {"run_id": self._run_id})
        return control_of(rows[0]) if rows else Control()

    async def put(self, control: Control) -> None:
        """Store a control. Raises Conflict CONTROL_VERSION unless its version is the next one."""
        values = {"run_id": self._run_id, **control_values(control)}
        self._session.queue(_PUT, values, version_taken(control), operator=True)


class PostgresReconciliations:
    """ReconciliationRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int) -> None:
        """Work for `run_id`."""
        self._session = session
        self._run_id = run_id

    async def add(self, reconciliation: Reconciliation) -> None:
        """Store one comparison."""
        values = {
            "run_id": self._run_id,
            "reconciliation_id": reconciliation.reconciliation_id,
            "at": reconciliation.at,
            "trading_day": reconciliation.trading_day,
            "cause": reconciliation.trigger,
            "passed": reconciliation.passed,
            "differences": json.dumps([dict(one) for one in reconciliation.differences]),
        }
        self._session.queue(_ADD, values, operator=True)

    async def all(self) -> Sequence[Reconciliation]:
        """Return every comparison, oldest first."""
        rows = await self._session.rows(_ALL, {"run_id": self._run_id})
        return [Reconciliation(*row[:4], passed=row[4], differences=tuple(row[5])) for row in rows]
