"""Connections: where the database is, how a pool of connections to it is made, how one speaks.

Owns URLs, session settings and Session (one pooled connection in one transaction at a time).
SQLAlchemy's pool lends the connections; statements are compiled once from the table metadata and
run on the driver's own cursor, which halves the time of a small unit of work (bench/ledger.py).
Must never know a table.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import psycopg
from psycopg import AsyncCursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from caopan.adapters.postgres.errors import not_connected, translated
from caopan.kernel.errors import CaopanError, ConfigInvalid, CorruptState, Unavailable

Params = Mapping[str, Any]
Driver = psycopg.AsyncConnection[tuple[Any, ...]]
_CONNECT_TIMEOUT_S = 10
_LOCK_TIMEOUT_MS = 30_000


def conninfo(url: str, *, synchronous_commit: bool = True, lock_timeout: bool = True) -> str:
    """Return the driver's connection string for `url`, with our session settings added.

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
    options = [str(known.get("options") or ""), "-c TimeZone=UTC"]
    if lock_timeout:
        options.append(f"-c lock_timeout={_LOCK_TIMEOUT_MS}")
    if not synchronous_commit:
        options.append("-c synchronous_commit=off")
    known["options"] = " ".join(options).strip()
    known.setdefault("connect_timeout", _CONNECT_TIMEOUT_S)
    known.setdefault("application_name", "caopan")
    return make_conninfo("", **known)


def place(url: str) -> str:
    """Return host, port and database of `url` for messages, never its password."""
    known = conninfo_to_dict(conninfo(url))
    host, port = known.get("host") or "local socket", known.get("port") or 5432
    return f"database {known.get('dbname') or known.get('user')!s} at {host}:{port}"


async def connect(url: str, *, synchronous_commit: bool = True, autocommit: bool = False) -> Driver:
    """Return one connection of the driver.

    Raises Unavailable DB_UNREACHABLE, ConfigInvalid DB_AUTH or DB_MISSING.
    """
    target = conninfo(url, synchronous_commit=synchronous_commit)
    try:
        return await psycopg.AsyncConnection.connect(
            target, autocommit=autocommit, prepare_threshold=2
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
    """One pooled connection; statements begin a transaction, `commit` or `close` ends it."""

    def __init__(self, pool: AsyncEngine) -> None:
        """Take nothing yet."""
        self._pool = pool
        self._lent: AsyncConnection | None = None
        self._driver: Driver | None = None

    async def open(self) -> None:
        """Borrow a connection.

        Raises what `connect` raises, and Unavailable DB_POOL_EXHAUSTED.
        """
        lent = self._pool.connect()
        try:
            await lent.start()
            raw = await lent.get_raw_connection()
        except CaopanError:
            raise
        except SQLAlchemyError as error:
            raise Unavailable("DB_POOL_EXHAUSTED", f"no connection to lend: {error}") from error
        self._lent = lent
        self._driver = cast("Driver", raw.driver_connection)

    async def close(self) -> None:
        """Roll back what was not committed and give the connection back."""
        lent, driver = self._lent, self._driver
        self._lent = self._driver = None
        if lent is None or driver is None:
            return
        if driver.closed or driver.broken:
            # Whoever else idles in the pool has probably lost the same server.
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

    @property
    def pristine(self) -> bool:
        """Return whether no statement of the present transaction has run yet."""
        return self.driver.info.transaction_status == psycopg.pq.TransactionStatus.IDLE

    async def run(self, statement: str, params: Params | None = None) -> AsyncCursor[Any]:
        """Run one statement and return its cursor."""
        driver = self.driver
        try:
            return await driver.execute(cast("Any", statement), params)
        except psycopg.Error as error:
            raise translated(error, lost=driver.closed) from error

    async def rows(self, statement: str, params: Params | None = None) -> list[Any]:
        """Run one query and return its rows as tuples; values arrive in binary form."""
        driver = self.driver
        try:
            cursor = driver.cursor(binary=True)
            await cursor.execute(cast("Any", statement), params)
            return await cursor.fetchall()
        except psycopg.Error as error:
            raise translated(error, lost=driver.closed) from error

    async def many(self, statement: str, params: Sequence[Params]) -> int:
        """Run one statement for each of `params` in one batch; return how many rows it met."""
        driver = self.driver
        try:
            cursor = driver.cursor()
            await cursor.executemany(cast("Any", statement), params)
        except psycopg.Error as error:
            raise translated(error, lost=driver.closed) from error
        return cursor.rowcount

    @asynccontextmanager
    async def stream(self, statement: str, params: Params, size: int) -> AsyncGenerator[Any]:
        """Yield a server-side cursor over a query, fetching `size` rows at a time."""
        driver = self.driver
        try:
            async with driver.cursor(name="caopan_stream", binary=True) as cursor:
                cursor.itersize = size
                await cursor.execute(cast("Any", statement), params)
                yield cursor
        except psycopg.Error as error:
            raise translated(error, lost=driver.closed) from error

    async def commit(self) -> None:
        """Make the transaction durable.

        Raises OutcomeUnknown DB_COMMIT_UNKNOWN if the connection was lost meanwhile.
        """
        driver = self.driver
        try:
            await driver.commit()
        except psycopg.Error as error:
            raise translated(error, lost=driver.closed, committing=True) from error
