"""Our books against the venue's: orders, fills, cash and positions.

Owns `differences` (pure) and Reconciler: when both sides are compared, how a foreign order is
adopted, and what a difference does to the account: flat_only at once, no orders at all if the next
comparison differs too. Must never correct our books to fit the venue's, nor lift what it imposed.
Tests: tests/unit/application/execution/test_reconciliation.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from caopan.application import records
from caopan.application.execution import foreign
from caopan.application.execution.controller import Controller
from caopan.application.ports.broker import FillReport, VenueAccount, VenueOrder
from caopan.application.ports.store import Reconciliation
from caopan.application.seat import Seat
from caopan.domain.accounting.bookings import freeze_buy, freeze_sell
from caopan.domain.accounting.fees import upper_bound
from caopan.domain.accounting.journal import Book, Transaction
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import CycleStage, Origin
from caopan.domain.market.reference import Exchange
from caopan.domain.market.symbols import instrument_of
from caopan.domain.orders.order import Fill, Order, OrderStatus, Side
from caopan.domain.risk.kill_switch import Control, KillLevel, Posture
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import CorruptState
from caopan.kernel.ids import derived_uuid, foreign_order_id
from caopan.kernel.money import yuan

Difference = Mapping[str, str | None]

BY = "reconciliation"
_LOOKS = 3
"""How often both sides are looked at before they count as different."""
_NEVER_TAKEN = frozenset({OrderStatus.NOT_SENT, OrderStatus.REJECTED})
_NOT_OPEN = frozenset(
    {OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED}
)


_NEED_NOT_BE_THERE = _NEVER_TAKEN | {
    OrderStatus.CREATED,
    OrderStatus.SENDING,
    OrderStatus.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Theirs:
    """The venue's side of one day."""

    orders: Sequence[VenueOrder]
    fills: Sequence[FillReport]
    account: VenueAccount


def differences(
    book: Book, orders: Iterable[Order], fills: Iterable[Fill], theirs: Theirs
) -> list[Difference]:
    """Return every fact on which our books of a day and the venue's do not agree.

    `orders` and `fills` are ours of the day. Each difference has kind, key, ours and theirs; what a
    side does not have is None.
    """
    found = [*_cash(book, theirs.account), *_positions(book, theirs.account)]
    found.extend(_orders({_key(order): order for order in orders}, theirs.orders))
    found.extend(_fills(fills, theirs.fills))
    return found


class Reconciler:
    """Compares one account with its venue."""

    def __init__(self, seat: Seat, controller: Controller) -> None:
        """Work at `seat`; what the venue has to say is settled by `controller` first."""
        self._seat = seat
        self._controller = controller

    async def run(self, trigger: str) -> Reconciliation:
        """Settle, adopt what was placed outside, compare, record, and restrain if it differs.

        Raises:
            Unavailable: if the venue cannot be asked; nothing is recorded.
        """
        seat, desk = self._seat, self._seat.desk
        day = desk.calendar.on_or_before(shanghai(desk.clock.now()).date())
        theirs = await self._ask(day)
        refused: list[Difference] = []
        await self._controller.settle()
        if await self._adopt(theirs, day, refused):
            await self._controller.settle()
        found = [*refused, *await self._compared(day)]
        async with seat.begin() as uow:
            past = await uow.reconciliations.all()
        now = desk.clock.now()
        result = Reconciliation(
            reconciliation_id=derived_uuid(now, desk.run.config_hash, BY, trigger, len(past)),
            at=now,
            trading_day=day,
            trigger=trigger,
            passed=not found,
            differences=found,
        )
        # Of several at one instant none is the last: one that differed is enough.
        again = any(not one.passed for one in past if one.at == past[-1].at)
        await self._record(result, again=again)
        await self._controller.cancel_halted()
        return result

    async def _compared(self, day: date) -> list[Difference]:
        """Return what differs and goes on to differ: a trade may fall between two questions."""
        found: list[Difference] = []
        for _ in range(_LOOKS):
            theirs = await self._ask(day)
            async with self._seat.begin() as uow:
                orders = list(await uow.orders.of_day(day))
                orders += [o for o in await uow.orders.not_terminal() if o.trading_day < day]
                fills = [
                    fill
                    for decision_id in sorted({order.decision_id for order in orders})
                    for fill in await uow.orders.fills(decision_id)
                    if fill.trading_day == day
                ]
            found = differences(self._seat.account.book, orders, fills, theirs)
            if not found:
                break
            await self._controller.settle()
        return found

    async def _ask(self, day: date) -> Theirs:
        broker = self._seat.desk.broker
        return Theirs(await broker.orders(day), await broker.fills(day), await broker.account())

    async def _record(self, result: Reconciliation, *, again: bool) -> None:
        seat = self._seat
        drafts = [records.reconciled(result)]
        async with seat.begin() as uow:
            # A person may have changed it from another process since it was last read.
            control = await uow.controls.get()
            tighter = None if result.passed else restrained(control, result, again=again)
            await uow.reconciliations.add(result)
            if tighter is not None:
                await uow.controls.put(tighter)
                drafts.append(records.controlled(tighter))
            await uow.ledger.append(drafts)
            await uow.commit()
        seat.control = tighter or control

    # --- foreign orders -----------------------------------------------------------------------

    async def _adopt(self, theirs: Theirs, day: date, refused: list[Difference]) -> int:
        """Take the day's orders that are not ours into the books; return how many are new."""
        async with self._seat.begin() as uow:
            known = {order.client_order_id for order in await uow.orders.of_day(day)}
        new = 0
        for found in theirs.orders:
            if found.client_order_id in known or foreign_order_id(found.broker_order_id) in known:
                continue
            if not found.filled_qty and found.status in _NOT_OPEN:
                continue  # it came to nothing
            try:
                await self._adopt_one(found, day)
            except CorruptState as error:
                refused.append(
                    _difference("foreign_order", found.broker_order_id, None, str(error))
                )
            else:
                # A counter may list an order twice.
                known.add(foreign_order_id(found.broker_order_id))
                new += 1
        return new

    async def _adopt_one(self, found: VenueOrder, day: date) -> None:
        seat, desk = self._seat, self._seat.desk
        now = desk.clock.now()
        decision_id = derived_uuid(found.at, desk.run.config_hash, "foreign", found.broker_order_id)
        cycle = Cycle(
            decision_id=decision_id,
            trace_id=derived_uuid(found.at, desk.run.config_hash, "trace", str(decision_id)),
            account_id=desk.run.account_id,
            trading_day=day,
            slot=f"foreign:{found.broker_order_id}",
            opened_at=found.at,
            stage=CycleStage.ORDERED,
            origin=Origin.FOREIGN,
        )
        if not found.price:
            # A market order can cost as much as the day's limit.
            reference = desk.market.references(day, now).get(found.symbol)
            limit = None if reference is None else reference.limit_up or reference.pre_close
            found = replace(found, price=limit or 0)
        order = foreign.order_of(
            found,
            decision_id=decision_id,
            account_id=desk.run.account_id,
            broker=desk.broker.name,
            now=now,
        )
        freeze = self._frozen(order, day, now)
        async with seat.begin() as uow:
            await uow.cycles.add(cycle)
            await uow.orders.add([order])
            await uow.journal.post(freeze)
            await uow.ledger.append([records.adopted(cycle, order, now)])
            await uow.commit()
        seat.account.apply(freeze, [order])

    def _frozen(self, order: Order, day: date, now: datetime) -> list[Transaction]:
        """Return the reservation of a foreign order: as ours, but never more cash than is there."""
        desk, book = self._seat.desk, self._seat.account.book
        txn_id = derived_uuid(now, str(order.order_id), "freeze")
        if order.side is Side.BUY:
            place = Exchange(order.symbol[-2:]), instrument_of(order.symbol)
            bound = upper_bound(desk.fees, order.qty, order.price, day, *place)
            bound = min(bound, book.cash_free)
            return [freeze_buy(txn_id, order, bound, now)] if bound else []
        reference = desk.market.references(day, now).get(order.symbol)
        settled = reference is None or reference.t_plus_one
        return [freeze_sell(txn_id, order, book, day, now, t_plus_one=settled)]


def restrained(control: Control, result: Reconciliation, *, again: bool) -> Control | None:
    """Return the tighter control a difference asks for; None if it is as tight already."""
    posture, level = Posture.FLAT_ONLY, control.level
    if again:
        level = max(level, KillLevel.NO_ORDERS)
    if (posture, level) == (control.posture, control.level):
        return None
    what = ", ".join(sorted({f"{one['kind']} {one['key']}" for one in result.differences}))
    return replace(
        control,
        posture=posture,
        level=level,
        reason=f"books differ from the venue's: {what}"[:500],
        by=BY,
        at=result.at,
        version=control.version + 1,
    )


def _key(order: Order) -> str:
    return order.client_order_id


def _cash(book: Book, theirs: VenueAccount) -> Iterator[Difference]:
    """Compare the sum: counters reserve by other rules than we do."""
    ours = book.cash_free + book.cash_frozen - book.cash_owed
    total = theirs.cash_free + theirs.cash_frozen
    if ours != total:
        yield _difference("cash", "CNY", yuan(ours), yuan(total))


def _positions(book: Book, theirs: VenueAccount) -> Iterator[Difference]:
    ours = {symbol: qty for symbol, qty in book.quantities().items() if qty}
    for symbol in sorted(ours.keys() | theirs.positions.keys()):
        held, there = ours.get(symbol, 0), theirs.positions.get(symbol)
        if held != (0 if there is None else there.qty):
            yield _difference(
                "position", symbol, str(held), None if there is None else str(there.qty)
            )


def _orders(ours: Mapping[str, Order], theirs: Sequence[VenueOrder]) -> Iterator[Difference]:
    """Compare what each side says of the orders of the day, and of older ones still open here."""
    seen: set[str] = set()
    for found in theirs:
        order = ours.get(found.client_order_id) or ours.get(foreign_order_id(found.broker_order_id))
        if order is None:
            if found.filled_qty or found.status not in _NOT_OPEN:
                yield _difference("order", found.broker_order_id, None, _told(found))
            continue
        if order.client_order_id in seen:
            yield _difference("order", order.client_order_id, "1 order", "2 orders")
        seen.add(order.client_order_id)
        yield from _order(order, found)
    for tag, order in sorted(ours.items()):
        # What has not left, or nobody knows of yet, need not be there.
        left = order.submitted_at is not None and order.status not in _NEED_NOT_BE_THERE
        if left and tag not in seen:
            yield _difference(
                "order", tag, f"{order.status.value}, {order.filled_qty} filled", None
            )


def _order(order: Order, found: VenueOrder) -> Iterator[Difference]:
    """Compare one order that both sides know."""
    tag = order.client_order_id
    mine = _terms(order.symbol, order.side, order.qty, order.price)
    if mine != _terms(found.symbol, found.side, found.qty, found.price or order.price):
        yours = _terms(found.symbol, found.side, found.qty, found.price)
        yield _difference("order_terms", tag, mine, yours)
    if found.status is OrderStatus.REJECTED:
        agrees = order.status in _NEVER_TAKEN or order.filled_qty == found.filled_qty
    elif order.status in _NEVER_TAKEN:
        agrees = False
    else:
        # What has ended here holds no reservation any more.
        over = order.is_terminal and found.status not in _NOT_OPEN
        agrees = order.filled_qty == found.filled_qty and not over
    if not agrees:
        told = order.status.value
        if order.status not in _NEVER_TAKEN:
            told += f", {order.filled_qty} filled"
        yield _difference("order", tag, told, _told(found))


def _fills(ours: Iterable[Fill], theirs: Iterable[FillReport]) -> Iterator[Difference]:
    """Compare executions by the venue's own ids."""
    mine = {(f.broker_fill_id, f.side): (f.symbol, f.qty, f.price) for f in ours}
    yours = {(f.broker_fill_id, f.side): (f.symbol, f.qty, f.price) for f in theirs}
    for key in sorted(mine.keys() | yours.keys()):
        if mine.get(key) != yours.get(key):
            yield _difference("fill", key[0], _fill(mine.get(key)), _fill(yours.get(key)))


def _terms(symbol: str, side: Side, qty: int, price: int) -> str:
    return f"{side.value} {qty} {symbol} at {yuan(price)}"


def _fill(one: tuple[str, int, int] | None) -> str | None:
    return None if one is None else f"{one[0]} {one[1]} at {yuan(one[2])}"


def _told(found: VenueOrder) -> str:
    return f"{found.status.value}, {found.filled_qty} filled"


def _difference(kind: str, key: str, ours: str | None, theirs: str | None) -> Difference:
    return {"kind": kind, "key": key, "ours": ours, "theirs": theirs}
