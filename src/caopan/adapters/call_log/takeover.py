"""What dead gateway processes left behind: brought to the database, the unfinished marked lost.

Owns the taking over of their folders. Must never touch the folder of a process that lives (its lock
tells), nor remove one before all it holds is durable; a damaged segment is set aside, not removed.
Tests: tests/integration/gateway.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from caopan.adapters.call_log import frames
from caopan.adapters.call_log.delivery import Delivery, gathered
from caopan.adapters.call_log.frames import Frame, Key, Kind
from caopan.adapters.call_log.segments import (
    HEADER,
    DeadFolder,
    count_records,
    dead_folders,
    has_header,
    records_of,
)
from caopan.application.ports.gateway import AttemptEnded
from caopan.application.ports.model_calls import KeptAttempt
from caopan.domain.gateway.outcome import Outcome
from caopan.domain.gateway.usage import Tokens

_LOG: Final = logging.getLogger(__name__)


class TakeOver:
    """Looks after the folders of dead processes; runs in a thread, one call at a time."""

    def __init__(
        self, spool: Path, delivery: Delivery, now: Callable[[], datetime], batch_bytes: int
    ) -> None:
        """Look below `spool`; what cannot be read is set aside in `spool/damaged`."""
        self._spool = spool
        self._delivery = delivery
        self._now = now
        self._batch_bytes = batch_bytes
        self.halt = threading.Event()
        """Set when the process is about to leave; what is unfinished waits for the next."""
        self.waiting_bytes = 0
        """Of dead processes' segments that are not in the database yet."""
        self.waiting = 0
        """Records in them."""
        self.lost = 0
        """Attempts whose process died under them."""
        self.torn = 0
        """Records that were cut off when their process died."""
        self.damaged = 0
        """Segments set aside because they cannot be read whole."""

    def take_over(self) -> None:
        """Bring everything dead processes left to the database.

        Raises what the sink raises, and OSError; the rest then waits for the next time.
        """
        for folder in dead_folders(self._spool):
            done = False
            try:
                done = self._bring(folder)
            finally:
                folder.close(remove=done)
            if self.halt.is_set():
                return

    def _bring(self, folder: DeadFolder) -> bool:
        """Return whether all of it is durable."""
        segments = folder.segments()
        self.waiting_bytes = sum(path.stat().st_size for path in segments)
        self.waiting = sum(count_records(path, self._batch_bytes) for path in segments)
        under_way: dict[Key, datetime] = {}
        unreadable: list[Path] = []
        for path in segments:
            if not has_header(path) or not self._bring_segment(folder.process, path, under_way):
                unreadable.append(path)
            if self.halt.is_set():
                return False
        self._lose(folder.process, under_way)
        for path in unreadable:
            self._set_aside(folder.process, path)
        for path in segments:
            path.unlink(missing_ok=True)
        self.waiting = self.waiting_bytes = 0
        return True

    def _bring_segment(self, process: str, path: Path, under_way: dict[Key, datetime]) -> bool:
        """Deliver what a segment holds; return whether all of it could be read."""
        at, whole = len(HEADER), True
        while not self.halt.is_set():
            found = records_of(path, at, None, self._batch_bytes)
            whole = whole and not found.bad and not found.broken
            self._delivery.deliver(gathered(found.frames, process))
            self.waiting = max(0, self.waiting - len(found.frames))
            for frame in found.frames:
                _follow(frame, under_way)
            at += found.used
            self.waiting_bytes = max(0, self.waiting_bytes - found.used)
            if found.broken or not (found.used or found.wanted):
                break
            if not found.used:
                # The last write of a process that was killed in the middle of it.
                self.torn += 1
                break
        return whole

    def _lose(self, process: str, under_way: dict[Key, datetime]) -> None:
        lost = [
            KeptAttempt(*key, began_at, process, None, _lost(key, self._now()))
            for key, began_at in under_way.items()
        ]
        self._delivery.deliver(lost)
        self.lost += len(lost)
        if lost:
            _LOG.warning("%d attempts of gateway process %s are lost: it died", len(lost), process)

    def _set_aside(self, process: str, path: Path) -> None:
        aside = self._spool / "damaged"
        aside.mkdir(mode=0o700, exist_ok=True)
        path.rename(aside / f"{process}-{path.name}")
        self.damaged += 1
        _LOG.error(
            "%s is damaged; what could be read of it is stored, it is kept in %s", path, aside
        )


def _follow(frame: Frame, under_way: dict[Key, datetime]) -> None:
    if frame.kind is Kind.BEGAN:
        began = frames.read_began(frame)
        under_way[began.call_id, began.attempt] = began.at
    elif frame.kind is Kind.ENDED:
        ended, _ = frames.read_ended(frame)
        under_way.pop((ended.call_id, ended.attempt), None)
    else:
        under_way.update((one.key, one.began_at) for one in frames.read_open(frame))


def _lost(key: Key, at: datetime) -> AttemptEnded:
    call_id, attempt = key
    return AttemptEnded(
        call_id=call_id,
        attempt=attempt,
        at=at,
        outcome=Outcome.LOST,
        error_code="GATEWAY_DIED",
        detail="the gateway died during the attempt; what the vendor did is not known",
        status=None,
        model_served="",
        tokens=Tokens(),
        usage_raw=None,
        cost=None,
        price_version=None,
        ttft_ms=None,
        latency_ms=0,
        overhead_ms=0,
        breaker="",
        quality=None,
        response=b"",
    )
