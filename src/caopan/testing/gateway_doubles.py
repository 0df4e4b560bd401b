"""What the gateway needs of the outside, in memory: exact, and on a simulated clock.

Owns ScriptedUpstream, MemoryLimits, MemoryCallLog, MemoryBus and FixedPrices. Must never be softer
than the real thing: a claim settles once, an attempt ends once, a timeout is a failure. Tests:
tests/unit/testing/test_gateway_doubles.py.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from caopan.adapters.redis.local_limits import LocalLimits
from caopan.application.ports.gateway import (
    AttemptBegan,
    AttemptEnded,
    Claim,
    Granted,
    Refused,
    UpstreamAnswer,
    UpstreamFailed,
    UpstreamRequest,
)
from caopan.domain.gateway.outcome import FailureClass
from caopan.kernel.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What an endpoint does with one request."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    pieces: tuple[bytes, ...] = ()
    """The body, as it comes."""
    headers_after_ms: int = 0
    piece_after_ms: int = 0
    """Before each piece."""
    fails: FailureClass | None = None
    fails_at: int = -1
    """-1: instead of headers; else instead of this piece."""
    hangs_at: int | None = None
    """As `fails_at`: never comes."""


def completion(text: str = "fine", **fields: object) -> dict[str, Any]:
    """Return a completion object that says `text`."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "model-served",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        **fields,
    }


def answers(text: str = "fine", **fields: object) -> Behaviour:
    """Answer whole, at once."""
    return Behaviour(pieces=(orjson.dumps(completion(text, **fields)),))


def says(status: int, body: object, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer with a status and a JSON body."""
    told = {"content-type": "application/json", **(headers or {})}
    return Behaviour(status, told, (orjson.dumps(body),))


def event(delta: Mapping[str, Any] | None = None, **fields: object) -> bytes:
    """Return one event of a stream; `delta` None leaves out the choice."""
    finish = fields.pop("finish_reason", None)
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_790_000_000,
        "model": "model-served",
        "choices": choices,
        **fields,
    }
    return b"data: " + orjson.dumps(body) + b"\n\n"


USAGE = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
DONE = b"data: [DONE]\n\n"


def events(words: Sequence[str], *, usage: bool = True, done: bool = True) -> tuple[bytes, ...]:
    """Return the events of a stream that says `words`."""
    last = (event(None, usage=USAGE),) if usage else ()
    return (
        event({"role": "assistant", "content": ""}),
        *(event({"content": word}) for word in words),
        event({}, finish_reason="stop"),
        *last,
        *((DONE,) if done else ()),
    )


def streams(pieces: Iterable[bytes]) -> Behaviour:
    """Answer with a stream of these pieces."""
    return Behaviour(headers={"content-type": "text/event-stream"}, pieces=tuple(pieces))


class ScriptedUpstream:
    """Endpoints that behave as written: a list for each, of which the last behaviour repeats."""

    def __init__(self, scripts: Mapping[str, Sequence[Behaviour]]) -> None:
        """Keep the behaviours, by endpoint name."""
        self._scripts = {name: deque(script) for name, script in scripts.items()}
        self.sent: list[UpstreamRequest] = []
        self.open = 0
        """Requests under way; 0 once all were left."""
        self.read_whole = 0
        """Answers that were read to their end: only their connections can be used again."""

    @asynccontextmanager
    async def send(self, request: UpstreamRequest) -> AsyncGenerator[UpstreamAnswer]:
        """Behave as the endpoint's next behaviour says, bounded by the request's timeouts."""
        script = self._scripts[request.endpoint.name]
        behaviour = script.popleft() if len(script) > 1 else script[0]
        self.sent.append(request)
        self.open += 1
        try:
            answer = _Answer(behaviour, request)
            await answer.wait_for_headers()
            yield answer
            self.read_whole += answer.is_at_end
        finally:
            self.open -= 1


class _Answer:
    def __init__(self, behaviour: Behaviour, request: UpstreamRequest) -> None:
        self._behaviour = behaviour
        self._request = request
        self._ends_at = asyncio.get_running_loop().time() + request.total_ms / 1000
        self.is_at_end = False

    @property
    def status(self) -> int:
        return self._behaviour.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._behaviour.headers

    async def wait_for_headers(self) -> None:
        await self._pass(-1, self._behaviour.headers_after_ms, self._request.first_byte_ms)

    async def chunks(self) -> AsyncIterator[bytes]:
        for place, piece in enumerate((*self._behaviour.pieces, b"")):
            wait = self._behaviour.piece_after_ms if piece else 0
            await self._pass(place, wait, self._request.idle_ms)
            if piece:
                yield piece
        self.is_at_end = True

    async def _pass(self, place: int, wait_ms: int, most_ms: int) -> None:
        """Let a step take its time, hang or fail, and no longer than it may."""
        loop = asyncio.get_running_loop()
        most = min(loop.time() + most_ms / 1000, self._ends_at)
        hangs = self._behaviour.hangs_at == place
        due = most if hangs else loop.time() + wait_ms / 1000
        if due >= most and (hangs or wait_ms):
            await asyncio.sleep(max(0.0, most - loop.time()))
            raise UpstreamFailed(FailureClass.TIMEOUT, "timed out")
        await asyncio.sleep(wait_ms / 1000)
        if self._behaviour.fails is not None and self._behaviour.fails_at == place:
            raise UpstreamFailed(self._behaviour.fails, "as scripted")


class MemoryLimits:
    """The exact counting of a process alone, and what was claimed and settled.

    `takes_ms` is how long a claim takes to be answered; who leaves meanwhile has taken nothing.
    """

    is_shared = True

    def __init__(self, now: Callable[[], datetime], takes_ms: int = 0) -> None:
        """Count by the clock `now`."""
        self._counted = LocalLimits(now, lambda: now().timestamp() * 1000)
        self._takes_ms = takes_ms
        self.under_way: dict[UUID, Claim] = {}
        self.claims: list[Claim] = []
        """Every claim granted."""
        self.settled: list[tuple[Claim, int, int]] = []
        """(claim, tokens, cost), in order."""

    async def claim(self, claim: Claim) -> Granted | Refused:
        """Take all of it or nothing."""
        if self._takes_ms:
            await asyncio.sleep(self._takes_ms / 1000)
        found = await self._counted.claim(claim)
        if isinstance(found, Granted):
            self.under_way[claim.claim_id] = claim
            self.claims.append(claim)
        return found

    def settle(self, granted: Granted, tokens: int, cost: int) -> None:
        """Put what was used in the place of what was claimed; a second time is a fault."""
        claim = self.under_way.pop(granted.claim.claim_id)
        self._counted.settle(granted, tokens, cost)
        self.settled.append((claim, tokens, cost))

    async def spent(self, scopes: Sequence[str], day: str) -> Mapping[str, int]:
        """Return what each scope has used and claimed of `day`."""
        return await self._counted.spent(scopes, day)


class MemoryCallLog:
    """Keeps what it is told; `is_full` refuses new attempts, `is_cut_off` is never durable."""

    def __init__(self, durable_after_ms: int = 0) -> None:
        """Keep nothing yet."""
        self.begun: list[AttemptBegan] = []
        self.ends: list[AttemptEnded] = []
        self.is_full = False
        self.is_cut_off = False
        self._durable_after_ms = durable_after_ms

    def began(self, attempt: AttemptBegan) -> None:
        """Keep that an attempt is about to leave."""
        if self.is_full:
            raise Unavailable("AUDIT_UNAVAILABLE", "the record of calls is full")
        self.begun.append(attempt)

    def ended(self, attempt: AttemptEnded) -> None:
        """Keep how it ended."""
        self.ends.append(attempt)

    async def durable(self, call_id: UUID) -> None:  # noqa: ARG002 - the port's signature
        """Wait as long as the plan says."""
        if self._durable_after_ms:
            await asyncio.sleep(self._durable_after_ms / 1000)
        if self.is_cut_off:
            raise Unavailable("AUDIT_UNAVAILABLE", "the database does not answer")

    @property
    def waiting(self) -> int:
        """Return 0: memory is as durable as it gets."""
        return 0

    def rows(self) -> list[tuple[str, str, str | None]]:
        """Return (endpoint, outcome, error code) of each attempt that ended, in order."""
        endpoints = {(a.call_id, a.attempt): a.endpoint for a in self.begun}
        return [
            (endpoints[end.call_id, end.attempt], end.outcome.value, end.error_code)
            for end in self.ends
        ]


class MemoryBus:
    """News between the processes of one hub: `hub.joined()` gives another process its end."""

    def __init__(self) -> None:
        """Start a hub with one process on it."""
        self._all: list[MemoryBus] = [self]
        self._tokens: dict[str, float] = {}
        self._heard: asyncio.Queue[tuple[str, Mapping[str, Any]]] = asyncio.Queue()
        self.is_cut = False
        """Nothing is carried, and no token is known."""

    def joined(self) -> MemoryBus:
        """Return the end of one more process."""
        other = MemoryBus()
        other._all, other._tokens = self._all, self._tokens
        self._all.append(other)
        return other

    def publish(self, kind: str, body: Mapping[str, Any]) -> None:
        """Send to every other process, as JSON would carry it."""
        for other in () if self.is_cut else self._all:
            if other is not self and not other.is_cut:
                other._heard.put_nowait((kind, orjson.loads(orjson.dumps(body))))  # noqa: SLF001

    async def news(self) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        """Yield what other processes published."""
        while True:
            yield await self._heard.get()

    async def take_token(self, name: str, lasts_ms: int) -> bool:
        """Take a token that one process may hold at a time."""
        now = asyncio.get_running_loop().time()
        if not self.is_cut and self._tokens.get(name, now) > now:
            return False
        self._tokens[name] = now + lasts_ms / 1000
        return True
