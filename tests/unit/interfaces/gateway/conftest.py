"""A gateway behind its wire, all in this process: real surface and loop, scripted endpoints."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from caopan.adapters.clock.system import SystemClock, monotonic_ms
from caopan.application.gateway.attempt import GatewayParts
from caopan.application.gateway.breakers import BreakerBoard
from caopan.application.gateway.clients import Clients
from caopan.application.gateway.gateway import Gateway
from caopan.application.gateway.price_list import PriceList
from caopan.application.gateway.tallies import MeteredLog, Tallies
from caopan.bootstrap.gateway_service import GatewayService
from caopan.bootstrap.models_admin import DocumentJudge, KeyRequest, ModelsAdmin
from caopan.bootstrap.models_in_force import ModelsInForce
from caopan.domain.gateway.endpoint import EndpointKind
from caopan.domain.gateway.profile import Profile
from caopan.interfaces.gateway.pages import Pages
from caopan.interfaces.gateway.surface import Surface
from caopan.interfaces.gateway.wire import Hosts
from caopan.settings import Secret
from caopan.testing.gateway_doubles import (
    Behaviour,
    MemoryBus,
    MemoryCallLog,
    MemoryLimits,
    ScriptedUpstream,
)
from caopan.testing.gateway_stores import MemoryClientKeys, MemoryModelsConfig

PROFILE = Profile("p", "", "", "https://p.example/v1", embeddings=True)
DOCUMENT: dict[str, Any] = {
    "endpoints": [
        {
            "alias": "actor",
            "name": "first",
            "provider": "p",
            "model": "m",
            "auth_secret_ref": "env:K",
        },
        {
            "alias": "own/er",
            "name": "second",
            "provider": "p",
            "model": "m",
            "auth_secret_ref": "env:K",
        },
    ]
}
MOST_BODY = 4_096


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_whole: bool = False

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json()["error"]


@dataclass
class House:
    """The gateway under test and what stands around it."""

    service: GatewayService
    surface: Surface
    config: MemoryModelsConfig
    keys: MemoryClientKeys
    log: MemoryCallLog
    limits: MemoryLimits
    upstream: ScriptedUpstream
    key: str = ""
    admin: str = ""

    async def mint(self, name: str, *aliases: str, admin: bool = False) -> str:
        minted = await self.service.admin.mint(KeyRequest(name, aliases or ("*",), admin))
        await self.service.clients.refresh(self.keys)
        return minted.text.get_secret_value()

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "",
        headers: dict[str, str] | None = None,
        leaves_after: float | None = None,
    ) -> Answer:
        """Send one request; `key` "" is the usual client's, None is none."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body else b""
        told = {"host": "127.0.0.1:8700", "content-length": str(len(raw)), **(headers or {})}
        if key is not None:
            told.setdefault("authorization", f"Bearer {key or self.key}")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 8700),
            "headers": [(k.encode(), v.encode()) for k, v in told.items() if v is not None],
        }
        answer, gone = Answer(), asyncio.Event()
        messages = iter([{"type": "http.request", "body": raw, "more_body": False}])

        async def receive():
            for message in messages:
                return message
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                answer.body += message.get("body", b"")
                answer.is_whole = not message.get("more_body", False)

        async with asyncio.TaskGroup() as tasks:
            if leaves_after is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(leaves_after, gone.set)
            tasks.create_task(self.surface(scope, receive, send))
        return answer

    async def chat(self, alias: str = "actor", **fields: Any) -> Answer:
        leaves = fields.pop("leaves_after", None)
        headers = fields.pop("headers", None)
        key = fields.pop("key", "")
        body = {"model": alias, "messages": [{"role": "user", "content": "hi"}], **fields}
        return await self.ask(
            "POST", "/v1/chat/completions", body, headers=headers, leaves_after=leaves, key=key
        )


@pytest.fixture
def house():
    """Build a gateway whose endpoints behave as scripted, with a client's and an admin's key."""

    async def build(*first: Behaviour, second: tuple[Behaviour, ...] = ()) -> House:
        tallies, clock = Tallies(), SystemClock()
        config, keys = MemoryModelsConfig(), MemoryClientKeys()
        judge = DocumentJudge({"p": PROFILE}, lambda _: Secret("sk-canary"), lambda *_: False)
        admin = ModelsAdmin(
            config=config, keys=keys, judge=judge, clock=clock, first=lambda: DOCUMENT
        )
        models = ModelsInForce(judge, tallies, [await admin.in_force()])
        log, limits = MemoryCallLog(), MemoryLimits(clock.now)
        upstream = ScriptedUpstream({"first": first or (Behaviour(),), "second": second})
        board = BreakerBoard(
            snapshot=models.snapshot,
            now_ms=lambda: int(clock.now().timestamp() * 1000),
            draw=lambda: 0.5,
            bus=MemoryBus(),
            process="test",
        )
        ids = itertools.count(1)
        metered = MeteredLog(log, tallies)
        parts = GatewayParts(
            snapshot=models.snapshot,
            upstreams={EndpointKind.OPENAI: upstream},
            profile=lambda _: PROFILE,
            limits=limits,
            log=metered,
            board=board,
            prices=PriceList(lambda _: ()),
            clock=clock,
            monotonic_ms=monotonic_ms,
            draw=lambda: 0.5,
            new_id=lambda: UUID(int=next(ids)),
        )

        async def database() -> None:
            await config.newest()

        service = GatewayService(
            gateway=Gateway(parts),
            models=models,
            clients=Clients(),
            keys=keys,
            admin=admin,
            tallies=tallies,
            board=board,
            limits=limits,
            log=metered,
            clock=clock,
            monotonic_ms=monotonic_ms,
            new_id=parts.new_id,
            started_at=datetime(2026, 11, 20, tzinfo=UTC),
            audit_state=lambda: None,
            database=database,
        )
        surface = Surface(
            service,
            Pages(service, open_metrics=False).app(),
            Hosts("127.0.0.1"),
            most_body=MOST_BODY,
        )
        made = House(service, surface, config, keys, log, limits, upstream)
        made.key = await made.mint("desk")
        made.admin = await made.mint("root", admin=True)
        return made

    return build
