"""Every place where a process may die between two durable facts, enumerated by running.

Owns CrashPlan and the wrappers that pass through it: before and after each commit of the store and
of the venue's journal, and around each submission. Must never change what passes through.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from caopan.application.ports.broker import (
    Broker,
    Capabilities,
    FillReport,
    OrderStatusReport,
    Report,
    VenueAccount,
    VenueOrder,
)
from caopan.application.ports.store import (
    LedgerRepository,
    Run,
    RunKind,
    Store,
    UnitOfWork,
    VenueEvent,
    VenueJournal,
)
from caopan.domain.ledger.chain import Draft, Entry, Head, Stage
from caopan.domain.orders.order import Order
from caopan.domain.risk.clearance import Clearance
from caopan.domain.risk.kill_switch import Control


class CrashPlan:
    """Counts the points a run passes and dies at the one it is told."""

    def __init__(
        self,
        crash_at: int | None,
        crash: Callable[[str], None],
        tell: Callable[[str], None] = lambda _label: None,
    ) -> None:
        """Die by `crash` at point number `crash_at` (from 0), or only count; `tell` each point."""
        self._crash_at = crash_at
        self._crash = crash
        self._tell = tell
        self.passed: list[str] = []

    def point(self, label: str) -> None:
        """Pass one point, or die there."""
        number = len(self.passed)
        self.passed.append(label)
        self._tell(label)
        if number == self._crash_at:
            self._crash(label)


class PointStore:
    """A Store whose commits are crash points."""

    def __init__(self, inner: Store, plan: CrashPlan) -> None:
        """Wrap `inner`."""
        self._inner = inner
        self._plan = plan

    def begin(self, run_id: int) -> UnitOfWork:
        """Return a unit of work whose commit is a crash point."""
        return _PointUnitOfWork(self._inner.begin(run_id), self._plan)

    async def create_run(
        self,
        kind: RunKind,
        account_id: str,
        config: Mapping[str, Any],
        config_hash: str,
        at: datetime,
    ) -> Run:
        """Pass on."""
        return await self._inner.create_run(kind, account_id, config, config_hash, at)

    async def runs(self, kind: RunKind | None = None, *, unfinished: bool = False) -> Sequence[Run]:
        """Pass on."""
        return await self._inner.runs(kind, unfinished=unfinished)

    async def find_decision(self, prefix: str) -> Sequence[tuple[int, UUID]]:
        """Pass on."""
        return await self._inner.find_decision(prefix)

    def lease(self, run_id: int) -> AbstractAsyncContextManager[None]:
        """Pass on."""
        return self._inner.lease(run_id)

    async def confirm_lease(self, run_id: int) -> None:
        """Pass on."""
        await self._inner.confirm_lease(run_id)

    async def system_control(self) -> Control:
        """Pass on."""
        return await self._inner.system_control()

    async def put_system_control(self, control: Control) -> None:
        """Pass on."""
        await self._inner.put_system_control(control)

    async def save_calendar(self, name: str, version: str, sessions: Sequence[date]) -> None:
        """Pass on."""
        await self._inner.save_calendar(name, version, sessions)

    async def load_calendar(self) -> tuple[str, str, Sequence[date]] | None:
        """Pass on."""
        return await self._inner.load_calendar()


class _PointLedger:
    """Remembers what a unit of work records, to name its commit."""

    def __init__(self, inner: LedgerRepository) -> None:
        self._inner = inner
        self.stages: list[str] = []

    async def append(self, drafts: Sequence[Draft]) -> Head:
        self.stages.extend(draft.stage.value for draft in drafts)
        return await self._inner.append(drafts)

    async def head(self) -> Head:
        return await self._inner.head()

    def entries(
        self, decision_id: UUID | None = None, stage: Stage | None = None
    ) -> AsyncIterator[tuple[Entry, bytes | None]]:
        return self._inner.entries(decision_id, stage)


class _PointUnitOfWork:
    def __init__(self, inner: UnitOfWork, plan: CrashPlan) -> None:
        self._inner = inner
        self._plan = plan

    async def __aenter__(self) -> Self:
        inner = await self._inner.__aenter__()
        self._noted = _PointLedger(inner.ledger)
        self.ledger: LedgerRepository = self._noted
        self.run = inner.run
        self.cycles = inner.cycles
        self.observations = inner.observations
        self.model_calls = inner.model_calls
        self.orders = inner.orders
        self.exit_plans = inner.exit_plans
        self.journal = inner.journal
        self.nav = inner.nav
        self.controls = inner.controls
        self.reconciliations = inner.reconciliations
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._inner.__aexit__(kind, error, trace)

    async def commit(self) -> None:
        label = "+".join(dict.fromkeys(self._noted.stages)) or "sending"
        self._plan.point(f"before commit of {label}")
        await self._inner.commit()
        self._plan.point(f"after commit of {label}")


class PointJournal:
    """A VenueJournal whose records are crash points: the venue's own process may die too."""

    def __init__(self, inner: VenueJournal, plan: CrashPlan) -> None:
        """Wrap `inner`."""
        self._inner = inner
        self._plan = plan

    async def record(self, run_id: int, events: Sequence[VenueEvent]) -> None:
        """Record, with a point before and after."""
        kinds = "+".join(dict.fromkeys(event.kind for event in events))
        self._plan.point(f"before the venue records {kinds}")
        await self._inner.record(run_id, events)
        self._plan.point(f"after the venue records {kinds}")

    async def load(self, run_id: int) -> Sequence[VenueEvent]:
        """Pass on."""
        return await self._inner.load(run_id)


class PointBroker:
    """A Broker whose wire is a crash point on both ends, and so is the answer to each question."""

    def __init__(self, inner: Broker, plan: CrashPlan) -> None:
        """Wrap `inner`."""
        self._inner = inner
        self._plan = plan

    @property
    def name(self) -> str:
        """Return the venue's name."""
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        """Return what the venue can do."""
        return self._inner.capabilities

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Submit, with a point before and after."""
        self._plan.point("before the wire")
        report = await self._inner.submit(order, clearance)
        self._plan.point("after the wire")
        return report

    async def cancel(self, order: Order) -> OrderStatusReport:
        """Cancel, with a point before and after."""
        self._plan.point("before the cancel's wire")
        report = await self._inner.cancel(order)
        self._plan.point("after the cancel's wire")
        return report

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Ask, with a point after the answer."""
        found = await self._inner.find(client_order_id)
        self._plan.point("after the venue's word on an order")
        return found

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Ask, with a point after the answer."""
        found = await self._inner.reports(client_order_ids)
        self._plan.point("after the venue's reports")
        return found

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        """Ask, with a point after the answer."""
        found = await self._inner.orders(day)
        self._plan.point("after the venue's orders of a day")
        return found

    async def fills(self, day: date) -> Sequence[FillReport]:
        """Ask, with a point after the answer."""
        found = await self._inner.fills(day)
        self._plan.point("after the venue's fills of a day")
        return found

    async def account(self) -> VenueAccount:
        """Ask, with a point after the answer."""
        found = await self._inner.account()
        self._plan.point("after the venue's account")
        return found
