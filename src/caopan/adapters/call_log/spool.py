"""CallLog on a spool of files: kept in microseconds, in the database a moment later.

Owns the way of a record: `began` and `ended` append it to a segment, where it survives the death
of the process; one task reads the segments again and brings batches to the sink in a thread;
another does the same with what dead processes left. So the files are the queue: the memory held
does not grow while the database is gone. Must never block a caller, keep a call that cannot be
recorded from being refused, nor remove a record before it is durable. Tests:
tests/contract/gateway/test_call_log.py, tests/integration/gateway. Measured:
bench/gateway_store.py.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from caopan.adapters.call_log import frames
from caopan.adapters.call_log.delivery import Delivery, gathered
from caopan.adapters.call_log.frames import Key, Kind, Opened
from caopan.adapters.call_log.segments import HEADER, LiveFolder, records_of
from caopan.adapters.call_log.takeover import TakeOver
from caopan.application.ports.gateway import AttemptBegan, AttemptEnded
from caopan.application.ports.model_calls import AttemptSink
from caopan.kernel.errors import CaopanError, CorruptState, Unavailable

_LOG: Final = logging.getLogger(__name__)
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class SpoolBounds:
    """How much is kept, and how long things may take."""

    most_bytes: int = 1 << 30
    """Of this process's segments; beyond, no attempt may begin. Ends are always kept."""
    segment_bytes: int = 8 << 20
    batch_bytes: int = 512 << 10
    """About what one transaction carries."""
    batch_s: float = 0.1
    """How long the first record of a batch waits for others."""
    patience_s: float = 5.0
    """How long `durable`, and leaving, wait for the database."""
    look_s: float = 5.0
    """How often dead processes are looked for."""


@dataclass(frozen=True, slots=True)
class SpoolState:
    """For metrics and health."""

    waiting: int
    """Records that are not in the database yet."""
    bytes: int
    """What the segments hold, those taken over with them."""
    oldest_error: str | None
    """Why nothing reaches the database at the moment; None: it does."""
    refused: int
    """Attempts the database will never take, kept aside."""
    lost: int
    """Attempts of dead processes that were marked so by this one."""
    torn: int
    damaged: int


class SpoolCallLog:
    """CallLog of one gateway process; works inside `running()`."""

    def __init__(
        self,
        spool: Path,
        process: str,
        sink: AttemptSink,
        now: Callable[[], datetime],
        bounds: SpoolBounds | None = None,
    ) -> None:
        """Keep where to write; nothing is touched yet.

        `process` names this process, unlike any before: its folder has that name. `now` tells when
        a lost attempt was found.
        """
        self._spool = spool
        self._process = process
        self._bounds = bounds or SpoolBounds()
        self._delivery = Delivery(sink, spool / "refused")
        self._take_over = TakeOver(spool, self._delivery, now, self._bounds.batch_bytes)
        self._folder: LiveFolder | None = None
        self._open: dict[Key, tuple[datetime, int]] = {}
        """When each attempt under way began, and in which segment that is told."""
        self._held: deque[bytes] = deque()
        """Ends that could not be written to the disk; nothing is appended before them."""
        self._bringing_held = False
        self._kept = 0
        self._durable = 0
        self._read_to = len(HEADER)
        """How far the oldest segment has been brought to the database."""
        self._news = asyncio.Event()
        self._hurry = asyncio.Event()
        self._leaving = False
        self._error: str | None = None
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    # --- the callers' side ------------------------------------------------------------------------

    def began(self, attempt: AttemptBegan) -> None:
        """Keep that an attempt is about to leave; returns once it would survive our death.

        Raises Unavailable AUDIT_UNAVAILABLE.
        """
        folder = self._folder
        if folder is None or self._leaving:
            raise _unavailable("the record of model calls is not running")
        if folder.bytes + self._take_over.waiting_bytes >= self._bounds.most_bytes:
            raise _unavailable(
                f"{folder.bytes + self._take_over.waiting_bytes} bytes of records wait for the"
                f" database, at most {self._bounds.most_bytes} may: {self._error or 'it is slow'}"
            )
        try:
            segment = self._append(folder, frames.began(attempt))
        except OSError as error:
            raise _unavailable(f"{self._spool} cannot be written: {error}") from error
        self._open[attempt.call_id, attempt.attempt] = attempt.at, segment

    def ended(self, attempt: AttemptEnded) -> None:
        """Keep how it ended; never raises."""
        known = self._open.pop((attempt.call_id, attempt.attempt), None)
        folder = self._folder
        if known is None or folder is None:
            _LOG.error(
                "call %s, attempt %d ended and had not begun", attempt.call_id, attempt.attempt
            )
            return
        record = frames.ended(attempt, known[0])
        try:
            self._append(folder, record)
        except OSError as error:
            # A full disk must not lose an end: it waits here until there is room, and the
            # database may well take it before.
            _LOG.error("%s cannot be written, an end is held in memory: %s", self._spool, error)
            self._held.append(record)
            self._kept += 1
            self._news.set()

    async def durable(self, call_id: UUID) -> None:
        """Wait until what was said of a call is in the database.

        Raises Unavailable AUDIT_UNAVAILABLE if it is not within a bounded time.
        """
        if self._durable >= self._kept:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((self._kept, waiter))
        self._hurry.set()
        self._news.set()
        try:
            async with asyncio.timeout(self._bounds.patience_s):
                await waiter
        except TimeoutError:
            raise _unavailable(
                f"the record of call {call_id} is not in the database after"
                f" {self._bounds.patience_s} s: {self._error or 'it is slow'}"
            ) from None

    @property
    def waiting(self) -> int:
        """Return how many records are not in the database yet."""
        return self._kept - self._durable + self._take_over.waiting

    @property
    def state(self) -> SpoolState:
        """Return how the spool stands."""
        held = 0 if self._folder is None else self._folder.bytes
        return SpoolState(
            waiting=self.waiting,
            bytes=held + self._take_over.waiting_bytes,
            oldest_error=self._error,
            refused=self._delivery.refused,
            lost=self._take_over.lost,
            torn=self._take_over.torn,
            damaged=self._take_over.damaged,
        )

    # --- its own tasks ----------------------------------------------------------------------------

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Keep records while the block runs; then bring what is left, for a bounded time.

        What the database did not take is taken over by the next process. Raises as LiveFolder does.
        """
        self._folder = folder = LiveFolder(self._spool, self._process, self._bounds.segment_bytes)
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(self._bring_forever(folder))
                looking = tasks.create_task(self._look_forever(folder))
                try:
                    yield
                except BaseException as error:  # noqa: BLE001 - raised again below, as it came
                    failure = error
                await self._leave(writing)
                writing.cancel()
                looking.cancel()
        finally:
            self._folder = None
            owed = self._durable < self._kept or self._open
            folder.close(remove=not owed)
        if failure is not None:
            raise failure

    async def _leave(self, writing: asyncio.Task[None]) -> None:
        self._leaving = True
        self._take_over.halt.set()
        self._news.set()
        self._hurry.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.patience_s):
                await asyncio.shield(writing)

    def _append(self, folder: LiveFolder, record: bytes) -> int:
        """Append a record and return the number of its segment. Raises OSError."""
        if self._held:
            self._let_go_of_held(folder)
        segment = folder.append(record)
        segment.records += 1
        self._kept += 1
        self._news.set()
        return segment.number

    def _let_go_of_held(self, folder: LiveFolder) -> None:
        if self._bringing_held:
            raise OSError(errno.ENOSPC, "ends held in memory are on their way")
        while self._held:
            folder.append(self._held[0]).records += 1
            self._held.popleft()

    async def _bring_forever(self, folder: LiveFolder) -> None:
        pause = _FIRST_PAUSE_S
        while not (self._leaving and self._durable >= self._kept):
            await self._news.wait()
            self._news.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._bounds.batch_s):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                await self._bring_some(folder)
                while self._behind(folder):
                    await self._bring_some(folder)
            except (CaopanError, OSError) as error:
                self._tell(str(error))
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
                self._hurry.set()
            else:
                self._tell(None)
                pause = _FIRST_PAUSE_S
            if self._durable < self._kept:
                self._news.set()

    def _behind(self, folder: LiveFolder) -> bool:
        """Tell whether a whole batch waits already."""
        more = len(folder.segments) > 1
        return more or folder.segments[0].size - self._read_to >= self._bounds.batch_bytes

    async def _bring_some(self, folder: LiveFolder) -> None:
        """Bring one batch."""
        await self._remove_brought(folder)
        oldest = folder.segments[0]
        if self._read_to == oldest.size:
            await self._bring_held()
            return
        used, count = await asyncio.to_thread(self._bring, oldest.path, self._read_to, oldest.size)
        self._read_to += used
        self._brought(count)
        await self._remove_brought(folder)

    def _bring(self, path: Path, start: int, end: int) -> tuple[int, int]:
        """Bring records of a segment to the sink; return how many bytes and how many they were."""
        found = records_of(path, start, end, self._bounds.batch_bytes)
        if found.bad or found.broken or not found.used:
            raise CorruptState(
                "AUDIT_DAMAGED",
                f"{path} was changed behind our back: nothing can be read at byte {start}",
                remedy="stop whatever writes there; the file is kept",
            )
        self._delivery.deliver(gathered(found.frames, self._process))
        return found.used, sum(frame.kind is not Kind.OPEN for frame in found.frames)

    async def _bring_held(self) -> None:
        """Bring ends the disk had no room for straight from memory."""
        records = list(self._held)
        if not records:
            return
        whole = b"".join(records)
        self._bringing_held = True
        try:
            await asyncio.to_thread(
                self._delivery.deliver, gathered(frames.split(whole).frames, self._process)
            )
            for _ in records:
                self._held.popleft()
        finally:
            self._bringing_held = False
        self._brought(len(records))

    def _brought(self, count: int) -> None:
        self._durable += count
        while self._waiters and self._waiters[0][0] <= self._durable:
            _, waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)

    async def _remove_brought(self, folder: LiveFolder) -> None:
        """Remove segments whose every record is durable; attempts under way are carried over."""
        while len(folder.segments) > 1 and self._read_to == folder.segments[0].size:
            oldest = folder.segments[0]
            carried = [
                Opened(key, at) for key, (at, told) in self._open.items() if told <= oldest.number
            ]
            if carried:
                into = folder.append(frames.still_open(carried)).number
                self._open.update((one.key, (one.began_at, into)) for one in carried)
            folder.take_oldest()
            self._read_to = len(HEADER)
            await asyncio.to_thread(oldest.path.unlink, missing_ok=True)

    async def _look_forever(self, folder: LiveFolder) -> None:
        """Take over from the dead, and let no prompt lie on the disk longer than it must."""
        seen = 0
        while True:
            try:
                await asyncio.to_thread(self._take_over.take_over)
                if self._kept == seen == self._durable and folder.segments[-1].records:
                    folder.rotate()
                    await self._remove_brought(folder)
                seen = self._kept
            except (CaopanError, OSError) as error:
                self._tell(str(error))
            await asyncio.sleep(self._bounds.look_s)

    def _tell(self, error: str | None) -> None:
        if error is not None and self._error is None:
            _LOG.warning("records of model calls wait in %s: %s", self._spool, error)
        elif error is None and self._error is not None:
            _LOG.info("records of model calls reach the database again")
        self._error = error


def _unavailable(message: str) -> Unavailable:
    return Unavailable(
        "AUDIT_UNAVAILABLE",
        message,
        remedy="bring the database back, or give the spool room; nothing was sent to a model",
    )
