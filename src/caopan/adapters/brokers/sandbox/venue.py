"""The sandbox exchange: its own record, its own time, behind the broker port.

Owns SandboxVenue: what it has accepted, matched and expired is an append-only list of events in
its own journal, committed in its own transactions, so that it remembers an order whose sender died
before hearing the answer. It sees a bar only once the bar is finished, and matches against it only
orders that were there before its opening auction ended; later ones are taken and expire. Must never
read our books.
Tests: tests/contract/broker, tests/unit/adapters/brokers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from fractions import Fraction
from typing import Any

from caopan.application.ports.broker import FillReport, OrderStatusReport, Report
from caopan.application.ports.market_data import MarketData
from caopan.application.ports.store import VenueEvent, VenueJournal
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.phases import OrderKind, Permit, Phase, PhaseTable
from caopan.domain.market.reference import Exchange, TradingStatus
from caopan.domain.matching.daily import FillMoment, RestingOrder, match_day
from caopan.domain.orders.order import Order, OrderStatus, Side
from caopan.domain.risk.clearance import Clearance
from caopan.kernel.clock import Clock, at_shanghai, shanghai
from caopan.kernel.errors import CorruptState, Denied
from caopan.kernel.money import units, yuan

_OPENING = time(9, 25)
_CLOSE = time(15, 0)

ACCEPTED, TRADE, EXPIRED = "accepted", "trade", "expired"


@dataclass(slots=True)
class _VenueOrder:
    """One order in the venue's own words."""

    client_order_id: str
    broker_order_id: str
    symbol: str
    side: Side
    price: int
    qty: int
    lot_size: int
    day: date
    at: datetime
    filled: int = 0
    ended: OrderStatus | None = None
    ended_at: datetime | None = None


class SandboxVenue:
    """A Broker over a market replayed from daily bars."""

    name = "sandbox"

    def __init__(
        self,
        *,
        run_id: int,
        journal: VenueJournal,
        market: MarketData,
        clock: Clock,
        calendar: TradingCalendar,
        phases: PhaseTable,
        participation: Fraction = Fraction(1, 10),
    ) -> None:
        """Take the venue's own journal and its view of the market; `load` before use."""
        self._run_id = run_id
        self._journal = journal
        self._market = market
        self._clock = clock
        self._calendar = calendar
        self._phases = phases
        self._participation = participation
        self._seq = 0
        self._orders: dict[str, _VenueOrder] = {}
        self._trades: dict[str, list[FillReport]] = {}

    async def load(self) -> None:
        """Rebuild the venue from its own journal."""
        self._seq, self._orders, self._trades = 0, {}, {}
        for event in await self._journal.load(self._run_id):
            self._apply(event)

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Take an order, or raise Denied BROKER_REJECT_*; a tag already known is refused."""
        del clearance
        await self._catch_up()
        now = self._clock.now()
        if order.client_order_id in self._orders:
            raise Denied(
                "BROKER_REJECT_OTHER", f"order tag {order.client_order_id} was used before"
            )
        lot_size = self._examine(order, now)
        await self._record(
            ACCEPTED,
            now,
            {
                "client_order_id": order.client_order_id,
                "broker_order_id": f"S{self._seq + 1:08d}",
                "symbol": order.symbol,
                "side": order.side.value,
                "price": yuan(order.price),
                "qty": order.qty,
                "lot_size": lot_size,
                "day": shanghai(now).date().isoformat(),
            },
        )
        return self._status(self._orders[order.client_order_id])

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Return the venue's word on an order by our tag."""
        await self._catch_up()
        order = self._orders.get(client_order_id)
        return None if order is None else self._status(order)

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Return trades, then the ending, of each order asked for."""
        await self._catch_up()
        found: list[Report] = []
        for tag in client_order_ids:
            order = self._orders.get(tag)
            if order is not None:
                found.extend(self._trades.get(tag, ()))
                found.append(self._status(order))
        return found

    def _examine(self, order: Order, now: datetime) -> int:
        """Return the lot size of an order the exchange takes; refuse as the exchange would."""
        today = shanghai(now).date()
        session = self._calendar.is_session(today)
        phase = self._phases.phase_of(now, session=session)
        if phase is Phase.PRE_OPEN:  # the day's references need not be known yet
            raise Denied("BROKER_REJECT_SESSION", f"no orders are taken in phase {phase}")
        reference = self._market.references(today, now).get(order.symbol) if session else None
        if reference is None:
            raise Denied("BROKER_REJECT_SESSION", f"{order.symbol} does not trade on {today}")
        permit = self._phases.may_place(
            phase,
            OrderKind.LIMIT,
            exchange=Exchange(order.symbol[-2:]),
            board=reference.board,
            day=today,
        )
        if permit is Permit.REFUSED:
            raise Denied("BROKER_REJECT_SESSION", f"no orders are taken in phase {phase}")
        if reference.trading_status not in (
            TradingStatus.NORMAL,
            TradingStatus.DELISTING_PERIOD,
        ):
            raise Denied("BROKER_REJECT_OTHER", f"{order.symbol} is {reference.trading_status}")
        up, down = reference.limit_up, reference.limit_down
        if (up is not None and order.price > up) or (down is not None and order.price < down):
            raise Denied(
                "BROKER_REJECT_PRICE_LIMIT", f"price {yuan(order.price)} is outside the limits"
            )
        return reference.lot_size

    async def _catch_up(self) -> None:
        """Match and expire every day that has closed since the venue last looked."""
        now = self._clock.now()
        open_days = sorted({order.day for order in self._orders.values() if order.ended is None})
        for day in open_days:
            if at_shanghai(day, _CLOSE) <= now:
                await self._close_day(day, now)

    async def _close_day(self, day: date, now: datetime) -> None:
        events: list[tuple[str, datetime, dict[str, Any]]] = []
        by_symbol: dict[str, list[_VenueOrder]] = {}
        for order in self._orders.values():
            if order.day == day and order.ended is None:
                by_symbol.setdefault(order.symbol, []).append(order)
        for symbol, orders in by_symbol.items():
            bar = self._market.bar(symbol, day, now)
            resting = [
                RestingOrder(o.client_order_id, o.side, o.price, o.qty - o.filled, o.lot_size)
                for o in orders
                # A bar tells nothing of what came after an order that arrived during it.
                if o.at < at_shanghai(day, _OPENING)
            ]
            matches = [] if bar is None else match_day(resting, bar, self._participation)
            for match in matches:
                opening = match.moment is FillMoment.OPENING_AUCTION
                body = {
                    "client_order_id": match.client_order_id,
                    "qty": match.qty,
                    "price": yuan(match.price),
                }
                events.append((TRADE, at_shanghai(day, _OPENING if opening else _CLOSE), body))
        events.sort(key=lambda event: event[1])
        filled: dict[str, int] = {}
        for _, _, body in events:
            filled[body["client_order_id"]] = filled.get(body["client_order_id"], 0) + body["qty"]
        for orders in by_symbol.values():
            for order in orders:
                if order.filled + filled.get(order.client_order_id, 0) < order.qty:
                    body = {"client_order_id": order.client_order_id}
                    events.append((EXPIRED, at_shanghai(day, _CLOSE), body))
        await self._record_all(events)

    async def _record(self, kind: str, at: datetime, body: Mapping[str, Any]) -> None:
        await self._record_all([(kind, at, body)])

    async def _record_all(self, facts: Sequence[tuple[str, datetime, Mapping[str, Any]]]) -> None:
        events = [
            VenueEvent(self._seq + offset, kind, at, body)
            for offset, (kind, at, body) in enumerate(facts, start=1)
        ]
        await self._journal.record(self._run_id, events)
        for event in events:
            self._apply(event)

    def _apply(self, event: VenueEvent) -> None:
        self._seq = event.seq
        body = event.body
        tag = str(body["client_order_id"])
        if event.kind == ACCEPTED:
            self._orders[tag] = _VenueOrder(
                client_order_id=tag,
                broker_order_id=str(body["broker_order_id"]),
                symbol=str(body["symbol"]),
                side=Side(body["side"]),
                price=units(body["price"]),
                qty=int(body["qty"]),
                lot_size=int(body["lot_size"]),
                day=date.fromisoformat(body["day"]),
                at=event.at,
            )
            return
        order = self._orders[tag]
        if event.kind == TRADE:
            order.filled += int(body["qty"])
            self._trades.setdefault(tag, []).append(
                FillReport(
                    client_order_id=tag,
                    broker_fill_id=f"T{event.seq:08d}",
                    trading_day=order.day,
                    symbol=order.symbol,
                    side=order.side,
                    qty=int(body["qty"]),
                    price=units(body["price"]),
                    at=event.at,
                )
            )
            if order.filled == order.qty:
                order.ended, order.ended_at = OrderStatus.FILLED, event.at
        elif event.kind == EXPIRED:
            order.ended, order.ended_at = OrderStatus.EXPIRED, event.at
        else:
            raise CorruptState("VENUE_EVENT", f"the venue's journal holds a {event.kind!r} event")

    def _status(self, order: _VenueOrder) -> OrderStatusReport:
        status = order.ended
        if status is None:
            status = OrderStatus.PARTIALLY_FILLED if order.filled else OrderStatus.ACCEPTED
        return OrderStatusReport(
            client_order_id=order.client_order_id,
            broker_order_id=order.broker_order_id,
            status=status,
            at=order.ended_at or order.at,
        )
