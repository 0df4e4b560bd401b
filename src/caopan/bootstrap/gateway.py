"""From settings to a running gateway: every room opened in its order and closed in the reverse.

Owns which adapter stands behind which port of the gateway, and its first start. Must never serve
without a record of calls and a configuration, nor load what a call does not need: a gateway starts
within a second. Tests: tests/integration/gateway.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
import random  # noqa: TID251 - chance enters the gateway here, and is handed on as a function
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID

from caopan.adapters.call_log.spool import SpoolCallLog
from caopan.adapters.clock.system import SystemClock, monotonic_ms
from caopan.adapters.embedded.services import Services
from caopan.adapters.llm.builtin_endpoint import BuiltinEndpoint
from caopan.adapters.llm.faulty_endpoint import FaultyEndpoint
from caopan.adapters.llm.replay_endpoint import ReplayEndpoint
from caopan.adapters.llm.upstream import HttpUpstream
from caopan.adapters.postgres.call_history import PostgresCallHistory
from caopan.adapters.postgres.call_rows import PostgresCallRows
from caopan.adapters.postgres.revision import ensure_months, is_current
from caopan.adapters.redis.bus import RedisBus
from caopan.adapters.redis.limits import RedisLimits
from caopan.adapters.secrets.references import SecretReferences
from caopan.application.gateway.attempt import GatewayParts
from caopan.application.gateway.breakers import BreakerBoard
from caopan.application.gateway.clients import Clients, key_digest
from caopan.application.gateway.gateway import Gateway
from caopan.application.gateway.tallies import MeteredLog, Tallies
from caopan.application.ports.gateway import ClientKey, ClientKeys, Upstream
from caopan.bootstrap.gateway_presence import home_key
from caopan.bootstrap.gateway_service import GatewayService
from caopan.bootstrap.gateway_stores import administration, known_profiles, price_list
from caopan.bootstrap.models_admin import KeyRequest, MintedKey, ModelsAdmin, home_client
from caopan.bootstrap.models_in_force import ModelsInForce
from caopan.domain.gateway.breaker import Transition
from caopan.domain.gateway.endpoint import EndpointKind
from caopan.domain.gateway.profile import Profile
from caopan.kernel.clock import Clock
from caopan.kernel.errors import CaopanError, ConfigInvalid, Conflict
from caopan.kernel.ids import derived_uuid
from caopan.settings import Secret, Settings, child_environment

_LOG: Final = logging.getLogger(__name__)
_VERSIONS_TRIED: Final = 20
_UPKEEP_EVERY: Final = timedelta(hours=1)
_BODIES_AT_ONCE: Final = 1_000
_MIGRATE: Final = ("-m", "caopan.interfaces.cli", "db", "upgrade", "--json")


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """What a start may ask for."""

    document: Mapping[str, Any] | None = None
    """To be put in force at the start, where it differs from what is."""
    makes_first_key: bool = True
    """An administrator's key is made where there is no key at all."""


@dataclass(frozen=True, slots=True)
class OpenedGateway:
    """A gateway whose rooms are open."""

    service: GatewayService
    parts: GatewayParts
    home: MintedKey
    """Of this home's own commands and desks."""
    first_key: Secret | None
    """Of the first administrator, made now because there was none; shown once."""


def ready_schema(servers: Services, settings: Settings) -> None:
    """Bring the database to this build's schema, in a process of its own.

    The migration library would stay in memory for as long as the gateway runs.

    Raises ConfigInvalid or Unavailable as `caopan db upgrade` told it.
    """
    if is_current(servers.database_url):
        return
    environment = child_environment(CAOPAN_HOME=str(settings.home))
    for name, url in (("DATABASE_URL", settings.database_url), ("REDIS_URL", settings.redis_url)):
        if url is not None:
            environment[name] = url.get_secret_value()
    done = subprocess.run(  # noqa: S603 - our own command, by this very interpreter
        [sys.executable, *_MIGRATE], env=environment, capture_output=True, check=False, text=True
    )
    if done.returncode == 0:
        return
    try:
        told = json.loads(done.stdout)["error"]
        code, message, remedy = str(told["code"]), str(told["message"]), str(told["remedy"])
    except (ValueError, KeyError, TypeError):
        code, message, remedy = "DB_MIGRATION", done.stderr.strip()[-500:], ""
    raise ConfigInvalid(code, message, remedy=remedy or "run `caopan db upgrade`")


@asynccontextmanager
async def open_gateway(
    servers: Services, settings: Settings, plan: GatewayPlan
) -> AsyncGenerator[OpenedGateway]:
    """Give a gateway over two servers; leaving brings its records home and closes every room.

    Raises Unavailable, ConfigInvalid MODELS_INVALID or PROFILE_INVALID.
    """
    clock = SystemClock()
    now = clock.now()
    process = f"{now:%Y%m%dT%H%M%S}-{os.getpid()}-{secrets.token_hex(4)}"
    home = MintedKey(home_client(now), home_key(settings.home))
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(administration(servers.database_url, settings))
        await _put_in_force(admin, plan)
        first_key = await _first_key(admin) if plan.makes_first_key else None
        tallies = Tallies()
        models = ModelsInForce(admin.judge, tallies, await admin.config.history(_VERSIONS_TRIED))
        rooms = await _opened(stack, servers, settings, process, clock)
        parts = _parts(rooms, models, tallies, process, clock)
        keys = _KeysOfHome(admin.keys, home)
        clients = Clients()
        await clients.refresh(keys)
        service = GatewayService(
            gateway=Gateway(parts),
            models=models,
            clients=clients,
            keys=keys,
            admin=admin,
            tallies=tallies,
            board=parts.board,
            limits=parts.limits,
            log=parts.log,
            clock=clock,
            monotonic_ms=monotonic_ms,
            new_id=parts.new_id,
            started_at=now,
            audit_state=lambda: rooms.log.state.oldest_error,
            database=admin.config.newest,
            beside=(partial(_keep_up, servers.database_url, rooms.history, models, clock),),
        )
        yield OpenedGateway(service, parts, home, first_key)


async def _put_in_force(admin: ModelsAdmin, plan: GatewayPlan) -> None:
    """Store the first version, and the one that was asked for where it is another."""
    stored = await admin.in_force()
    document = plan.document
    if document is None or stored.body == document:
        return
    try:
        await admin.change(lambda _: document, author="caopan gateway", note="--config")
    except Conflict:
        # Another gateway of this home was started with the same file at the same moment.
        if (await admin.in_force()).body != document:
            raise


async def _first_key(admin: ModelsAdmin) -> Secret | None:
    """Make the first administrator's key where there is no key at all."""
    if await admin.keys.all():
        return None
    try:
        return (await admin.mint(KeyRequest("admin", admin=True))).text
    except Conflict:
        return None


@dataclass(frozen=True, slots=True)
class _Rooms:
    """The adapters of one process, open."""

    profiles: Mapping[str, Profile]
    upstreams: Mapping[EndpointKind, Upstream]
    limits: RedisLimits
    bus: RedisBus
    log: SpoolCallLog
    history: PostgresCallHistory


async def _opened(
    stack: AsyncExitStack, servers: Services, settings: Settings, process: str, clock: Clock
) -> _Rooms:
    """Open the rooms that calls need, so that what others rest on closes last."""
    profiles = known_profiles(settings)
    history = PostgresCallHistory(servers.database_url)
    stack.push_async_callback(history.close)
    limits = RedisLimits(
        servers.redis_url,
        process,
        lambda day, under_way: history.spent_of(day, under_way=under_way),
        now=clock.now,
    )
    await stack.enter_async_context(limits.running())
    bus = RedisBus(servers.redis_url, process)
    await stack.enter_async_context(bus.running())
    rows = PostgresCallRows(servers.database_url)
    stack.callback(rows.close)
    log = SpoolCallLog(settings.home / "spool", process, rows, clock.now)
    await stack.enter_async_context(log.running())
    resolve = SecretReferences(settings.home).resolve
    http = HttpUpstream(secret=resolve, profiles=profiles)
    await stack.enter_async_context(http)
    upstreams: Mapping[EndpointKind, Upstream] = {
        EndpointKind.OPENAI: http,
        EndpointKind.BUILTIN: BuiltinEndpoint(),
        EndpointKind.REPLAY: ReplayEndpoint(history, profiles["replay"]),
        EndpointKind.FAULTY: FaultyEndpoint(),
    }
    return _Rooms(profiles, upstreams, limits, bus, log, history)


def _parts(
    rooms: _Rooms, models: ModelsInForce, tallies: Tallies, process: str, clock: Clock
) -> GatewayParts:
    draw = random.Random(secrets.randbits(64)).random  # noqa: S311 - spreads load, keeps no secret
    numbers = itertools.count()

    def moved(move: Transition) -> None:
        tallies.moves[move.endpoint, move.after.value, move.reason.value] += 1
        _LOG.warning("breaker of %s: %s (%s)", move.endpoint, move.after, move.reason)

    def soft_reached(scope: str) -> None:
        tallies.soft_budgets[scope] += 1
        _LOG.warning("budget of %s: its soft bound is reached", scope)

    def new_id() -> UUID:
        return derived_uuid(clock.now(), process, next(numbers))

    board = BreakerBoard(
        snapshot=models.snapshot,
        now_ms=lambda: int(clock.now().timestamp() * 1000),
        draw=draw,
        bus=rooms.bus,
        process=process,
        on_move=moved,
    )
    return GatewayParts(
        snapshot=models.snapshot,
        upstreams=rooms.upstreams,
        profile=rooms.profiles.__getitem__,
        limits=rooms.limits,
        log=MeteredLog(rooms.log, tallies),
        board=board,
        prices=price_list(rooms.profiles),
        clock=clock,
        monotonic_ms=monotonic_ms,
        draw=draw,
        new_id=new_id,
        on_soft_budget=soft_reached,
    )


class _KeysOfHome:
    """The stored keys, and the one by which this home's own commands are known."""

    def __init__(self, stored: ClientKeys, own: MintedKey) -> None:
        self._stored = stored
        self._own = {key_digest(own.text.get_secret_value()): own.key}

    async def all(self) -> Mapping[str, ClientKey]:
        return {**await self._stored.all(), **self._own}

    async def add(self, digest: str, key: ClientKey) -> None:
        await self._stored.add(digest, key)

    async def revoke(self, client_id: str, at: datetime) -> None:
        await self._stored.revoke(client_id, at)


async def _keep_up(
    url: str, history: PostgresCallHistory, models: ModelsInForce, clock: Clock
) -> None:
    """Clear bodies that are older than configured, and make the coming months, for ever."""
    while True:
        try:
            await asyncio.to_thread(ensure_months, url)
            before = clock.now() - timedelta(days=models.snapshot().retention_days)
            while await history.clear_bodies(before, _BODIES_AT_ONCE) == _BODIES_AT_ONCE:
                pass
        except CaopanError as error:
            _LOG.warning("upkeep: %s", error)
        await clock.pause(_UPKEEP_EVERY)
