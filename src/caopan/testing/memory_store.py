"""The store in memory: the twin of adapters/postgres for tests and the seeded simulation.

Owns MemoryStore and MemoryVenueJournal over one MemoryDatabase. The contract suite holds them to
the same behaviour as PostgreSQL: rollback by default, one writer per run at a time, the same
refusals. A crashed process is a MemoryStore thrown away; `restarted()` is the next process over the
same durable facts. Crashes at commits are injected by caopan.testing.crash_points, around either
store. Must never be used by production code.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from caopan.application.ports.store import (
    ControlRepository,
    CycleRepository,
    ExitPlanRepository,
    JournalRepository,
    LedgerRepository,
    ModelCallRepository,
    NavRepository,
    ObservationRepository,
    OrderRepository,
    ReconciliationRepository,
    Run,
    RunKind,
    RunRepository,
    RunStatus,
    VenueEvent,
)
from caopan.domain.risk.kill_switch import Control
from caopan.kernel.errors import Conflict, CorruptState
from caopan.testing.memory_controls import MemoryControls, MemoryReconciliations, put_control
from caopan.testing.memory_repositories import (
    MemoryCycles,
    MemoryExitPlans,
    MemoryJournal,
    MemoryLedger,
    MemoryModelCalls,
    MemoryNav,
    MemoryObservations,
    MemoryOrders,
    MemoryRun,
    as_stored,
)
from caopan.testing.memory_rules import check_hash
from caopan.testing.memory_state import MemoryDatabase, MemoryTransaction, RunState


class MemoryUnitOfWork:
    """UnitOfWork in memory."""

    def __init__(
        self, database: MemoryDatabase, run_id: int, fence: int | None, *, lease_required: bool
    ) -> None:
        """Prepare a unit of work on `run_id`; `fence` is the token of a lease held, or None."""
        transaction = MemoryTransaction(database, run_id, fence, lease_required=lease_required)
        self._transaction = transaction
        self.run: RunRepository = MemoryRun(transaction)
        self.ledger: LedgerRepository = MemoryLedger(transaction)
        self.cycles: CycleRepository = MemoryCycles(transaction)
        self.observations: ObservationRepository = MemoryObservations(transaction)
        self.model_calls: ModelCallRepository = MemoryModelCalls(transaction)
        self.orders: OrderRepository = MemoryOrders(transaction)
        self.exit_plans: ExitPlanRepository = MemoryExitPlans(transaction)
        self.journal: JournalRepository = MemoryJournal(transaction)
        self.nav: NavRepository = MemoryNav(transaction)
        self.controls: ControlRepository = MemoryControls(transaction)
        self.reconciliations: ReconciliationRepository = MemoryReconciliations(transaction)

    async def __aenter__(self) -> Self:
        """Begin."""
        self._transaction.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Roll back whatever was not committed."""
        self._transaction.close()

    async def commit(self) -> None:
        """Make everything done in this unit of work durable."""
        self._transaction.commit()


class MemoryStore:
    """Store in memory, over a database that may outlive it."""

    def __init__(
        self, database: MemoryDatabase | None = None, *, lease_required: bool = False
    ) -> None:
        """Open `database`, or a new one.

        With `lease_required` only who holds a run's lease may trade and book on it, as on
        PostgreSQL; a simulation of one process may do without.
        """
        self.database = database or MemoryDatabase()
        self._lease_required = lease_required
        self._fences: dict[int, int] = {}

    def restarted(self) -> MemoryStore:
        """Return what the next process sees after this one died: the durable facts, no leases."""
        return MemoryStore(self.database.restarted(), lease_required=self._lease_required)

    def begin(self, run_id: int) -> MemoryUnitOfWork:
        """Return a unit of work on one run, to be entered with `async with`."""
        fence = self._fences.get(run_id)
        return MemoryUnitOfWork(self.database, run_id, fence, lease_required=self._lease_required)

    async def create_run(
        self,
        kind: RunKind,
        account_id: str,
        config: Mapping[str, Any],
        config_hash: str,
        at: datetime,
    ) -> Run:
        """Store a new run and return it with its number."""
        check_hash("ck_run_config_hash", config_hash)
        desk = kind is RunKind.DESK
        for state in self.database.runs.values():
            same = state.run.kind is kind and state.run.account_id == account_id
            if desk and same and state.run.status is RunStatus.RUNNING:
                raise Conflict("RUN_EXISTS", f"account {account_id} has a running desk")
        number = len(self.database.runs) + 1
        kept = as_stored(config)
        run = Run(number, kind, account_id, config_hash, kept, RunStatus.RUNNING, at)
        self.database.runs[number] = RunState(run)
        return run

    async def runs(self, kind: RunKind | None = None, *, unfinished: bool = False) -> Sequence[Run]:
        """Return runs, newest first."""
        found = [state.run for _, state in sorted(self.database.runs.items(), reverse=True)]
        return [
            run
            for run in found
            if kind in (None, run.kind) and (not unfinished or run.status is RunStatus.RUNNING)
        ]

    async def find_decision(self, prefix: str) -> Sequence[tuple[int, UUID]]:
        """Return (run_id, decision_id) of decisions whose id begins so, newest run first."""
        digits = prefix.replace("-", "").lower()
        if not digits:
            return []
        return [
            (run_id, decision_id)
            for run_id, state in sorted(self.database.runs.items(), reverse=True)
            for decision_id in sorted(state.cycles)
            if decision_id.hex.startswith(digits)
        ]

    def lease(self, run_id: int) -> AbstractAsyncContextManager[None]:
        """Hold the one right to trade on a run.

        Raises Conflict RUN_BUSY while another process holds it.
        """
        return self._leased(run_id)

    async def confirm_lease(self, run_id: int) -> None:
        """Look whether this process still holds the lease of a run."""
        fence = self._fences.get(run_id)
        if fence is None:
            raise Conflict("RUN_NOT_LEASED", f"this process does not hold run {run_id}")
        if fence != self.database.runs[run_id].fence:
            raise Conflict("RUN_FENCED", f"run {run_id} was taken over by another process")

    async def system_control(self) -> Control:
        """Return what stands against the trading of all accounts, `Control()` before the first."""
        stored = self.database.system_controls
        return stored[-1] if stored else Control()

    async def put_system_control(self, control: Control) -> None:
        """Store a control of all accounts.

        Raises Conflict CONTROL_VERSION unless its version is the next one.
        """
        put_control("system_control", self.database.system_controls, control)

    async def save_calendar(self, name: str, version: str, sessions: Sequence[date]) -> None:
        """Keep a snapshot of the trading calendar; saving the newest again changes nothing."""
        snapshot = (name, version, tuple(sessions))
        if await self.load_calendar() != snapshot:
            self.database.calendars.append(snapshot)

    async def load_calendar(self) -> tuple[str, str, Sequence[date]] | None:
        """Return the newest calendar snapshot: name, version, sessions."""
        return self.database.calendars[-1] if self.database.calendars else None

    @asynccontextmanager
    async def _leased(self, run_id: int) -> AsyncGenerator[None]:
        database = self.database
        if run_id in database.leased:
            raise Conflict("RUN_BUSY", f"run {run_id} is being traded by another process")
        if run_id not in database.runs:
            raise CorruptState("RUN_UNKNOWN", f"run {run_id} is not stored")
        leased = database.leased
        leased.add(run_id)
        state = database.runs[run_id].snapshot()
        state.fence += 1
        database.runs[run_id] = state
        self._fences[run_id] = state.fence
        try:
            yield
        finally:
            self._fences.pop(run_id, None)
            # After a crash the set is another one, in which the lease is free already.
            leased.discard(run_id)


class MemoryVenueJournal:
    """VenueJournal in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        """Record into `database`."""
        self._database = database

    async def record(self, run_id: int, events: Sequence[VenueEvent]) -> None:
        """Append events durably. Raises Conflict VENUE_SEQ if a seq is taken."""
        if run_id not in self._database.runs:
            raise CorruptState("FOREIGN_KEY_VIOLATION", f"run {run_id} is not stored")
        recorded = dict(self._database.venue.get(run_id, {}))
        for event in events:
            if event.seq in recorded:
                raise Conflict("VENUE_SEQ", f"event {event.seq} of run {run_id} is recorded")
            body = as_stored(event.body)
            recorded[event.seq] = VenueEvent(event.seq, event.kind, event.at, body)
        self._database.venue[run_id] = recorded

    async def load(self, run_id: int) -> Sequence[VenueEvent]:
        """Return all events in order of seq."""
        recorded = self._database.venue.get(run_id, {})
        return [recorded[seq] for seq in sorted(recorded)]
