"""What the database refuses in a single row, said again for the in-memory store.

Owns the checks the tables carry as CHECK constraints, under the same names, so that a simulation
trips where PostgreSQL would; the contract suite holds both to the same refusals. Must never be used
by production code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from caopan.application.ports.store import ModelCall, NavPoint, Reconciliation
from caopan.domain.accounting.journal import CNY, Transaction
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import CycleStage, DecisionStatus, Origin
from caopan.domain.market.phases import OrderKind
from caopan.domain.orders.order import Fill, Order, OrderStatus
from caopan.domain.risk.kill_switch import Control
from caopan.kernel.errors import CorruptState
from caopan.kernel.ids import CLIENT_ORDER_ID_LENGTH

_HASH = re.compile(r"[0-9a-f]{64}")
_TAG = re.compile(rf"[!-~]{{1,{CLIENT_ORDER_ID_LENGTH}}}")
_NEVER_NEGATIVE = ("cash.", "shares.", "inventory")
_WITHOUT_FILLS = (
    OrderStatus.CREATED,
    OrderStatus.SENDING,
    OrderStatus.REJECTED,
    OrderStatus.NOT_SENT,
)
_CAUSES = ("start", "reconnect", "interval", "close", "request")
_ROLES = ("actor", "checker", "analyst", "other")


def check_hash(name: str, value: str) -> None:
    """Refuse what is no SHA-256, by the constraint `name`."""
    if _HASH.fullmatch(value) is None:
        raise _violation(name)


def check_cycle(cycle: Cycle) -> None:
    """Refuse what the table decision refuses."""
    ended = cycle.stage is CycleStage.CLOSED
    before = cycle.stage in (CycleStage.OPENED, CycleStage.CLOSED)
    _check(
        "decision",
        {
            "slot": cycle.slot != "",
            "closed": ended == (cycle.closed_at is not None),
            "final": not ended or cycle.status is not DecisionStatus.IN_PROGRESS,
            "observed": before
            or cycle.observation_id is not None
            or cycle.origin is not Origin.MODEL,
        },
    )


def check_order(order: Order) -> None:
    """Refuse what the table trade_order refuses."""
    _check(
        "trade_order",
        {
            "client_order_id": _TAG.fullmatch(order.client_order_id) is not None,
            "action_index": order.action_index >= 0,
            "qty": order.qty > 0,
            "price": order.price > 0
            or (order.price == 0 and order.order_type.kind is OrderKind.MARKET),
            "filled_qty": 0 <= order.filled_qty <= order.qty,
            "filled_amount": order.filled_amount >= 0
            and (order.filled_qty == 0) == (order.filled_amount == 0),
            "filled": (order.status is OrderStatus.FILLED) == (order.filled_qty == order.qty),
            "partially": order.status is not OrderStatus.PARTIALLY_FILLED or order.filled_qty > 0,
            "unfilled": order.filled_qty == 0 or order.status not in _WITHOUT_FILLS,
            "submitted": order.status is not OrderStatus.SENDING or order.submitted_at is not None,
            "version": order.version >= 1,
        },
    )


def check_fill(fill: Fill) -> None:
    """Refuse what the table fill refuses."""
    fees = (fill.commission, fill.stamp_duty, fill.transfer_fee, fill.other_fees)
    _check("fill", {"qty": fill.qty > 0, "price": fill.price > 0, "fees": min(fees) >= 0})


def check_nav(point: NavPoint) -> None:
    """Refuse what the table nav_point refuses."""
    parts = (point.cash_free, point.cash_frozen, point.market_value)
    _check(
        "nav_point",
        {
            "parts": min(parts) >= 0,
            "nav": point.nav == sum(parts),
            "fees_total": point.fees_total >= 0,
            "benchmark": (point.benchmark or 0) >= 0,
        },
    )


def check_model_call(call: ModelCall) -> None:
    """Refuse what the table model_call refuses."""
    tokens = (
        call.tokens_prompt,
        call.tokens_completion,
        call.tokens_reasoning,
        call.tokens_cached,
    )
    _check(
        "model_call",
        {
            "role": call.role in _ROLES,
            "outcome": call.outcome != "",
            "prompt_hash": _HASH.fullmatch(call.prompt_hash) is not None,
            "attempt": call.attempt >= 1,
            "latency_ms": call.latency_ms >= 0,
            "ttft_ms": (call.ttft_ms or 0) >= 0,
            "tokens": min(count or 0 for count in tokens) >= 0,
        },
    )


def check_control(table: str, control: Control) -> None:
    """Refuse what the tables control and system_control refuse."""
    if control.at is None:
        raise CorruptState("NULL_VIOLATION", f"the {table} lacks the time it was set")
    _check(
        table,
        {
            "version": control.version >= 1,
            "reason": control.reason != "",
            "set_by": control.by != "",
        },
    )


def check_reconciliation(reconciliation: Reconciliation) -> None:
    """Refuse what the table reconciliation refuses."""
    _check("reconciliation", {"cause": reconciliation.trigger in _CAUSES})


def check_balances(balances: Mapping[tuple[str, str], int]) -> None:
    """Refuse what the table balance refuses."""
    for (account, _), amount in balances.items():
        held = amount >= 0 or not account.startswith(_NEVER_NEGATIVE)
        _check("balance", {"not_negative": held})


def check_balanced(transactions: Iterable[Transaction]) -> None:
    """Refuse a transaction that does not sum to zero per asset (checked at commit)."""
    for transaction in transactions:
        sums: dict[str, int] = {CNY: 0}
        for posting in transaction.postings:
            sums[posting.asset] = sums.get(posting.asset, 0) + posting.amount
        if any(sums.values()):
            raise _violation("journal_transaction_balanced")


def _check(table: str, rules: Mapping[str, bool]) -> None:
    for name, holds in rules.items():
        if not holds:
            raise _violation(f"ck_{table}_{name}")


def _violation(name: str) -> CorruptState:
    return CorruptState(
        "CHECK_VIOLATION",
        f"the store refused a row by {name}",
        remedy="report this; an invariant was about to be broken",
    )
