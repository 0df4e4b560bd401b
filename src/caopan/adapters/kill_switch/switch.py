"""The level in force, kept in memory by threads that ask the flags.

Owns FlagSwitch (the KillSwitch port). Each source has a thread of its own, so that a database that
hangs does not keep the file from being read, and neither needs the event loop. Whatever has not
been read for too long counts as NO_ORDERS: in doubt the system refuses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from caopan.adapters.kill_switch.flag_file import Flag, flag_path, read_flag
from caopan.adapters.kill_switch.flag_rows import FlagRows
from caopan.domain.risk.kill_switch import KillLevel

UNREADABLE_AFTER_S: Final = 5.0
_FILE_EVERY_S: Final = 0.1
_FILE_PATIENCE_S: Final = 1.0
_ROWS_EVERY_S: Final = 0.25
_ROWS_PATIENCE_S: Final = 6.0
_JOIN_S: Final = 1.0

Monotonic = Callable[[], float]
"""Seconds of a clock that never goes back."""


def _nothing_to_close() -> None:
    """Close a source that holds nothing open."""


@dataclass(frozen=True, slots=True)
class Source:
    """One flag and how often it is read."""

    name: str
    read: Callable[[], Flag]
    every_s: float
    patience_s: float
    """How long after its last look a source still counts as looked at: a process that was asleep
    or starved sends nothing before its flags were read again."""
    close: Callable[[], None] = _nothing_to_close


@dataclass(frozen=True, slots=True)
class Seen:
    """What a source said last."""

    flag: Flag
    read_at: float
    looked_at: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SourceState:
    """What a source counts for now, for people."""

    name: str
    level: KillLevel
    flag: Flag
    problem: str


def flag_sources(home: Path, run_id: int, conninfo: str | None) -> list[Source]:
    """Return the sources of one run: its two files and, where `conninfo` is given, its rows."""
    found = [
        Source(path.name, partial(read_flag, path), _FILE_EVERY_S, _FILE_PATIENCE_S)
        for path in (flag_path(home), flag_path(home, run_id))
    ]
    if conninfo is not None:
        rows = FlagRows(conninfo, run_id)
        found.append(Source("database", rows.read, _ROWS_EVERY_S, _ROWS_PATIENCE_S, rows.close))
    return found


class FlagSwitch:
    """KillSwitch over several flags; `with` starts and stops its threads."""

    def __init__(
        self,
        sources: Sequence[Source],
        monotonic: Monotonic,
        *,
        unreadable_after_s: float = UNREADABLE_AFTER_S,
    ) -> None:
        """Watch `sources` by the clock `monotonic`."""
        self._sources = tuple(sources)
        self._monotonic = monotonic
        self._unreadable_after_s = unreadable_after_s
        self._seen: dict[str, Seen] = {}
        self._latched = KillLevel.OFF
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.close()

    def start(self) -> None:
        """Read every source once, then go on in threads; blocks as long as that reading does."""
        for source in self._sources:
            self.look(source)
            thread = threading.Thread(
                target=self._watch, args=(source,), name=f"kill-{source.name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Stop the threads. From then on the level is at least NO_ORDERS, as nobody looks."""
        self._stop.set()
        for thread in self._threads:
            thread.join(_JOIN_S)

    def level(self) -> KillLevel:
        """Return the highest level any flag asks for, at once."""
        now = self._monotonic()
        highest = self._latched
        for source in self._sources:
            highest = max(highest, self._counts(source, now)[0])
        return highest

    def latch(self, level: KillLevel) -> None:
        """Hold this process at `level` at least, at once, before any flag was written."""
        with self._lock:
            self._latched = max(self._latched, level)

    def unlatch(self) -> None:
        """Let the flags alone decide again; call this when a resume was permitted."""
        with self._lock:
            self._latched = KillLevel.OFF

    def states(self) -> Sequence[SourceState]:
        """Return what each source counts for now."""
        now = self._monotonic()
        found: list[SourceState] = []
        for source in self._sources:
            level, problem = self._counts(source, now)
            seen = self._seen.get(source.name)
            found.append(SourceState(source.name, level, seen.flag if seen else Flag(), problem))
        return found

    def look(self, source: Source) -> None:
        """Read one source once and remember what it said; a thread's whole work."""
        started = self._monotonic()
        before = self._seen.get(source.name, Seen(Flag(), float("-inf"), started))
        try:
            seen = Seen(source.read(), self._monotonic(), self._monotonic())
        except Exception as error:  # noqa: BLE001 - whatever the reason, it could not be read
            problem = f"{source.name} could not be read: {' '.join(str(error).split())}"
            seen = Seen(before.flag, before.read_at, self._monotonic(), problem)
        self._seen[source.name] = seen

    def _watch(self, source: Source) -> None:
        while not self._stop.wait(source.every_s):
            self.look(source)
        source.close()

    def _counts(self, source: Source, now: float) -> tuple[KillLevel, str]:
        # One item of a dict is put and taken whole, so threads and loop need no lock for it.
        seen = self._seen.get(source.name)
        if seen is None or self._stop.is_set():
            return KillLevel.NO_ORDERS, f"{source.name} was not read"
        silent = now - seen.read_at > self._unreadable_after_s
        if silent or now - seen.looked_at > source.patience_s:
            problem = seen.problem or f"{source.name} was not looked at for too long"
            return max(KillLevel.NO_ORDERS, seen.flag.level), problem
        return seen.flag.level, seen.problem or seen.flag.malformed
