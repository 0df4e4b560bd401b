"""From records to the database: what of one attempt belongs together, and what it refuses.

Owns the gathering of frames into attempts and their delivery to the sink. What the database can
never store is set aside in a file for a person, so that it holds up nothing behind it. Must never
pass over an attempt in silence. Tests: tests/integration/gateway/test_spool.py.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from caopan.adapters.call_log import frames
from caopan.adapters.call_log.frames import Frame, Kind
from caopan.application.ports.model_calls import AttemptSink, KeptAttempt
from caopan.kernel.errors import CorruptState

_LOG: Final = logging.getLogger(__name__)
_NEVER: Final = frozenset({"CHECK_VIOLATION", "DB_VALUE", "NULL_VIOLATION"})
"""What is wrong with a row itself; all else is worth repeating."""


def gathered(found: Iterable[Frame], process: str) -> list[KeptAttempt]:
    """Return what frames tell, each attempt once, in the order in which they were first met."""
    attempts: dict[frames.Key, KeptAttempt] = {}
    for frame in found:
        if frame.kind is Kind.BEGAN:
            began = frames.read_began(frame)
            attempts[began.call_id, began.attempt] = KeptAttempt(
                began.call_id, began.attempt, began.at, process, began, None
            )
        elif frame.kind is Kind.ENDED:
            ended, began_at = frames.read_ended(frame)
            key = ended.call_id, ended.attempt
            known = attempts.get(key) or KeptAttempt(*key, began_at, process, None, None)
            attempts[key] = replace(known, ended=ended)
    return list(attempts.values())


class Delivery:
    """Brings attempts to the sink; keeps those it will never take in a folder aside."""

    def __init__(self, sink: AttemptSink, aside: Path) -> None:
        """Deliver to `sink`; `aside` is made when it is first needed."""
        self._sink = sink
        self._aside = aside
        self.refused = 0
        """Attempts set aside."""

    def deliver(self, attempts: Sequence[KeptAttempt]) -> None:
        """Make all durable, in the database or aside.

        Raises what the sink raises where it is worth repeating, and OSError.
        """
        if not attempts:
            return
        try:
            unknown = self._sink.write(attempts)
        except CorruptState as error:
            if error.code not in _NEVER:
                raise
            if len(attempts) == 1:
                self._set_aside(attempts[0], error.message)
                return
            middle = len(attempts) // 2
            self.deliver(attempts[:middle])
            self.deliver(attempts[middle:])
            return
        for one in unknown:
            self._set_aside(one, "it ended, and its beginning is not stored")

    def _set_aside(self, one: KeptAttempt, why: str) -> None:
        told = b"" if one.began is None else frames.began(one.began)
        if one.ended is not None:
            told += frames.ended(one.ended, one.began_at)
        self._aside.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._aside / f"{one.process}.seg"
        opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(opened, told)
        finally:
            os.close(opened)
        self.refused += 1
        _LOG.error(
            "model call %s, attempt %d, is kept in %s, not in the database: %s",
            one.call_id,
            one.attempt,
            path,
            why,
        )
