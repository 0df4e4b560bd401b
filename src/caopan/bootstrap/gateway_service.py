"""One running gateway: its parts wired, what it tells of itself, and what goes on beside the calls.

Owns GatewayService. Must never be built of adapters here (gateway.py opens those), nor let work
beside the calls end because something it needs is away. Tests: tests/unit/interfaces/gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from caopan.application.gateway.breakers import BreakerBoard
from caopan.application.gateway.clients import Clients
from caopan.application.gateway.gateway import Gateway
from caopan.application.gateway.overview import Overview, daily_budgets
from caopan.application.gateway.tallies import Tallies
from caopan.application.ports.gateway import CallLog, ClientKeys, SharedLimits
from caopan.bootstrap.models_admin import ModelsAdmin
from caopan.bootstrap.models_in_force import ModelsInForce
from caopan.domain.gateway.budget import beijing_day
from caopan.kernel.clock import Clock
from caopan.kernel.errors import CaopanError

_LOG = logging.getLogger(__name__)
KEYS_EVERY_S: Final = 2.0
"""How soon a new key is known, and a revoked one is not."""
_LAG_EVERY_S: Final = 0.1
_LAG_KEPT: Final = 100
_SPENT_WITHIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Dependency:
    """Something the gateway needs, as it is now."""

    name: str
    is_well: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether calls can be answered, and what is not as it should be."""

    is_ready: bool
    dependencies: tuple[Dependency, ...]

    def shown(self) -> dict[str, Any]:
        """Return it as JSON: status is ok, degraded or down."""
        well = all(one.is_well for one in self.dependencies)
        return {
            "status": ("ok" if well else "degraded") if self.is_ready else "down",
            "dependencies": [
                {"name": one.name, "status": "ok" if one.is_well else "down", "detail": one.detail}
                for one in self.dependencies
            ],
        }


@dataclass(slots=True)
class LoopLag:
    """How late the event loop comes to what is due."""

    kept: list[float] = field(default_factory=lambda: [0.0] * _LAG_KEPT)
    _next: int = 0

    def add(self, milliseconds: float) -> None:
        """Keep one sample in the place of the oldest."""
        self.kept[self._next] = max(0.0, milliseconds)
        self._next = (self._next + 1) % len(self.kept)

    @property
    def worst_ms(self) -> float:
        """Return the worst of the last ten seconds."""
        return max(self.kept)


@dataclass(frozen=True, slots=True)
class GatewayService:
    """A gateway process behind its wire."""

    gateway: Gateway
    models: ModelsInForce
    clients: Clients
    keys: ClientKeys
    """Whose changes the clients follow."""
    admin: ModelsAdmin
    tallies: Tallies
    board: BreakerBoard
    limits: SharedLimits
    log: CallLog
    clock: Clock
    monotonic_ms: Callable[[], float]
    new_id: Callable[[], UUID]
    started_at: datetime
    audit_state: Callable[[], str | None]
    """Why nothing of the record reaches the database at the moment; None: it does."""
    database: Callable[[], Awaitable[object]]
    """Asks the database for something small; raises CaopanError where it is away."""
    beside: tuple[Callable[[], Awaitable[None]], ...] = ()
    """What else runs beside the calls until cancelled."""
    lag: LoopLag = field(default_factory=LoopLag)

    async def overview(self) -> Overview:
        """Return what this process can tell of itself."""
        snapshot = self.models.snapshot()
        return Overview(
            snapshot=snapshot,
            tallies=self.tallies,
            standings={name: self.board.standing(name) for name in snapshot.endpoints},
            spent=await self._spent([*daily_budgets(snapshot)]),
            started_at=self.started_at,
            is_shared=self.limits.is_shared,
            audit_waiting=self.log.waiting,
            loop_lag_ms=self.lag.worst_ms,
            config_error=self.models.error,
        )

    async def _spent(self, scopes: list[str]) -> Mapping[str, int]:
        if not scopes:
            return {}
        try:
            async with asyncio.timeout(_SPENT_WITHIN_S):
                return await self.limits.spent(scopes, beijing_day(self.clock.now()))
        except (CaopanError, TimeoutError) as error:
            _LOG.warning("budgets: what is spent cannot be told: %s", error)
            return {}

    async def readiness(self) -> Readiness:
        """Return whether calls can be answered; what is away and not needed now is told."""
        database = "answers"
        is_there = True
        try:
            async with asyncio.timeout(_SPENT_WITHIN_S):
                await self.database()
        except (CaopanError, TimeoutError) as error:
            is_there, database = False, str(error) or "does not answer"
        audit = self.audit_state()
        told = f"{self.log.waiting} records waiting"
        version = self.models.snapshot().version
        shared = self.limits.is_shared
        return Readiness(
            is_ready=True,
            dependencies=(
                Dependency(
                    "config",
                    not self.models.error,
                    self.models.error or f"version {version} is in force",
                ),
                Dependency("database", is_there, database),
                Dependency(
                    "limits", shared, "shared" if shared else "counted in this process alone"
                ),
                Dependency("audit", audit is None, told if audit is None else f"{told}: {audit}"),
            ),
        )

    async def run(self) -> None:
        """Keep everything beside the calls going, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.models.follow(self.admin.config))
            tasks.create_task(self._follow_keys())
            tasks.create_task(self.board.keep_in_step())
            tasks.create_task(self._watch_lag())
            for work in self.beside:
                tasks.create_task(_awaited(work))

    async def _follow_keys(self) -> None:
        while True:
            await self.clock.pause(timedelta(seconds=KEYS_EVERY_S))
            try:
                await self.clients.refresh(self.keys)
            except CaopanError as error:
                # Whoever was known stays known: a database that is away stops no desk.
                _LOG.warning("client keys cannot be read: %s", error)

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LAG_EVERY_S
            await asyncio.sleep(_LAG_EVERY_S)
            self.lag.add((loop.time() - due) * 1000)


async def _awaited(work: Callable[[], Awaitable[None]]) -> None:
    await work()
