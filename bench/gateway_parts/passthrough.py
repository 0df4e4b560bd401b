"""The floor in Python: uvicorn in front, an aiohttp client behind, nothing between.

`python passthrough.py PORT UPSTREAM_PORT`. No keys, no parsing, no record: what any gateway built
of these parts costs at least.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import aiohttp
import uvicorn
from starlette.types import Receive, Scope, Send


class PassThrough:
    """An ASGI application that sends every body on and every chunk back."""

    def __init__(self, upstream: str) -> None:
        """Connect when the first request comes."""
        self._upstream = upstream
        self._client: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if self._client is None:
            connector = aiohttp.TCPConnector(limit=0)
            self._client = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        headers = {"content-type": "application/json"}
        url = self._upstream + scope["path"]
        async with self._client.post(url, data=body, headers=headers) as answer:
            kind = answer.headers.get("content-type", "").encode()
            start = {"type": "http.response.start", "status": answer.status}
            await send({**start, "headers": [(b"content-type", kind)]})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


def main() -> None:
    """Serve for ever."""
    port, upstream = int(sys.argv[1]), int(sys.argv[2])
    app = PassThrough(f"http://127.0.0.1:{upstream}")
    config = uvicorn.Config(app, loop="uvloop", http="httptools", lifespan="off", log_level="error")
    config.access_log = False
    bound = socket.socket()
    bound.bind(("127.0.0.1", port))
    sys.stdout.write(f"{bound.getsockname()[1]}\n")
    sys.stdout.flush()
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(uvicorn.Server(config).serve(sockets=[bound]))


if __name__ == "__main__":
    main()
