"""The gateway as an ASGI application: calls on the short way, everything else to the pages.

Owns the way of a call from the wire to the gateway and back: who calls, what was read, whole or as
a stream, and that a caller who leaves takes their call with them. Must never put anything between a
call and the gateway that is not needed, nor let an error out in another shape than OpenAI's.
Tests: tests/unit/interfaces/gateway/test_surface.py.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from caopan.application.gateway.calls import Answered, Call, CallRefused, read_call
from caopan.application.gateway.gateway import Streamed
from caopan.application.ports.gateway import Path
from caopan.bootstrap.gateway_service import GatewayService
from caopan.interfaces.gateway.wire import (
    ClientGone,
    Hosts,
    Receive,
    Scope,
    Send,
    check_depth,
    encoded,
    headers_of,
    read_body,
    send_answer,
)

_LOG = logging.getLogger(__name__)
_CALLS: Final = {"/v1/chat/completions": Path.CHAT, "/v1/embeddings": Path.EMBEDDINGS}
_GONE: Final = 499
"""What is counted for a caller who left; nobody is there to be told."""

Page = Callable[[Scope, Receive, Send], Awaitable[None]]


class Surface:
    """Serves calls itself and leaves the rest to `pages`."""

    def __init__(
        self, service: GatewayService, pages: Page, hosts: Hosts, *, most_body: int
    ) -> None:
        """Answer to `hosts`; read no body longer than `most_body` bytes."""
        self._service = service
        self._pages = pages
        self._hosts = hosts
        self._most_body = most_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            # There is neither a lifespan nor a websocket here.
            return
        received_ms = self._service.monotonic_ms()
        try:
            self._hosts.check(scope["headers"])
            path = _CALLS.get(scope["path"])
            if path is not None and scope["method"] == "POST":
                await self._serve(path, received_ms, scope, receive, send)
            else:
                await self._pages(scope, receive, send)
        except CallRefused as refused:
            await send_answer(send, refused.answer())

    async def _serve(
        self, path: Path, received_ms: float, scope: Scope, receive: Receive, send: Send
    ) -> None:
        service, headers = self._service, headers_of(scope)
        call: Call | None = None
        status = _GONE
        try:
            client = service.clients.known(headers.get("authorization"), service.clock.now())
            raw = await read_body(receive, headers, self._most_body)
            check_depth(raw)
            call = read_call(
                raw,
                headers,
                client=client,
                path=path,
                call_id=service.new_id(),
                received_ms=received_ms,
            )
            status = await self._answered(call, receive, send)
        except CallRefused as refused:
            status = refused.status
            raise
        except ClientGone:
            pass
        finally:
            # Names that nobody configured would let a caller fill our memory.
            known = call is not None and call.alias in service.models.snapshot().routes
            service.tallies.answered(call.alias if call and known else "", path, status)

    async def _answered(self, call: Call, receive: Receive, send: Send) -> int:
        """Answer a call and return the status; a caller who leaves cancels it.

        Raises ClientGone.
        """
        answer = self._streamed if call.stream else self._whole
        status = 0
        try:
            async with asyncio.TaskGroup() as tasks:
                watch = tasks.create_task(_until_gone(receive))
                status = await answer(call, send)
                watch.cancel()
        except* ClientGone:
            status = 0
        if not status:
            raise ClientGone
        return status

    async def _whole(self, call: Call, send: Send) -> int:
        answer = await self._guarded(call)
        await send_answer(send, answer)
        return answer.status

    async def _guarded(self, call: Call) -> Answered:
        try:
            return await self._service.gateway.complete(call)
        except Exception:  # noqa: BLE001 - the last handler: a caller gets our error, not a broken line
            _LOG.exception("call %s", call.call_id)
            return _internal(call).answer()

    async def _streamed(self, call: Call, send: Send) -> int:
        has_begun = False
        try:
            async with self._service.gateway.stream(call) as found:
                if not isinstance(found, Streamed):
                    has_begun = True
                    await send_answer(send, found)
                    return found.status
                has_begun = True
                start = {"type": "http.response.start", "status": 200}
                await send({**start, "headers": encoded(found.headers)})
                async for chunk in found.chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
                return 200
        except Exception:
            _LOG.exception("call %s", call.call_id)
            if has_begun:
                # The caller sees a stream without its end, as with any that breaks.
                raise
            refused = _internal(call)
            await send_answer(send, refused.answer())
            return refused.status


async def _until_gone(receive: Receive) -> None:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone


def _internal(call: Call) -> CallRefused:
    message = f"Something in the gateway is broken; its log tells more of call {call.call_id}."
    return CallRefused(500, "INTERNAL", message, kind="server_error")
