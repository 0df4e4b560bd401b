"""Orders, their fills, and the exit plans recorded with them.

Owns trade_order (so named because ORDER is a word of SQL), fill and exit_plan. The edges between
an order's states are the domain's; what a single row can contradict stands here.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Index, UniqueConstraint

from caopan.adapters.postgres.tables.base import (
    Row,
    day,
    document,
    ident,
    instant,
    key,
    money,
    number,
    one_of,
    rule,
    run_key,
    text,
    within_run,
)
from caopan.domain.orders.order import OrderStatus, OrderType, Side
from caopan.kernel.ids import CLIENT_ORDER_ID_LENGTH


class TradeOrderRow(Row, table=True):
    """One order."""

    __table_args__ = (
        within_run("decision", "decision_id"),
        UniqueConstraint("run_id", "client_order_id", name="uq_trade_order_client"),
        Index("ix_trade_order_decision", "run_id", "decision_id"),
        Index("ix_trade_order_day", "run_id", "trading_day"),
        one_of("side", Side),
        one_of("order_type", OrderType),
        one_of("status", OrderStatus),
        rule(
            "client_order_id",
            f"length(client_order_id) <= {CLIENT_ORDER_ID_LENGTH} AND client_order_id ~ '^[!-~]+$'",
        ),
        rule("action_index", "action_index >= 0"),
        rule("qty", "qty > 0"),
        # A market order bids no price; on STAR it carries a protective one.
        rule("price", "price > 0 OR (price = 0 AND left(order_type, 7) = 'market_')"),
        rule("filled_qty", "filled_qty >= 0 AND filled_qty <= qty"),
        rule(
            "filled_amount",
            "filled_amount >= 0 AND (filled_qty = 0) = (filled_amount = 0)",
        ),
        rule("filled", "(status = 'filled') = (filled_qty = qty)"),
        rule("partially", "status <> 'partially_filled' OR filled_qty > 0"),
        rule(
            "unfilled",
            "filled_qty = 0 OR status NOT IN ('created', 'sending', 'rejected', 'not_sent')",
        ),
        rule("submitted", "status <> 'sending' OR submitted_at IS NOT NULL"),
        rule("version", "version >= 1"),
        rule("fence", "fence > 0"),
    )

    run_id: int = run_key()
    order_id: UUID = key()
    client_order_id: str = text()
    decision_id: UUID = ident()
    action_index: int = number()
    account_id: str = text()
    symbol: str = text()
    side: str = text()
    order_type: str = text()
    price: Decimal = money()
    qty: int = number()
    broker: str = text()
    clearance_id: UUID = ident()
    trading_day: date = day()
    not_after: datetime = instant()
    created_at: datetime = instant()
    updated_at: datetime = instant()
    status: str = text()
    filled_qty: int = number()
    filled_amount: Decimal = money()
    broker_order_id: str | None = text(nullable=True)
    reject_code: str | None = text(nullable=True)
    exit_plan_id: UUID | None = ident(nullable=True)
    submitted_at: datetime | None = instant(nullable=True)
    version: int = number()
    fence: int | None = number(nullable=True)
    """Token of the lease under which the intent was written; null without a lease."""


class FillRow(Row, table=True):
    """One execution, unique by the venue's own id; append-only."""

    __table_args__ = (
        within_run("trade_order", "order_id"),
        UniqueConstraint(
            "run_id", "broker", "trading_day", "broker_fill_id", "side", name="uq_fill_venue"
        ),
        Index("ix_fill_order", "run_id", "order_id"),
        Index("ix_fill_decision", "run_id", "decision_id"),
        one_of("side", Side),
        rule("qty", "qty > 0"),
        rule("price", "price > 0"),
        rule(
            "fees",
            "commission >= 0 AND stamp_duty >= 0 AND transfer_fee >= 0 AND other_fees >= 0",
        ),
    )

    run_id: int = run_key()
    fill_id: UUID = key()
    order_id: UUID = ident()
    decision_id: UUID = ident()
    broker: str = text()
    broker_fill_id: str = text()
    trading_day: date = day()
    symbol: str = text()
    side: str = text()
    qty: int = number()
    price: Decimal = money()
    commission: Decimal = money()
    stamp_duty: Decimal = money()
    transfer_fee: Decimal = money()
    other_fees: Decimal = money()
    filled_at: datetime = instant()


class ExitPlanRow(Row, table=True):
    """How an opened position is to be left; kept with the order that opened it."""

    __table_args__ = (
        within_run("trade_order", "order_id"),
        within_run("decision", "decision_id"),
        Index("ix_exit_plan_symbol", "run_id", "symbol", "created_at"),
    )

    run_id: int = run_key()
    exit_plan_id: UUID = key()
    order_id: UUID = ident()
    decision_id: UUID = ident()
    symbol: str = text()
    body: dict[str, Any] = document()
    created_at: datetime = instant()
