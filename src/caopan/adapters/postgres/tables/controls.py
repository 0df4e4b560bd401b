"""What stands against trading, and how our books compared with the venue's.

Owns control (one account), system_control (all accounts) and reconciliation. All three are
append-only: of controls the newest version is in force, the older ones are the history.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index

from caopan.adapters.postgres.tables.base import (
    Row,
    day,
    document,
    flag,
    instant,
    key,
    key_number,
    number,
    one_of,
    recorded_at,
    rule,
    run_key,
    text,
    within_run,
)
from caopan.domain.risk.kill_switch import KillLevel, Posture

_LEVEL = f"level >= {min(KillLevel):d} AND level <= {max(KillLevel):d}"


class ControlRow(Row, table=True):
    """One change of what stands against an account's trading; append-only."""

    __table_args__ = (
        within_run("run"),
        rule("version", "version >= 1"),
        rule("level", _LEVEL),
        one_of("posture", Posture),
        rule("reason", "reason <> ''"),
        rule("set_by", "set_by <> ''"),
    )

    run_id: int = run_key()
    version: int = key_number()
    level: int = number()
    posture: str = text()
    reason: str = text()
    set_by: str = text()
    at: datetime = instant()
    recorded_at: datetime = recorded_at()


class SystemControlRow(Row, table=True):
    """One change of what stands against the trading of all accounts; append-only."""

    __table_args__ = (
        rule("version", "version >= 1"),
        rule("level", _LEVEL),
        one_of("posture", Posture),
        rule("reason", "reason <> ''"),
        rule("set_by", "set_by <> ''"),
    )

    version: int = key_number()
    level: int = number()
    posture: str = text()
    reason: str = text()
    set_by: str = text()
    at: datetime = instant()
    recorded_at: datetime = recorded_at()


class ReconciliationRow(Row, table=True):
    """One comparison of our books with the venue's; append-only."""

    __table_args__ = (
        within_run("run"),
        Index("ix_reconciliation_at", "run_id", "at"),
        rule("cause", "cause IN ('start', 'reconnect', 'interval', 'close', 'request')"),
    )

    run_id: int = run_key()
    reconciliation_id: UUID = key()
    at: datetime = instant()
    trading_day: date = day()
    cause: str = text()
    passed: bool = flag()
    differences: list[Any] = document()
    recorded_at: datetime = recorded_at()
