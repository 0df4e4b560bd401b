"""The sandbox exchange: its own account, its own record, its own time, behind the broker port.

Owns SandboxVenue. All it knows stands in an append-only journal of its own, committed in its own
transactions, so that it remembers an order whose sender died before hearing the answer; `load`
rebuilds it from there. What it has not yet recorded did not happen: a failed record throws the
image in memory away. It reads the market like anybody else, a bar only once it is finished. Must
never read our books, nor be told what we think we hold. Tests: tests/contract/broker,
tests/unit/adapters/brokers.

What a counter lets a person do beside trading is outside the port: `deposit`, `withdraw`,
`bring_in`, each done once per key; `place_outside` is an order entered at the counter itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from typing import Any, Final, TypeVar

from caopan.adapters.brokers.sandbox import funds, register
from caopan.adapters.brokers.sandbox.floor import DayFloor, FloorTerms
from caopan.adapters.brokers.sandbox.register import RecordedOrder, Register, unreadable
from caopan.application.ports.broker import (
    Capabilities,
    FillReport,
    OrderStatusReport,
    Report,
    VenueAccount,
    VenueMovement,
    VenueOrder,
    VenuePosition,
)
from caopan.application.ports.market_data import MarketData
from caopan.application.ports.store import VenueEvent, VenueJournal
from caopan.domain.accounting.account_records import rebuilt
from caopan.domain.accounting.bookings import BroughtLot
from caopan.domain.accounting.fees import FeeSchedule
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.rules import MarketRules
from caopan.domain.orders.order import Order, OrderType, Side
from caopan.domain.risk.clearance import Clearance
from caopan.kernel.clock import Clock, at_shanghai, shanghai
from caopan.kernel.errors import Conflict, CorruptState, Denied, Unavailable
from caopan.kernel.ids import CLIENT_ORDER_ID_LENGTH
from caopan.kernel.money import units, yuan

CAPABILITIES: Final = Capabilities(
    # A market order trades in continuous trading only, of which a daily bar tells nothing.
    order_types=frozenset({OrderType.LIMIT}),
    tag_chars=CLIENT_ORDER_ID_LENGTH,
    orders_per_second=100,
    settle_window=timedelta(seconds=1),
    remembers_days=True,
)
_REFERENCES_KNOWN = time(8, 50)
"""When a day begins here: its references are known from then on (the market-data port)."""
_CLOSE = time(15, 0)
_BEFORE_ALL = date.min

T = TypeVar("T")


class SandboxVenue:
    """A Broker over a market of daily bars, with one account."""

    name = "sandbox"
    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        run_id: int,
        journal: VenueJournal,
        market: MarketData,
        clock: Clock,
        calendar: TradingCalendar,
        rules: MarketRules,
        fees: FeeSchedule,
        participation: Fraction = Fraction(1, 10),
    ) -> None:
        """Take the venue's own journal and its view of the market; it is read at the first call."""
        self._run_id = run_id
        self._journal = journal
        self._market = market
        self._clock = clock
        self._calendar = calendar
        self._terms = FloorTerms(rules, fees, participation)
        self._lock = asyncio.Lock()
        self._is_current = False
        """Whether the image below is what the journal holds."""
        self._register = Register()
        self._account = TradingAccount(0, _BEFORE_ALL)
        self._floor: DayFloor | None = None
        self._unrecorded: list[VenueEvent] = []

    async def load(self) -> None:
        """Rebuild the venue from its own journal."""
        async with self._lock:
            await self._reload()

    # --- the port -----------------------------------------------------------------------------

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Take an order, or raise Denied BROKER_REJECT_*; a tag already known is refused."""
        del clearance  # An exchange knows orders; who may send them is settled before.
        tag, kind = order.client_order_id, order.order_type

        def take(now: datetime) -> OrderStatusReport:
            if tag in self._register.by_tag:
                raise Denied("BROKER_REJECT_OTHER", f"order tag {tag} was used before")
            if kind not in CAPABILITIES.order_types:
                raise Denied("BROKER_REJECT_OTHER", f"{kind} orders are not taken here")
            placed = self._place(now, tag, order.symbol, order.side, order.price, order.qty)
            return placed.report()

        return await self._perform(take)

    async def cancel(self, order: Order) -> OrderStatusReport:
        """Cancel what is open of `order`, or say how it stands or ended."""

        def cancel(now: datetime) -> OrderStatusReport:
            found = self._register.placed(order)
            if found is None:
                raise Denied("BROKER_REJECT_OTHER", f"there is no order {order.client_order_id}")
            if found.ended is None and not found.pending_cancel and self._floor is not None:
                number = found.broker_order_id
                self._note(self._floor.cancel(number, now), now, {"broker_order_id": number})
            return found.report()

        return await self._perform(cancel)

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Return the venue's word on an order by our tag."""

        def look(now: datetime) -> OrderStatusReport | None:
            del now
            found = self._register.by_tag.get(client_order_id)
            return None if found is None else found.report()

        report = await self._perform(look)
        if report is None:
            # "Never seen" frees the sender to decide anew: only the journal itself may say it.
            self._is_current = False
            report = await self._perform(look)
        return report

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Return the trades, then the state, of each order asked for."""

        def tell(now: datetime) -> list[Report]:
            del now
            said: list[Report] = []
            for tag in client_order_ids:
                order = self._register.by_tag.get(tag)
                if order is not None:
                    said.extend(self._register.trades(order.broker_order_id))
                    said.append(order.report())
            return said

        return await self._perform(tell)

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        """Return every order of `day`, oldest first."""
        return await self._perform(lambda _: [one.listed() for one in self._register.on(day)])

    async def fills(self, day: date) -> Sequence[FillReport]:
        """Return every execution of `day`, oldest first."""
        return await self._perform(lambda _: list(self._register.fills(day)))

    async def account(self) -> VenueAccount:
        """Return cash and positions."""

        def count(now: datetime) -> VenueAccount:
            account = self._account
            positions = {
                symbol: VenuePosition(holding.qty, holding.sellable)
                for symbol, holding in sorted(account.holdings.items())
            }
            return VenueAccount(account.cash_free, account.cash_frozen, now, positions)

        return await self._perform(count)

    # --- at the counter -----------------------------------------------------------------------

    async def deposit(self, key: str, cash: int) -> None:
        """Pay in `cash` units, once per `key`. Raises ConfigInvalid CASH_INVALID below 1."""
        body = funds.cash_body(key, cash)
        await self._perform(lambda now: self._change_funds(register.DEPOSIT, now, body))

    async def withdraw(self, key: str, cash: int) -> None:
        """Pay out `cash` units, once per `key`; what was sold today can be paid out tomorrow.

        Raises:
            Denied: BROKER_REJECT_FUNDS if less can be paid out.
            ConfigInvalid: CASH_INVALID below 1.
        """
        body = funds.cash_body(key, cash)

        def pay_out(now: datetime) -> None:
            account = self._account
            most = max(account.cash_free - max(self._register.proceeds(account.today), 0), 0)
            if key not in self._register.keys and cash > most:
                raise Denied(
                    "BROKER_REJECT_FUNDS",
                    f"{yuan(cash)} asked for, {yuan(most)} can be paid out today",
                    remedy="ask for less, or on the next trading day",
                )
            self._change_funds(register.WITHDRAWAL, now, body)

        await self._perform(pay_out)

    async def bring_in(self, key: str, lots: Sequence[BroughtLot]) -> None:
        """Add shares held elsewhere so far, once per `key`. Raises ConfigInvalid HOLDINGS_INVALID.

        What was bought before today can be sold at once.
        """

        def bring(now: datetime) -> None:
            body = funds.lots_body(key, lots, shanghai(now).date())
            self._change_funds(register.BROUGHT_IN, now, body)

        await self._perform(bring)

    async def movements(self) -> Sequence[VenueMovement]:
        """Return all money and shares that ever came in or went out here, oldest first."""
        return await self._perform(
            lambda _: [funds.told(one.kind, one.at, one.body) for one in self._register.funds]
        )

    async def place_outside(self, symbol: str, side: Side, price: int, qty: int) -> VenueOrder:
        """Place a limit order at the counter itself, without a tag of ours. Raises as `submit`."""
        return await self._perform(
            lambda now: self._place(now, "", symbol, side, price, qty).listed()
        )

    # --- inside -------------------------------------------------------------------------------

    async def _perform(self, act: Callable[[datetime], T]) -> T:
        """Do one thing on the venue as the journal has it, and record it before it is told.

        Where another process wrote the journal first, it is done once more on what that wrote; so
        is what was refused. Reads alone may miss what another process has written since `load`.
        """
        async with self._lock:
            for is_last in (False, True):
                if not self._is_current:
                    await self._reload()
                now = self._clock.now()
                # Until all is recorded, the image may hold what never happened.
                self._is_current = False
                try:
                    self._catch_up(now)
                    await self._write()
                    try:
                        result = act(now)
                    except Denied:
                        if not is_last:
                            continue  # Another process may have written what would let it pass.
                        self._is_current = True
                        raise
                    await self._write()
                except Conflict as raced:
                    if is_last:
                        raise Unavailable(
                            "BROKER_DISCONNECTED",
                            "another process keeps writing the venue's journal; nothing was taken",
                            remedy="let one broker process serve all of them",
                        ) from raced
                    continue
                self._is_current = True
                return result
        raise AssertionError

    def _place(
        self, now: datetime, tag: str, symbol: str, side: Side, price: int, qty: int
    ) -> RecordedOrder:
        number = f"S{self._register.seq + 1:08d}"
        floor = self._open_floor(now)
        floor.place(number, now, symbol, side, qty, price)
        self._note(
            register.ACCEPTED,
            now,
            {
                "client_order_id": tag,
                "broker_order_id": number,
                "symbol": symbol,
                "side": side.value,
                "order_type": OrderType.LIMIT.value,
                "price": yuan(price),
                "qty": qty,
                "day": floor.day.isoformat(),
            },
        )
        return self._register.order(number)

    def _open_floor(self, now: datetime) -> DayFloor:
        """Return today's floor; refuse outside the session."""
        today = shanghai(now).date()
        if self._account.today != today or now >= at_shanghai(today, _CLOSE):
            raise Denied("BROKER_REJECT_SESSION", "no orders are taken: the exchange is closed")
        if self._floor is None:
            references = self._market.references(today, now)
            try:
                self._floor = DayFloor(today, references, self._account, self._terms)
            except Denied as unknown:
                raise Denied("BROKER_REJECT_OTHER", unknown.message) from unknown
        return self._floor

    def _change_funds(self, kind: str, now: datetime, body: dict[str, Any]) -> None:
        if body["key"] not in self._register.keys:
            funds.change(self._account, kind, body)
            self._note(kind, now, body)

    def _catch_up(self, now: datetime) -> None:
        """Close the day that is over and begin each one that has begun since."""
        floor = self._floor
        if floor is not None and at_shanghai(floor.day, _CLOSE) <= now:
            self._close(floor, now)
        for day in self._days_begun(now):
            if self._account.holdings:
                self._begin(day, now)
            self._account.open_day(day)

    def _days_begun(self, now: datetime) -> Sequence[date]:
        local = shanghai(now)
        known = local.time() >= _REFERENCES_KNOWN
        last = self._calendar.on_or_before(local.date() - timedelta(days=not known))
        if last <= self._account.today:
            return ()
        if self._account.today == _BEFORE_ALL:
            return (last,)
        return self._calendar.between(self._account.today + timedelta(days=1), last)

    def _begin(self, day: date, now: datetime) -> None:
        """Give the holders of record what `day` brings them."""
        references = self._market.references(day, now)
        for symbol in sorted(self._account.holdings):
            reference = references.get(symbol)
            if reference is None or reference.action is None:
                continue
            action = reference.action
            body = {
                "day": day.isoformat(),
                "symbol": symbol,
                "cash_per_share": yuan(action.cash_per_share),
                "share_factor": str(action.share_factor),
            }
            at = at_shanghai(day, _REFERENCES_KNOWN)
            self._redo(self._note(register.EX_DATE, at, body))

    def _close(self, floor: DayFloor, now: datetime) -> None:
        for kind, at, body in floor.close(self._market, now):
            self._note(kind, at, body)
        self._floor = None
        self._account.take_movements()
        body = {"day": floor.day.isoformat(), "account": self._account.export()}
        self._note(register.CLOSED, at_shanghai(floor.day, _CLOSE), body)

    # --- the journal --------------------------------------------------------------------------

    def _note(self, kind: str, at: datetime, body: dict[str, Any]) -> VenueEvent:
        """Take a fact into the register; it holds once it is written."""
        if "broker_order_id" in body and "client_order_id" not in body:
            tag = self._register.order(body["broker_order_id"]).client_order_id
            body = {"client_order_id": tag, **body}
        event = VenueEvent(self._register.seq + 1, kind, at, body)
        self._register.apply(event)
        self._unrecorded.append(event)
        return event

    async def _write(self) -> None:
        if self._unrecorded:
            await self._journal.record(self._run_id, self._unrecorded)
            self._unrecorded = []

    async def _reload(self) -> None:
        events = await self._journal.load(self._run_id)
        self._register, self._floor, self._unrecorded = Register(), None, []
        closed = 0
        for count, event in enumerate(events, start=1):
            self._register.apply(event)
            closed = count if event.kind == register.CLOSED else closed
        self._account = TradingAccount(0, _BEFORE_ALL)
        if closed:
            self._account = rebuilt(events[closed - 1].body["account"])
        for event in events[closed:]:
            try:
                self._redo(event)
            except (KeyError, ValueError, TypeError, Denied) as error:
                raise unreadable(event, str(error)) from error
        self._is_current = True

    def _redo(self, event: VenueEvent) -> None:
        """Do again to account and floor what an event since the last close did to them."""
        body, at = event.body, event.at
        if event.kind == register.EX_DATE:
            self._account.open_day(date.fromisoformat(body["day"]))
            self._account.entitle(
                body["symbol"], units(body["cash_per_share"]), Fraction(body["share_factor"])
            )
            return
        for day in self._days_begun(at):
            self._account.open_day(day)
        if event.kind in register.FUNDS:
            funds.change(self._account, event.kind, body)
            return
        floor, number = self._open_floor(at), str(body["broker_order_id"])
        if event.kind == register.ACCEPTED:
            order = self._register.order(number)
            floor.place(number, at, order.symbol, order.side, order.qty, order.price)
        elif floor.cancel(number, at) != event.kind:
            raise CorruptState("VENUE_EVENT", f"order {number} is cancelled otherwise than it was")
