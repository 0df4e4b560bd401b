"""The gateway's configuration and its callers' keys, in memory.

Owns MemoryModelsConfig and MemoryClientKeys. Must never be softer than the tables: a version is
stored only on top of the one that is expected, a name is taken once. Tests: tests/contract/gateway.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from caopan.application.ports.gateway import ClientKey, StoredConfig
from caopan.kernel.errors import Conflict, Unavailable


class MemoryModelsConfig:
    """Versions of the models document; `is_cut_off` is a database that is away."""

    def __init__(self) -> None:
        """Hold no version."""
        self._versions: list[StoredConfig] = []
        self._news = asyncio.Event()
        self.is_cut_off = False

    async def newest(self) -> StoredConfig | None:
        """Return the version in force, None before the first."""
        self._reached()
        return self._versions[-1] if self._versions else None

    async def put(
        self, body: Mapping[str, Any], *, author: str, note: str, expected: int, at: datetime
    ) -> StoredConfig:
        """Store the next version. Raises Conflict CONFIG_VERSION."""
        self._reached()
        if expected != len(self._versions):
            raise Conflict("CONFIG_VERSION", f"version {len(self._versions)} is in force")
        stored = StoredConfig(expected + 1, copy.deepcopy(dict(body)), author, note, at)
        self._versions.append(stored)
        self._news.set()
        return stored

    async def history(self, most: int) -> Sequence[StoredConfig]:
        """Return versions, newest first."""
        self._reached()
        return self._versions[::-1][:most]

    async def changed(self) -> AsyncIterator[int]:
        """Yield the newest version's number now and whenever one was stored."""
        while True:
            if self._versions and not self.is_cut_off:
                yield self._versions[-1].version
            await self._news.wait()
            self._news.clear()

    def _reached(self) -> None:
        if self.is_cut_off:
            raise Unavailable("DB_UNREACHABLE", "the database is away")


class MemoryClientKeys:
    """Client keys by the hash of their text; `is_cut_off` is a database that is away."""

    def __init__(self) -> None:
        """Hold no key."""
        self._keys: dict[str, ClientKey] = {}
        self.is_cut_off = False

    async def all(self) -> Mapping[str, ClientKey]:
        """Return every key."""
        if self.is_cut_off:
            raise Unavailable("DB_UNREACHABLE", "the database is away")
        return dict(self._keys)

    async def add(self, digest: str, key: ClientKey) -> None:
        """Store a key. Raises Conflict CLIENT_EXISTS for a taken name."""
        if any(one.name == key.name for one in self._keys.values()):
            raise Conflict("CLIENT_EXISTS", f"a key is called {key.name!r} already")
        self._keys[digest] = key

    async def revoke(self, client_id: str, at: datetime) -> None:
        """Void a key; one that is void stays as it is. Raises Conflict CLIENT_UNKNOWN."""
        for digest, key in self._keys.items():
            if key.client_id == client_id:
                self._keys[digest] = replace(key, revoked_at=key.revoked_at or at)
                return
        raise Conflict("CLIENT_UNKNOWN", f"there is no client key {client_id}")
