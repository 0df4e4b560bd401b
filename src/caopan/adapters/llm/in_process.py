"""Answers that no wire brings, under the same clock and in the same shapes as those that one does.

Owns InProcessExchange (one attempt at an endpoint inside this process) and the forms of its
answers. Must never outlast the bounds of its request. Tests:
tests/contract/gateway/test_upstream.py.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self, cast

import orjson

from caopan.application.gateway.assembling import as_events
from caopan.application.ports.gateway import UpstreamFailed, UpstreamRequest
from caopan.domain.gateway.outcome import FailureClass

OK: Final = 200
JSON: Final = {"content-type": "application/json"}
EVENTS: Final = {"content-type": "text/event-stream"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """An answer whose headers are ready: a body at once, or one that comes in parts."""

    status: int
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    body: bytes = b""
    parts: AsyncGenerator[bytes] | None = None
    """Instead of `body`; may rest between parts, may raise UpstreamFailed."""


class InProcessUpstream(ABC):
    """The way to endpoints of one kind inside this process."""

    def send(self, request: UpstreamRequest) -> InProcessExchange:
        """Send one request; entering waits for the answer's headers. Raises UpstreamFailed."""
        return InProcessExchange(self, request)

    @abstractmethod
    async def prepare(self, request: UpstreamRequest) -> Prepared:
        """Return the answer to a request. Raises UpstreamFailed."""


class InProcessExchange:
    """One attempt: the context of `send` and, once entered, its answer."""

    __slots__ = ("_began", "_prepared", "_request", "_upstream")

    def __init__(self, upstream: InProcessUpstream, request: UpstreamRequest) -> None:
        """Keep what is asked."""
        self._upstream = upstream
        self._request = request
        self._prepared: Prepared
        self._began = 0.0

    async def __aenter__(self) -> Self:
        """Ask, and return itself once the headers are ready."""
        request = self._request
        self._began = asyncio.get_running_loop().time()
        waits_ms = min(request.first_byte_ms, request.total_ms)
        try:
            async with asyncio.timeout_at(self._began + waits_ms / 1000):
                self._prepared = await self._upstream.prepare(request)
        except TimeoutError:
            raise _late(f"no answer within {waits_ms} ms") from None
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop answering."""
        if self._prepared.parts is not None:
            with suppress(UpstreamFailed):
                await self._prepared.parts.aclose()

    @property
    def status(self) -> int:
        """HTTP status."""
        return self._prepared.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers by lower-case name."""
        return self._prepared.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises UpstreamFailed."""
        parts = self._prepared.parts
        if parts is None:
            if self._prepared.body:
                yield self._prepared.body
            return
        request = self._request
        ends = self._began + request.total_ms / 1000
        bound, limit = self._began + request.first_byte_ms / 1000, request.first_byte_ms
        now = asyncio.get_running_loop().time
        while True:
            try:
                async with asyncio.timeout_at(min(bound, ends)):
                    part = await anext(parts, None)
            except TimeoutError:
                waited = limit if bound < ends else request.total_ms
                raise _late(f"nothing more within {waited} ms") from None
            if part is None:
                return
            yield part
            bound, limit = now() + request.idle_ms / 1000, request.idle_ms


def body_of(request: UpstreamRequest) -> dict[str, Any]:
    """Return what was asked; empty if it is no JSON object."""
    try:
        found: object = orjson.loads(request.body)
    except orjson.JSONDecodeError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def answer(body: Mapping[str, Any], completion: Mapping[str, Any]) -> Prepared:
    """Return a completion, as a stream where `body` asks for one."""
    if body.get("stream") is True:
        return Prepared(OK, EVENTS, as_events(completion))
    return Prepared(OK, JSON, orjson.dumps(completion))


def recorded_answer(response: bytes, *, stream: bool) -> Prepared:
    """Return the very bytes of an answer."""
    return Prepared(OK, EVENTS if stream else JSON, response)


def refusal(
    status: int, message: str, kind: str, code: str | None, headers: Mapping[str, str] | None = None
) -> Prepared:
    """Return a refusal in OpenAI's shape."""
    error = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Prepared(status, {**JSON, **(headers or {})}, orjson.dumps(error))


def not_asked(message: str, code: str, status: int = 400) -> Prepared:
    """Return the refusal of a request that is at fault wherever it goes."""
    return refusal(status, message, "invalid_request_error", code)


def _late(detail: str) -> UpstreamFailed:
    return UpstreamFailed(FailureClass.TIMEOUT, detail)
