"""Orders, their fills, and the exit plans recorded with them.

Owns the tables trade_order, fill and exit_plan. Must never judge a change of state (the domain's
table of edges does); it only refuses to overwrite a version it has not seen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

from caopan.adapters.postgres.connection import Session
from caopan.adapters.postgres.repositories.lease import Lease
from caopan.adapters.postgres.statements import arrays, insert, insert_batch, selected, updated
from caopan.adapters.postgres.tables import EXIT_PLAN, FILL, TRADE_ORDER
from caopan.adapters.postgres.values import numeric, units
from caopan.domain.orders.order import TERMINAL, Fill, Order, OrderStatus, OrderType, Side
from caopan.kernel.errors import Conflict

_ORDER: Final = (
    "order_id",
    "client_order_id",
    "decision_id",
    "action_index",
    "account_id",
    "symbol",
    "side",
    "order_type",
    "price",
    "qty",
    "broker",
    "clearance_id",
    "trading_day",
    "not_after",
    "created_at",
    "updated_at",
    "status",
    "filled_qty",
    "filled_amount",
    "broker_order_id",
    "reject_code",
    "exit_plan_id",
    "submitted_at",
    "version",
)
_CHANGING: Final = (
    "updated_at",
    "status",
    "filled_qty",
    "filled_amount",
    "broker_order_id",
    "reject_code",
    "submitted_at",
    "version",
)
_INSERT_ORDERS: Final = insert_batch(
    TRADE_ORDER, ("run_id", "fence", *_ORDER), scalars=("run_id", "fence")
)
_UPDATE_ORDER: Final = (
    updated(TRADE_ORDER, _CHANGING)
    + " WHERE run_id = %(run_id)s AND order_id = %(order_id)s AND version = %(version)s - 1"
)
_SELECT_ORDERS: Final = selected(TRADE_ORDER, _ORDER) + " WHERE run_id = %(run_id)s"
_OLDEST: Final = " ORDER BY created_at, decision_id, action_index, order_id"
_ENDED: Final = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL))

_FILL: Final = (
    "fill_id",
    "order_id",
    "decision_id",
    "broker",
    "broker_fill_id",
    "trading_day",
    "symbol",
    "side",
    "qty",
    "price",
    "commission",
    "stamp_duty",
    "transfer_fee",
    "other_fees",
    "filled_at",
)
_FILL_MONEY: Final = ("price", "commission", "stamp_duty", "transfer_fee", "other_fees")
_INSERT_FILLS: Final = (
    insert_batch(FILL, ("run_id", *_FILL), scalars=("run_id",))
    + " ON CONFLICT ON CONSTRAINT uq_fill_venue DO NOTHING RETURNING fill_id"
)
_SELECT_FILLS: Final = selected(FILL, _FILL) + " WHERE run_id = %(run_id)s"

_PLAN: Final = (
    "run_id",
    "exit_plan_id",
    "order_id",
    "decision_id",
    "symbol",
    "body",
    "created_at",
)
_INSERT_PLAN: Final = insert(EXIT_PLAN, _PLAN)
_LATEST_PLANS: Final = (
    "SELECT DISTINCT ON (symbol) symbol, body FROM exit_plan WHERE run_id = %(run_id)s"
    " ORDER BY symbol, created_at DESC, exit_plan_id DESC"
)


class PostgresOrders:
    """OrderRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int, lease: Lease | None) -> None:
        """Work for `run_id`; `lease` is what this process holds of it, None without one."""
        self._session = session
        self._run_id = run_id
        self._fence = None if lease is None else lease.fence

    async def add(self, orders: Sequence[Order]) -> None:
        """Store new orders. Raises Conflict ORDER_EXISTS if a client_order_id is taken."""
        if orders:
            rows = [_order_values(order) for order in orders]
            values = {"fence": self._fence, **arrays(_ORDER, rows)}
            self._session.queue(_INSERT_ORDERS, self._params(values))

    async def save(self, orders: Sequence[Order]) -> None:
        """Store what changed of orders: state, fills, the venue's word.

        Raises Conflict ORDER_VERSION unless each stored version is exactly one less.
        """
        for order in orders:
            changed = Conflict(
                "ORDER_VERSION",
                f"order {order.client_order_id} is no longer at version {order.version - 1}",
                remedy="load the order again and decide again",
            )
            values: dict[str, Any] = dict(zip(_ORDER, _order_values(order), strict=True))
            self._session.queue(_UPDATE_ORDER, self._params(values), changed)

    async def of_decision(self, decision_id: UUID) -> Sequence[Order]:
        """Return a decision's orders by action index."""
        rest = " AND decision_id = %(decision_id)s ORDER BY action_index, order_id"
        return await self._read(rest, decision_id=decision_id)

    async def of_day(self, trading_day: date) -> Sequence[Order]:
        """Return the orders of one trading day, oldest first."""
        rest = " AND trading_day = %(trading_day)s" + _OLDEST
        return await self._read(rest, trading_day=trading_day)

    async def not_terminal(self) -> Sequence[Order]:
        """Return orders to which something may still happen, oldest first."""
        return await self._read(f" AND status NOT IN ({_ENDED})" + _OLDEST)

    async def all(self) -> Sequence[Order]:
        """Return every order, oldest first."""
        return await self._read(_OLDEST)

    async def add_fills(self, fills: Sequence[Fill]) -> Sequence[Fill]:
        """Store fills and return those that were new (unique by the venue's own id)."""
        if not fills:
            return []
        rows = [_fill_values(fill) for fill in fills]
        self._session.guard()
        cursor = await self._session.run(_INSERT_FILLS, self._params(arrays(_FILL, rows)))
        new = {row[0] for row in await cursor.fetchall()}
        return [fill for fill in fills if fill.fill_id in new]

    async def fills(self, decision_id: UUID | None = None) -> Sequence[Fill]:
        """Return fills, oldest first, of one decision or of all."""
        wanted = "" if decision_id is None else " AND decision_id = %(decision_id)s"
        statement = f"{_SELECT_FILLS}{wanted} ORDER BY filled_at, fill_id"
        rows = await self._session.rows(statement, self._params({"decision_id": decision_id}))
        return [_fill(dict(zip(_FILL, row, strict=True))) for row in rows]

    async def _read(self, rest: str, **params: object) -> list[Order]:
        rows = await self._session.rows(_SELECT_ORDERS + rest, self._params(params))
        return [_order(dict(zip(_ORDER, row, strict=True))) for row in rows]

    def _params(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {"run_id": self._run_id, **values}


class PostgresExitPlans:
    """ExitPlanRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int) -> None:
        """Work for `run_id`."""
        self._session = session
        self._run_id = run_id

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
        values = (self._run_id, exit_plan_id, order_id, decision_id, symbol, json.dumps(body), at)
        self._session.queue(_INSERT_PLAN, dict(zip(_PLAN, values, strict=True)))

    async def latest(self) -> Mapping[str, Mapping[str, Any]]:
        """Return, by symbol, the newest plan."""
        return dict(await self._session.rows(_LATEST_PLANS, {"run_id": self._run_id}))


def _order_values(order: Order) -> list[Any]:
    return [
        order.order_id,
        order.client_order_id,
        order.decision_id,
        order.action_index,
        order.account_id,
        order.symbol,
        order.side.value,
        order.order_type.value,
        numeric(order.price),
        order.qty,
        order.broker,
        order.clearance_id,
        order.trading_day,
        order.not_after,
        order.created_at,
        order.updated_at,
        order.status.value,
        order.filled_qty,
        numeric(order.filled_amount),
        order.broker_order_id,
        order.reject_code,
        order.exit_plan_id,
        order.submitted_at,
        order.version,
    ]


def _order(row: dict[str, Any]) -> Order:
    row["side"] = Side(row["side"])
    row["order_type"] = OrderType(row["order_type"])
    row["status"] = OrderStatus(row["status"])
    row["price"] = units(row["price"])
    row["filled_amount"] = units(row["filled_amount"])
    return Order(**row)


def _fill_values(fill: Fill) -> list[Any]:
    return [
        fill.fill_id,
        fill.order_id,
        fill.decision_id,
        fill.broker,
        fill.broker_fill_id,
        fill.trading_day,
        fill.symbol,
        fill.side.value,
        fill.qty,
        numeric(fill.price),
        numeric(fill.commission),
        numeric(fill.stamp_duty),
        numeric(fill.transfer_fee),
        numeric(fill.other_fees),
        fill.filled_at,
    ]


def _fill(row: dict[str, Any]) -> Fill:
    row["side"] = Side(row["side"])
    for name in _FILL_MONEY:
        row[name] = units(row[name])
    return Fill(**row)
