"""The flag that needs nothing but a disk: CAOPAN_HOME/halt, and halt-N for run N alone.

Owns the file's form ({"level", "reason", "by", "at"}) and its durable writing. A file that cannot
be understood counts as NO_ORDERS, so that `touch halt` works; no file means OFF. Must never lower a
level: only `remove_flag` does, after a resume was permitted and of nothing but what was seen then.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import iso
from caopan.kernel.errors import Conflict, Unavailable

_MOST_BYTES: Final = 65_536
_NAME: Final = "halt"
_LOCK_TRIES: Final = 200
"""How often, 5 ms apart, the lock is tried. Then a halt does without it: it is never kept out."""
_LOCK_POLL_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Flag:
    """What one flag asks for."""

    level: KillLevel = KillLevel.OFF
    reason: str = ""
    by: str = ""
    at: datetime | None = None
    malformed: str = ""
    """Why the file could not be understood; empty if it could."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What tells one writing of a flag's file from another, even of the same words."""

    inode: int
    touched_ns: int
    body: bytes


def flag_path(home: Path, run_id: int | None = None) -> Path:
    """Return where the flag of all accounts lies, or that of one run."""
    return home / (_NAME if run_id is None else f"{_NAME}-{run_id}")


def read_flag(path: Path) -> Flag:
    """Return the flag at `path`; without a file nothing is asked for.

    Raises OSError if nobody can tell whether there is one, such as when its folder is gone.
    """
    try:
        with path.open("rb") as file:
            body = file.read(_MOST_BYTES + 1)
            touched = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise
        return Flag()
    except IsADirectoryError:
        return Flag(KillLevel.NO_ORDERS, malformed=f"{path} is a folder")
    try:
        return _parsed(json.loads(body), touched)
    except (ValueError, RecursionError) as error:
        told = f"{path} is no flag ({error}); it counts as level {KillLevel.NO_ORDERS:d}"
        return Flag(KillLevel.NO_ORDERS, at=touched, malformed=told)


def write_flag(path: Path, flag: Flag) -> Flag:
    """Write `flag` durably, or leave a higher one as it is; return the one in force.

    Raises Unavailable HALT_FILE.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path.parent):
            present = read_flag(path)
            if present.level > flag.level:
                return present
            _replace(path, flag)
    except OSError as error:
        raise _unwritable(path, error) from error
    return flag


def trace_flag(path: Path) -> Trace | None:
    """Return what lies at `path` now, for `remove_flag`; None without a file.

    Raises Unavailable HALT_FILE if it cannot be read as a file.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            return Trace(status.st_ino, status.st_mtime_ns, file.read(_MOST_BYTES + 1))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unwritable(path, error) from error


def remove_flag(path: Path, seen: Trace | None) -> None:
    """Remove the flag durably if it is still the one that was `seen`.

    Raises:
        Conflict: HALTED_MEANWHILE if it was written since; it stays.
        Unavailable: HALT_FILE if it cannot be removed, or is being written.
    """
    try:
        with _alone(path.parent) as alone:
            if not alone:
                raise _unwritable(path, TimeoutError("another process is writing it"))
            if trace_flag(path) != seen:
                raise halted_meanwhile(f"{path} was written")
            path.unlink(missing_ok=True)
            _sync_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error


def halted_meanwhile(what: str) -> Conflict:
    """Return the refusal to lift a halt that nobody saw when the resume was decided."""
    return Conflict(
        "HALTED_MEANWHILE",
        f"{what} while trading was being resumed; what stands, stays",
        remedy="ask who halted and why, then resume again",
    )


@contextmanager
def _alone(folder: Path) -> Generator[bool]:
    """Keep other writers of flags in `folder` out; False if one would not finish in time.

    The folder itself is locked: it is there already and needs no right to write.
    """
    opened = os.open(folder, os.O_RDONLY)
    try:
        yield _locked(opened)
    finally:
        os.close(opened)


def _locked(opened: int) -> bool:
    pause = threading.Event()
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause.wait(_LOCK_POLL_S)
        except OSError:
            # A file system without locks of folders: better a narrow gap than no way to halt.
            return True
        else:
            return True
    return False


def _parsed(told: object, touched: datetime) -> Flag:
    if not isinstance(told, Mapping):
        msg = "not a JSON object"
        raise ValueError(msg)  # noqa: TRY004 - caught beside what the JSON parser raises
    fields = cast("Mapping[str, Any]", told)
    level = fields.get("level")
    if not isinstance(level, int) or isinstance(level, bool) or level not in set(KillLevel):
        msg = f"level is {level!r}, not one of {', '.join(str(int(one)) for one in KillLevel)}"
        raise ValueError(msg)
    at = fields.get("at")
    when = datetime.fromisoformat(str(at)) if at else touched
    if when.tzinfo is None:
        msg = f"at is {at!r}, without a time zone"
        raise ValueError(msg)
    return Flag(KillLevel(level), str(fields.get("reason", "")), str(fields.get("by", "")), when)


def _replace(path: Path, flag: Flag) -> None:
    told = {
        "level": int(flag.level),
        "reason": flag.reason,
        "by": flag.by,
        "at": None if flag.at is None else iso(flag.at),
    }
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(json.dumps(told, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        "HALT_FILE",
        f"{path}: {error.strerror or error}",
        remedy="make CAOPAN_HOME writable, or stop the trading process",
    )
