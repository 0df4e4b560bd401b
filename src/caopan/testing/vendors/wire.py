"""A small HTTP/1.1 server whose every byte can be chosen, also the wrong ones.

Owns Vendor (what a fake vendor is: a key, a record of what it was asked, an `answer`), Call and
Wire (one request, and the hand that answers it). Must never repair what a fake does wrong on
purpose. Never used by production code.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

_REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 404: "Not Found", 429: "Too Many"}
_MOST_HEAD = 1 << 16


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON from outside
        """The body as a JSON object; empty if it is none."""
        try:
            found: Any = json.loads(self.body)
        except ValueError:
            return {}
        return cast("Any", found) if isinstance(found, dict) else {}


class Gone(Exception):
    """The client has closed the connection."""


@dataclass(slots=True)
class Wire:
    """Answers one request."""

    writer: asyncio.StreamWriter
    reader: asyncio.StreamReader
    chunked: bool = False
    keep: bool = True
    """The connection may serve another request."""

    async def whole(
        self, status: int, body: object, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with JSON and its length."""
        data = json.dumps(body, ensure_ascii=False).encode()
        await self.raw(status, data, {"content-type": "application/json", **(headers or {})})

    async def raw(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        """Answer with bytes and their length."""
        await self.head(status, {"content-length": str(len(data)), **headers})
        await self.write(data)

    async def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Send status and headers as they are."""
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        await self.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def stream(self, headers: Mapping[str, str] | None = None) -> None:
        """Begin a stream of events."""
        self.chunked = True
        told = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        await self.head(200, {**told, **(headers or {})})

    async def event(self, body: object) -> None:
        """Send one event of a stream."""
        text = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
        await self.chunk(f"data: {text}\n\n".encode())

    async def chunk(self, data: bytes) -> None:
        """Send one chunk of a stream."""
        await self.write(b"%x\r\n%s\r\n" % (len(data), data) if self.chunked else data)

    async def end(self) -> None:
        """End a stream properly."""
        await self.write(b"0\r\n\r\n")

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises Gone."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except (ConnectionError, ssl.SSLError):
            raise Gone from None

    def abort(self) -> None:
        """Break the connection."""
        self.keep = False
        self.writer.transport.abort()

    async def wait(self, seconds: float) -> None:
        """Do nothing for a while. Raises Gone as soon as the client has gone."""
        try:
            async with asyncio.timeout(seconds):
                # A client that waits sends nothing, so whatever arrives is its end.
                await self.reader.read(1)
        except TimeoutError:
            return
        except ConnectionError:
            pass
        raise Gone


@dataclass
class Vendor(ABC):
    """A fake vendor. Its record of calls may be read while it runs."""

    key: str = ""
    """The bearer token it wants; empty for none."""
    calls: list[Call] = field(default_factory=list[Call])
    gone: list[str] = field(default_factory=list[str])
    """Paths of the calls whose client left before the end."""
    connections: int = 0
    """How many were accepted so far."""
    under_way: int = 0

    @abstractmethod
    async def answer(self, call: Call, wire: Wire) -> None:
        """Answer one request, rightly or wrongly."""

    @property
    def base(self) -> str:
        """Path of the base URL."""
        return "/v1"

    @asynccontextmanager
    async def open(
        self, *, port: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncGenerator[str]:
        """Serve on loopback in this event loop and yield the base URL."""
        server = await asyncio.start_server(
            self._serve, "127.0.0.1", port, ssl=tls, limit=_MOST_HEAD, ssl_shutdown_timeout=None
        )
        scheme, host = ("https", "localhost") if tls else ("http", "127.0.0.1")
        try:
            number = server.sockets[0].getsockname()[1]
            yield f"{scheme}://{host}:{number}{self.base}"
        finally:
            server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            await self._quiet.wait()

    @contextmanager
    def in_thread(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> Generator[str]:
        """Serve on loopback beside this thread and yield the base URL."""
        told: list[str] = []
        ready = threading.Event()
        loop = asyncio.new_event_loop()
        done = asyncio.Event()

        async def serve() -> None:
            try:
                async with self.open(port=port, tls=tls) as url:
                    told.append(url)
                    ready.set()
                    await done.wait()
            finally:
                ready.set()

        thread = threading.Thread(target=loop.run_until_complete, args=[serve()], daemon=True)
        thread.start()
        ready.wait()
        try:
            if not told:
                msg = f"nothing can be served on port {port}"
                raise OSError(msg)
            yield told[0]
        finally:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done.set)
            thread.join()
            loop.close()

    def __post_init__(self) -> None:
        """Begin without connections."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        self._quiet.clear()
        try:
            keep = True
            while keep and (call := await _read(reader)) is not None:
                self.calls.append(call)
                wire = Wire(writer, reader)
                self.under_way += 1
                try:
                    await self.answer(call, wire)
                except Gone:
                    self.gone.append(call.path)
                    break
                finally:
                    self.under_way -= 1
                keep = wire.keep
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
            if not self._writers:
                self._quiet.set()


async def _read(reader: asyncio.StreamReader) -> Call | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    length = int(headers.get("content-length", "0"))
    return Call(method, path, headers, await reader.readexactly(length) if length else b"")
