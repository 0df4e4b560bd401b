"""The store port: everything durable, as repositories inside one unit of work.

Owns the protocols that persistence implements and the shapes that only persistence carries (Run,
ModelCall, NavPoint). Repositories take and return domain objects, are scoped to one run, and
change nothing until `commit`; leaving the unit of work without it rolls back. Must never name a
table. Tests: tests/contract/store, run against PostgreSQL and the in-memory twin.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol, Self
from uuid import UUID

from caopan.domain.accounting.journal import Book, Transaction
from caopan.domain.decision.cycle import Cycle
from caopan.domain.ledger.chain import Draft, Entry, Head, Stage
from caopan.domain.orders.order import Fill, Order
from caopan.domain.risk.kill_switch import Control


class RunKind(StrEnum):
    """Whose life a run is."""

    DESK = "desk"
    """The one continuous life of the desk itself (`caopan cycle`)."""
    DEMO = "demo"
    REPLAY = "replay"


class RunStatus(StrEnum):
    """Whether a run goes on."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Run:
    """One continuous life of one account: its own ledger chain, orders and books."""

    run_id: int
    kind: RunKind
    account_id: str
    config_hash: str
    """Hash of everything the run's result depends on; equal hashes give equal ledger heads."""
    config: Mapping[str, Any]
    status: RunStatus
    created_at: datetime
    finished_at: datetime | None = None
    result: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of a model (contracts.md, ModelCall). Stored redacted; cost is never guessed."""

    call_id: UUID
    trace_id: UUID
    decision_id: UUID
    role: str
    alias: str
    endpoint: str
    provider: str
    model_asked: str
    model_served: str
    prompt_hash: str
    prompt_version: str
    config_version: str
    request: Mapping[str, Any]
    response: str
    outcome: str
    created_at: datetime
    latency_ms: int
    attempt: int = 1
    tokens_prompt: int | None = None
    tokens_completion: int | None = None
    tokens_reasoning: int | None = None
    tokens_cached: int | None = None
    usage_raw: Mapping[str, Any] | None = None
    ttft_ms: int | None = None
    error_code: str | None = None
    cost_cny: str | None = None
    """Decimal string; None while the price is unknown."""
    price_version: str | None = None


@dataclass(frozen=True, slots=True)
class NavPoint:
    """The account at the close of one trading day. Money in units."""

    trading_day: date
    at: datetime
    nav: int
    cash_free: int
    cash_frozen: int
    market_value: int
    fees_total: int
    realised_total: int
    benchmark: int | None = None
    """NAV of holding the universe in equal parts from the start; None where unknown."""


@dataclass(frozen=True, slots=True)
class VenueEvent:
    """One fact of the sandbox exchange's own record, kept apart from our books."""

    seq: int
    kind: str
    at: datetime
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One comparison of our books with the venue's."""

    reconciliation_id: UUID
    at: datetime
    trading_day: date
    trigger: str
    """start, reconnect, interval, close or request."""
    passed: bool
    differences: Sequence[Mapping[str, Any]]
    """Each {kind, key, ours, theirs}, values as JSON strings or None."""


class LedgerRepository(Protocol):
    """The append-only chain of one run."""

    async def append(self, drafts: Sequence[Draft]) -> Head:
        """Seal drafts onto the head (locked until commit) and return the new head."""
        ...

    async def head(self) -> Head:
        """Return the recorded head."""
        ...

    def entries(
        self, decision_id: UUID | None = None, stage: Stage | None = None
    ) -> AsyncIterator[tuple[Entry, bytes | None]]:
        """Yield entries in order of seq with their canonical payload (None where pruned).

        Of one decision, or of one stage, where that is given. A payload that is missing although it
        was never pruned comes as b"", which no JSON value is. Read first in a unit of work, `head`
        and `entries` show one instant.
        """
        ...


class CycleRepository(Protocol):
    """Decisions and how far each is recorded."""

    async def add(self, cycle: Cycle) -> None:
        """Store a new cycle. Raises Conflict CYCLE_EXISTS if its slot of the day is taken."""
        ...

    async def save(self, cycle: Cycle) -> None:
        """Store the cycle's present stage and status."""
        ...

    async def get(self, decision_id: UUID) -> Cycle | None:
        """Return one cycle."""
        ...

    async def unfinished(self) -> Sequence[Cycle]:
        """Return cycles that are not closed, oldest first."""
        ...

    async def last(self) -> Cycle | None:
        """Return the newest cycle."""
        ...

    async def recent(self, most: int, before: datetime) -> Sequence[Cycle]:
        """Return a model's closed decisions opened before `before`, newest first."""
        ...

    async def all(self) -> Sequence[Cycle]:
        """Return every cycle, oldest first."""
        ...


class ObservationRepository(Protocol):
    """Observations as canonical JSON, stored compressed."""

    async def add(
        self, observation_id: UUID, decision_id: UUID, at: datetime, content_hash: str, body: bytes
    ) -> None:
        """Store one observation; `body` is its canonical JSON."""
        ...

    async def get(self, observation_id: UUID) -> bytes | None:
        """Return the canonical JSON."""
        ...


class ModelCallRepository(Protocol):
    """Every call of a model, failed ones too."""

    async def add(self, call: ModelCall) -> None:
        """Store one call."""
        ...

    async def of_decision(self, decision_id: UUID) -> Sequence[ModelCall]:
        """Return the calls of one decision, oldest first."""
        ...


class OrderRepository(Protocol):
    """Orders and their fills."""

    async def add(self, orders: Sequence[Order]) -> None:
        """Store new orders. Raises Conflict ORDER_EXISTS if a client_order_id is taken."""
        ...

    async def save(self, orders: Sequence[Order]) -> None:
        """Store changed orders.

        Raises Conflict ORDER_VERSION unless each stored version is exactly one less.
        """
        ...

    async def of_decision(self, decision_id: UUID) -> Sequence[Order]:
        """Return a decision's orders by action index."""
        ...

    async def of_day(self, trading_day: date) -> Sequence[Order]:
        """Return the orders of one trading day, oldest first."""
        ...

    async def not_terminal(self) -> Sequence[Order]:
        """Return orders to which something may still happen, oldest first."""
        ...

    async def all(self) -> Sequence[Order]:
        """Return every order, oldest first."""
        ...

    async def add_fills(self, fills: Sequence[Fill]) -> Sequence[Fill]:
        """Store fills and return those that were new (unique by the venue's own id)."""
        ...

    async def fills(self, decision_id: UUID | None = None) -> Sequence[Fill]:
        """Return fills, oldest first, of one decision or of all."""
        ...


class ExitPlanRepository(Protocol):
    """Exit plans recorded with the orders that opened positions."""

    async def add(
        self,
        exit_plan_id: UUID,
        order_id: UUID,
        decision_id: UUID,
        symbol: str,
        body: Mapping[str, Any],
        at: datetime,
    ) -> None:
        """Store one plan."""
        ...

    async def latest(self) -> Mapping[str, Mapping[str, Any]]:
        """Return, by symbol, the newest plan."""
        ...


class JournalRepository(Protocol):
    """The double-entry journal and the balances it sums to."""

    async def post(self, transactions: Sequence[Transaction]) -> None:
        """Append transactions and add their postings to the stored balances."""
        ...

    async def booked(self, txn_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Return those of `txn_ids` that the journal already holds."""
        ...

    async def balances(self) -> Book:
        """Return the stored balances."""
        ...

    async def transactions(self) -> Sequence[Transaction]:
        """Return the whole journal in order of posting."""
        ...


class NavRepository(Protocol):
    """Day-close snapshots."""

    async def add(self, point: NavPoint) -> None:
        """Store one day's snapshot."""
        ...

    async def all(self) -> Sequence[NavPoint]:
        """Return snapshots by day."""
        ...


class RunRepository(Protocol):
    """The run this unit of work belongs to."""

    async def get(self) -> Run:
        """Return the run."""
        ...

    async def finish(self, status: RunStatus, at: datetime, result: Mapping[str, Any]) -> None:
        """Close the run with its result."""
        ...


class ControlRepository(Protocol):
    """What stands against the trading of the run's account: kill switch level and posture."""

    async def get(self) -> Control:
        """Return the account's own control, `Control()` before the first."""
        ...

    async def put(self, control: Control) -> None:
        """Store a control. Raises Conflict CONTROL_VERSION unless its version is the next one."""
        ...


class ReconciliationRepository(Protocol):
    """Comparisons of our books with the venue's, newest last."""

    async def add(self, reconciliation: Reconciliation) -> None:
        """Store one comparison."""
        ...

    async def all(self) -> Sequence[Reconciliation]:
        """Return every comparison, oldest first."""
        ...


class UnitOfWork(Protocol):
    """One transaction on one run; rolled back unless committed.

    What the store refuses is raised by the call itself or by a later one of the same unit of work,
    at the latest by `commit`, and never after anything became durable. After a refusal nothing of
    the unit of work can be committed (Conflict UOW_FAILED).
    """

    run: RunRepository
    ledger: LedgerRepository
    cycles: CycleRepository
    observations: ObservationRepository
    model_calls: ModelCallRepository
    orders: OrderRepository
    exit_plans: ExitPlanRepository
    journal: JournalRepository
    nav: NavRepository
    controls: ControlRepository
    reconciliations: ReconciliationRepository

    async def __aenter__(self) -> Self:
        """Begin."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Roll back whatever was not committed."""
        ...

    async def commit(self) -> None:
        """Make everything done in this unit of work durable.

        Raises OutcomeUnknown if only the store can tell whether it happened.
        """
        ...


class Store(Protocol):
    """The database as the use cases see it."""

    def begin(self, run_id: int) -> UnitOfWork:
        """Return a unit of work on one run, to be entered with `async with`."""
        ...

    async def create_run(
        self,
        kind: RunKind,
        account_id: str,
        config: Mapping[str, Any],
        config_hash: str,
        at: datetime,
    ) -> Run:
        """Store a new run and return it with its number."""
        ...

    async def runs(self, kind: RunKind | None = None, *, unfinished: bool = False) -> Sequence[Run]:
        """Return runs, newest first."""
        ...

    async def find_decision(self, prefix: str) -> Sequence[tuple[int, UUID]]:
        """Return (run_id, decision_id) of decisions whose id begins so, newest run first."""
        ...

    def lease(self, run_id: int) -> AbstractAsyncContextManager[None]:
        """Hold the one right to trade on a run; freed when the process dies.

        Raises Conflict RUN_BUSY while another process holds it.
        """
        ...

    async def confirm_lease(self, run_id: int) -> None:
        """Look whether this process still holds the lease of a run.

        Raises Conflict RUN_NOT_LEASED or RUN_FENCED if it does not, Unavailable if the connection
        that held it is gone: somebody else may take it.
        """
        ...

    async def system_control(self) -> Control:
        """Return what stands against all accounts, `Control()` before the first."""
        ...

    async def put_system_control(self, control: Control) -> None:
        """Store it. Raises Conflict CONTROL_VERSION unless its version is the next one."""
        ...

    async def save_calendar(self, name: str, version: str, sessions: Sequence[date]) -> None:
        """Keep a snapshot of the trading calendar; the same snapshot again changes nothing."""
        ...

    async def load_calendar(self) -> tuple[str, str, Sequence[date]] | None:
        """Return the newest calendar snapshot: name, version, sessions."""
        ...


class VenueJournal(Protocol):
    """The sandbox exchange's own record, in its own transactions: it must not share our fate."""

    async def record(self, run_id: int, events: Sequence[VenueEvent]) -> None:
        """Append events durably. Raises Conflict VENUE_SEQ if a seq is taken."""
        ...

    async def load(self, run_id: int) -> Sequence[VenueEvent]:
        """Return all events in order of seq."""
        ...
