"""A broker's counter that does what a test says, when it says so.

Owns Counter: an in-memory venue with its own books, on which a test fills, cancels, expires and
places orders by hand. Must never act by itself, nor share its books with ours. Never used by
production code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from caopan.application.ports.broker import (
    Capabilities,
    FillReport,
    OrderStatusReport,
    Report,
    VenueAccount,
    VenueOrder,
    VenuePosition,
)
from caopan.domain.accounting.fees import FeeSchedule, order_fees
from caopan.domain.market.reference import Exchange
from caopan.domain.market.symbols import instrument_of
from caopan.domain.orders.order import Order, OrderStatus, OrderType, Side
from caopan.domain.risk.clearance import Clearance
from caopan.kernel.clock import Clock, shanghai
from caopan.kernel.errors import CaopanError, Denied

COUNTER = Capabilities(
    order_types=frozenset({OrderType.LIMIT, OrderType.MARKET_BEST5_CANCEL}),
    tag_chars=23,
    orders_per_second=100,
    settle_window=timedelta(seconds=1),
)
_OVER = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)


@dataclass(slots=True)
class Slip:
    """One order as the counter has it."""

    listed: VenueOrder
    order_type: OrderType = OrderType.LIMIT
    reason: str | None = None
    amount: int = 0
    fills: list[FillReport] = field(default_factory=list[FillReport])

    def report(self) -> OrderStatusReport:
        """Return the word on the order."""
        one = self.listed
        return OrderStatusReport(
            one.client_order_id, one.broker_order_id, one.status, one.at, self.reason
        )


class Counter:
    """A Broker whose every move a test makes."""

    name = "sandbox"

    def __init__(
        self,
        clock: Clock,
        fees: FeeSchedule,
        cash: int,
        *,
        capabilities: Capabilities = COUNTER,
        cancels_at_once: bool = True,
    ) -> None:
        """Open with `cash` units; `cancels_at_once`: a cancel is confirmed with its request."""
        self._clock = clock
        self._fees = fees
        self._cash = cash
        self.capabilities = capabilities
        self.cancels_at_once = cancels_at_once
        self.slips: dict[str, Slip] = {}
        """By the counter's own number, oldest first."""
        self.positions: dict[str, int] = {}
        self.sent: list[tuple[datetime, Order]] = []
        """What came over the wire, and when."""
        self.cancels: list[tuple[datetime, str]] = []
        self.before_cancel: Callable[[Order], None] = lambda _order: None
        """Told each cancel before the counter looks at it: what happens meanwhile."""
        self.refuses: CaopanError | None = None
        self.refuses_cancels: CaopanError | None = None

    # --- what a test does ---------------------------------------------------------------------

    def fill(self, key: str | Order, qty: int, price: int | None = None) -> FillReport:
        """Trade `qty` of an order, by its number, its tag or our image of it."""
        slip, now = self.slip(key), self._clock.now()
        one = slip.listed
        price = one.price if price is None else price
        report = FillReport(
            client_order_id=one.client_order_id,
            broker_fill_id=f"{one.broker_order_id}-{len(slip.fills) + 1}",
            trading_day=one.trading_day,
            symbol=one.symbol,
            side=one.side,
            qty=qty,
            price=price,
            at=now,
            broker_order_id=one.broker_order_id,
        )
        slip.fills.append(report)
        self._trade(slip, qty, price)
        filled = one.filled_qty + qty
        status = one.status
        if filled == one.qty:
            status = OrderStatus.FILLED
        elif status not in _OVER and status is not OrderStatus.PENDING_CANCEL:
            status = OrderStatus.PARTIALLY_FILLED
        slip.listed = replace(one, filled_qty=filled, status=status, at=now)
        return report

    def end(self, key: str | Order, status: OrderStatus, reason: str | None = None) -> None:
        """End an order, or confirm its cancel."""
        slip = self.slip(key)
        slip.listed = replace(slip.listed, status=status, at=self._clock.now())
        slip.reason = reason

    def place_outside(self, symbol: str, side: Side, price: int, qty: int) -> VenueOrder:
        """Place an order by hand, without a tag of ours."""
        return self._take("", symbol, side, price, qty).listed

    def move(self, cash: int = 0, **shares: int) -> None:
        """Change the counter's books behind everybody's back."""
        self._cash += cash
        for symbol, qty in shares.items():
            self.positions[symbol] = self.positions.get(symbol, 0) + qty

    def slip(self, key: str | Order) -> Slip:
        """Return an order by its number, its tag or our image of it."""
        if isinstance(key, Order):
            key = key.broker_order_id or key.client_order_id
        if key in self.slips:
            return self.slips[key]
        return next(one for one in self.slips.values() if one.listed.client_order_id == key)

    # --- the port -----------------------------------------------------------------------------

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Take an order; a tag that is known is refused."""
        del clearance
        self.sent.append((self._clock.now(), order))
        if self.refuses is not None:
            raise self.refuses
        if any(one.listed.client_order_id == order.client_order_id for one in self.slips.values()):
            raise Denied("BROKER_REJECT_OTHER", "the tag was used before")
        taken = self._take(order.client_order_id, order.symbol, order.side, order.price, order.qty)
        taken.order_type = order.order_type
        return taken.report()

    async def cancel(self, order: Order) -> OrderStatusReport:
        """Cancel at once, or take note of the wish."""
        self.cancels.append((self._clock.now(), order.client_order_id))
        self.before_cancel(order)
        if self.refuses_cancels is not None:
            raise self.refuses_cancels
        known = self._known(order)
        if known is None:
            raise Denied("BROKER_REJECT_OTHER", "there is no such order")
        if known.listed.status not in _OVER:
            to = OrderStatus.CANCELED if self.cancels_at_once else OrderStatus.PENDING_CANCEL
            self.end(known.listed.broker_order_id, to)
        return known.report()

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Return the word on an order by our tag."""
        for slip in self.slips.values():
            if slip.listed.client_order_id == client_order_id:
                return slip.report()
        return None

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Return trades, then the state, of each order asked for."""
        said: list[Report] = []
        for slip in self.slips.values():
            if slip.listed.client_order_id in client_order_ids:
                said.extend(slip.fills)
                said.append(slip.report())
        return said

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        """Return the orders of a day."""
        return [s.listed for s in self.slips.values() if s.listed.trading_day == day]

    async def fills(self, day: date) -> Sequence[FillReport]:
        """Return the executions of a day."""
        return [f for s in self.slips.values() for f in s.fills if f.trading_day == day]

    async def account(self) -> VenueAccount:
        """Return cash and positions; a counter freezes by rules of its own."""
        held = {symbol: VenuePosition(qty, qty) for symbol, qty in self.positions.items() if qty}
        return VenueAccount(self._cash, 0, self._clock.now(), held)

    def _known(self, order: Order) -> Slip | None:
        """Return what stands here by our tag, or by its number if it was placed outside."""
        if order.is_foreign:
            return self.slips.get(order.broker_order_id or "")
        tag = order.client_order_id
        return next((one for one in self.slips.values() if one.listed.client_order_id == tag), None)

    def _take(self, tag: str, symbol: str, side: Side, price: int, qty: int) -> Slip:
        now, number = self._clock.now(), f"N{len(self.slips) + 1}"
        listed = VenueOrder(
            broker_order_id=number,
            client_order_id=tag,
            symbol=symbol,
            side=side,
            price=price,
            qty=qty,
            filled_qty=0,
            status=OrderStatus.ACCEPTED,
            trading_day=shanghai(now).date(),
            at=now,
        )
        self.slips[number] = Slip(listed)
        return self.slips[number]

    def _trade(self, slip: Slip, qty: int, price: int) -> None:
        one, before = slip.listed, slip.amount
        slip.amount += qty * price
        place = Exchange(one.symbol[-2:]), instrument_of(one.symbol)
        paid = [
            order_fees(self._fees, one.side, amount, one.trading_day, *place).total
            for amount in (before, slip.amount)
        ]
        sign = 1 if one.side is Side.BUY else -1
        self._cash -= sign * qty * price + paid[1] - paid[0]
        self.positions[one.symbol] = self.positions.get(one.symbol, 0) + sign * qty
