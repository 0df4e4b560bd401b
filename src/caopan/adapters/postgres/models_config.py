"""Versions of the models document on PostgreSQL, and word of each new one.

Owns models_config. Word comes by NOTIFY and, should that be lost, by looking every two seconds.
Must never change a version, nor understand what it holds. Tests:
tests/contract/gateway/test_models_config.py, tests/integration/gateway.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg

from caopan.adapters.postgres.connection import Driver, Pool, Session, connect
from caopan.application.ports.gateway import StoredConfig
from caopan.kernel.errors import CaopanError, Conflict

_CHANNEL: Final = "caopan_models_config"
_LOOK_S: Final = 2.0
_RETRY_S: Final = 0.5
_PATIENCE_S: Final = 5.0
"""After which a connection that does not answer is given up for another."""
_SELECT: Final = "SELECT version, body, author, note, created_at FROM models_config"
_NEWEST: Final = f"{_SELECT} ORDER BY version DESC LIMIT %(most)s"
_PUT: Final = """
    INSERT INTO models_config (version, body, author, note, created_at)
    SELECT %(version)s, %(body)s::json, %(author)s, %(note)s, %(at)s
    WHERE %(version)s::bigint - 1 = coalesce((SELECT max(version) FROM models_config), 0)
    ON CONFLICT (version) DO NOTHING
"""
_TELL: Final = f"SELECT pg_notify('{_CHANNEL}', %(version)s::text)"
_LISTEN: LiteralString = "LISTEN caopan_models_config"
_VERSION: LiteralString = "SELECT coalesce(max(version), 0) FROM models_config"


class PostgresModelsConfig:
    """ModelsConfig on PostgreSQL."""

    def __init__(self, url: str) -> None:
        """Keep where the database is; nothing is connected yet."""
        self._url = url
        self._pool = Pool(url, synchronous_commit=True, size=1)

    async def close(self) -> None:
        """Close every connection but those of `changed`, which end with it."""
        await self._pool.close()

    async def newest(self) -> StoredConfig | None:
        """Return the version in force, None before the first."""
        return next(iter(await self.history(1)), None)

    async def put(
        self, body: Mapping[str, Any], *, author: str, note: str, expected: int, at: datetime
    ) -> StoredConfig:
        """Store the next version and tell every process.

        Raises Conflict CONFIG_VERSION unless `expected` is the version in force (0: none).
        """
        version = expected + 1
        params = {
            "version": version,
            "body": json.dumps(body, ensure_ascii=False),
            "author": author,
            "note": note,
            "at": at,
        }
        async with self._session() as session:
            if (await session.run(_PUT, params)).rowcount != 1:
                raise Conflict(
                    "CONFIG_VERSION",
                    f"version {expected} of the models document is not the one in force",
                    remedy="load the version in force, make the change again and repeat",
                )
            await session.run(_TELL, {"version": version})
            await session.commit()
        return StoredConfig(version, body, author, note, at)

    async def history(self, most: int) -> Sequence[StoredConfig]:
        """Return versions, newest first."""
        async with self._session() as session:
            return [StoredConfig(*row) for row in await session.rows(_NEWEST, {"most": most})]

    async def changed(self) -> AsyncGenerator[int]:
        """Yield the newest version's number (0: none) whenever it may have changed.

        At least every 2 s; it pauses while the database is gone, and goes on once it is back.
        """
        while True:
            with suppress(CaopanError, psycopg.Error, TimeoutError):
                async with self._listening() as driver:
                    while True:
                        async with asyncio.timeout(_PATIENCE_S):
                            row = await (await driver.execute(_VERSION)).fetchone()
                        yield row[0] if row else 0
                        async for _ in driver.notifies(timeout=_LOOK_S, stop_after=1):
                            pass
            await asyncio.sleep(_RETRY_S)

    @asynccontextmanager
    async def _listening(self) -> AsyncGenerator[Driver]:
        driver = await connect(self._url)
        try:
            await driver.execute(_LISTEN)
            yield driver
        finally:
            await driver.close()

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[Session]:
        session = Session(self._pool)
        await session.open()
        try:
            yield session
        finally:
            await session.close()
