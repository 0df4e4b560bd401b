"""An order, its fills, and the one table of states it may pass through.

Owns Order, Fill and every allowed edge between states (contracts.md, "Order and Fill"). Must never
send anything or choose a price. Tests: tests/unit/domain/orders, tests/property/domain/orders.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

# One list of types, the exchanges' own: what an order is called here is what it is called there.
from caopan.domain.market.order_types import ExchangeOrderType as OrderType
from caopan.kernel.errors import CorruptState
from caopan.kernel.ids import FOREIGN_PREFIX

__all__ = [
    "EDGES",
    "MAY_BE_AT_VENUE",
    "NEVER_FILLED",
    "TERMINAL",
    "Fill",
    "FillKey",
    "Order",
    "OrderStatus",
    "OrderType",
    "Side",
    "moved",
    "with_fill",
]


class Side(StrEnum):
    """Buy or sell."""

    BUY = "buy"
    SELL = "sell"


class OrderStatus(StrEnum):
    """States of an order; `unknown` waits for the broker's own evidence or a person."""

    CREATED = "created"
    SENDING = "sending"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    REJECTED = "rejected"
    PENDING_CANCEL = "pending_cancel"
    CANCELED = "canceled"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    NOT_SENT = "not_sent"


_S = OrderStatus

EDGES: Mapping[OrderStatus, frozenset[OrderStatus]] = {
    _S.CREATED: frozenset({_S.SENDING, _S.NOT_SENT, _S.CANCELED, _S.EXPIRED}),
    _S.SENDING: frozenset(
        {
            _S.ACCEPTED,
            _S.REJECTED,
            _S.UNKNOWN,
            _S.NOT_SENT,
            # The fill may overtake the acknowledgement.
            _S.PARTIALLY_FILLED,
            _S.FILLED,
        }
    ),
    _S.UNKNOWN: frozenset(
        {
            _S.ACCEPTED,
            _S.REJECTED,
            _S.NOT_SENT,
            _S.PARTIALLY_FILLED,
            _S.FILLED,
            _S.CANCELED,
            _S.EXPIRED,
        }
    ),
    _S.ACCEPTED: frozenset(
        {
            _S.PARTIALLY_FILLED,
            _S.FILLED,
            _S.PENDING_CANCEL,
            _S.CANCELED,
            _S.EXPIRED,
            _S.REJECTED,
        }
    ),
    _S.PARTIALLY_FILLED: frozenset(
        {_S.PARTIALLY_FILLED, _S.FILLED, _S.PENDING_CANCEL, _S.CANCELED, _S.EXPIRED}
    ),
    _S.PENDING_CANCEL: frozenset(
        {
            _S.PENDING_CANCEL,
            _S.CANCELED,
            _S.FILLED,
            _S.PARTIALLY_FILLED,
            _S.ACCEPTED,
            _S.EXPIRED,
            # Refused by the exchange while its cancel was on the way (废单).
            _S.REJECTED,
        }
    ),
    _S.FILLED: frozenset(),
    _S.REJECTED: frozenset(),
    # A fill that was on its way when the cancel or the close was booked is legal and is booked.
    _S.CANCELED: frozenset({_S.CANCELED, _S.FILLED}),
    _S.EXPIRED: frozenset({_S.EXPIRED, _S.FILLED}),
    _S.NOT_SENT: frozenset(),
}
"""Every allowed edge; any other is CorruptState."""

TERMINAL = frozenset({_S.FILLED, _S.REJECTED, _S.CANCELED, _S.EXPIRED, _S.NOT_SENT})
NEVER_FILLED = frozenset({_S.REJECTED, _S.NOT_SENT})
"""What an order that has traded cannot become."""
MAY_BE_AT_VENUE = frozenset(
    {_S.SENDING, _S.UNKNOWN, _S.ACCEPTED, _S.PARTIALLY_FILLED, _S.PENDING_CANCEL}
)


@dataclass(frozen=True, slots=True)
class Order:
    """One order. Price in units, quantities in shares, amounts in units."""

    order_id: UUID
    client_order_id: str
    decision_id: UUID
    action_index: int
    account_id: str
    symbol: str
    side: Side
    order_type: OrderType
    price: int
    qty: int
    broker: str
    clearance_id: UUID
    trading_day: date
    not_after: datetime
    created_at: datetime
    updated_at: datetime
    status: OrderStatus = OrderStatus.CREATED
    filled_qty: int = 0
    filled_amount: int = 0
    broker_order_id: str | None = None
    reject_code: str | None = None
    exit_plan_id: UUID | None = None
    submitted_at: datetime | None = None
    version: int = 1

    @property
    def open_qty(self) -> int:
        """Return the quantity not yet filled."""
        return self.qty - self.filled_qty

    @property
    def is_foreign(self) -> bool:
        """Return whether somebody placed it at the venue without us."""
        return self.client_order_id.startswith(FOREIGN_PREFIX)

    @property
    def is_terminal(self) -> bool:
        """Return whether nothing more can happen to the order but a late fill."""
        return self.status in TERMINAL


FillKey = tuple[date, str, Side]
"""What makes a fill one and the same within one account at one venue: day, the venue's id, side."""


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution of an order, unique by `key`. Price and fees in units."""

    fill_id: UUID
    order_id: UUID
    decision_id: UUID
    broker: str
    broker_fill_id: str
    trading_day: date
    symbol: str
    side: Side
    qty: int
    price: int
    commission: int
    stamp_duty: int
    transfer_fee: int
    other_fees: int
    filled_at: datetime

    @property
    def key(self) -> FillKey:
        """Return what the venue knows the fill by."""
        return (self.trading_day, self.broker_fill_id, self.side)

    @property
    def fees(self) -> int:
        """Return the sum of all fee components in units."""
        return self.commission + self.stamp_duty + self.transfer_fee + self.other_fees


def moved(
    order: Order,
    status: OrderStatus,
    at: datetime,
    *,
    broker_order_id: str | None = None,
    reject_code: str | None = None,
) -> Order:
    """Return `order` in `status`; `reject_code` tells why, and only for as long as it stays so.

    Raises:
        CorruptState: ORDER_EDGE if the table has no such edge, or if an order that has traded
            would be refused or not sent; nothing is applied.
    """
    if status not in EDGES[order.status] or (order.filled_qty and status in NEVER_FILLED):
        raise CorruptState(
            "ORDER_EDGE",
            f"order {order.client_order_id} cannot go from {order.status} to {status}",
            remedy="compare with the venue's own record before anything else is sent",
        )
    return replace(
        order,
        status=status,
        updated_at=at,
        submitted_at=at if status is OrderStatus.SENDING else order.submitted_at,
        broker_order_id=broker_order_id or order.broker_order_id,
        # An answer that was lost and then found leaves no reason behind.
        reject_code=reject_code or (order.reject_code if status is order.status else None),
        version=order.version + 1,
    )


def with_fill(order: Order, qty: int, price: int, at: datetime) -> Order:
    """Return `order` after `qty` more shares traded at `price` (units).

    Raises:
        CorruptState: ORDER_OVERFILL if more would be filled than was ordered, ORDER_EDGE if the
            order was refused or never sent.
    """
    filled = order.filled_qty + qty
    if qty <= 0 or filled > order.qty:
        raise CorruptState(
            "ORDER_OVERFILL",
            f"order {order.client_order_id}: {filled} of {order.qty} shares would be filled",
            remedy="compare fills with the venue's own record",
        )
    if filled == order.qty:
        status = OrderStatus.FILLED
    elif order.status in (_S.CANCELED, _S.EXPIRED, _S.PENDING_CANCEL):
        status = order.status
    else:
        status = OrderStatus.PARTIALLY_FILLED
    return replace(
        moved(order, status, at),
        filled_qty=filled,
        filled_amount=order.filled_amount + qty * price,
    )
