"""Drives one target from a process of its own: `python driver.py PORT CONNECTIONS SECONDS STREAM`.

Keep-alive connections, each with one request under way. The token, if any, is the first line of
standard input. Prints one line of JSON: requests a second, latencies, bytes, failures.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, cast

import orjson
import uvloop

from caopan.adapters.clock.system import monotonic_ms

_PROMPT = "Here is the observation of one account and forty symbols. " * 25
_WARM_MS = 500.0


def _request(port: int, token: str, *, stream: bool) -> bytes:
    asked: dict[str, Any] = {
        "model": "bench",
        "messages": [
            {"role": "system", "content": "You are a careful trader."},
            {"role": "user", "content": _PROMPT},
        ],
        "temperature": 0,
        "max_tokens": 800,
    }
    if stream:
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    body = orjson.dumps(asked)
    lines = [
        "POST /v1/chat/completions HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        *([f"authorization: Bearer {token}"] if token else []),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Tally:
    """What all connections of a run found."""

    def __init__(self, begins_ms: float, ends_ms: float) -> None:
        """Count between two instants; what comes before is warm-up."""
        self.begins_ms = begins_ms
        self.ends_ms = ends_ms
        self.latencies: list[float] = []
        self.answered = 0
        """Of all, warm-up included."""
        self.failures = 0
        self.first_failure = ""
        self.size = 0


class Caller(asyncio.Protocol):
    """One connection: asks, waits for the whole answer, asks again."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        """Ask as soon as the connection stands; `done` is set once it may ask no more."""
        self._request = request
        self._tally = tally
        self._transport: asyncio.Transport | None = None
        self._read = bytearray()
        self._need: int | None = None
        self._began = 0.0
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count a connection that the other side ended."""
        if not self.done.done():
            self._fail(f"connection lost: {exc}")
            self.done.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take what came; the answer is whole by its length, or by its last chunk."""
        read = self._read
        read += data
        if self._need is None:
            end = read.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(read[:end]).lower()
            at = head.find(b"content-length:")
            length = 0 if at < 0 else int(head[at + 15 :].split(b"\r\n", 1)[0])
            self._need = -1 if at < 0 else end + 4 + length
        whole = read.endswith(b"0\r\n\r\n") if self._need < 0 else len(read) >= self._need
        if whole:
            self._answered()

    def _ask(self) -> None:
        self._read.clear()
        self._need = None
        self._began = monotonic_ms()
        if self._transport is not None:
            self._transport.write(self._request)

    def _answered(self) -> None:
        now = monotonic_ms()
        self._tally.answered += 1
        if not self._read.startswith(b"HTTP/1.1 200"):
            self._fail(bytes(self._read[:300]).decode(errors="replace"))
        elif self._began >= self._tally.begins_ms and now <= self._tally.ends_ms:
            self._tally.latencies.append(now - self._began)
            self._tally.size = len(self._read)
        if now < self._tally.ends_ms:
            self._ask()
            return
        self.done.set_result(None)
        if self._transport is not None:
            self._transport.close()

    def _fail(self, told: str) -> None:
        self._tally.failures += 1
        self._tally.first_failure = self._tally.first_failure or told


async def _drive(port: int, connections: int, seconds: float, token: str, stream: bool) -> Tally:  # noqa: FBT001 - from the command line
    loop = asyncio.get_running_loop()
    begins = monotonic_ms() + _WARM_MS
    tally = Tally(begins, begins + seconds * 1000)
    request = _request(port, token, stream=stream)
    made = [
        await loop.create_connection(lambda: Caller(request, tally), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(caller.done for _, caller in made))
    return tally


def main() -> None:
    """Drive once and print what was found."""
    port, connections, seconds, stream = sys.argv[1:5]
    token = sys.stdin.readline().strip()
    told = uvloop.run(_drive(int(port), int(connections), float(seconds), token, stream == "1"))
    found = sorted(told.latencies) or [0.0]
    result = {
        "answered": told.answered,
        "rps": len(told.latencies) / float(seconds),
        "p50_ms": found[len(found) // 2],
        "p99_ms": found[min(len(found) - 1, int(0.99 * len(found)))],
        "bytes": told.size,
        "failures": told.failures,
        "first_failure": told.first_failure,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
