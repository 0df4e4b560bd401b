"""What comes before a body is bounded, for anybody: in length and in time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress

import pytest
import uvicorn
from uvicorn.server import ServerState

from caopan.interfaces.gateway import bounded_http
from caopan.interfaces.gateway.bounded_http import MOST_HEAD, BoundedHttp

HOST = b"Host: localhost\r\n"


async def _answer(_scope, receive, send):
    size = 0
    while True:
        message = await receive()
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def connected():
    config = uvicorn.Config(_answer, http=BoundedHttp, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: BoundedHttp(config=config, server_state=state, app_state={}), "127.0.0.1"
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n"])
async def test_a_head_without_end_is_refused_long_before_it_fills_the_memory(start):
    piece = b"x-a: b\r\n" * 1_000 if start.endswith(b"\n") else b"a" * 8_000
    async with asyncio.timeout(10), connected() as (reader, writer):
        writer.write(start)
        sent = 0
        with suppress(ConnectionError):
            while sent < 100 * MOST_HEAD and not reader.at_eof():
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
                await asyncio.sleep(0)
        assert sent < 100 * MOST_HEAD


async def test_calls_of_one_connection_with_long_bodies_and_heads_are_served():
    head = b"POST / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * (MOST_HEAD // 2) + b"\r\n"
    body = b"b" * (3 * MOST_HEAD)
    async with asyncio.timeout(10), connected() as (reader, writer):
        for _ in range(3):
            writer.write(head + f"Content-Length: {len(body)}\r\n\r\n".encode())
            await writer.drain()
            writer.write(body)
            told = await reader.readuntil(b"\r\n\r\n")
            assert told.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(6) == str(len(body)).encode()


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX: y"])
async def test_a_head_that_does_not_come_to_its_end_is_not_waited_for(sent, monkeypatch):
    monkeypatch.setattr(bounded_http, "HEAD_WITHIN_S", 0.05)
    async with asyncio.timeout(10), connected() as (reader, writer):
        writer.write(sent)
        assert await reader.read() == b""
