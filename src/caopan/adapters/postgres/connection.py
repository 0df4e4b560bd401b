"""Connections: where the database is, how a pool of connections to it is made, how one speaks.

Owns URLs, session settings, Pool (lends connections) and Session (one of them in one transaction at
a time). Statements are compiled once from the table metadata and run on the driver's own cursor;
lending through SQLAlchemy's pool took as long as a quarter of a small commit. Must never know a
table. Tests: tests/integration/postgres/test_connection.py.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import psycopg
from psycopg import AsyncCursor
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PipelineStatus, TransactionStatus

from caopan.adapters.postgres.errors import not_connected, translated
from caopan.adapters.postgres.statements import NOT_ONE, exactly_one
from caopan.kernel.errors import (
    CaopanError,
    ConfigInvalid,
    Conflict,
    CorruptState,
    OutcomeUnknown,
    Unavailable,
)

Params = Mapping[str, Any]
Queued = tuple[str, Params | None, CaopanError | None]
"""A statement, its values, and what is raised unless it meets exactly one row."""
Driver = psycopg.AsyncConnection[tuple[Any, ...]]
_COMMIT: Final[Queued] = ("COMMIT", None, None)
PREPARE_THRESHOLD: Final = 2
"""How often a statement is sent before the server is asked to keep it prepared."""
_FAILED = TransactionStatus.INERROR
_WAIT_S = 30.0
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


def session_options(*, synchronous_commit: bool = True) -> str:
    """Return the settings of a connection that units of work run on, for `conninfo`."""
    durable = "on" if synchronous_commit else "off"
    return f"-c lock_timeout={_LOCK_TIMEOUT_MS} -c synchronous_commit={durable} {_BY_KEY}"


async def connect(url: str, *, synchronous_commit: bool = True) -> Driver:
    """Return one connection of the driver, in autocommit: Session sends its own BEGIN.

    Raises Unavailable DB_UNREACHABLE, ConfigInvalid DB_AUTH or DB_NOT_FOUND.
    """
    options = session_options(synchronous_commit=synchronous_commit)
    try:
        return await psycopg.AsyncConnection.connect(
            conninfo(url, options), autocommit=True, prepare_threshold=PREPARE_THRESHOLD
        )
    except psycopg.Error as error:
        raise not_connected(error, place(url)) from error


class Pool:
    """Connections to one database, lent to one session each and kept for the next."""

    def __init__(
        self, url: str, *, synchronous_commit: bool, size: int, wait_s: float = _WAIT_S
    ) -> None:
        """Keep where the database is; connects when first asked.

        `size` connections are kept; twice as many are lent at most, and who comes then waits
        `wait_s` seconds.
        """
        conninfo(url)
        self._url = url
        self._synchronous_commit = synchronous_commit
        self._size = size
        self._wait_s = wait_s
        self._turns = asyncio.Semaphore(2 * size)
        self._idle: list[Driver] = []

    async def borrow(self) -> Driver:
        """Return a connection that nobody else has, to be given back.

        Raises what `connect` raises, and Unavailable DB_POOL_EXHAUSTED.
        """
        try:
            # A timer only for who has to wait.
            async with asyncio.timeout(self._wait_s if self._turns.locked() else None):
                await self._turns.acquire()
        except TimeoutError as error:
            message = f"all {2 * self._size} connections were in use for {self._wait_s} s"
            raise Unavailable("DB_POOL_EXHAUSTED", message) from error
        try:
            # The one given back last: its statements are prepared.
            if self._idle:
                return self._idle.pop()
            return await connect(self._url, synchronous_commit=self._synchronous_commit)
        except BaseException:
            self._turns.release()
            raise

    async def give_back(self, driver: Driver) -> None:
        """Roll back what is open on a borrowed connection and keep it, unless it is of no use."""
        try:
            if driver.info.transaction_status in (TransactionStatus.INTRANS, _FAILED):
                await driver.rollback()
        except psycopg.Error:
            # Nothing is owed to what is not committed; the connection is judged below.
            pass
        finally:
            # Also where this task is cancelled in the middle.
            self._turns.release()
            info = driver.info
            whole = (
                info.transaction_status == TransactionStatus.IDLE
                and info.pipeline_status == PipelineStatus.OFF
            )
            if whole and len(self._idle) < self._size:
                self._idle.append(driver)
            else:
                await driver.close()
            if not whole:
                # Lost, or left in the middle of an exchange. Whoever else idles here has probably
                # lost the same server.
                await self.close()

    async def close(self) -> None:
        """Close every connection that is not lent."""
        while self._idle:
            await self._idle.pop().close()


class Session:
    """One pooled connection in at most one transaction; `commit` or `close` ends it.

    Writes whose outcome nobody waits for are queued and travel with the next statement in one
    exchange; BEGIN travels with the first, COMMIT with the last. A statement that must meet a row
    fails on the server if it does not, so that the COMMIT behind it does nothing. What the database
    refuses is therefore raised by the call itself or by a later one, at the latest by `commit`, and
    never after anything became durable.
    """

    def __init__(
        self, pool: Pool, guard: Queued | None = None, barred: CaopanError | None = None
    ) -> None:
        """Take nothing yet; `guard` goes before the first write of each transaction.

        Any write but an operator's is refused with `barred`, if given.
        """
        self._guard = guard
        self._barred = barred
        self._guarded = guard is None
        self._pool = pool
        self._driver: Driver | None = None
        self._queued: list[Queued] = []
        self._begun = False
        self._refused: CaopanError | None = None
        self._isolation = ""

    async def open(self) -> None:
        """Borrow a connection. Raises what `Pool.borrow` raises."""
        self._driver = await self._pool.borrow()

    async def close(self) -> None:
        """Roll back what was not committed and give the connection back."""
        driver, self._driver = self._driver, None
        self._queued = []
        if driver is not None:
            await self._pool.give_back(driver)

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
        """Return `error` to be raised; this session can commit nothing any more."""
        self._refused = error
        return error

    async def run(self, statement: str, params: Params | None = None) -> AsyncCursor[Any]:
        """Run one statement after what is queued and return its cursor."""
        return await self._exchange((statement, params, None))

    async def rows(self, statement: str, params: Params | None = None) -> list[Any]:
        """Run one query after what is queued and return its rows as tuples."""
        return await (await self.run(statement, params)).fetchall()

    async def commit(self) -> None:
        """Send what is queued and make the transaction durable, in one exchange.

        Raises OutcomeUnknown DB_COMMIT_UNKNOWN if the connection was lost during COMMIT.
        """
        if isinstance(self._refused, OutcomeUnknown):
            raise self._refused
        if self._refused or self.driver.info.transaction_status == _FAILED:
            # COMMIT would quietly roll back.
            raise Conflict(
                "UOW_FAILED",
                "an earlier statement of this unit of work was refused; nothing was stored",
                remedy="leave the unit of work and begin another",
            )
        if self._begun or self._queued:
            self._listen()
            await self._exchange(_COMMIT)
        self._begun = False
        self._guarded = self._guard is None
        self._isolation = ""

    def _listen(self) -> None:
        """Raise Unavailable DB_UNREACHABLE for a connection that was lost before COMMIT is sent."""
        try:
            # The server's last word, if it had one, and then the end of the line.
            self.driver.pgconn.consume_input()
            self.driver.pgconn.consume_input()
        except psycopg.Error as error:
            raise self.refused(translated(error, lost=True)) from error

    async def _exchange(self, last: Queued) -> AsyncCursor[Any]:
        """Send BEGIN if it is due, what is queued, and `last`; return the cursor of `last`."""
        driver = self.driver
        sent = [*self._queued, last]
        self._queued = []
        if not self._begun:
            self._begun = True
            sent.insert(0, (f"BEGIN{self._isolation}", None, None))
        cursors: list[AsyncCursor[Any]] = []
        try:
            if len(sent) == 1:
                return await _sent(driver, last)
            async with driver.pipeline():
                for one in sent:
                    cursors.append(await _sent(driver, one))  # noqa: PERF401 - kept up to a failure
        except psycopg.Error as error:
            raise self.refused(_failure(error, driver, sent, cursors)) from error
        except BaseException:
            # Cut off in the middle, perhaps with only a part sent: that part is no whole.
            self.refused(_cut_off(sent))
            raise
        return cursors[-1]


async def _sent(driver: Driver, one: Queued) -> AsyncCursor[Any]:
    statement, params, missed = one
    text = statement if missed is None else exactly_one(statement)
    cursor = driver.cursor(binary=True)
    await cursor.execute(cast("Any", text), params)
    return cursor


def _failure(
    error: psycopg.Error,
    driver: Driver,
    sent: Sequence[Queued],
    cursors: Sequence[AsyncCursor[Any]],
) -> CaopanError:
    """Return our error for the driver's about an exchange; `cursors` are of what was sent of it."""
    answered = sum(cursor.pgresult is not None for cursor in cursors)
    missed = sent[min(answered, len(sent) - 1)][2]
    if missed is not None and error.sqlstate == NOT_ONE:
        return missed
    # Without a word of the server about it, nobody but the database knows how far COMMIT came.
    committing = sent[-1] is _COMMIT
    untold = committing and error.sqlstate is None and len(cursors) >= len(sent) - 1
    return translated(error, lost=driver.closed or untold, committing=committing)


def _cut_off(sent: Sequence[Queued]) -> CaopanError:
    """Return what stands against a session whose task was cancelled in mid exchange."""
    message = "the task was cancelled while the database worked"
    if sent[-1] is _COMMIT:
        remedy = "look up what was recorded before anything is repeated"
        return OutcomeUnknown("DB_COMMIT_UNKNOWN", message, remedy=remedy)
    return Conflict("UOW_FAILED", message, remedy="leave the unit of work and begin another")
