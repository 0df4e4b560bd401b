"""The store on PostgreSQL: units of work, runs, the lease of a run, calendar snapshots.

Owns the pool of connections and the leases this process holds. Must never trust what another
process may have changed. Tests: tests/contract/store.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date, datetime
from types import TracebackType
from typing import Any, Final, LiteralString, Self
from uuid import UUID

import psycopg

from caopan.adapters.postgres.connection import Driver, Pool, Session, connect
from caopan.adapters.postgres.errors import translated
from caopan.adapters.postgres.partitions import ENSURE_AHEAD
from caopan.adapters.postgres.repositories.controls import (
    PUT_SYSTEM_CONTROL,
    SYSTEM_CONTROL_IN_FORCE,
    control_of,
    control_values,
    version_taken,
)
from caopan.adapters.postgres.repositories.lease import Lease, fenced, not_leased
from caopan.adapters.postgres.repositories.runs import SELECT_RUNS, run_of
from caopan.adapters.postgres.uow import PostgresUnitOfWork
from caopan.application.ports.store import Run, RunKind, RunStatus
from caopan.domain.ledger.chain import Head
from caopan.domain.risk.kill_switch import Control
from caopan.kernel.errors import Conflict, CorruptState

_POOL_SIZE: Final = 5
_LEASE_CLASS: Final = 0x63616F70
"""First half of the advisory lock's key ("caop"); the second is the run."""
_INSERT_RUN: Final = """
    WITH new AS (
        INSERT INTO run (kind, account_id, config_hash, config, status, created_at)
        VALUES (%(kind)s, %(account_id)s, %(config_hash)s, %(config)s::json, %(status)s, %(at)s)
        RETURNING run_id
    )
    INSERT INTO ledger_head (run_id, seq, hash, fence)
    SELECT run_id, %(seq)s, %(hash)s, 0 FROM new RETURNING run_id
"""
_FIND: Final = """
    SELECT run_id, decision_id FROM decision
    WHERE decision_id BETWEEN %(low)s AND %(high)s
    ORDER BY run_id DESC, decision_id
"""
_NEWEST_CALENDAR: Final = (
    "SELECT name, version, sessions FROM calendar_snapshot ORDER BY snapshot_id DESC LIMIT 1"
)
_INSERT_CALENDAR: Final = (
    "INSERT INTO calendar_snapshot (name, version, sessions)"
    " VALUES (%(name)s, %(version)s, %(sessions)s::date[])"
)
_TRY_LEASE: LiteralString = "SELECT pg_try_advisory_lock(%s::int, %s::int)"
_NAMED: LiteralString = "SELECT set_config('application_name', %s, false)"
_HELD_BY: LiteralString = (
    "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid)"
    " WHERE locktype = 'advisory' AND classid::int = %s AND objid::int = %s AND granted"
    " AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_FENCE: LiteralString = "SELECT fence FROM ledger_head WHERE run_id = %s"
_NEXT_FENCE: LiteralString = (
    "UPDATE ledger_head SET fence = fence + 1 WHERE run_id = %s RETURNING fence, seq, hash"
)


class PostgresStore:
    """Store on PostgreSQL; `async with` closes its connections."""

    def __init__(
        self,
        url: str,
        *,
        synchronous_commit: bool = True,
        pool_size: int = _POOL_SIZE,
        name: str = "another process",
    ) -> None:
        """Keep where the database is; nothing is connected yet.

        Without `synchronous_commit` a crash of the server may lose the last commits, never tear
        them: enough for a replay, which can be run again. `name` (of at most 63 bytes) is what
        others are told of who holds a lease.
        """
        self._url = url
        self._synchronous = synchronous_commit
        self._pool = Pool(url, synchronous_commit=synchronous_commit, size=pool_size)
        self._leases: dict[int, Lease] = {}
        self._holders: dict[int, Driver] = {}
        self._name = name

    async def __aenter__(self) -> Self:
        """Return the store."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the pool."""
        await self.close()

    async def close(self) -> None:
        """Close every connection of the pool."""
        await self._pool.close()

    def begin(self, run_id: int) -> PostgresUnitOfWork:
        """Return a unit of work on one run, to be entered with `async with`."""
        return PostgresUnitOfWork(self._pool, run_id, self._leases.get(run_id))

    async def create_run(
        self,
        kind: RunKind,
        account_id: str,
        config: Mapping[str, Any],
        config_hash: str,
        at: datetime,
    ) -> Run:
        """Store a new run and return it with its number.

        Raises Conflict RUN_EXISTS for a second running desk of one account.
        """
        params = {
            "kind": kind.value,
            "account_id": account_id,
            "config_hash": config_hash,
            "config": json.dumps(config),
            "status": RunStatus.RUNNING.value,
            "at": at,
            "seq": Head().seq,
            "hash": Head().hash,
        }
        async with self._session() as session:
            await session.run(ENSURE_AHEAD)
            cursor = await session.run(_INSERT_RUN, params)
            row = await cursor.fetchone()
            await session.commit()
        if row is None:
            raise CorruptState("RUN_UNKNOWN", "the database stored a run without a number")
        return Run(row[0], kind, account_id, config_hash, config, RunStatus.RUNNING, at)

    async def runs(self, kind: RunKind | None = None, *, unfinished: bool = False) -> Sequence[Run]:
        """Return runs, newest first."""
        wanted = ["TRUE"]
        if kind is not None:
            wanted.append("kind = %(kind)s")
        if unfinished:
            wanted.append("status = 'running'")
        statement = f"{SELECT_RUNS} WHERE {' AND '.join(wanted)} ORDER BY run_id DESC"
        async with self._session() as session:
            rows = await session.rows(statement, {"kind": kind.value if kind else None})
        return [run_of(row) for row in rows]

    async def find_decision(self, prefix: str) -> Sequence[tuple[int, UUID]]:
        """Return (run_id, decision_id) of decisions whose id begins so, newest run first."""
        digits = prefix.replace("-", "").lower()
        if not re.fullmatch(r"[0-9a-f]{1,32}", digits):
            return []
        params = {"low": UUID(digits.ljust(32, "0")), "high": UUID(digits.ljust(32, "f"))}
        async with self._session() as session:
            return [tuple(row) for row in await session.rows(_FIND, params)]

    def lease(self, run_id: int) -> AbstractAsyncContextManager[None]:
        """Hold the one right to trade on a run; freed when the process dies.

        Whoever holds it gets a new fencing token: a former holder that lost its connection, and
        with it the lease, can no longer write anything of the run (Conflict RUN_FENCED).

        Raises Conflict RUN_BUSY while another process holds it.
        """
        return self._leased(run_id)

    async def confirm_lease(self, run_id: int) -> None:
        """Ask over the connection that holds the lease; it is held as long as that lives.

        Raises Conflict RUN_NOT_LEASED or RUN_FENCED, Unavailable if the connection is gone.
        """
        lease, holder = self._leases.get(run_id), self._holders.get(run_id)
        if lease is None or holder is None:
            raise not_leased(run_id)
        try:
            cursor = await holder.execute(_FENCE, (run_id,))
            row = await cursor.fetchone()
        except psycopg.Error as error:
            raise translated(error, lost=holder.closed) from error
        if row is None or row[0] != lease.fence:
            raise fenced(run_id, lease)

    async def system_control(self) -> Control:
        """Return what stands against the trading of all accounts, `Control()` before the first."""
        async with self._session() as session:
            rows = await session.rows(SYSTEM_CONTROL_IN_FORCE)
        return control_of(rows[0]) if rows else Control()

    async def put_system_control(self, control: Control) -> None:
        """Store a control of all accounts.

        Raises Conflict CONTROL_VERSION unless its version is the next one.
        """
        async with self._session() as session:
            cursor = await session.run(PUT_SYSTEM_CONTROL, control_values(control))
            if cursor.rowcount != 1:
                raise version_taken(control)
            await session.commit()

    async def save_calendar(self, name: str, version: str, sessions: Sequence[date]) -> None:
        """Keep a snapshot of the trading calendar; saving the newest again changes nothing."""
        if await self.load_calendar() == (name, version, tuple(sessions)):
            return
        async with self._session() as session:
            params = {"name": name, "version": version, "sessions": list(sessions)}
            await session.run(_INSERT_CALENDAR, params)
            await session.commit()

    async def load_calendar(self) -> tuple[str, str, Sequence[date]] | None:
        """Return the newest calendar snapshot: name, version, sessions."""
        async with self._session() as session:
            rows = await session.rows(_NEWEST_CALENDAR)
        return (rows[0][0], rows[0][1], tuple(rows[0][2])) if rows else None

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[Session]:
        session = Session(self._pool)
        await session.open()
        try:
            yield session
        finally:
            await session.close()

    @asynccontextmanager
    async def _leased(self, run_id: int) -> AsyncGenerator[None]:
        # Its own connection: the lock lives as long as this session of the database does.
        holder = await connect(self._url)
        try:
            self._leases[run_id] = await _take(holder, run_id, self._name)
            self._holders[run_id] = holder
            yield
        finally:
            self._leases.pop(run_id, None)
            self._holders.pop(run_id, None)
            await holder.close()


async def _take(holder: Driver, run_id: int, name: str) -> Lease:
    try:
        await holder.execute(_NAMED, (name,))
        cursor = await holder.execute(_TRY_LEASE, (_LEASE_CLASS, run_id))
        taken = await cursor.fetchone()
        if taken is None or not taken[0]:
            cursor = await holder.execute(_HELD_BY, (_LEASE_CLASS, run_id))
            found = await cursor.fetchone()
            other = found[0] if found is not None and found[0] else "another process"
            raise Conflict(
                "RUN_BUSY",
                f"run {run_id} is held by {other}",
                remedy=f"wait until {other} ends, or stop it; a halt reaches it all the same",
            )
        await holder.execute(ENSURE_AHEAD)
        cursor = await holder.execute(_NEXT_FENCE, (run_id,))
        token = await cursor.fetchone()
    except psycopg.Error as error:
        raise translated(error, lost=holder.closed) from error
    if token is None:
        raise CorruptState("RUN_UNKNOWN", f"run {run_id} is not stored")
    return Lease(token[0], Head(token[1], token[2]))
