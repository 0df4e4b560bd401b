"""Getting an endpoint's answer: whole, put together from a stream, or as a stream.

Owns the exchange of one attempt with its endpoint, bounded in time, and what every way it can fail
is called. Must never try twice, nor end the attempt: the gateway does. Tests:
tests/unit/application/gateway/test_faults.py, tests/property/application/gateway.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

import orjson

from caopan.application.gateway.adapting import tool_as_content
from caopan.application.gateway.assembling import as_events
from caopan.application.gateway.attempt import Attempt
from caopan.application.gateway.reading import (
    Failure,
    Reading,
    asked_to_wait,
    read_answer,
    read_object,
    reading_of,
)
from caopan.application.gateway.streaming import Relay, assembled
from caopan.application.ports.gateway import UpstreamAnswer, UpstreamFailed
from caopan.domain.gateway.outcome import FailureClass
from caopan.kernel.errors import CaopanError

_DRAIN_S = 0.02
"""For the last bytes after [DONE]: a connection read to its end is used again."""
_OK = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer, whole."""

    body: bytes
    """For the caller."""
    reading: Reading


@dataclass(slots=True)
class LiveStream:
    """A stream whose answer has begun."""

    relay: Relay
    first: bytes
    """What may go on at once."""
    chunks: AsyncIterator[bytes]

    async def drain(self) -> None:
        """Read what is left after the end, if it comes at once."""
        await _drained(self.chunks)


async def fetch(attempt: Attempt) -> Answer | Failure:
    """Return the endpoint's whole answer, or why there is none."""
    failure = await _exchange(attempt, _received(attempt))
    if failure is not None:
        return failure
    relay = attempt.relay
    if relay is None:
        return _whole(attempt)
    if relay.failure is not None:
        return relay.failure
    attempt.parsed = assembled(relay.response, attempt.profile).completion()
    return _judged(attempt, attempt.parsed, None)


async def open_stream(attempt: Attempt, held: AsyncExitStack) -> LiveStream | Failure:
    """Return the endpoint's stream once its answer has begun, or why there is none.

    The exchange stays open in `held`.
    """
    opened = list[LiveStream]()
    failure = await _exchange(attempt, _opened(attempt, held, opened))
    if failure is None and not opened:
        return _as_stream(attempt)
    if failure is None:
        failure = None if opened[0].relay.has_begun else opened[0].relay.failure
    return opened[0] if failure is None else failure


def broken(failed: UpstreamFailed) -> Failure:
    """Return what the exchange itself failed with."""
    return Failure(failed.failure, failed.detail)


async def _exchange(attempt: Attempt, talk: Coroutine[None, None, None]) -> Failure | None:
    """Let `talk` have its way with the endpoint; return how that failed.

    The way to the endpoint bounds each step, and the gateway the call as a whole.
    """
    started = attempt.now_ms()
    try:
        await talk
    except UpstreamFailed as failed:
        return broken(failed)
    except CaopanError as error:
        # A key or an address of ours is wrong: nothing was sent, and waiting mends nothing.
        return Failure(FailureClass.AUTH, error.message, own_code=error.code)
    finally:
        attempt.course.waited_ms += attempt.now_ms() - started
    return None


async def _received(attempt: Attempt) -> None:
    """Receive the answer whole, into the attempt's body or relay."""
    async with attempt.upstream.send(attempt.request) as answer:
        attempt.status, attempt.headers = answer.status, answer.headers
        chunks = answer.chunks()
        if not (attempt.adapted.streams and _is_stream(answer)):
            await _collect(attempt, chunks)
            return
        attempt.relay = relay = Relay(attempt.profile, attempt.adapted)
        await _begun(attempt, relay, chunks)
        while not relay.has_ended and relay.failure is None:
            chunk = await anext(chunks, None)
            relay.close() if chunk is None else relay.feed(chunk)
        if relay.has_ended:
            await _drained(chunks)


async def _opened(attempt: Attempt, held: AsyncExitStack, opened: list[LiveStream]) -> None:
    """Receive a stream until its answer has begun, and put it into `opened`."""
    answer = await held.enter_async_context(attempt.upstream.send(attempt.request))
    attempt.status, attempt.headers = answer.status, answer.headers
    chunks = answer.chunks()
    if not _is_stream(answer):
        await _collect(attempt, chunks)
        return
    attempt.relay = relay = Relay(attempt.profile, attempt.adapted)
    first = await _begun(attempt, relay, chunks)
    opened.append(LiveStream(relay, first, chunks))


async def _begun(attempt: Attempt, relay: Relay, chunks: AsyncIterator[bytes]) -> bytes:
    """Feed `relay` until the answer has begun or cannot; return what may go on.

    Bytes alone are no beginning: some vendors send comments while a request waits its turn.
    """
    first_ms = attempt.request.first_byte_ms
    left_ms = attempt.began_ms + first_ms - attempt.now_ms()
    ready = b""
    try:
        async with asyncio.timeout(max(0.0, left_ms / 1000)):
            while not relay.has_begun and relay.failure is None:
                chunk = await anext(chunks, None)
                ready = relay.close() if chunk is None else relay.feed(chunk)
    except TimeoutError:
        relay.failure = Failure(FailureClass.TIMEOUT, f"No first token within {first_ms} ms.")
    attempt.first_ms = attempt.now_ms()
    return ready


async def _collect(attempt: Attempt, chunks: AsyncIterator[bytes]) -> None:
    parts = list[bytes]()
    try:
        async for chunk in chunks:
            parts.append(chunk)
    finally:
        attempt.body = parts[0] if len(parts) == 1 else b"".join(parts)


def _whole(attempt: Attempt) -> Answer | Failure:
    """Judge the whole answer that came."""
    status = attempt.status or 0
    found = read_answer(
        status, attempt.headers, attempt.body, attempt.profile, attempt.course.call.path
    )
    if isinstance(found, Failure):
        return found if status == _OK else asked_to_wait(found, attempt.headers, attempt.now())
    attempt.parsed = found
    return _judged(attempt, found, attempt.body)


def _judged(attempt: Attempt, parsed: Mapping[str, Any], body: bytes | None) -> Answer | Failure:
    """Return the answer for the caller; `body` None: `parsed` has no bytes yet."""
    call, profile = attempt.course.call, attempt.profile
    if attempt.adapted.answer_tool is not None:
        parsed, body = tool_as_content(parsed, "message"), None
    if body is None:
        found = read_object(parsed, profile, call.path, _OK)
        if isinstance(found, Failure):
            return found
        body = orjson.dumps(parsed)
    return Answer(body, reading_of(parsed, profile, wants_json=call.wants_json))


def _as_stream(attempt: Attempt) -> LiveStream | Failure:
    """Return a whole answer as the stream that was asked for."""
    found = read_answer(
        attempt.status or 0,
        attempt.headers,
        attempt.body,
        attempt.profile,
        attempt.course.call.path,
    )
    if isinstance(found, Failure):
        return asked_to_wait(found, attempt.headers, attempt.now())
    attempt.relay = relay = Relay(attempt.profile, attempt.adapted)
    attempt.first_ms = attempt.now_ms()
    first = relay.feed(as_events(found))
    if relay.failure is not None:
        return relay.failure
    return LiveStream(relay, first, _nothing())


def _is_stream(answer: UpstreamAnswer) -> bool:
    kind = answer.headers.get("content-type", "")
    return answer.status == _OK and (not kind or kind.startswith("text/event-stream"))


async def _drained(chunks: AsyncIterator[bytes]) -> None:
    with suppress(TimeoutError, UpstreamFailed):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in chunks:
                pass


async def _nothing() -> AsyncIterator[bytes]:
    for chunk in ():
        yield chunk
