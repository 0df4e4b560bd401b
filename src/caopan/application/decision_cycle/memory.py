"""What the actor is told of its own past: recent decisions, what became of them, and why.

Owns `own_record`. It reads the account's own store, nothing later than the decision at hand, and
never more than a bound. Must never show another account's record. Tests:
tests/unit/application/decision_cycle/test_memory.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from caopan.application.ports.store import UnitOfWork
from caopan.domain.decision.cycle import Cycle
from caopan.domain.ledger.chain import Stage
from caopan.domain.orders.order import Order
from caopan.kernel.clock import iso
from caopan.kernel.money import yuan

DECISIONS: Final = 8
_ORDERS: Final = 5
_REFUSALS: Final = 5
_LONGEST: Final = 240


async def own_record(uow: UnitOfWork, before: datetime) -> list[dict[str, Any]]:
    """Return the newest decisions made before `before`, newest first, as JSON values."""
    return [await _entry(uow, cycle) for cycle in await uow.cycles.recent(DECISIONS, before)]


async def _entry(uow: UnitOfWork, cycle: Cycle) -> dict[str, Any]:
    orders = await uow.orders.of_decision(cycle.decision_id)
    evidence: dict[Stage, Mapping[str, Any]] = {}
    async for entry, payload in uow.ledger.entries(cycle.decision_id):
        if entry.stage in (Stage.CHECKER, Stage.RISK) and payload:
            evidence[entry.stage] = json.loads(payload)
    return {
        "code": cycle.status_code or "",
        "decided_at": iso(cycle.opened_at),
        "orders": [_order(order) for order in orders[:_ORDERS]],
        "refusals": _refusals(evidence),
        "status": cycle.status.value,
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "filled_qty": order.filled_qty,
        "price": yuan(order.price),
        "qty": order.qty,
        "side": order.side.value,
        "status": order.status.value,
        "symbol": order.symbol,
    }


def _refusals(evidence: Mapping[Stage, Mapping[str, Any]]) -> list[str]:
    """Return what checker and gate refused, in their own words, the first few."""
    reasons: list[Mapping[str, Any]] = list(evidence.get(Stage.CHECKER, {}).get("reasons", ()))
    verdicts: Sequence[Mapping[str, Any]] = evidence.get(Stage.RISK, {}).get("verdicts", ())
    for verdict in verdicts:
        reasons.extend(verdict.get("reasons", ()))
    return [f"{reason['code']}: {reason['detail']}"[:_LONGEST] for reason in reasons[:_REFUSALS]]
