"""Connections: where the database is, how a pool of connections to it is made, how one speaks.

Owns URLs, session settings and Session (one pooled connection in one transaction at a time).
SQLAlchemy's pool lends the connections; statements are compiled once from the table metadata and
run on the driver's own cursor, which halves the time of a small unit of work (bench/ledger.py).
Must never know a table.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any, cast

import psycopg
from psycopg import AsyncCursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from caopan.adapters.postgres.errors import not_connected, translated
from caopan.kernel.errors import (
    CaopanError,
    ConfigInvalid,
    Conflict,
    CorruptState,
    Unavailable,
)

Params = Mapping[str, Any]
Queued = tuple[str, Params, CaopanError | None]
"""A statement, its values, and what is raised unless it meets exactly one row."""
Driver = psycopg.AsyncConnection[tuple[Any, ...]]
_FAILED = TransactionStatus.INERROR
_CONNECT_TIMEOUT_S = 10
_LOCK_TIMEOUT_MS = 30_000
_BY_KEY = "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off"
"""Every statement of a unit of work goes by key. On a fresh database, which has no statistics yet,
the planner would keep plans that read whole tables and slow down as these grow."""

# A lost connection is told once, as our own error; the driver would warn beside it.
logging.getLogger("psycopg").setLevel(logging.ERROR)


def conninfo(url: str, options: str = "") -> str:
    """Return the driver's connection string for `url`, with our session settings and `options`.

    Raises ConfigInvalid DB_URL if it is no PostgreSQL URL.
    """
    plain = re.sub(r"^(postgresql|postgres)(\+psycopg)?://", "postgresql://", url, count=1)
    if not plain.startswith("postgresql://"):
        raise ConfigInvalid(
            "DB_URL",
            "DATABASE_URL is not a PostgreSQL URL",
            remedy="write it as postgresql://user:password@host:5432/database",
        )
    try:
        known = conninfo_to_dict(plain)
    except psycopg.ProgrammingError as error:
        raise ConfigInvalid("DB_URL", "DATABASE_URL cannot be read as a URL") from error
    known["options"] = f"{known.get('options') or ''} -c TimeZone=UTC {options}".strip()
    known.setdefault("connect_timeout", _CONNECT_TIMEOUT_S)
    known.setdefault("application_name", "caopan")
    return make_conninfo("", **known)


def place(url: str) -> str:
    """Return host, port and database of `url` for messages, never its password."""
    known = conninfo_to_dict(conninfo(url))
    host, port = known.get("host") or "local socket", known.get("port") or 5432
    return f"database {known.get('dbname') or known.get('user')!s} at {host}:{port}"


async def connect(url: str, *, synchronous_commit: bool = True) -> Driver:
    """Return one connection of the driver, in autocommit: Session sends its own BEGIN.

    Raises Unavailable DB_UNREACHABLE, ConfigInvalid DB_AUTH or DB_NOT_FOUND.
    """
    durable = "on" if synchronous_commit else "off"
    options = f"-c lock_timeout={_LOCK_TIMEOUT_MS} -c synchronous_commit={durable} {_BY_KEY}"
    try:
        return await psycopg.AsyncConnection.connect(
            conninfo(url, options), autocommit=True, prepare_threshold=2
        )
    except psycopg.Error as error:
        raise not_connected(error, place(url)) from error


def engine(url: str, *, synchronous_commit: bool, pool_size: int) -> AsyncEngine:
    """Return a pool of connections to `url`; connects when first used."""

    async def creator() -> Driver:
        return await connect(url, synchronous_commit=synchronous_commit)

    conninfo(url)
    return create_async_engine(
        "postgresql+psycopg://", async_creator=creator, pool_size=pool_size, max_overflow=pool_size
    )


class Session:
    """One pooled connection in at most one transaction; `commit` or `close` ends it.

    Writes whose outcome nobody waits for are queued and travel with the next statement in one
    exchange; BEGIN travels with the first. What the database refuses is therefore raised by the
    call itself or by a later one, at the latest by `commit`, and always before COMMIT is sent.
    """

    def __init__(
        self, pool: AsyncEngine, guard: Queued | None = None, barred: CaopanError | None = None
    ) -> None:
        """Take nothing yet; `guard` goes before the first write of each transaction.

        Any write but an operator's is refused with `barred`, if given.
        """
        self._guard = guard
        self._barred = barred
        self._guarded = guard is None
        self._pool = pool
        self._lent: AsyncConnection | None = None
        self._driver: Driver | None = None
        self._queued: list[Queued] = []
        self._begun = False
        self._refused = False
        self._isolation = ""

    async def open(self) -> None:
        """Borrow a connection.

        Raises what `connect` raises, and Unavailable DB_POOL_EXHAUSTED.
        """
        lent = self._pool.connect()
        try:
            await lent.start()
            raw = await lent.get_raw_connection()
        except SQLAlchemyError as error:
            raise Unavailable("DB_POOL_EXHAUSTED", f"no connection to lend: {error}") from error
        self._lent = lent
        self._driver = cast("Driver", raw.driver_connection)

    async def close(self) -> None:
        """Roll back what was not committed and give the connection back."""
        lent, driver = self._lent, self._driver
        self._lent = self._driver = None
        self._queued = []
        if lent is None or driver is None:
            return
        status = driver.info.transaction_status
        if status not in (TransactionStatus.IDLE, TransactionStatus.INTRANS, _FAILED):
            # Lost, or left in the middle of an exchange. Whoever else idles in the pool has
            # probably lost the same server.
            await lent.invalidate()
            await lent.close()
            await self._pool.dispose()
            return
        await lent.close()

    @property
    def driver(self) -> Driver:
        """Return the driver's connection.

        Raises CorruptState UOW_CLOSED outside `async with`.
        """
        if self._driver is None:
            raise CorruptState("UOW_CLOSED", "a unit of work was used outside its `async with`")
        return self._driver

    def one_view(self) -> None:
        """Let all reads of this transaction see one instant, if it has not begun yet."""
        if not self._begun and not self._queued:
            self._isolation = " ISOLATION LEVEL REPEATABLE READ"

    def queue(
        self,
        statement: str,
        params: Params,
        missed: CaopanError | None = None,
        *,
        operator: bool = False,
    ) -> None:
        """Send a write with the next exchange; `missed` is raised unless it meets one row."""
        self.guard(operator=operator)
        self._queued.append((statement, params, missed))

    def guard(self, *, operator: bool = False) -> None:
        """Queue the guard if this transaction has not written yet; before any write by `run`.

        `operator`: what is written is open to who does not trade on the run.
        """
        if self._driver is None:
            raise CorruptState("UOW_CLOSED", "a unit of work was used outside its `async with`")
        if self._barred is not None and not operator:
            raise self.refused(self._barred)
        if self._guard is not None and not self._guarded:
            self._guarded = True
            self._queued.append(self._guard)

    def refused(self, error: CaopanError) -> CaopanError:
        """Return `error` to be raised; nothing of this transaction can be committed any more."""
        self._refused = True
        return error

    async def run(self, statement: str, params: Params | None = None) -> AsyncCursor[Any]:
        """Run one statement after what is queued and return its cursor."""
        cursor = self.driver.cursor(binary=True)
        await self._exchange(cursor, statement, params)
        return cursor

    async def rows(self, statement: str, params: Params | None = None) -> list[Any]:
        """Run one query after what is queued and return its rows as tuples."""
        return await (await self.run(statement, params)).fetchall()

    async def commit(self) -> None:
        """Send what is queued, then make the transaction durable.

        Raises OutcomeUnknown DB_COMMIT_UNKNOWN if the connection was lost during COMMIT.
        """
        if self._queued:
            await self._exchange()
        driver = self.driver
        if self._refused or driver.info.transaction_status == _FAILED:
            # COMMIT would quietly roll back.
            raise Conflict(
                "UOW_FAILED",
                "an earlier statement of this unit of work was refused; nothing was stored",
                remedy="leave the unit of work and begin another",
            )
        if not self._begun:
            return
        try:
            await driver.execute("COMMIT")
        except psycopg.Error as error:
            raise translated(error, lost=driver.closed, committing=True) from error
        self._begun = False
        self._guarded = self._guard is None
        self._isolation = ""

    async def _exchange(
        self,
        cursor: AsyncCursor[Any] | None = None,
        statement: str = "",
        params: Params | None = None,
    ) -> None:
        driver, queued = self.driver, self._queued
        self._queued = []
        cursors: list[AsyncCursor[Any]] = []
        try:
            if self._begun and not queued and cursor is not None:
                await cursor.execute(cast("Any", statement), params)
                return
            async with driver.pipeline():
                if not self._begun:
                    self._begun = True
                    await driver.execute(cast("Any", f"BEGIN{self._isolation}"))
                for text, values, _ in queued:
                    cursors.append(await driver.execute(cast("Any", text), values))
                if cursor is not None:
                    await cursor.execute(cast("Any", statement), params)
        except psycopg.Error as error:
            raise translated(error, lost=driver.closed) from error
        for (_, _, missed), sent in zip(queued, cursors, strict=True):
            if missed is not None and sent.rowcount != 1:
                raise self.refused(missed)
