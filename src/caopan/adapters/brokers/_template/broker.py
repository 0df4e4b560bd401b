"""A broker adapter to copy: the port over a vendor's client, with what each method must raise.

Owns TemplateBroker. To make a new one: copy this folder to `adapters/brokers/<name>/`, replace
`counter.py` by the vendor's library, fill in CODES (adapters/brokers/codes) and CAPABILITIES from
what its documentation says and it was seen to do, and add it to VENUES in
tests/contract/broker/worlds.py. The suite's failing tests are the list of what is still to do.
docs/how-to/add-a-broker.md goes through it. Must never keep an order or a fill of its own as the
truth: whatever is asked, the counter is asked.

Three rules decide what to raise:
    the counter refused, and says so           Denied, BROKER_REJECT_* by CODES
    nothing left this process                  Unavailable (may be repeated)
    it left, and no answer, or one of no sense OutcomeUnknown (ask `find`; never send again)
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final, TypeVar

from caopan.adapters.brokers._template.counter import (
    Counter,
    CounterOrder,
    CounterRefused,
    CounterTrade,
)
from caopan.adapters.brokers.codes.qmt import QMT
from caopan.adapters.brokers.codes.reading import refusal, tag_of
from caopan.application.ports.broker import (
    Capabilities,
    FillReport,
    OrderStatusReport,
    Report,
    VenueAccount,
    VenueOrder,
    VenuePosition,
)
from caopan.domain.orders.order import TERMINAL, Order, OrderStatus, OrderType, Side
from caopan.domain.risk.clearance import Clearance
from caopan.kernel.clock import Clock, shanghai
from caopan.kernel.errors import Denied, OutcomeUnknown, Unavailable
from caopan.kernel.money import units, yuan

CODES: Final = QMT
CAPABILITIES: Final = Capabilities(
    order_types=frozenset({OrderType.LIMIT}),
    tag_chars=23,
    orders_per_second=10,
    settle_window=timedelta(seconds=10),
)
T = TypeVar("T")


class TemplateBroker:
    """A Broker over a vendor's client."""

    capabilities = CAPABILITIES

    def __init__(self, counter: Counter, clock: Clock, name: str = "template") -> None:
        """Take a client that is logged in; `name` is stored with every order and fill."""
        self.name = name
        self._counter = counter
        self._clock = clock

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Send one order, once, with our tag as its remark.

        The counter does not refuse a tag used before, so it is looked up first; the caller sends
        one tag at a time. The clearance has been spent in front of this adapter (second_gate.py).

        Raises:
            Denied: BROKER_REJECT_* by the counter's code or text; BROKER_REJECT_OTHER for a tag
                that is known, or a type the counter does not have.
            Unavailable: the line was down before the order left.
            OutcomeUnknown: the answer is missing, or says neither yes nor no. A number the
                counter gives for a failure (QMT: -1) is such an answer: the order may exist.
        """
        del clearance
        if order.order_type not in CAPABILITIES.order_types:
            raise Denied("BROKER_REJECT_OTHER", f"{order.order_type} orders are not taken")
        if await self.find(order.client_order_id) is not None:
            raise Denied("BROKER_REJECT_OTHER", f"tag {order.client_order_id} was used before")
        number = await self._command(
            self._counter.order_stock(
                order.symbol,
                order.qty,
                Decimal(yuan(order.price)),
                order.client_order_id,
                is_buy=order.side is Side.BUY,
            )
        )
        return OrderStatusReport(
            order.client_order_id, number, OrderStatus.ACCEPTED, self._clock.now()
        )

    async def cancel(self, order: Order) -> OrderStatusReport:
        """Ask for a cancel, unless the order has ended or is on its way out already.

        An order placed outside carries no tag of ours: it is looked up by the counter's number, on
        its own day, since a counter may give the same number again on another.

        Raises:
            Denied: BROKER_REJECT_SESSION where no cancels are taken now, BROKER_REJECT_OTHER for an
                order the counter does not know. Unavailable, OutcomeUnknown as `submit`.
        """
        found = await self._counted(order)
        if found is None:
            raise Denied("BROKER_REJECT_OTHER", f"there is no order of {order.client_order_id}")
        status = CODES.status(found.status)
        if status not in TERMINAL and status is not OrderStatus.PENDING_CANCEL:
            await self._command(self._counter.cancel_order(found.number))
            found = await self._counted(order) or found
        return _status(found)

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Return the counter's word on our order of today, None only where it lists none.

        Raises:
            Unavailable: the list cannot be had now. Never None for that.
        """
        found = await self._listed(client_order_id)
        return None if found is None else _status(found)

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Return trades, then the state, of each order asked for. Raises Unavailable."""
        said: list[Report] = []
        wanted = set(client_order_ids)
        for day in self._days():
            orders = {one.number: one for one in await self._ask(self._counter.query_orders(day))}
            trades = await self._ask(self._counter.query_trades(day))
            for one in orders.values():
                if tag_of(one.remark) in wanted:
                    said += [_fill(t, orders) for t in trades if t.order_number == one.number]
                    said.append(_status(one))
        return said

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        """Return all orders of `day`, ours and others'. Raises Unavailable."""
        return [_venue_order(one) for one in await self._ask(self._counter.query_orders(day))]

    async def fills(self, day: date) -> Sequence[FillReport]:
        """Return all executions of `day`, ours and others'. Raises Unavailable."""
        orders = {one.number: one for one in await self._ask(self._counter.query_orders(day))}
        return [_fill(one, orders) for one in await self._ask(self._counter.query_trades(day))]

    async def account(self) -> VenueAccount:
        """Return money and positions; free plus frozen is all cash. Raises Unavailable."""
        asset = await self._ask(self._counter.query_asset())
        positions = {code: VenuePosition(qty, free) for code, qty, free in asset.positions if qty}
        return VenueAccount(
            units(asset.cash), units(asset.frozen_cash), self._clock.now(), positions
        )

    def _days(self) -> Sequence[date]:
        """Return the days whose orders may be asked for: a counter may keep only today's."""
        today = shanghai(self._clock.now()).date()
        return [today - timedelta(days=back) for back in range(10, -1, -1)]

    async def _counted(self, order: Order) -> CounterOrder | None:
        if not order.is_foreign:
            return await self._listed(order.client_order_id)
        listed = await self._ask(self._counter.query_orders(order.trading_day))
        return next((one for one in listed if one.number == order.broker_order_id), None)

    async def _listed(self, tag: str) -> CounterOrder | None:
        for day in reversed(self._days()):
            for one in await self._ask(self._counter.query_orders(day)):
                if tag_of(one.remark) == tag:
                    return one
        return None

    async def _command(self, work: Awaitable[T]) -> T:
        """Do what may have its effect even if no answer comes."""
        if not self._counter.is_connected():
            _forget(work)
            raise Unavailable("BROKER_DISCONNECTED", "the counter's client is not connected")
        try:
            return await work
        except CounterRefused as no:
            raise refusal(CODES, no.code, no.text, has_left=True) from no
        except TimeoutError as lost:
            raise OutcomeUnknown("BROKER_TIMEOUT", "the counter gave no answer") from lost
        except OSError as lost:
            raise OutcomeUnknown("BROKER_DISCONNECTED", f"the line broke: {lost}") from lost

    async def _ask(self, work: Awaitable[T]) -> T:
        """Do what has no effect and may be repeated."""
        try:
            return await work
        except CounterRefused as no:
            raise Unavailable(CODES.reason(no.code, no.text), no.text) from no
        except TimeoutError as lost:
            raise Unavailable("BROKER_TIMEOUT", "the counter gave no answer") from lost
        except OSError as lost:
            raise Unavailable("BROKER_DISCONNECTED", f"the line broke: {lost}") from lost


def _status(one: CounterOrder) -> OrderStatusReport:
    status = CODES.status(one.status)
    reason = CODES.reason(None, one.status_msg) if status is OrderStatus.REJECTED else None
    return OrderStatusReport(tag_of(one.remark), one.number, status, _aware(one.updated), reason)


def _venue_order(one: CounterOrder) -> VenueOrder:
    return VenueOrder(
        broker_order_id=one.number,
        client_order_id=tag_of(one.remark),
        symbol=one.stock_code,
        side=Side.BUY if one.is_buy else Side.SELL,
        price=units(one.price),
        qty=one.volume,
        filled_qty=one.traded_volume,
        status=CODES.status(one.status),
        trading_day=shanghai(one.order_time).date(),
        at=_aware(one.order_time),
    )


def _fill(one: CounterTrade, orders: dict[str, CounterOrder]) -> FillReport:
    order = orders.get(one.order_number)
    return FillReport(
        client_order_id="" if order is None else tag_of(order.remark),
        broker_fill_id=one.traded_id,
        trading_day=shanghai(one.traded_time).date(),
        symbol=one.stock_code,
        side=Side.BUY if one.is_buy else Side.SELL,
        qty=one.volume,
        price=units(one.price),
        at=_aware(one.traded_time),
        broker_order_id=one.order_number,
    )


def _aware(moment: datetime) -> datetime:
    """Return a moment that has its time zone; a counter's naive time must be given one first."""
    if moment.tzinfo is None:
        raise Unavailable("BROKER_PROTOCOL", f"{moment} has no time zone")
    return moment


def _forget(work: Awaitable[object]) -> None:
    """Close a request that is not sent, so that nobody warns of it."""
    close = getattr(work, "close", None)
    if close is not None:
        close()
