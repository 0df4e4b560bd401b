"""A whole gateway over doubles, on the clock of the running event loop.

Owns GatewayRig and the plain endpoints, routes and callers a test varies. Must never hide a part:
a test reads and breaks each of them. Tests: tests/unit/application/gateway.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson

from caopan.application.gateway.attempt import GatewayParts
from caopan.application.gateway.breakers import BreakerBoard
from caopan.application.gateway.calls import Answered, Call, read_call
from caopan.application.gateway.gateway import Gateway, Streamed
from caopan.application.gateway.price_list import PriceList
from caopan.application.ports.gateway import Bus, ClientKey, Path
from caopan.domain.gateway.endpoint import (
    Endpoint,
    EndpointKind,
    Fallback,
    PriceRule,
    Route,
    Snapshot,
    StructuredOutput,
    Target,
)
from caopan.domain.gateway.profile import Profile
from caopan.testing.gateway_doubles import (
    Behaviour,
    MemoryBus,
    MemoryCallLog,
    MemoryLimits,
    ScriptedUpstream,
)
from caopan.testing.sim_loop import LoopClock, SimLoop

START = datetime(2026, 11, 23, 1, 0, tzinfo=UTC)
ALIAS = "actor"
CLIENT = ClientKey(
    "client-1",
    "desk",
    ("*",),
    admin=False,
    daily_budget=None,
    rpm=None,
    expires_at=None,
    revoked_at=None,
    created_at=START,
)
PROFILE = Profile("vendor", "厂商", "Vendor", "https://vendor.example/v1")
PRICES = (PriceRule("*", "2026-01-01T00:00:00Z", "CNY", "2", "8"),)
MESSAGES = ({"role": "user", "content": "What now?"},)


def an_endpoint(name: str, model: str = "model-a", **fields: object) -> Endpoint:
    """Return an endpoint that takes a JSON Schema and has a price."""
    plain = Endpoint(
        name,
        PROFILE.name,
        model,
        url="https://vendor.example/v1",
        prices=PRICES,
        structured=StructuredOutput.JSON_SCHEMA,
    )
    return replace(plain, **fields)


def a_route(*names: str, fallback: Fallback = Fallback.SAME_MODEL, **fields: object) -> Route:
    """Return a route over endpoints, each in a tier of its own, first named first asked."""
    targets = tuple(Target(name, place, fallback=fallback) for place, name in enumerate(names))
    return replace(Route(ALIAS, targets), **fields)


def a_snapshot(*endpoints: Endpoint, route: Route | None = None, **fields: object) -> Snapshot:
    """Return a configuration with one alias over all `endpoints`."""
    route = route if route is not None else a_route(*(one.name for one in endpoints))
    plain = Snapshot(1, {one.name: one for one in endpoints}, {route.alias: route})
    return replace(plain, **fields)


def a_call(
    call_id: UUID = UUID(int=1),  # noqa: B008 - a value
    *,
    client: ClientKey = CLIENT,
    path: Path = Path.CHAT,
    headers: Mapping[str, str] | None = None,
    received_ms: float = 0.0,
    **body: object,
) -> Call:
    """Return a call; `body` adds to a plain request or replaces parts of it."""
    asked = {"input": "text"} if path is Path.EMBEDDINGS else {"messages": list(MESSAGES)}
    raw = orjson.dumps({"model": ALIAS, **asked, **body})
    return read_call(
        raw, headers or {}, client=client, path=path, call_id=call_id, received_ms=received_ms
    )


@dataclass(frozen=True, slots=True)
class Got:
    """What a caller got."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    """Of a stream: all of it."""

    @property
    def json(self) -> dict[str, Any]:
        """Return the body of a whole answer."""
        return orjson.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """Return the error of a refusal."""
        return orjson.loads(self.body)["error"]

    @property
    def events(self) -> list[Any]:
        """Return the data of a stream's events; [DONE] as text."""
        lines = [line[5:].strip() for line in self.body.splitlines() if line[:5] == b"data:"]
        return [line.decode() if line == b"[DONE]" else orjson.loads(line) for line in lines]


class GatewayRig:
    """A gateway and all it works with. Make it inside the loop it runs in."""

    def __init__(
        self,
        scripts: Mapping[str, Sequence[Behaviour]],
        snapshot: Snapshot | None = None,
        *,
        profile: Profile = PROFILE,
        bus: Bus | None = None,
        claim_takes_ms: int = 0,
        durable_after_ms: int = 0,
    ) -> None:
        """Stand an endpoint behind each script, in their order, unless `snapshot` says more."""
        self.snapshot = snapshot or a_snapshot(*(an_endpoint(name) for name in scripts))
        loop = asyncio.get_running_loop()
        rng = loop.rng if isinstance(loop, SimLoop) else None
        self.clock = LoopClock(START)
        self.upstream = ScriptedUpstream(scripts)
        self.limits = MemoryLimits(self.clock.now, claim_takes_ms)
        self.log = MemoryCallLog(durable_after_ms)
        self.bus = bus if bus is not None else MemoryBus()
        self.soft: list[str] = []
        """Budgets whose alert was due."""
        self._ids = (UUID(int=number) for number in itertools.count(1_000))
        draw = rng.random if rng is not None else (lambda: 0.5)
        self.board = BreakerBoard(
            snapshot=lambda: self.snapshot,
            now_ms=lambda: int(self.clock.now().timestamp() * 1000),
            draw=draw,
            bus=self.bus,
            process="process-1",
        )
        self.parts = GatewayParts(
            snapshot=lambda: self.snapshot,
            upstreams=dict.fromkeys(EndpointKind, self.upstream),
            profile=lambda _: profile,
            limits=self.limits,
            log=self.log,
            board=self.board,
            prices=PriceList(lambda _: ()),
            clock=self.clock,
            monotonic_ms=lambda: loop.time() * 1000,
            draw=draw,
            new_id=lambda: next(self._ids),
            on_soft_budget=self.soft.append,
        )
        self.gateway = Gateway(self.parts)

    def call(
        self,
        *,
        client: ClientKey = CLIENT,
        path: Path = Path.CHAT,
        headers: Mapping[str, str] | None = None,
        **body: object,
    ) -> Call:
        """Return a call that comes now; as `a_call`."""
        return a_call(
            next(self._ids),
            client=client,
            path=path,
            headers=headers,
            received_ms=self.parts.monotonic_ms(),
            **body,
        )

    async def complete(self, call: Call | None = None, /, **body: object) -> Got:
        """Ask for a whole answer to `call`, by default a plain one with `body`."""
        answer = await self.gateway.complete(call or self.call(**_plain(body)))
        return Got(answer.status, answer.headers, answer.body)

    async def stream(self, call: Call | None = None, /, **body: object) -> Got:
        """Ask for a stream and read it to its end."""
        asked = call or self.call(**_plain({"stream": True, **body}))
        async with self.gateway.stream(asked) as found:
            return await _read(found)

    @asynccontextmanager
    async def reading(self, call: Call) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Give the chunks of a stream that is expected to begin."""
        async with self.gateway.stream(call) as found:
            assert isinstance(found, Streamed), found
            yield found.chunks

    def costs(self) -> list[int]:
        """Return what each attempt that ended cost, in 1e-8 CNY; -1 where that is unknown."""
        return [-1 if end.cost is None else end.cost for end in self.log.ends]

    def tokens(self) -> list[tuple[int, int]]:
        """Return prompt and answer tokens of each attempt that ended; -1 where unknown."""
        counted = ((end.tokens.prompt, end.tokens.completion) for end in self.log.ends)
        return [(-1 if p is None else p, -1 if c is None else c) for p, c in counted]

    def settled_all(self) -> bool:
        """Tell whether no claim, attempt or request is open."""
        ended = [(end.call_id, end.attempt) for end in self.log.ends]
        begun = [(one.call_id, one.attempt) for one in self.log.begun]
        return (
            not self.limits.under_way
            and len(self.limits.claims) == len(self.limits.settled)
            and sorted(begun) == sorted(ended)
            and self.upstream.open == 0
        )


def _plain(body: Mapping[str, object]) -> dict[str, Any]:
    return dict(body)


async def _read(found: Answered | Streamed) -> Got:
    if isinstance(found, Answered):
        return Got(found.status, found.headers, found.body)
    body = b"".join([chunk async for chunk in found.chunks])
    return Got(200, found.headers, body)
