"""Lines that can be cut and a Valkey that can be killed, for what happens when things go away."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from redis import Redis
from redis.exceptions import RedisError

from caopan.adapters.embedded.binaries import bundled


class Line:
    """A TCP line to a server that can be cut, mended, and made to hang."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = parts.hostname, parts.port
        self._parts = parts
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def url(self) -> str:
        """Return the server's URL by way of this line."""
        user = self._parts.netloc.rpartition("@")[0]
        return urlunsplit(self._parts._replace(netloc=f"{user}@127.0.0.1:{self._port}"))

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._open):
            writer.transport.abort()

    def hang(self) -> None:
        """Keep what is said from arriving."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other_reader, other_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, other_writer}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._copy(reader, other_writer))
            tasks.create_task(self._copy(other_reader, writer))
        self._open -= {writer, other_writer}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


@pytest.fixture
async def line() -> AsyncGenerator[Callable[[str], Awaitable[Line]]]:
    """Lay lines; they are cut at the end."""
    laid: list[Line] = []

    async def lay(url: str) -> Line:
        laid.append(Line(url))
        await laid[-1].mend()
        return laid[-1]

    yield lay
    for one in laid:
        one.flow()
        await one.cut()


class OwnValkey:
    """A Valkey of this test alone, which keeps nothing when it is killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        words = [str(bundled().valkey), "--port", str(self._port), "--bind", "127.0.0.1"]
        words += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        while not self._answers():
            assert self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url) as link:
                return bool(link.ping())
        except RedisError:
            return False


@pytest.fixture
def own_valkey(tmp_path: Path) -> Generator[OwnValkey]:
    server = OwnValkey(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait until a condition holds; be patient: only that it comes true matters, not when."""

    async def wait(condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():  # noqa: ASYNC110 - what is waited for is no event of ours
                await asyncio.sleep(0.01)

    return wait
