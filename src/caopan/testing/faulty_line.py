"""A line between a trader and its broker's process that breaks, delays, repeats and garbles.

Owns FaultyLine: a proxy of whole messages between two Unix sockets, with a fault for the n-th
request of a method, and a record of every request that passed. Must never make up a request. Never
used by production code.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from caopan.adapters.brokers.remote.wire import Malformed, framed, receive


class LineFault(StrEnum):
    """What goes wrong with one request."""

    CUT_BEFORE = "cut_before"
    """It left, the line broke, it never arrived."""
    CUT_AFTER = "cut_after"
    """It arrived, and the line broke before the answer."""
    HALF_ANSWER = "half_answer"
    """The line broke in the middle of the answer."""
    LATE_ANSWER = "late_answer"
    """The answer comes when nobody waits for it any more."""
    TWO_ANSWERS = "two_answers"
    GARBAGE = "garbage"
    """Something that is no message, instead of the answer."""
    OTHER_ANSWER = "other_answer"
    """A well-formed message of another meaning."""


class FaultyLine:
    """Stands between `here`, where traders dial, and `there`, where the broker listens."""

    def __init__(
        self,
        here: Path,
        there: Path,
        faults: Mapping[tuple[str, int], LineFault] | None = None,
        *,
        late_s: float = 1.0,
    ) -> None:
        """Meet the n-th (from 0) request of a method with its fault; all others pass."""
        self.here, self._there = here, there
        self._faults = dict(faults or {})
        self._late_s = late_s
        self._counts: Counter[str] = Counter()
        self.requests: list[tuple[int, str, dict[str, Any]]] = []
        """Connection, method and what was given, in the order of arrival here."""
        self.met: list[LineFault] = []
        self._connections = 0
        self._tasks: set[asyncio.Task[object]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_unix_server(self._serve, self.here)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up on everybody."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def sent(self, method: str, connection: int | None = None) -> list[dict[str, Any]]:
        """Return what was given with each request of `method`."""
        return [
            given
            for number, name, given in self.requests
            if name == method and connection in (None, number)
        ]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number = self._connections
        self._connections += 1
        broker = None
        try:
            with contextlib.suppress(OSError, EOFError, Malformed, asyncio.CancelledError):
                there, broker = await asyncio.open_unix_connection(self._there)
                await self._pass_on(number, (reader, writer), (there, broker))
        finally:
            self._tasks.discard(task)
            writer.close()
            if broker is not None:
                broker.close()

    async def _pass_on(
        self,
        number: int,
        trader: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        broker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        while True:
            request = await receive(trader[0])
            method = str(request.get("method", "hello"))
            fault = self._faults.get((method, self._counts[method]))
            self._counts[method] += 1
            self.requests.append((number, method, dict(request.get("given", {}))))
            if fault is not None:
                self.met.append(fault)
            if fault is LineFault.CUT_BEFORE:
                return
            broker[1].write(framed(request))
            answer = framed(await receive(broker[0]))
            if fault in (LineFault.CUT_AFTER, LineFault.HALF_ANSWER):
                if fault is LineFault.HALF_ANSWER:
                    trader[1].write(answer[: len(answer) // 2])
                    await trader[1].drain()
                return
            if fault is LineFault.LATE_ANSWER:
                await asyncio.sleep(self._late_s)
            trader[1].write(_garbled(answer, fault))
            await trader[1].drain()


def _garbled(answer: bytes, fault: LineFault | None) -> bytes:
    if fault is LineFault.TWO_ANSWERS:
        return answer + answer
    if fault is LineFault.GARBAGE:
        return b"\0\0\0\x0b{\xff no answer"
    if fault is LineFault.OTHER_ANSWER:
        return framed({"result": {"welcome": True}})
    return answer
