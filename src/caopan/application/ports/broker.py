"""The broker port: the only way an order leaves, and the venue's own word on what became of it.

Owns the Broker protocol and the reports it gives. Must never know a venue. Whatever an adapter
raises is one of: Denied (the venue refused; nothing happened), Unavailable (nothing was sent),
OutcomeUnknown (it may have happened; `find` tells).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol

from caopan.domain.orders.order import Order, OrderStatus, Side
from caopan.domain.risk.clearance import Clearance


@dataclass(frozen=True, slots=True)
class OrderStatusReport:
    """The venue's word on one order."""

    client_order_id: str
    broker_order_id: str
    status: OrderStatus
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class FillReport:
    """The venue's word on one execution. Price in units, quantity in shares."""

    client_order_id: str
    broker_fill_id: str
    trading_day: date
    symbol: str
    side: Side
    qty: int
    price: int
    at: datetime


Report = OrderStatusReport | FillReport


class Broker(Protocol):
    """One connection to one venue for one account."""

    @property
    def name(self) -> str:
        """Return the venue's name, as stored with orders and fills."""
        ...

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Send one cleared order and return the venue's acknowledgement.

        Raises Denied with a BROKER_REJECT_* code, Unavailable, or OutcomeUnknown.
        """
        ...

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Return the venue's word on an order by our tag, or None if it has never seen it."""
        ...

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Return everything the venue has to say about these orders, in its own order.

        Repeats what was said before; the caller keeps what is new.
        """
        ...
