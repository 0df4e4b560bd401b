"""The embedded Valkey: how it is run. Redis holds nothing here that cannot be rebuilt.

Owns its configuration and what becomes of an append-only file it cannot read.
"""

from __future__ import annotations

import signal
from dataclasses import asdict
from pathlib import Path
from typing import Final

from caopan.adapters.embedded.locks import FileLock
from caopan.adapters.embedded.place import (
    Credentials,
    find_place,
    load_credentials,
    make_credentials,
    own_folder,
)
from caopan.adapters.embedded.watchdog import ServerPlan, StartReport

_UNREADABLE: Final = ("Bad file format", "Unexpected end of file", "is corrupted", "aof-check")


def plan_valkey(home: Path, _starting: FileLock) -> ServerPlan:
    """Return how to run the Valkey of `home`; its password goes by stdin, never by argument."""
    place = find_place(home)
    # PostgreSQL's plan is made before this one, so its passwords exist unless it is external.
    held = load_credentials(home) or make_credentials(home)
    folder = own_folder(place.directory / "valkey", place.confinement)
    configuration = {
        "bind": "127.0.0.1",
        "requirepass": held.valkey,
        "appendonly": "yes",
        # Snapshots would only repeat what the append-only file holds.
        "save": '""',
        "daemonize": "no",
        "protected-mode": "yes",
        # The command line is how a later run recognises a process left over.
        "set-proc-title": "no",
        "loglevel": "warning",
    }
    return ServerPlan(
        name="valkey",
        run=str(home / "run" / "valkey"),
        data=str(folder),
        log=str(home / "logs" / "valkey.log"),
        # A lone dash, last, makes it read its configuration from stdin.
        arguments=[str(place.binaries.valkey), "--port", "{port}", "--dir", str(folder), "-"],
        stdin="".join(f"{name} {value}\n" for name, value in configuration.items()),
        confinement=asdict(place.confinement),
        stop=[[signal.SIGTERM, 20], [signal.SIGKILL, 10]],
        secret=held.valkey,
    )


def redis_url(port: int, held: Credentials) -> str:
    """Return the URL of the embedded Valkey."""
    return f"redis://:{held.valkey}@127.0.0.1:{port}/0"


def set_aside(plan_data: Path, report: StartReport) -> bool:
    """Move an append-only file Valkey cannot read out of its way; return whether that was it."""
    if not any(sign in report.tail for sign in _UNREADABLE):
        return False
    broken = plan_data / "appendonlydir"
    number = len(list(plan_data.glob("appendonlydir.broken-*"))) + 1
    broken.rename(plan_data / f"appendonlydir.broken-{number}")
    return True
