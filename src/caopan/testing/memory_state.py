"""What the in-memory store keeps, and one transaction over it.

Owns RunState (all that is durable of one run), MemoryDatabase and MemoryTransaction: a writer works
on a copy under the run's lock, and the copy takes the original's place at commit. Must never be
used by production code.
"""

from __future__ import annotations

import asyncio
from copy import copy
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any
from uuid import UUID

from caopan.application.ports.store import ModelCall, NavPoint, Reconciliation, Run, VenueEvent
from caopan.domain.accounting.journal import Transaction
from caopan.domain.decision.cycle import Cycle
from caopan.domain.ledger.chain import Entry, Head
from caopan.domain.orders.order import Fill, Order
from caopan.domain.risk.kill_switch import Control
from caopan.kernel.errors import CaopanError, Conflict, CorruptState
from caopan.testing.memory_rules import check_balanced


@dataclass(frozen=True, slots=True)
class KeptPlan:
    """One stored exit plan."""

    exit_plan_id: UUID
    symbol: str
    body: dict[str, Any]
    at: datetime


@dataclass(slots=True)
class RunState:
    """All that is durable of one run; values are frozen, so a shallow copy is a snapshot."""

    run: Run
    head: Head = field(default_factory=Head)
    fence: int = 0
    cycles: dict[UUID, Cycle] = field(default_factory=dict[UUID, Cycle])
    observations: dict[UUID, tuple[str, bytes]] = field(
        default_factory=dict[UUID, tuple[str, bytes]]
    )
    model_calls: dict[UUID, ModelCall] = field(default_factory=dict[UUID, ModelCall])
    orders: dict[UUID, Order] = field(default_factory=dict[UUID, Order])
    fills: dict[UUID, Fill] = field(default_factory=dict[UUID, Fill])
    exit_plans: dict[UUID, KeptPlan] = field(default_factory=dict[UUID, KeptPlan])
    transactions: dict[UUID, Transaction] = field(default_factory=dict[UUID, Transaction])
    balances: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    nav: dict[date, NavPoint] = field(default_factory=dict[date, NavPoint])
    entries: list[tuple[Entry, bytes | None]] = field(
        default_factory=list[tuple[Entry, bytes | None]]
    )
    """Links with their payload; None where the payload is the observation beside it."""
    controls: list[Control] = field(default_factory=list[Control])
    reconciliations: dict[UUID, Reconciliation] = field(default_factory=dict[UUID, Reconciliation])

    def snapshot(self) -> RunState:
        """Return an independent copy."""
        return RunState(**{part.name: copy(getattr(self, part.name)) for part in fields(self)})


@dataclass(slots=True)
class MemoryDatabase:
    """What survives a crash, and the locks that do not."""

    runs: dict[int, RunState] = field(default_factory=dict[int, RunState])
    venue: dict[int, dict[int, VenueEvent]] = field(
        default_factory=dict[int, dict[int, VenueEvent]]
    )
    calendars: list[tuple[str, str, tuple[date, ...]]] = field(
        default_factory=list[tuple[str, str, tuple[date, ...]]]
    )
    system_controls: list[Control] = field(default_factory=list[Control])
    leased: set[int] = field(default_factory=set[int])
    locks: dict[int, asyncio.Lock] = field(default_factory=dict[int, asyncio.Lock])

    def restarted(self) -> MemoryDatabase:
        """Return the database as the next process finds it: same facts, nobody holding anything."""
        self.leased = set()
        self.locks = {}
        return self


class MemoryTransaction:
    """One transaction on one run: reads see what is committed until the first write."""

    def __init__(
        self, database: MemoryDatabase, run_id: int, fence: int | None, *, lease_required: bool
    ) -> None:
        """Prepare; `fence` is the token of a lease held, or None."""
        self.fence = fence
        self._lease_required = lease_required
        self.posted: list[Transaction] = []
        self._database = database
        self._run_id = run_id
        self._open = False
        self._failed = False
        self._used = False
        self._view: RunState | None = None
        self._working: RunState | None = None
        self._lock: asyncio.Lock | None = None

    def begin(self) -> None:
        """Begin."""
        self._open = True

    def reading(self) -> RunState:
        """Return the state that a read sees."""
        self._check_usable()
        self._used = True
        state = self._working or self._view or self._database.runs.get(self._run_id)
        if state is None:
            raise CorruptState("RUN_UNKNOWN", f"run {self._run_id} is not stored")
        return state

    def one_view(self) -> None:
        """Let all reads of this transaction see one instant, if it has not begun yet."""
        if not self._used:
            # A commit puts another object in its place, so that this one is a snapshot.
            self._view = self._database.runs.get(self._run_id)

    async def writing(self, *, operator: bool = False) -> RunState:
        """Return the copy that writes go to; waits for another writer on the run.

        `operator`: what is written is open to who does not trade on the run.
        """
        self._check_usable()
        if self._lease_required and self.fence is None and not operator:
            held = f"this process does not hold run {self._run_id}"
            raise self.refused(Conflict("RUN_NOT_LEASED", held, remedy="take its lease first"))
        self.reading()
        if self._working is None:
            self._lock = self._database.locks.setdefault(self._run_id, asyncio.Lock())
            await self._lock.acquire()
            newest = self._database.runs[self._run_id]
            if self._view is not None and self._view is not newest:
                raise self.refused(Conflict("DB_SERIALIZATION", "someone else wrote first"))
            self._check_fence(newest)
            self._working = newest.snapshot()
        return self._working

    def _check_fence(self, newest: RunState) -> None:
        if self.fence is not None and self.fence != newest.fence:
            raise self.refused(Conflict("RUN_FENCED", "another process has taken the run over"))

    def refused(self, error: CaopanError) -> CaopanError:
        """Return `error` to be raised; nothing of this transaction can be committed any more."""
        self._failed = True
        return error

    def commit(self) -> None:
        """Put the copy in the original's place."""
        self._check_usable()
        try:
            check_balanced(self.posted)
        except CorruptState:
            self._failed = True
            raise
        if self._working is not None:
            # PostgreSQL lets the successor wait for this commit; here the commit is refused.
            self._check_fence(self._database.runs[self._run_id])
            self._working.fence = self._database.runs[self._run_id].fence
            self._database.runs[self._run_id] = self._working
        self._end()

    def close(self) -> None:
        """Drop what was not committed."""
        self._end()
        self._open = False

    def _end(self) -> None:
        self._used = False
        self._view = None
        self._working = None
        self.posted = []
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _check_usable(self) -> None:
        if not self._open:
            raise CorruptState("UOW_CLOSED", "a unit of work was used outside its `async with`")
        if self._failed:
            raise Conflict(
                "UOW_FAILED",
                "an earlier call of this unit of work was refused; nothing was stored",
                remedy="leave the unit of work and begin another",
            )
