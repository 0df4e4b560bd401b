"""Runs, and the sandbox exchange's own record of each.

Owns run and sandbox_event. Must never hold what happens inside a run (the other modules do).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index
from sqlalchemy import text as sql

from caopan.adapters.postgres.tables.base import (
    Row,
    document,
    identity,
    instant,
    is_hash,
    key_number,
    one_of,
    recorded_at,
    rule,
    run_key,
    text,
    within_run,
)
from caopan.application.ports.store import RunKind, RunStatus


class RunRow(Row, table=True):
    """One continuous life of one account."""

    __table_args__ = (
        one_of("kind", RunKind),
        one_of("status", RunStatus),
        is_hash("config_hash"),
        rule("account_id", "account_id <> ''"),
        rule("finished", "(status = 'running') = (finished_at IS NULL)"),
        # The desk has one life per account; a second would trade the same money twice.
        Index(
            "uq_run_desk",
            "account_id",
            unique=True,
            postgresql_where=sql("kind = 'desk' AND status = 'running'"),
        ),
    )

    run_id: int = identity()
    kind: str = text()
    account_id: str = text()
    config_hash: str = text()
    config: dict[str, Any] = document()
    status: str = text()
    created_at: datetime = instant()
    finished_at: datetime | None = instant(nullable=True)
    result: dict[str, Any] | None = document(nullable=True)


class SandboxEventRow(Row, table=True):
    """One fact of the sandbox exchange's own record; append-only."""

    __table_args__ = (
        within_run("run"),
        rule("seq", "seq > 0"),
        rule("kind", "kind <> ''"),
    )

    run_id: int = run_key()
    seq: int = key_number()
    kind: str = text()
    at: datetime = instant()
    body: dict[str, Any] = document()
    recorded_at: datetime = recorded_at()
