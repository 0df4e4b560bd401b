"""A vendor that costs almost nothing: `python upstream.py` prints its port and answers for ever.

A 600-token completion at once, whole or as a stream of 60 events in one write. It reads no more of
a request than its length and whether it asks for a stream.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, cast

import orjson
import uvloop

_WORDS = "strength fades as volume dries up near the limit; hold, and look again after lunch. "
_EVENTS = 60
_ID: dict[str, Any] = {"id": "chatcmpl-bench", "created": 1_790_000_000, "model": "bench-model"}
_USAGE = {"prompt_tokens": 300, "completion_tokens": 600, "total_tokens": 900}
_TEXT = (_WORDS * 30)[:2_400]


def _whole() -> bytes:
    message = {"role": "assistant", "content": _TEXT}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return orjson.dumps({**_ID, "object": "chat.completion", "choices": [choice], "usage": _USAGE})


def _event(delta: dict[str, Any], finish: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    chunk = {**_ID, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


def _stream() -> bytes:
    size = len(_TEXT) // _EVENTS
    parts = [_TEXT[at : at + size] for at in range(0, len(_TEXT), size)]
    told = [_event({"role": "assistant", "content": ""}, None)]
    told += [_event({"content": part}, None) for part in parts]
    told.append(_event({}, "stop"))
    last = {**_ID, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}
    return b"".join(told) + b"data: " + orjson.dumps(last) + b"\n\ndata: [DONE]\n\n"


def _answer(kind: bytes, body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + kind
    return head + b"\r\ncontent-length: " + str(len(body)).encode() + b"\r\n\r\n" + body


def _chunked(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    return head + b"\r\n" + f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


WHOLE = _answer(b"application/json", _whole())
STREAM = _chunked(_stream())


class Vendor(asyncio.Protocol):
    """One connection; requests are answered in turn."""

    def __init__(self) -> None:
        """Have read nothing yet."""
        self._transport: asyncio.Transport | None = None
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            length = _length(self._read[:end])
            if len(self._read) < end + 4 + length:
                return
            body = self._read[end + 4 : end + 4 + length]
            self._read = self._read[end + 4 + length :]
            streamed = b'"stream":true' in body or b'"stream": true' in body
            if self._transport is not None:
                self._transport.write(STREAM if streamed else WHOLE)


def _length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"content-length:")
    if at < 0:
        return 0
    return int(lower[at + 15 :].split(b"\r\n", 1)[0])


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Vendor, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
