"""How other commands of this home find a running gateway, and show that they are of this home.

Owns the file that a gateway leaves under `run/gateway` while it lives: where it listens, and the
key of this home's own commands, readable by its owner only. Must never trust a file of a process
that is gone: a lock that dies with the process tells.
Tests: tests/unit/bootstrap/test_gateway_presence.py.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from caopan.adapters.embedded.locks import FileLock, open_private
from caopan.kernel.errors import Conflict, Unavailable
from caopan.settings import Secret

_KEY_BYTES: Final = 32
_LOOKED_AT_S: Final = 1.0
_ANSWERS_WITHIN_S: Final = 5.0
_PLAIN: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""A proxy of the environment has no business between us and this machine."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A gateway that runs now."""

    host: str
    port: int
    pid: int
    started_at: str
    key: Secret
    """Of this home's own commands: every alias, and the configuration."""

    @property
    def url(self) -> str:
        """Return where it listens, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@contextmanager
def present(home: Path, found: Presence) -> Generator[None]:
    """Tell of a gateway while the block runs.

    Raises Conflict GATEWAY_RUNNING if another of this home listens on that port.
    """
    place = _place(home, found.port)
    alive = FileLock(place.with_suffix(".lock"))
    try:
        # Whoever only looks around holds the lock for a moment.
        if not alive.take(wait_s=_LOOKED_AT_S):
            raise Conflict(
                "GATEWAY_RUNNING",
                f"a gateway of this home listens on port {found.port} already",
                remedy="use that one, or give another --port",
            )
        _write(place, found)
        try:
            yield
        finally:
            place.unlink(missing_ok=True)
    finally:
        alive.close()


def running_gateways(home: Path) -> list[Presence]:
    """Return the gateways of this home that live, by port; what dead ones left is cleared away."""
    found: list[Presence] = []
    for place in sorted((home / "run" / "gateway").glob("*.json")):
        alive = FileLock(place.with_suffix(".lock"))
        try:
            if alive.take():
                place.unlink(missing_ok=True)
                continue
        finally:
            alive.close()
        one = _read(place)
        if one is not None:
            found.append(one)
    return sorted(found, key=lambda one: one.port)


def home_key(home: Path) -> Secret:
    """Return the key of this home's own commands and desks, made at the first start.

    It outlives a gateway, so that a desk goes on with the next one. Readable by its owner only;
    whoever can read it can read the sealed keys, too.
    """
    place = home / "run" / "gateway" / "home.key"
    if not place.exists():
        fresh = place.with_suffix(f".{os.getpid()}")
        with os.fdopen(open_private(fresh, os.O_WRONLY | os.O_TRUNC), "w") as file:
            file.write(f"cpg-{secrets.token_urlsafe(_KEY_BYTES)}")
        with suppress(FileExistsError):
            # Of two gateways that start at once the first one's key holds.
            os.link(fresh, place)
        fresh.unlink()
    return Secret(place.read_text(encoding="ascii"))


def ask_gateway(found: Presence, path: str) -> dict[str, Any]:
    """Return what a page of a running gateway tells this home's own commands.

    Raises Unavailable GATEWAY_SILENT.
    """
    headers = {"authorization": f"Bearer {found.key.get_secret_value()}"}
    request = urllib.request.Request(found.url + path, headers=headers)  # noqa: S310 - http, by Presence
    try:
        with _PLAIN.open(request, timeout=_ANSWERS_WITHIN_S) as answer:
            told: object = json.load(answer)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _silent(found, str(error)) from error
    if not isinstance(told, dict):
        raise _silent(found, "its answer is none of ours")
    return cast("dict[str, Any]", told)


def _silent(found: Presence, why: str) -> Unavailable:
    return Unavailable(
        "GATEWAY_SILENT",
        f"the gateway at {found.url} (process {found.pid}) does not answer: {why}",
        remedy="look into its log, or start it again",
    )


def _place(home: Path, port: int) -> Path:
    return home / "run" / "gateway" / f"{port}.json"


def _write(place: Path, found: Presence) -> None:
    told = {
        "host": found.host,
        "port": found.port,
        "pid": found.pid,
        "started_at": found.started_at,
        "key": found.key.get_secret_value(),
    }
    fresh = place.with_suffix(f".{found.pid}")
    with os.fdopen(open_private(fresh, os.O_WRONLY | os.O_TRUNC), "w") as file:
        json.dump(told, file)
    fresh.replace(place)


def _read(place: Path) -> Presence | None:
    """Return what a file tells; None if it vanished, or was not written by us."""
    try:
        told: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        return Presence(
            host=str(told["host"]),
            port=int(told["port"]),
            pid=int(told["pid"]),
            started_at=str(told["started_at"]),
            key=Secret(str(told["key"])),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
