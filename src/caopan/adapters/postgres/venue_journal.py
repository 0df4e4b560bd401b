"""The sandbox exchange's own record, on connections and in transactions of its own.

Owns the table sandbox_event. Must never share a transaction with the desk's books: what the venue
has seen stays seen, whatever becomes of us. Tests: tests/contract/store/test_venue_journal.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from caopan.adapters.postgres.connection import Pool, Session
from caopan.adapters.postgres.statements import arrays, insert_batch, selected
from caopan.adapters.postgres.tables import SANDBOX_EVENT
from caopan.application.ports.store import VenueEvent

_EVENT: Final = ("seq", "kind", "at", "body")
_INSERT: Final = insert_batch(SANDBOX_EVENT, ("run_id", *_EVENT), scalars=("run_id",))
_SELECT: Final = selected(SANDBOX_EVENT, _EVENT) + " WHERE run_id = %(run_id)s ORDER BY seq"


class PostgresVenueJournal:
    """VenueJournal on PostgreSQL."""

    def __init__(self, url: str, *, synchronous_commit: bool = True) -> None:
        """Keep where the database is; nothing is connected yet."""
        self._pool = Pool(url, synchronous_commit=synchronous_commit, size=2)

    async def record(self, run_id: int, events: Sequence[VenueEvent]) -> None:
        """Append events durably. Raises Conflict VENUE_SEQ if a seq is taken."""
        if not events:
            return
        rows = [(event.seq, event.kind, event.at, json.dumps(event.body)) for event in events]
        session = Session(self._pool)
        await session.open()
        try:
            await session.run(_INSERT, {"run_id": run_id, **arrays(_EVENT, rows)})
            await session.commit()
        finally:
            await session.close()

    async def load(self, run_id: int) -> Sequence[VenueEvent]:
        """Return all events in order of seq."""
        session = Session(self._pool)
        await session.open()
        try:
            rows = await session.rows(_SELECT, {"run_id": run_id})
        finally:
            await session.close()
        return [VenueEvent(*row) for row in rows]

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()
