"""The gateway's own keys on PostgreSQL: digests only.

Owns client_key. Must never see a key itself. Tests: tests/contract/gateway/test_client_keys.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from caopan.adapters.postgres.connection import Pool, Session
from caopan.application.ports.gateway import ClientKey
from caopan.kernel.errors import Conflict

_COLUMNS: Final = (
    "client_id",
    "name",
    "aliases",
    "admin",
    "daily_budget_cny",
    "rpm",
    "expires_at",
    "revoked_at",
    "created_at",
)
_ALL: Final = f"SELECT digest, {', '.join(_COLUMNS)} FROM client_key"  # noqa: S608 - our own names
_ADD: Final = f"""
    INSERT INTO client_key (digest, {", ".join(_COLUMNS)})
    VALUES (%(digest)s, {", ".join(f"%({name})s" for name in _COLUMNS)})
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - our own names
_REVOKE: Final = """
    UPDATE client_key SET revoked_at = coalesce(revoked_at, %(at)s)
    WHERE client_id = %(client_id)s
"""


class PostgresClientKeys:
    """ClientKeys on PostgreSQL."""

    def __init__(self, url: str) -> None:
        """Keep where the database is; nothing is connected yet."""
        self._pool = Pool(url, synchronous_commit=True, size=1)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    async def all(self) -> Mapping[str, ClientKey]:
        """Return every key by the SHA-256 (hex) of its text."""
        async with self._session() as session:
            rows = await session.rows(_ALL)
        return {digest: _key(dict(zip(_COLUMNS, row, strict=True))) for digest, *row in rows}

    async def add(self, digest: str, key: ClientKey) -> None:
        """Store a key. Raises Conflict CLIENT_EXISTS for a taken name, id or key."""
        params = {name: getattr(key, name) for name in _COLUMNS if name != "daily_budget_cny"}
        budget = key.daily_budget
        params |= {
            "digest": digest,
            "aliases": list(key.aliases),
            "daily_budget_cny": None if budget is None else Decimal(budget).scaleb(-8),
        }
        async with self._session() as session:
            if (await session.run(_ADD, params)).rowcount != 1:
                raise Conflict(
                    "CLIENT_EXISTS",
                    f"there is a client {key.name!r} already",
                    remedy="choose another name; a voided key keeps its own",
                )
            await session.commit()

    async def revoke(self, client_id: str, at: datetime) -> None:
        """Void a key; voiding it again changes nothing. Raises Conflict CLIENT_UNKNOWN."""
        async with self._session() as session:
            cursor = await session.run(_REVOKE, {"client_id": client_id, "at": at})
            if cursor.rowcount != 1:
                raise Conflict(
                    "CLIENT_UNKNOWN",
                    f"there is no client {client_id!r}",
                    remedy="name a client by the id that `caopan gateway key ls` shows",
                )
            await session.commit()

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[Session]:
        session = Session(self._pool)
        await session.open()
        try:
            yield session
        finally:
            await session.close()


def _key(row: dict[str, Any]) -> ClientKey:
    budget = row.pop("daily_budget_cny")
    row["aliases"] = tuple(row["aliases"])
    return ClientKey(daily_budget=None if budget is None else int(budget.scaleb(8)), **row)
