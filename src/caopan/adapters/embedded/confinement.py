"""As whom the servers run: PostgreSQL refuses to run as root, and Valkey need not.

Owns the three ways to start a server process (`enter.py` carries them out). Must never prompt,
create a user or change the permissions of a folder it did not make.

    self       an ordinary user runs the servers as themselves
    namespace  root runs them in a user namespace, where the process is not root although its
               files stay root's; works below folders others cannot traverse
    user       where the kernel forbids namespaces, root runs them as an unprivileged user (or as
               the user whose data it is), in a directory that user can reach
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import caopan

_PROBE: Final = 'test -w "$1" && test -x "$1" && { test -z "$2" || exec "$2" --version; }'


@dataclass(frozen=True, slots=True)
class Confinement:
    """As whom a server process runs. `uid` and `gid` are those the process itself sees."""

    kind: Literal["self", "namespace", "user"]
    uid: int
    gid: int

    def command(self, words: list[str], *, death_signal: int = 0) -> list[str]:
        """Return the command line that confines itself, then becomes `words`.

        On Linux the process then also gets `death_signal` when its parent, the caller, dies. To
        be run with `environment()`. Nothing of ours runs between fork and exec, so it is safe in
        a process with threads.
        """
        if self.kind == "self" and (not death_signal or sys.platform != "linux"):
            return words
        order = {**asdict(self), "death_signal": death_signal, "parent": os.getpid()}
        module = "caopan.adapters.embedded.enter"
        return [sys.executable, "-S", "-m", module, json.dumps(order), *words]

    def reaches(self, folder: Path, program: Path | None = None) -> bool:
        """Return whether a process so confined can write `folder` (and run `program`)."""
        words = ["/bin/sh", "-c", _PROBE, "probe", str(folder), str(program or "")]
        try:
            done = subprocess.run(
                self.command(words),
                check=False,
                capture_output=True,
                env=environment(),
                cwd="/",
                timeout=60,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


def environment() -> dict[str, str]:
    """Return the environment of a process of ours; the server it becomes gets none of our paths."""
    # The watchdog, which inherits this environment, need not pay for reading the settings.
    from caopan.settings import child_environment

    return child_environment(PYTHONPATH=str(Path(caopan.__file__).parent.parent))


def as_self() -> Confinement:
    """Return the confinement of an ordinary user: none."""
    return Confinement("self", os.geteuid(), os.getegid())


def in_namespace() -> Confinement | None:
    """Return root's confinement in a user namespace; None where there is none to be had."""
    if sys.platform != "linux":
        return None
    # initdb looks its user up by name, so the id seen inside must be one of the machine's.
    entry = _unprivileged()
    return Confinement("namespace", entry.pw_uid, entry.pw_gid) if entry else None


def as_unprivileged() -> Confinement | None:
    """Return the confinement of the machine's least user; None where root is the only one."""
    entry = _unprivileged()
    return as_user(entry.pw_uid, entry.pw_gid) if entry else None


def as_user(uid: int, gid: int) -> Confinement:
    """Return the confinement of that user."""
    return Confinement("user", uid, gid)


def _unprivileged() -> pwd.struct_passwd | None:
    others = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
    named = [entry for entry in others if entry.pw_name == "nobody"]
    return next(iter(named or others), None)
