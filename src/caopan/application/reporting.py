"""What a run came to, counted from the ledger and the books.

Owns RunReport: every figure in it is recomputed from stored rows and checked entries, none is
carried along. Must never change anything. Tests: tests/integration/test_report.py.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from caopan.application import records
from caopan.application.decision_cycle.actor import PARSED
from caopan.application.ports.store import NavPoint, Store
from caopan.domain.accounting.journal import fold
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import CycleStage, DecisionStatus, Origin
from caopan.domain.ledger.chain import Entry, Stage, Verification, Verifier
from caopan.domain.orders.order import Fill, Order
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import yuan

_JUDGING = frozenset({Stage.CHECKER, Stage.RISK})
_BEGINNINGS = {
    Origin.MODEL: frozenset({Stage.OBSERVATION, Stage.ACTOR}),
    Origin.OPERATOR: frozenset({Stage.OPERATOR_ACTION, Stage.RISK}),
    Origin.FOREIGN: frozenset({Stage.OPERATOR_ACTION}),
}
"""Where the trace of a decision starts, by who made it."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """The figures of one run. Money in units."""

    decisions: int
    by_status: Mapping[str, int]
    orders: int
    fills: int
    rejected_by_code: Mapping[str, int]
    model_failures: Mapping[str, int]
    """Decisions that became a no_op because the model gave no usable answer, by code."""
    nav: Sequence[NavPoint]
    nav_start: int
    nav_end: int
    fees: int
    verification: Verification
    trace_coverage: float
    estimated_entitlements: int

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values, without measured times."""
        return {
            "decisions": self.decisions,
            "by_status": dict(self.by_status),
            "orders": self.orders,
            "fills": self.fills,
            "rejected_by_code": dict(self.rejected_by_code),
            "model_failures": dict(self.model_failures),
            "nav_start": yuan(self.nav_start),
            "nav_end": yuan(self.nav_end),
            "fees": yuan(self.fees),
            "ledger": {
                "entries": self.verification.entries,
                "verified": self.verification.verified,
                "head": self.verification.head,
            },
            "trace_coverage": self.trace_coverage,
        }


@dataclass(slots=True)
class _Trace:
    """What the chain holds of one decision."""

    trace_ids: set[UUID | None] = field(default_factory=set[UUID | None])
    stages: set[Stage] = field(default_factory=set[Stage])
    payloads: dict[Stage, Any] = field(default_factory=dict[Stage, Any])
    orders: dict[str, Any] = field(default_factory=dict[str, Any])
    """The last entry of each order, by its id."""
    fills: dict[str, Any] = field(default_factory=dict[str, Any])


async def report_run(store: Store, run_id: int, cash: int) -> RunReport:
    """Return the report of a run that began with `cash` units.

    Raises:
        CorruptState: BOOKS_DIFFER if the journal does not sum to the stored balances.
    """
    async with store.begin(run_id) as uow:
        cycles = await uow.cycles.all()
        orders = await uow.orders.all()
        fills = await uow.orders.fills()
        points = await uow.nav.all()
        journal = fold(await uow.journal.transactions())
        stored = await uow.journal.balances()
        verifier, traces, codes, estimated = Verifier(), dict[UUID, _Trace](), Counter[str](), 0
        async for entry, payload in uow.ledger.entries():
            verifier.feed(entry, payload)
            if verifier.failed:
                break
            estimated += _note(entry, payload, traces, codes)
        verification = verifier.finish(await uow.ledger.head())
    if journal.balances != stored.balances:
        raise CorruptState(
            "BOOKS_DIFFER",
            "the journal does not sum to the stored balances",
            remedy="stop trading on this run and restore the last backup",
        )
    refused_orders = Counter(o.reject_code for o in orders if o.reject_code is not None)
    codes.update({str(code): count for code, count in refused_orders.items()})
    return RunReport(
        decisions=len(cycles),
        by_status=dict(sorted(Counter(str(c.status) for c in cycles).items())),
        orders=len(orders),
        fills=len(fills),
        rejected_by_code=dict(codes.most_common()),
        model_failures=dict(
            Counter(
                cycle.status_code
                for cycle in cycles
                if cycle.status is DecisionStatus.NO_OP and cycle.status_code is not None
            )
        ),
        nav=points,
        nav_start=cash,
        nav_end=points[-1].nav if points else cash,
        fees=sum(fill.fees for fill in fills),
        verification=verification,
        trace_coverage=_coverage(cycles, orders, fills, traces, verification),
        estimated_entitlements=estimated,
    )


def _note(
    entry: Entry, payload: bytes | None, traces: dict[UUID, _Trace], codes: Counter[str]
) -> int:
    """Take note of one entry; return 1 for an entitlement booked on an estimate."""
    if entry.decision_id is None:
        return int(entry.stage is Stage.ACCOUNTING and b"(estimated" in (payload or b""))
    trace = traces.setdefault(entry.decision_id, _Trace())
    trace.trace_ids.add(entry.trace_id)
    trace.stages.add(entry.stage)
    if payload is None or entry.stage is Stage.OBSERVATION:
        return 0
    values = json.loads(payload)
    trace.payloads[entry.stage] = values
    if entry.stage is Stage.ORDER:
        trace.orders[values["order_id"]] = values
    elif entry.stage is Stage.FILL:
        trace.fills[values["fill_id"]] = values
    elif entry.stage in _JUDGING:
        reasons = list(values.get("reasons", ()))
        for verdict in values.get("verdicts", ()):
            reasons.extend(verdict["reasons"])
        codes.update(reason["code"] for reason in reasons)
    return 0


def _coverage(
    cycles: Sequence[Cycle],
    orders: Sequence[Order],
    fills: Sequence[Fill],
    traces: Mapping[UUID, _Trace],
    verification: Verification,
) -> float:
    """Return the share of decisions whose every stage is in the verified chain.

    Decisions, orders and fills must stand in the tables as the chain has them: a row changed there
    is a decision that is not whole.
    """
    if not cycles or not verification.verified:
        return 0.0 if cycles else 1.0
    orders_of: dict[UUID, list[Order]] = {}
    fills_of: dict[UUID, list[Fill]] = {}
    for order in orders:
        orders_of.setdefault(order.decision_id, []).append(order)
    for fill in fills:
        fills_of.setdefault(fill.decision_id, []).append(fill)
    whole = sum(
        _is_whole(
            cycle,
            traces.get(cycle.decision_id, _Trace()),
            orders_of.get(cycle.decision_id, []),
            fills_of.get(cycle.decision_id, []),
        )
        for cycle in cycles
    )
    return whole / len(cycles)


def _is_whole(cycle: Cycle, trace: _Trace, orders: Sequence[Order], fills: Sequence[Fill]) -> bool:
    needed = set(_BEGINNINGS[cycle.origin])
    if trace.payloads.get(Stage.ACTOR, {}).get("outcome") == PARSED:
        needed.add(Stage.CHECKER)
    if trace.payloads.get(Stage.CHECKER, {}).get("pass") and (
        cycle.status is not DecisionStatus.NO_OP
    ):
        needed.add(Stage.RISK)
    if cycle.stage is CycleStage.CLOSED:
        needed.add(Stage.OUTCOME)
        told = trace.payloads.get(Stage.OUTCOME)
        if told != records.outcome(cycle, orders, fills).payload:
            return False
    return (
        needed <= trace.stages
        and trace.trace_ids == {cycle.trace_id}
        and trace.orders.keys() <= {str(order.order_id) for order in orders}
        and all(
            trace.orders.get(str(order.order_id)) == records.order_json(order)
            for order in orders
            if order.is_terminal
        )
        and trace.fills
        == {str(fill.fill_id): records.filled(fill, cycle.trace_id).payload for fill in fills}
    )
