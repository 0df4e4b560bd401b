"""The append-only chain of one run.

Owns reading and appending entries and payloads. Must never decide whether a chain is intact (the
domain's Verifier does): it hands out what lies there. An observation entry's payload is the
observation itself (table observation), so it is stored once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from caopan.adapters.postgres import values
from caopan.adapters.postgres.connection import Session
from caopan.adapters.postgres.repositories.lease import Lease, fenced, not_leased, unknown
from caopan.adapters.postgres.statements import arrays, insert_batch, selected
from caopan.adapters.postgres.tables import LEDGER_ENTRY, LEDGER_PAYLOAD
from caopan.domain.ledger.chain import Draft, Entry, Head, Stage, seal
from caopan.kernel.errors import CorruptState

_ENTRY: Final = (
    "seq",
    "stage",
    "at",
    "decision_id",
    "trace_id",
    "payload_hash",
    "prev_hash",
    "hash",
)
_PAYLOAD: Final = ("seq", "body")
_LOCK: Final = "SELECT seq, hash, fence FROM ledger_head WHERE run_id = %(run_id)s FOR UPDATE"
_HEAD: Final = "SELECT seq, hash FROM ledger_head WHERE run_id = %(run_id)s"
_PRUNINGS: Final = "SELECT source, month FROM ledger_pruning"
_INSERT_ENTRIES: Final = insert_batch(
    LEDGER_ENTRY, ("run_id", *_ENTRY), scalars=("run_id",), prefix="entry_", given="moved"
)
_INSERT_PAYLOADS: Final = insert_batch(
    LEDGER_PAYLOAD, ("run_id", *_PAYLOAD), scalars=("run_id",), prefix="payload_", given="moved"
)
# Nothing is inserted unless the head was exactly where the entries were sealed onto; moving it
# locks it until commit.
_APPEND: Final = f"""
    WITH moved AS (
        UPDATE ledger_head SET seq = %(new_seq)s, hash = %(new_hash)s
        WHERE run_id = %(run_id)s AND seq = %(old_seq)s AND hash = %(old_hash)s
            AND fence = coalesce(%(fence)s::bigint, fence)
        RETURNING seq
    ), entries AS ({_INSERT_ENTRIES}), payloads AS ({_INSERT_PAYLOADS})
    SELECT seq FROM moved
"""  # noqa: S608 - our own statements
_ENTRIES: Final = selected(LEDGER_ENTRY, (*_ENTRY, "recorded_at")) + " WHERE run_id = %(run_id)s"
_PAGE: Final = 500
# Bodies are looked up page by page instead of joined: without statistics, as on a fresh database,
# the planner joins the whole tables.
_PAYLOADS: Final = """
    SELECT seq, recorded_at, body FROM ledger_payload
    WHERE run_id = %(run_id)s AND seq BETWEEN %(first)s AND %(last)s
        AND recorded_at BETWEEN %(since)s AND %(until)s
"""
_OBSERVATIONS: Final = """
    SELECT content_hash, recorded_at, body FROM observation
    WHERE run_id = %(run_id)s AND content_hash = ANY(%(hashes)s::text[])
        AND recorded_at BETWEEN %(since)s AND %(until)s
"""
LOST: Final = b""
"""Stands for a payload that is missing though retention never removed its month: no JSON value is
empty, so the verifier names the entry."""
_Place = tuple[int | str, datetime]
"""Where a body lies: its seq, or an observation's hash, and when it was recorded."""


class PostgresLedger:
    """LedgerRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int, lease: Lease | None) -> None:
        """Work for `run_id`; `lease` is what this process holds of it, None without one."""
        self._session = session
        self._run_id = run_id
        self._lease = lease
        self._moved: Head | None = None
        self._cursors = 0

    def committed(self) -> None:
        """Keep the head this unit of work has made durable, as the guess for the next one."""
        if self._lease is not None and self._moved is not None:
            self._lease.head = self._moved
        self._moved = None

    async def append(self, drafts: Sequence[Draft]) -> Head:
        """Seal drafts onto the head and return the new head.

        The payload of an observation entry is not stored here: the caller adds the observation
        with the same canonical bytes in the same unit of work. Whoever holds the lease knows where
        the head is and saves the question; a wrong guess inserts nothing and is corrected.

        Without the lease only what an operator did may be appended.

        Raises Conflict RUN_FENCED when another process has taken the run over since,
        RUN_NOT_LEASED without a lease.
        """
        guess = self._moved or (self._lease.head if self._lease is not None else None)
        if not drafts:
            return guess or await self._lock()
        if self._lease is None and any(one.stage is not Stage.OPERATOR_ACTION for one in drafts):
            raise self._session.refused(not_leased(self._run_id))
        moved = await self._try(guess, drafts) if guess is not None else None
        if moved is None:
            moved = await self._try(await self._lock(), drafts)
        if moved is None:
            raise CorruptState(
                "LEDGER_HEAD",
                f"run {self._run_id}: the locked head did not move",
                remedy="run `caopan ledger verify`",
            )
        self._moved = moved
        return moved

    async def head(self) -> Head:
        """Return the recorded head; read first in a unit of work, it and `entries` are one view."""
        if self._moved is not None:
            return self._moved
        # Head and entries are compared with each other, so they must come from one instant even
        # while another process appends.
        self._session.one_view()
        rows = await self._session.rows(_HEAD, {"run_id": self._run_id})
        if not rows:
            raise unknown(self._run_id)
        return Head(*rows[0])

    async def entries(
        self, decision_id: UUID | None = None, stage: Stage | None = None
    ) -> AsyncIterator[tuple[Entry, bytes | None]]:
        """Yield entries in order of seq with their payload, None where pruned, LOST where lost."""
        self._session.one_view()
        pruned = {(source, month) for source, month in await self._session.rows(_PRUNINGS)}
        wanted = "" if decision_id is None else " AND decision_id = %(decision_id)s"
        wanted += "" if stage is None else " AND stage = %(stage)s"
        params = {"run_id": self._run_id, "decision_id": decision_id, "stage": stage}
        # A reader may stop early and read again, so that each cursor needs a name of its own.
        self._cursors += 1
        name = f"entries_{self._cursors}"
        declared = f"DECLARE {name} NO SCROLL CURSOR FOR {_ENTRIES}{wanted} ORDER BY seq"
        await self._session.run(declared, params)
        while page := await self._session.rows(f"FETCH {_PAGE} FROM {name}"):
            bodies = await self._bodies(page)
            for *fields, recorded_at in page:
                entry = Entry(fields[0], Stage(fields[1]), *fields[2:])
                yield entry, _payload(entry, recorded_at, bodies, pruned)
        await self._session.run(f"CLOSE {name}")

    async def _bodies(self, page: Sequence[Sequence[Any]]) -> dict[_Place, bytes]:
        moments = [row[8] for row in page]
        params = {
            "run_id": self._run_id,
            "first": page[0][0],
            "last": page[-1][0],
            "hashes": [row[5] for row in page if row[1] == Stage.OBSERVATION],
            "since": min(moments),
            "until": max(moments),
        }
        found = await self._session.rows(_PAYLOADS, params)
        if params["hashes"]:
            found += await self._session.rows(_OBSERVATIONS, params)
        return {(place, recorded_at): body for place, recorded_at, body in found}

    async def _try(self, head: Head, drafts: Sequence[Draft]) -> Head | None:
        sealed, new = seal(head, drafts)
        entries = [
            (
                e.seq,
                e.stage.value,
                e.at,
                e.decision_id,
                e.trace_id,
                e.payload_hash,
                e.prev_hash,
                e.hash,
            )
            for e, _ in sealed
        ]
        payloads = [
            (entry.seq, values.pack(body))
            for entry, body in sealed
            if entry.stage is not Stage.OBSERVATION
        ]
        params: dict[str, Any] = {
            "run_id": self._run_id,
            "old_seq": head.seq,
            "old_hash": head.hash,
            "new_seq": new.seq,
            "new_hash": new.hash,
            "fence": None if self._lease is None else self._lease.fence,
            **arrays(_ENTRY, entries, prefix="entry_"),
            **arrays(_PAYLOAD, payloads, prefix="payload_"),
        }
        cursor = await self._session.run(_APPEND, params)
        return new if await cursor.fetchone() else None

    async def _lock(self) -> Head:
        cursor = await self._session.run(_LOCK, {"run_id": self._run_id})
        row = await cursor.fetchone()
        if row is None:
            raise unknown(self._run_id)
        seq, digest, fence = row
        if self._lease is not None and fence != self._lease.fence:
            raise self._session.refused(fenced(self._run_id, self._lease))
        return Head(seq, digest)


def _payload(
    entry: Entry,
    recorded_at: datetime,
    bodies: Mapping[_Place, bytes],
    pruned: set[tuple[str, date]],
) -> bytes | None:
    observed = entry.stage is Stage.OBSERVATION
    stored = bodies.get((entry.payload_hash if observed else entry.seq, recorded_at))
    if stored is not None:
        return values.unpack(stored)
    source = "observation" if observed else "ledger_payload"
    month = recorded_at.astimezone(UTC).date().replace(day=1)
    return None if (source, month) in pruned else LOST
