"""File locks that outlive neither their holder nor a power cut.

Owns taking and passing on `flock` locks. Must never read a lock file's content: only whether
somebody holds it means anything.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path

_POLL_S = 0.02


def open_private(path: Path, flags: int) -> int:
    """Open `path`, made readable by its owner only; what root makes is its folder's owner's.

    So a command run once as root in a user's home leaves nothing the user cannot open.
    """
    make_private(path.parent)
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _hand_over(path, path.parent)
    return descriptor


def make_private(folder: Path) -> None:
    """Make `folder` (and those above it) for its owner only, by the same rule."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(exist_ok=True, mode=0o700)
        _hand_over(folder, folder.parent)


def _hand_over(made: Path, parent: Path) -> None:
    owner = parent.stat()
    if os.geteuid() == 0 and made.stat().st_uid != owner.st_uid:
        os.chown(made, owner.st_uid, owner.st_gid)


class FileLock:
    """One open lock file; the lock lives as long as any process holds this descriptor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = open_private(path, os.O_RDWR)

    def take(self, *, shared: bool = False, wait_s: float = 0.0) -> bool:
        """Try to take the lock for `wait_s` seconds; return whether it is held."""
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in {errno.EWOULDBLOCK, errno.EACCES, errno.EINTR}:
                    raise
            else:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)

    def take_exclusively(self) -> None:
        """Block until nobody else holds the lock. A signal handler that raises ends the wait."""
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """Give the lock up for every process that shares this descriptor; keep it open."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close this process's descriptor; a process that inherited it keeps the lock."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
