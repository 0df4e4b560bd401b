"""The append-only decision ledger: entries, payloads, heads, and what retention removed.

Owns ledger_entry, ledger_payload, ledger_head and ledger_pruning. Entries and payloads are
partitioned by month of recorded_at (wall-clock time, because retention is about wall-clock time;
it is beside the hashed entry, not in it). A partitioned key holds its partition column, so that a
seq is used once is kept by the head: every append moves it from exactly its predecessor.
"""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import Index

from caopan.adapters.postgres.tables.base import (
    Row,
    body,
    ident,
    instant,
    is_hash,
    key_day,
    key_number,
    key_text,
    number,
    one_of,
    recorded_at,
    rule,
    run_key,
    text,
    within_run,
)
from caopan.domain.ledger.chain import GENESIS, Stage


class LedgerHeadRow(Row, table=True):
    """The end of a run's chain; locked by whoever appends. Moves forward only."""

    __table_args__ = (
        within_run("run"),
        is_hash("hash"),
        rule("genesis", f"seq >= 0 AND (seq = 0) = (hash = '{GENESIS}')"),
        rule("fence", "fence >= 0"),
    )

    run_id: int = run_key()
    seq: int = number()
    hash: str = text()
    fence: int = number()


class LedgerEntryRow(Row, table=True):
    """One link of the chain; append-only."""

    __table_args__ = (
        within_run("run"),
        within_run("decision", "decision_id"),
        Index("ix_ledger_entry_decision", "run_id", "decision_id"),
        one_of("stage", Stage),
        rule("seq", "seq > 0"),
        is_hash("payload_hash"),
        is_hash("prev_hash"),
        is_hash("hash"),
        {"postgresql_partition_by": "RANGE (recorded_at)"},
    )

    run_id: int = run_key()
    seq: int = key_number()
    recorded_at: datetime = recorded_at(primary_key=True)
    stage: str = text()
    at: datetime = instant()
    decision_id: UUID | None = ident(nullable=True)
    trace_id: UUID | None = ident(nullable=True)
    payload_hash: str = text()
    prev_hash: str = text()
    hash: str = text()


class LedgerPayloadRow(Row, table=True):
    """What an entry binds; append-only, whole months of it may be dropped by retention.

    No foreign key: the entry, written by the same statement, is bound to run and decision, and a
    payload without its entry is never read. One more check per row would cost a tenth of an append.
    """

    __table_args__ = (
        rule("seq", "seq > 0"),
        {"postgresql_partition_by": "RANGE (recorded_at)"},
    )

    run_id: int = run_key()
    seq: int = key_number()
    recorded_at: datetime = recorded_at(primary_key=True)
    body: bytes = body()


class LedgerPruningRow(Row, table=True):
    """One month of payloads dropped by retention; append-only. Tells `pruned` from `lost`."""

    __table_args__ = (
        rule("month", "month = date_trunc('month', month)"),
        rule("removed", "removed >= 0"),
    )

    source: str = key_text()
    month: date = key_day()
    removed: int = number()
    pruned_at: datetime = recorded_at()
