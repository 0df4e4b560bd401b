"""Who calls, and what for: the gateway's own keys.

Owns the list of client keys in force in this process, and what a client may ask. Must never keep
the text of a key: it is hashed on arrival and forgotten. Tests:
tests/unit/application/gateway/test_clients.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from caopan.application.gateway.calls import CallRefused
from caopan.application.ports.gateway import ClientKey, ClientKeys
from caopan.domain.gateway.endpoint import Snapshot

_SCHEME = "bearer "


def key_digest(key: str) -> str:
    """Return the SHA-256 (hex) under which a key is stored."""
    return hashlib.sha256(key.encode()).hexdigest()


class Clients:
    """The keys in force, by hash. A lookup costs no I/O; `refresh` brings changes in.

    A lookup by hash needs no comparison in constant time: how long it takes tells of the hash of
    the guess at most, and nobody can steer a SHA-256 towards one that is stored.
    """

    def __init__(self) -> None:
        """Know nobody until the first `refresh`."""
        self._keys: Mapping[str, ClientKey] = {}

    async def refresh(self, keys: ClientKeys) -> None:
        """Put the stored keys in force; what was known stays where that raises."""
        self._keys = await keys.all()

    def known(self, authorization: str | None, now: datetime) -> ClientKey:
        """Return the client of an Authorization header.

        Raises CallRefused (401) where the key is missing, unknown, revoked or expired; which of
        them is told only to who holds the key.
        """
        if not authorization or authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise _unauthorized("No API key: send `Authorization: Bearer cpg-...`.")
        client = self._keys.get(key_digest(authorization[len(_SCHEME) :].strip()))
        if client is None:
            raise _unauthorized("Incorrect API key.")
        if client.revoked_at is not None and client.revoked_at <= now:
            raise _unauthorized("This API key was revoked.")
        if client.expires_at is not None and client.expires_at <= now:
            raise _unauthorized("This API key has expired.")
        return client


def may_ask(client: ClientKey, alias: str) -> bool:
    """Tell whether a client may ask for an alias."""
    return alias in client.aliases or "*" in client.aliases


def checked_admin(client: ClientKey) -> None:
    """Raise CallRefused (403) unless the client may read and change the configuration."""
    if not client.admin:
        raise CallRefused(
            403, "not_admin", "This API key may not administer the gateway.", kind="permission"
        )


def models_for(client: ClientKey, snapshot: Snapshot, created: int) -> dict[str, Any]:
    """Return the answer of GET /v1/models: the aliases this client may ask for.

    `created` is the Unix time of the configuration's version.
    """
    return {
        "object": "list",
        "data": [
            {"id": alias, "object": "model", "created": created, "owned_by": "caopan"}
            for alias in sorted(snapshot.routes)
            if may_ask(client, alias)
        ],
    }


def _unauthorized(message: str) -> CallRefused:
    return CallRefused(401, "invalid_api_key", message)
