"""As whom the servers run: PostgreSQL refuses to run as root, and Valkey need not.

Owns the three ways to start a server process and the choice between them. Must never prompt,
create a user or change the permissions of a folder it did not make.

    self       an ordinary user runs the servers as themselves
    namespace  root runs them in a user namespace, where the process is not root although its
               files stay root's; works below folders others cannot traverse
    user       where the kernel forbids namespaces, root runs them as an unprivileged user (or as
               the user whose data it is), in a directory that user can reach
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

# Loaded before any fork: the child then only makes system calls.
_LIBC: Final = ctypes.CDLL(None)
_CLONE_NEWUSER: Final = 0x10000000
_PR_SET_PDEATHSIG: Final = 1
_REFUSED: Final = 111
_PROBE: Final = 'test -w "$1" && test -x "$1" && { test -z "$2" || exec "$2" --version; }'


@dataclass(frozen=True, slots=True)
class Confinement:
    """As whom a server process runs. `uid` and `gid` are those the process itself sees."""

    kind: Literal["self", "namespace", "user"]
    uid: int
    gid: int

    def enter(self, death_signal: int = 0) -> Callable[[], None]:
        """Return what the new process must do between fork and exec.

        On Linux the process then also gets `death_signal` when its parent dies, however it dies.
        """
        parent = os.getpid()

        def prepare() -> None:
            os.umask(0o077)
            if self.kind == "namespace":
                _enter_namespace(self.uid, self.gid)
            elif self.kind == "user":
                os.setgroups([])
                os.setgid(self.gid)
                os.setuid(self.uid)
            # Last: a change of credentials clears the parent-death signal.
            if death_signal and sys.platform == "linux":
                _LIBC.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
                if os.getppid() != parent:
                    os._exit(_REFUSED)
            signal.pthread_sigmask(signal.SIG_SETMASK, [])

        return prepare

    def reaches(self, folder: Path, program: Path | None = None) -> bool:
        """Return whether a process so confined can write `folder` (and run `program`)."""
        command = ["/bin/sh", "-c", _PROBE, "probe", str(folder), str(program or "")]
        try:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                preexec_fn=self.enter(),
                cwd="/",
                timeout=30,
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0


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


def _enter_namespace(uid: int, gid: int) -> None:
    outside_uid, outside_gid = os.geteuid(), os.getegid()
    if _LIBC.unshare(_CLONE_NEWUSER) != 0:
        os._exit(_REFUSED)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outside_uid} 1"),
        ("gid_map", f"{gid} {outside_gid} 1"),
    ):
        descriptor = os.open(f"/proc/self/{name}", os.O_WRONLY)
        os.write(descriptor, text.encode())
        os.close(descriptor)
