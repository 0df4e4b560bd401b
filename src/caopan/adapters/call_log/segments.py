"""The files of the spool: who may write a folder, how a record is appended, what a dead one left.

Owns one folder per gateway process below the spool, locked by `flock` for as long as the process
lives, and the numbered segments in it. A record is one `write` at the end of a file: it is there
once the call returns, whatever becomes of the process (a power cut may take the last moments). Must
never leave half a record behind, nor read what another process may still be writing. Tests:
tests/integration/gateway/test_spool.py.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from caopan.adapters.call_log.frames import HEAD_BYTES, Split, split
from caopan.kernel.errors import ConfigInvalid, Unavailable

HEADER: Final = b"caopan-calls-1\n"
_LOCK: Final = "lock"
_SEGMENT: Final = re.compile(r"[0-9]{10}\.seg")
_PROCESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_FRESH: Final = ".new"


@dataclass(slots=True)
class Segment:
    """One file of a live process."""

    number: int
    path: Path
    size: int = len(HEADER)
    """Bytes up to the end of the last whole record."""
    records: int = 0
    """Beginnings and ends in it."""


class LiveFolder:
    """The folder of this process: locked, one segment open for appending."""

    def __init__(self, spool: Path, process: str, segment_bytes: int) -> None:
        """Make and lock the folder of `process` below `spool`.

        Raises ConfigInvalid PROCESS_NAME, Unavailable AUDIT_UNAVAILABLE.
        """
        if not _PROCESS.fullmatch(process):
            raise ConfigInvalid("PROCESS_NAME", f"{process!r} cannot name a folder of the spool")
        self.path = spool / process
        self.segments: deque[Segment] = deque()
        self.bytes = 0
        """How much all segments hold."""
        self._segment_bytes = segment_bytes
        self._file = self._lock = -1
        fresh = spool / f"{process}{_FRESH}"
        try:
            spool.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.mkdir(mode=0o700)
            # Locked before anyone else can see it under its name.
            self._lock = _locked(fresh / _LOCK)
            fresh.rename(self.path)
            self.rotate()
        except OSError as error:
            if self._lock >= 0:
                os.close(self._lock)
            raise Unavailable(
                "AUDIT_UNAVAILABLE",
                f"no spool for model calls can be kept in {spool}: {error}",
                remedy="make the folder writable and free space on its disk",
            ) from error

    def append(self, record: bytes) -> Segment:
        """Append one record, return where it lies. Raises OSError; then nothing is left of it."""
        current = self.segments[-1]
        if current.size + len(record) > self._segment_bytes and current.size > len(HEADER):
            current = self.rotate()
        written = os.write(self._file, record)
        if written != len(record):
            # The disk is full. Whoever takes this segment over would stop at half a record, so
            # nothing may follow one.
            with suppress(OSError):
                os.ftruncate(self._file, current.size)
            if os.fstat(self._file).st_size != current.size:
                self.rotate()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(current.path))
        current.size += written
        self.bytes += written
        return current

    def rotate(self) -> Segment:
        """Begin the next segment. Raises OSError; then the present one stays in use."""
        number = self.segments[-1].number + 1 if self.segments else 1
        path = self.path / f"{number:010d}.seg"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        opened = os.open(path, flags, 0o600)
        try:
            if os.write(opened, HEADER) != len(HEADER):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        except OSError:
            os.close(opened)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file = opened
        self.segments.append(Segment(number, path))
        self.bytes += len(HEADER)
        return self.segments[-1]

    def take_oldest(self) -> Segment:
        """Return the oldest segment, to be removed by the caller."""
        oldest = self.segments.popleft()
        self.bytes -= oldest.size
        return oldest

    def close(self, *, remove: bool) -> None:
        """Give the folder up; `remove` it if nothing in it is owed to anyone."""
        os.close(self._file)
        if remove:
            _emptied(self.path)
        os.close(self._lock)


class DeadFolder:
    """The folder of a process that is no more, locked by us."""

    def __init__(self, path: Path, lock: int) -> None:
        """Take what lies at `path`; `lock` is held."""
        self.path = path
        self.process = path.name
        self._lock = lock

    def segments(self) -> Sequence[Path]:
        """Return its segments, oldest first."""
        if not self.path.is_dir():
            # Another process finished with it while we took its lock.
            return []
        return sorted(one for one in self.path.iterdir() if _SEGMENT.fullmatch(one.name))

    def close(self, *, remove: bool) -> None:
        """Give it up, removed if all it held is in the database."""
        if remove:
            _emptied(self.path)
        os.close(self._lock)


def dead_folders(spool: Path) -> Iterator[DeadFolder]:
    """Yield the folders whose processes are no more, each locked until the next is asked for."""
    for path in sorted(spool.iterdir()) if spool.is_dir() else ():
        # What died between making and naming its folder has recorded nothing.
        name = path.name.removesuffix(_FRESH)
        if not _PROCESS.fullmatch(name) or not (path / _LOCK).exists():
            continue
        try:
            lock = _locked(path / _LOCK)
        except OSError:
            continue
        yield DeadFolder(path, lock)


def records_of(path: Path, start: int, end: int | None, at_most: int) -> Split:
    """Return whole records of a segment from byte `start` on, about `at_most` bytes of them.

    `end` is where a live segment ends; None reads to the end of the file. Raises OSError.
    """
    with path.open("rb") as file:
        file.seek(start)
        room = at_most if end is None else min(at_most, end - start)
        data = file.read(room)
        found = split(data)
        if found.used == 0 and found.wanted > len(data) and len(data) == room:
            # One record alone is longer than that.
            wanted = max(found.wanted, HEAD_BYTES)
            data += file.read(wanted - len(data))
            found = split(data)
            if found.used == 0 and found.wanted > len(data):
                data += file.read(found.wanted - len(data))
                found = split(data)
        return found


def count_records(path: Path, at_most: int) -> int:
    """Return how many whole records a segment holds, reading `at_most` bytes at a time."""
    count, at = 0, len(HEADER)
    while (found := records_of(path, at, None, at_most)).used:
        count += len(found.frames)
        at += found.used
    return count


def has_header(path: Path) -> bool:
    """Tell whether a file is a segment of this format; one cut off within its header is."""
    with path.open("rb") as file:
        return HEADER.startswith(file.read(len(HEADER)))


def _locked(path: Path) -> int:
    """Return `path` opened and locked. Raises OSError if somebody else holds it."""
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        raise
    return opened


def _emptied(folder: Path) -> None:
    """Remove a folder whose lock we hold; the lock goes last."""
    with suppress(OSError):
        for one in folder.iterdir():
            if one.name != _LOCK:
                one.unlink()
        (folder / _LOCK).unlink()
        folder.rmdir()
