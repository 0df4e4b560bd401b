"""The broker port: the only way an order leaves, and the venue's own word on what became of it.

Owns the Broker protocol, what a venue can do (Capabilities) and the reports it gives. Must never
know a venue. Whatever an adapter raises is one of: Denied (the venue refused; nothing happened),
Unavailable (nothing was sent), OutcomeUnknown (it may have happened; `find` tells).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Protocol

from caopan.domain.accounting.bookings import BroughtLot
from caopan.domain.orders.order import Order, OrderStatus, OrderType, Side
from caopan.domain.risk.clearance import Clearance


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a venue's counter can do, as its documentation says and as it was seen to do."""

    order_types: frozenset[OrderType]
    tag_chars: int
    """Longest order tag that comes back unchanged."""
    orders_per_second: int
    settle_window: timedelta
    """How long after a lost submission the order may still come to show; only an order that the
    venue does not know after it was never taken."""
    remembers_days: bool = False
    """True where `find` still knows the orders of earlier days."""
    cancels: bool = True
    amends: bool = False
    """False: a change is a cancel that was confirmed, then a new order."""
    pushes: bool = False
    """False: reports must be asked for."""


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
    """Empty where the venue shows no tag: the order was placed outside."""
    broker_fill_id: str
    trading_day: date
    symbol: str
    side: Side
    qty: int
    price: int
    at: datetime
    broker_order_id: str = ""


Report = OrderStatusReport | FillReport


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """One order of the account as the venue lists it, whoever placed it. Price in units."""

    broker_order_id: str
    client_order_id: str
    """Empty where the venue shows no tag."""
    symbol: str
    side: Side
    price: int
    qty: int
    filled_qty: int
    status: OrderStatus
    trading_day: date
    at: datetime


@dataclass(frozen=True, slots=True)
class VenuePosition:
    """Shares of one symbol as the venue counts them; `qty` includes what is frozen."""

    qty: int
    sellable: int


@dataclass(frozen=True, slots=True)
class VenueAccount:
    """The account as the venue counts it. Money in units; total cash is free plus frozen."""

    cash_free: int
    cash_frozen: int
    at: datetime
    positions: Mapping[str, VenuePosition] = field(default_factory=dict[str, VenuePosition])
    """By symbol; what is not held is not listed."""


@dataclass(frozen=True, slots=True)
class VenueMovement:
    """Money or shares that came in or went out at the counter, beside all trading."""

    key: str
    """What whoever asked for it named it by."""
    cash: int
    """In units; below 0 where it was paid out."""
    at: datetime
    lots: tuple[BroughtLot, ...] = ()


class Broker(Protocol):
    """One connection to one venue for one account."""

    @property
    def name(self) -> str:
        """Return the venue's name, as stored with orders and fills."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """Return what the venue can do."""
        ...

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Send one cleared order and return the venue's acknowledgement.

        Raises Denied with a BROKER_REJECT_* code, Unavailable, or OutcomeUnknown.
        """
        ...

    async def cancel(self, order: Order) -> OrderStatusReport:
        """Ask the venue to cancel what is open of `order`; asking again changes nothing.

        An order of ours is known by its tag. One placed outside (`Order.is_foreign`) has a tag that
        the venue never saw: it is known by its `broker_order_id`, and the answer shows no tag.
        Returns the order as it then stands: `pending_cancel` while the request is on its way,
        `canceled`, or how it had ended before. Raises Denied (BROKER_REJECT_SESSION where it cannot
        be cancelled now, BROKER_REJECT_OTHER for an order the venue does not know), Unavailable, or
        OutcomeUnknown.
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

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        """Return every order of the account on `day`, oldest first, also those not placed by us."""
        ...

    async def fills(self, day: date) -> Sequence[FillReport]:
        """Return every execution of the account on `day`, oldest first."""
        ...

    async def account(self) -> VenueAccount:
        """Return cash and positions as the venue counts them now."""
        ...
