"""Erasing the embedded databases of a home.

Owns the only deletion of data in the product. Must never run beside a command that uses them, and
never touch backups, logs or anything outside the recorded place.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from caopan.adapters.embedded.locks import FileLock
from caopan.adapters.embedded.place import prepare_home, recorded_directory
from caopan.adapters.embedded.sharing import clear_leftovers
from caopan.kernel.errors import Conflict

SERVERS: Final = ("postgres", "valkey")
_WAIT_S: Final = 10


def erase(home: Path) -> None:
    """Delete the databases of `home` and their passwords; the next command starts empty.

    Raises Conflict SERVICES_IN_USE while another command uses them.
    """
    prepare_home(home)
    directories = {home / "data", recorded_directory(home) or home / "data"}
    with ExitStack() as held:
        for name in SERVERS:
            for lock in ("start", "clients", "watchdog"):
                _take(held, home / "run" / name / f"{lock}.lock", home)
            for directory in directories:
                clear_leftovers(home / "run" / name, directory / name)
        for directory in directories:
            doomed = directory.with_name(f"{directory.name}.erased-{os.getpid()}")
            if directory.exists():
                # Gone in one step: what is deleted piecemeal is never mistaken for a database.
                directory.rename(doomed)
        for directory in directories:
            for doomed in directory.parent.glob(f"{directory.name}.erased-*"):
                shutil.rmtree(doomed)


def _take(held: ExitStack, path: Path, home: Path) -> None:
    lock = FileLock(path)
    held.callback(lock.close)
    if not lock.take(wait_s=_WAIT_S):
        raise Conflict(
            "SERVICES_IN_USE",
            f"another command uses the databases of {home}",
            remedy="End it, then try again. Nothing was changed.",
        )
