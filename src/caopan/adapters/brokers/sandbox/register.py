"""Every order and execution the sandbox has ever recorded, as its journal tells them.

Owns the words of the venue's journal and Register, the fold of its order events. Must never match,
price or refuse anything. Tests: tests/unit/adapters/brokers/test_sandbox_venue.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from caopan.application.ports.broker import FillReport, OrderStatusReport, VenueOrder
from caopan.application.ports.store import VenueEvent
from caopan.domain.orders.order import Order, OrderStatus, Side
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import units

DEPOSIT: Final = "deposit"
WITHDRAWAL: Final = "withdrawal"
BROUGHT_IN: Final = "brought_in"
EX_DATE: Final = "ex_date"
ACCEPTED: Final = "accepted"
CANCEL_TAKEN: Final = "cancel_taken"
CANCELED: Final = "canceled"
TRADE: Final = "trade"
EXPIRED: Final = "expired"
CLOSED: Final = "closed"

FUNDS: Final = frozenset({DEPOSIT, WITHDRAWAL, BROUGHT_IN})
"""What a person did to the account; each carries a key."""
_OF_ORDERS: Final = frozenset({CANCEL_TAKEN, CANCELED, TRADE, EXPIRED})
_ENDINGS: Final = {CANCELED: OrderStatus.CANCELED, EXPIRED: OrderStatus.EXPIRED}


@dataclass(slots=True)
class RecordedOrder:
    """One order in the venue's own words. Price in units, quantities in shares."""

    client_order_id: str
    """Empty where it was placed outside."""
    broker_order_id: str
    symbol: str
    side: Side
    price: int
    qty: int
    day: date
    at: datetime
    updated_at: datetime
    filled: int = 0
    pending_cancel: bool = False
    ended: OrderStatus | None = None
    reason: str | None = None

    @property
    def status(self) -> OrderStatus:
        """Return where the order stands."""
        if self.ended is not None:
            return self.ended
        if self.pending_cancel:
            return OrderStatus.PENDING_CANCEL
        return OrderStatus.PARTIALLY_FILLED if self.filled else OrderStatus.ACCEPTED

    def report(self) -> OrderStatusReport:
        """Return the venue's word on the order."""
        return OrderStatusReport(
            self.client_order_id, self.broker_order_id, self.status, self.updated_at, self.reason
        )

    def listed(self) -> VenueOrder:
        """Return the order as the day's list shows it."""
        return VenueOrder(
            broker_order_id=self.broker_order_id,
            client_order_id=self.client_order_id,
            symbol=self.symbol,
            side=self.side,
            price=self.price,
            qty=self.qty,
            filled_qty=self.filled,
            status=self.status,
            trading_day=self.day,
            at=self.at,
        )


class Register:
    """Orders by tag, by the venue's number and by day; executions by order and by day."""

    def __init__(self) -> None:
        """Stand before the first event."""
        self.seq = 0
        self.keys: set[str] = set()
        """Of all deposits, withdrawals and holdings brought in."""
        self.funds: list[VenueEvent] = []
        """Those events themselves, oldest first."""
        self.by_tag: dict[str, RecordedOrder] = {}
        self._by_id: dict[str, RecordedOrder] = {}
        self._by_day: dict[date, list[RecordedOrder]] = {}
        self._trades: dict[str, list[FillReport]] = {}
        self._fills: dict[date, list[FillReport]] = {}
        self._proceeds: dict[date, int] = {}

    def apply(self, event: VenueEvent) -> None:
        """Take one event in.

        Raises:
            CorruptState: VENUE_EVENT for a word this version does not know, or a body without what
                the word promises.
        """
        self.seq = event.seq
        try:
            self._apply(event)
        except (KeyError, ValueError, TypeError) as error:
            raise unreadable(event, f"{type(error).__name__}: {error}") from error

    def order(self, broker_order_id: str) -> RecordedOrder:
        """Return the order of a number the venue gave."""
        return self._by_id[broker_order_id]

    def placed(self, order: Order) -> RecordedOrder | None:
        """Return what a desk's order is here: by its tag, or its number if placed outside."""
        if order.is_foreign:
            return self._by_id.get(order.broker_order_id or "")
        return self.by_tag.get(order.client_order_id)

    def on(self, day: date) -> Sequence[RecordedOrder]:
        """Return the orders of `day`, oldest first."""
        return self._by_day.get(day, ())

    def trades(self, broker_order_id: str) -> Sequence[FillReport]:
        """Return the executions of one order."""
        return self._trades.get(broker_order_id, ())

    def fills(self, day: date) -> Sequence[FillReport]:
        """Return the executions of `day`, oldest first."""
        return self._fills.get(day, ())

    def proceeds(self, day: date) -> int:
        """Return what sales of `day` have brought in, fees taken off, in units."""
        return self._proceeds.get(day, 0)

    def _apply(self, event: VenueEvent) -> None:
        body = event.body
        if event.kind == ACCEPTED:
            self._add(event, body)
        elif event.kind in _OF_ORDERS:
            self._change(self._by_id[str(body["broker_order_id"])], event, body)
        elif event.kind in FUNDS:
            self.keys.add(str(body["key"]))
            self.funds.append(event)
        elif event.kind not in (EX_DATE, CLOSED):
            raise unreadable(event, "this version does not know the word")

    def _add(self, event: VenueEvent, body: Mapping[str, Any]) -> None:
        order = RecordedOrder(
            client_order_id=str(body["client_order_id"]),
            broker_order_id=str(body["broker_order_id"]),
            symbol=str(body["symbol"]),
            side=Side(body["side"]),
            price=units(body["price"]),
            qty=int(body["qty"]),
            day=date.fromisoformat(body["day"]),
            at=event.at,
            updated_at=event.at,
        )
        if order.client_order_id:
            self.by_tag[order.client_order_id] = order
        self._by_id[order.broker_order_id] = order
        self._by_day.setdefault(order.day, []).append(order)

    def _change(self, order: RecordedOrder, event: VenueEvent, body: Mapping[str, Any]) -> None:
        order.updated_at = max(order.updated_at, event.at)
        if event.kind == TRADE:
            self._trade(order, event, body)
        elif event.kind == CANCEL_TAKEN:
            order.pending_cancel = True
        else:
            order.ended = _ENDINGS[event.kind]
            order.reason = body.get("reason")

    def _trade(self, order: RecordedOrder, event: VenueEvent, body: Mapping[str, Any]) -> None:
        fill = FillReport(
            client_order_id=order.client_order_id,
            broker_fill_id=f"T{event.seq:08d}",
            trading_day=order.day,
            symbol=order.symbol,
            side=order.side,
            qty=int(body["qty"]),
            price=units(body["price"]),
            at=event.at,
            broker_order_id=order.broker_order_id,
        )
        self._trades.setdefault(order.broker_order_id, []).append(fill)
        self._fills.setdefault(order.day, []).append(fill)
        if order.side is Side.SELL:
            gained = fill.qty * fill.price - sum(units(fee) for fee in body["fees"])
            self._proceeds[order.day] = self.proceeds(order.day) + gained
        order.filled += fill.qty
        if order.filled == order.qty:
            order.ended = OrderStatus.FILLED


def unreadable(event: VenueEvent, why: str) -> CorruptState:
    """Return the error for an event that cannot be gone on from."""
    return CorruptState(
        "VENUE_EVENT",
        f"event {event.seq} ({event.kind!r}) of the venue's journal cannot be read: {why}",
        remedy="start a new run; a journal of another version is not gone on with",
    )
