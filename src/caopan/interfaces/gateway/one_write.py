"""A connection on which what one step of the event loop writes leaves in one go.

Owns OneWrite. The server writes the head of an answer and its body apart: two calls of the system,
two packets, two times that the other side is woken. Must never hold anything back beyond the step
in which it was written, nor change its order.
Tests: tests/unit/interfaces/gateway/test_one_write.py.
"""

from __future__ import annotations

import asyncio
from typing import Any


class OneWrite:
    """Stands before a transport. What is not named here is the transport's own."""

    __slots__ = ("_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Write to `transport` once in each step of `loop`."""
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep `data` until this step ends."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def is_closing(self) -> bool:
        """Tell whether the connection is closed, or about to be."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close once everything has left."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the transport has
        """Return what the transport has."""
        return getattr(self._transport, name)

    def _flush(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
