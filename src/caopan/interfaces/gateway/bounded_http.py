"""The server's protocol with a bound on what comes before a body.

Owns BoundedHttp: how long the head of a request may be, and how long it may take. Anybody who
reaches the port can send one, with or without a key. Must never know what a request asks for.
Tests: tests/unit/interfaces/gateway/test_bounded_http.py.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from caopan.interfaces.gateway.one_write import OneWrite

MOST_HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers together."""
HEAD_WITHIN_S: Final = 30.0
_TOO_LONG: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class BoundedHttp(HttpToolsProtocol):
    """Closes a connection whose request head is too long or does not end."""

    _head_bytes = 0
    """Of the head that is coming, as far as whole pieces tell."""
    _in_head = True
    _due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        joined = OneWrite(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", joined))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came, unless it is more than a head may have."""
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        if self._head_bytes > MOST_HEAD:
            self.transport.write(_TOO_LONG)
            self.transport.close()
        else:
            # Nearly every head comes in one piece, and needs no timer.
            self._watch()

    def on_message_begin(self) -> None:
        """Note that a head begins."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """Note that a head has ended."""
        self._in_head = False
        self._head_bytes = 0
        self._unwatch()
        super().on_headers_complete()

    def _watch(self) -> None:
        if self._due is None:
            self._due = self.loop.call_later(HEAD_WITHIN_S, self._late)

    def _unwatch(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _late(self) -> None:
        self._due = None
        self.transport.close()
