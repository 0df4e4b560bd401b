"""Where kept attempts go, in memory: the twin of adapters/postgres/call_rows.py.

Owns MemoryCallRows. Must never be softer than the tables: one batch is stored whole or not at all,
an attempt that has ended is not changed. Tests: tests/contract/gateway/test_attempt_sink.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from caopan.application.ports.model_calls import KeptAttempt
from caopan.kernel.errors import CaopanError, CorruptState

RowKey = tuple[UUID, int, datetime]


class MemoryCallRows:
    """AttemptSink in memory; `fails` may raise before or after a batch is stored."""

    def __init__(self, rows: dict[RowKey, KeptAttempt] | None = None) -> None:
        """Keep rows in `rows`, which outlives a crash."""
        self.rows: dict[RowKey, KeptAttempt] = {} if rows is None else rows
        self.batches: list[int] = []
        """Sizes of the batches stored."""
        self.error: CaopanError | None = None
        """Raised instead of storing anything, while it is set."""
        self.before: Callable[[], None] = lambda: None
        """Called before a batch is stored."""
        self.after: Callable[[], None] = lambda: None
        """Called after a batch was stored: what it raises is a lost acknowledgement."""

    def write(self, attempts: Sequence[KeptAttempt]) -> Sequence[KeptAttempt]:
        """Make all durable or none; return those that ended and whose beginning is not stored."""
        self.before()
        if self.error is not None:
            raise self.error
        for one in attempts:
            if one.ended is not None and one.ended.latency_ms < 0:
                raise CorruptState("CHECK_VIOLATION", "latency_ms is below 0")
        unknown: list[KeptAttempt] = []
        for one in attempts:
            key = one.call_id, one.attempt, one.began_at
            stored = self.rows.get(key)
            if stored is None and one.began is None:
                unknown.append(one)
            elif stored is None:
                self.rows[key] = one
            elif stored.ended is None:
                self.rows[key] = replace(stored, ended=one.ended)
        self.batches.append(len(attempts))
        self.after()
        return unknown
