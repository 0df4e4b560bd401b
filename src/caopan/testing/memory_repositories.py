"""The repositories of the in-memory store.

Owns the same semantics as adapters/postgres/repositories, kept equal by the contract suite. Must
never be used by production code.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from caopan.application.ports.store import ModelCall, NavPoint, Run, RunStatus
from caopan.domain.accounting.journal import Book, Transaction
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import CycleStage, Origin
from caopan.domain.ledger.chain import Draft, Entry, Head, Stage, seal
from caopan.domain.orders.order import Fill, Order
from caopan.kernel.canonical import canonical
from caopan.kernel.errors import CaopanError, Conflict, CorruptState
from caopan.testing.memory_rules import (
    check_balances,
    check_cycle,
    check_fill,
    check_hash,
    check_model_call,
    check_nav,
    check_order,
)
from caopan.testing.memory_state import KeptPlan, MemoryTransaction, RunState

LOST = b""


class MemoryRepository:
    """A part of one transaction."""

    def __init__(self, transaction: MemoryTransaction) -> None:
        self._transaction = transaction

    async def _write(self, *, operator: bool = False) -> RunState:
        return await self._transaction.writing(operator=operator)

    def _read(self) -> RunState:
        return self._transaction.reading()

    def _refused(self, error: CaopanError) -> CaopanError:
        return self._transaction.refused(error)

    def _unique(self, free: object, code: str, what: str) -> None:
        if not free:
            raise self._refused(Conflict(code, f"{what} is stored already"))

    def _known(self, found: object, what: str) -> None:
        if not found:
            raise self._refused(CorruptState("FOREIGN_KEY_VIOLATION", f"{what} is not stored"))

    def _checked(self, check: Callable[..., None], *values: object) -> None:
        try:
            check(*values)
        except CaopanError as error:
            raise self._refused(error) from None


class MemoryRun(MemoryRepository):
    """RunRepository in memory."""

    async def get(self) -> Run:
        """Return the run."""
        return self._read().run

    async def finish(self, status: RunStatus, at: datetime, result: Mapping[str, Any]) -> None:
        """Close the run with its result."""
        state = await self._write(operator=True)
        if state.run.status is not RunStatus.RUNNING:
            raise self._refused(Conflict("RUN_CLOSED", f"run {state.run.run_id} is not running"))
        state.run = replace(state.run, status=status, finished_at=at, result=as_stored(result))


class MemoryLedger(MemoryRepository):
    """LedgerRepository in memory."""

    async def append(self, drafts: Sequence[Draft]) -> Head:
        """Seal drafts onto the head."""
        operator = all(draft.stage is Stage.OPERATOR_ACTION for draft in drafts)
        state = await self._write(operator=operator)
        sealed, state.head = seal(state.head, drafts)
        for entry, payload in sealed:
            if entry.decision_id is not None:
                self._known(entry.decision_id in state.cycles, f"decision {entry.decision_id}")
            kept = None if entry.stage is Stage.OBSERVATION else payload
            state.entries.append((entry, kept))
        return state.head

    async def head(self) -> Head:
        """Return the recorded head."""
        self._transaction.one_view()
        return self._read().head

    async def entries(
        self, decision_id: UUID | None = None, stage: Stage | None = None
    ) -> AsyncIterator[tuple[Entry, bytes | None]]:
        """Yield entries in order of seq with their payload."""
        self._transaction.one_view()
        state = self._read()
        observed = dict(state.observations.values())
        for entry, payload in list(state.entries):
            if decision_id in (None, entry.decision_id) and stage in (None, entry.stage):
                kept = observed.get(entry.payload_hash, LOST) if payload is None else payload
                yield entry, kept


class MemoryCycles(MemoryRepository):
    """CycleRepository in memory."""

    async def add(self, cycle: Cycle) -> None:
        """Store a new cycle."""
        state = await self._write()
        self._checked(check_cycle, cycle)
        taken = {(other.trading_day, other.slot) for other in state.cycles.values()}
        free = cycle.decision_id not in state.cycles
        free = free and (cycle.trading_day, cycle.slot) not in taken
        self._unique(free, "CYCLE_EXISTS", f"slot {cycle.slot} of {cycle.trading_day}")
        state.cycles[cycle.decision_id] = cycle

    async def save(self, cycle: Cycle) -> None:
        """Store the cycle's present stage and status."""
        state = await self._write()
        self._checked(check_cycle, cycle)
        stored = state.cycles.get(cycle.decision_id)
        if stored is None:
            missing = f"decision {cycle.decision_id} is not stored"
            raise self._refused(CorruptState("CYCLE_MISSING", missing))
        state.cycles[cycle.decision_id] = replace(
            stored,
            stage=cycle.stage,
            status=cycle.status,
            status_code=cycle.status_code,
            observation_id=cycle.observation_id,
            valid_until=cycle.valid_until,
            closed_at=cycle.closed_at,
        )

    async def get(self, decision_id: UUID) -> Cycle | None:
        """Return one cycle."""
        return self._read().cycles.get(decision_id)

    async def unfinished(self) -> Sequence[Cycle]:
        """Return cycles that are not closed, oldest first."""
        return [cycle for cycle in await self.all() if cycle.stage is not CycleStage.CLOSED]

    async def last(self) -> Cycle | None:
        """Return the newest cycle."""
        found = await self.all()
        return found[-1] if found else None

    async def recent(self, most: int, before: datetime) -> Sequence[Cycle]:
        """Return a model's closed decisions opened before `before`, newest first."""
        ended = [
            cycle
            for cycle in await self.all()
            if cycle.stage is CycleStage.CLOSED
            and cycle.origin is Origin.MODEL
            and cycle.opened_at < before
        ]
        return ended[::-1][:most]

    async def all(self) -> Sequence[Cycle]:
        """Return every cycle, oldest first."""
        stored = self._read().cycles.values()
        return sorted(stored, key=lambda cycle: (cycle.opened_at, cycle.decision_id))


class MemoryObservations(MemoryRepository):
    """ObservationRepository in memory."""

    async def add(
        self, observation_id: UUID, decision_id: UUID, at: datetime, content_hash: str, body: bytes
    ) -> None:
        """Store one observation."""
        del at
        state = await self._write()
        self._checked(check_hash, "ck_observation_content_hash", content_hash)
        self._known(decision_id in state.cycles, f"decision {decision_id}")
        self._unique(observation_id not in state.observations, "DB_DUPLICATE", "the observation")
        state.observations[observation_id] = (content_hash, body)

    async def get(self, observation_id: UUID) -> bytes | None:
        """Return the canonical JSON."""
        found = self._read().observations.get(observation_id)
        return None if found is None else found[1]


class MemoryModelCalls(MemoryRepository):
    """ModelCallRepository in memory."""

    async def add(self, call: ModelCall) -> None:
        """Store one call."""
        state = await self._write()
        self._checked(check_model_call, call)
        self._known(call.decision_id in state.cycles, f"decision {call.decision_id}")
        self._unique(call.call_id not in state.model_calls, "DB_DUPLICATE", "the call")
        request: dict[str, Any] = json.loads(canonical(call.request))
        usage = None if call.usage_raw is None else as_stored(call.usage_raw)
        state.model_calls[call.call_id] = replace(call, request=request, usage_raw=usage)

    async def of_decision(self, decision_id: UUID) -> Sequence[ModelCall]:
        """Return the calls of one decision, oldest first."""
        stored = self._read().model_calls.values()
        calls = [call for call in stored if call.decision_id == decision_id]
        return sorted(calls, key=lambda call: (call.created_at, call.attempt, call.call_id))


class MemoryOrders(MemoryRepository):
    """OrderRepository in memory."""

    async def add(self, orders: Sequence[Order]) -> None:
        """Store new orders."""
        state = await self._write()
        for order in orders:
            self._checked(check_order, order)
            self._known(order.decision_id in state.cycles, f"decision {order.decision_id}")
            tags = {other.client_order_id for other in state.orders.values()}
            free = order.order_id not in state.orders and order.client_order_id not in tags
            self._unique(free, "ORDER_EXISTS", f"order {order.client_order_id}")
            state.orders[order.order_id] = order

    async def save(self, orders: Sequence[Order]) -> None:
        """Store what changed of orders."""
        state = await self._write()
        for order in orders:
            self._checked(check_order, order)
            stored = state.orders.get(order.order_id)
            if stored is None or stored.version != order.version - 1:
                moved_on = f"order {order.client_order_id} is no longer at version"
                raise self._refused(Conflict("ORDER_VERSION", f"{moved_on} {order.version - 1}"))
            state.orders[order.order_id] = replace(
                stored,
                updated_at=order.updated_at,
                status=order.status,
                filled_qty=order.filled_qty,
                filled_amount=order.filled_amount,
                broker_order_id=order.broker_order_id,
                reject_code=order.reject_code,
                submitted_at=order.submitted_at,
                version=order.version,
            )

    async def of_decision(self, decision_id: UUID) -> Sequence[Order]:
        """Return a decision's orders by action index."""
        found = [order for order in await self.all() if order.decision_id == decision_id]
        return sorted(found, key=lambda order: (order.action_index, order.order_id))

    async def of_day(self, trading_day: date) -> Sequence[Order]:
        """Return the orders of one trading day, oldest first."""
        return [order for order in await self.all() if order.trading_day == trading_day]

    async def not_terminal(self) -> Sequence[Order]:
        """Return orders to which something may still happen, oldest first."""
        return [order for order in await self.all() if not order.is_terminal]

    async def all(self) -> Sequence[Order]:
        """Return every order, oldest first."""
        return sorted(
            self._read().orders.values(),
            key=lambda order: (
                order.created_at,
                order.decision_id,
                order.action_index,
                order.order_id,
            ),
        )

    async def add_fills(self, fills: Sequence[Fill]) -> Sequence[Fill]:
        """Store fills and return those that were new."""
        state = await self._write()
        seen = {_venue_key(fill) for fill in state.fills.values()}
        new: list[Fill] = []
        for fill in fills:
            self._checked(check_fill, fill)
            if _venue_key(fill) in seen:
                continue
            self._known(fill.order_id in state.orders, f"order {fill.order_id}")
            self._unique(fill.fill_id not in state.fills, "DB_DUPLICATE", "the fill")
            seen.add(_venue_key(fill))
            state.fills[fill.fill_id] = fill
            new.append(fill)
        return new

    async def fills(self, decision_id: UUID | None = None) -> Sequence[Fill]:
        """Return fills, oldest first, of one decision or of all."""
        stored = self._read().fills.values()
        found = [fill for fill in stored if decision_id in (None, fill.decision_id)]
        return sorted(found, key=lambda fill: (fill.filled_at, fill.fill_id))


class MemoryExitPlans(MemoryRepository):
    """ExitPlanRepository in memory."""

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
        state = await self._write()
        self._known(order_id in state.orders, f"order {order_id}")
        self._known(decision_id in state.cycles, f"decision {decision_id}")
        self._unique(exit_plan_id not in state.exit_plans, "DB_DUPLICATE", "the exit plan")
        state.exit_plans[exit_plan_id] = KeptPlan(exit_plan_id, symbol, as_stored(body), at)

    async def latest(self) -> Mapping[str, Mapping[str, Any]]:
        """Return, by symbol, the newest plan."""
        plans = sorted(
            self._read().exit_plans.values(),
            key=lambda plan: (plan.symbol, plan.at, plan.exit_plan_id),
        )
        return {plan.symbol: plan.body for plan in plans}


class MemoryJournal(MemoryRepository):
    """JournalRepository in memory."""

    async def post(self, transactions: Sequence[Transaction]) -> None:
        """Append transactions and add their postings to the stored balances."""
        state = await self._write()
        balances = dict(state.balances)
        for transaction in transactions:
            self._unique(
                transaction.txn_id not in state.transactions, "DB_DUPLICATE", "the transaction"
            )
            state.transactions[transaction.txn_id] = transaction
            for posting in transaction.postings:
                key = (posting.account, posting.asset)
                balances[key] = balances.get(key, 0) + posting.amount
        self._checked(check_balances, balances)
        state.balances = {key: amount for key, amount in balances.items() if amount}
        self._transaction.posted.extend(transactions)

    async def booked(self, txn_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Return those of `txn_ids` that the journal already holds."""
        held = self._read().transactions
        return [txn_id for txn_id in txn_ids if txn_id in held]

    async def balances(self) -> Book:
        """Return the stored balances."""
        return Book(self._read().balances)

    async def transactions(self) -> Sequence[Transaction]:
        """Return the whole journal in order of posting."""
        return list(self._read().transactions.values())


class MemoryNav(MemoryRepository):
    """NavRepository in memory."""

    async def add(self, point: NavPoint) -> None:
        """Store one day's snapshot."""
        state = await self._write()
        self._checked(check_nav, point)
        self._unique(point.trading_day not in state.nav, "NAV_EXISTS", f"{point.trading_day}")
        state.nav[point.trading_day] = point

    async def all(self) -> Sequence[NavPoint]:
        """Return snapshots by day."""
        stored = self._read().nav
        return [stored[day] for day in sorted(stored)]


def as_stored(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as it comes back from JSON."""
    return json.loads(json.dumps(document))


def _venue_key(fill: Fill) -> tuple[str, date, str, str]:
    return (fill.broker, fill.trading_day, fill.broker_fill_id, fill.side.value)
