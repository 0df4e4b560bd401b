"""What reconciliation finds: nothing between equal books, and exactly what was planted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.execution.reconciliation import Theirs, differences
from caopan.application.execution.settlement import settle_reports
from caopan.application.ports.broker import (
    FillReport,
    OrderStatusReport,
    VenueAccount,
    VenueOrder,
    VenuePosition,
)
from caopan.domain.accounting.bookings import deposit
from caopan.domain.accounting.journal import Book, fold
from caopan.domain.orders.order import Fill, Order, OrderStatus, Side, moved
from caopan.kernel.money import units
from caopan.testing.samples import DAY, NOW, sample_fees, sample_id, sample_order

QUICK = settings(deadline=None, max_examples=100)
S = OrderStatus
ENDS = (S.ACCEPTED, S.CANCELED, S.EXPIRED, S.REJECTED, S.NOT_SENT, S.UNKNOWN)


@dataclass
class Sides:
    """One day on both sides, equal so far."""

    book: Book
    orders: list[Order]
    fills: list[Fill]
    theirs: Theirs

    def found(self) -> list[tuple[str, str]]:
        return [
            (str(one["kind"]), str(one["key"]))
            for one in differences(self.book, self.orders, self.fills, self.theirs)
        ]


@st.composite
def days(draw: st.DrawFn) -> Sides:
    """Return buys with any fate, and what a venue that agrees with us would list."""
    book = fold([deposit(sample_id(1), units(10**8), NOW)])
    orders: list[Order] = []
    fills: list[Fill] = []
    listed: list[VenueOrder] = []
    told: list[FillReport] = []
    for number in range(draw(st.integers(1, 4))):
        order = sample_order(number, symbol=f"60000{number}.SH", qty=1_000)
        end = draw(st.sampled_from(ENDS))
        order = moved(order, S.SENDING, NOW)
        if end in (S.NOT_SENT, S.REJECTED, S.UNKNOWN):
            orders.append(moved(order, end, NOW))
            if end is S.REJECTED and draw(st.booleans()):
                listed.append(as_listed(orders[-1]))
            if end is S.UNKNOWN and draw(st.booleans()):
                listed.append(as_listed(order))
            continue
        order = moved(order, S.ACCEPTED, NOW, broker_order_id=f"N{number}")
        said: list[FillReport | OrderStatusReport] = []
        left = 1_000
        for part in draw(st.lists(st.integers(1, 600), max_size=3)):
            qty = min(part, left)
            if qty:
                said.append(as_fill(order, f"T{number}-{len(said)}", qty))
                left -= qty
        told += [one for one in said if isinstance(one, FillReport)]
        if end is not S.ACCEPTED and left:
            said.append(OrderStatusReport(order.client_order_id, f"N{number}", end, NOW))
        result = settle_reports(
            {order.client_order_id: order}, said, booked=set(), book=book, fees=sample_fees()
        )
        for transaction in result.transactions:
            book.post(transaction)
        orders.append(result.orders[order.client_order_id])
        fills += result.fills
        listed.append(as_listed(orders[-1]))
    held = {symbol: VenuePosition(qty, 0) for symbol, qty in book.quantities().items()}
    # A counter freezes by rules of its own: only the sum is compared.
    frozen = draw(st.integers(0, 1_000))
    cash = book.cash_free + book.cash_frozen
    account = VenueAccount(cash - frozen, frozen, NOW, held)
    return Sides(book, orders, fills, Theirs(draw(st.permutations(listed)), told, account))


def as_listed(order: Order) -> VenueOrder:
    return VenueOrder(
        broker_order_id=order.broker_order_id or f"X{order.action_index}",
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        price=order.price,
        qty=order.qty,
        filled_qty=order.filled_qty,
        status=order.status,
        trading_day=DAY,
        at=NOW,
    )


def as_fill(order: Order, name: str, qty: int) -> FillReport:
    return FillReport(
        client_order_id=order.client_order_id,
        broker_fill_id=name,
        trading_day=DAY,
        symbol=order.symbol,
        side=order.side,
        qty=qty,
        price=order.price,
        at=NOW + timedelta(seconds=1),
    )


@QUICK
@given(days())
def test_equal_books_do_not_differ(day: Sides) -> None:
    assert day.found() == []


@QUICK
@given(days(), st.integers(1, 10**9) | st.integers(-(10**9), -1), st.booleans())
def test_any_other_cash_is_the_one_difference(day: Sides, by: int, frozen: bool) -> None:
    account = day.theirs.account
    changed = (
        replace(account, cash_frozen=account.cash_frozen + by)
        if frozen
        else replace(account, cash_free=account.cash_free + by)
    )
    day.theirs = replace(day.theirs, account=changed)
    assert day.found() == [("cash", "CNY")]


@QUICK
@given(days(), st.integers(0, 5), st.integers(-2_000, 2_000).filter(bool))
def test_any_other_holding_is_the_one_difference(day: Sides, which: int, by: int) -> None:
    symbol, held = f"60000{which}.SH", dict(day.theirs.account.positions)
    qty = held[symbol].qty + by if symbol in held else by
    held[symbol] = VenuePosition(qty, 0)
    if qty == 0:
        del held[symbol]
    day.theirs = replace(day.theirs, account=replace(day.theirs.account, positions=held))
    assert day.found() == [("position", symbol)]


@QUICK
@given(days(), st.data())
def test_an_order_that_one_side_lacks_is_the_one_difference(
    day: Sides, data: st.DataObject
) -> None:
    taken = [
        one for one in day.theirs.orders if one.status in (*ENDS[:3], S.FILLED, S.PARTIALLY_FILLED)
    ]
    if not taken:
        return
    gone = data.draw(st.sampled_from(taken))
    if data.draw(st.booleans()):
        day.theirs = replace(
            day.theirs, orders=[one for one in day.theirs.orders if one is not gone]
        )
        assert day.found() == [("order", gone.client_order_id)]
        return
    day.orders = [one for one in day.orders if one.client_order_id != gone.client_order_id]
    came_to_something = gone.filled_qty or gone.status not in (S.CANCELED, S.EXPIRED)
    assert day.found() == [("order", gone.broker_order_id)] * bool(came_to_something)


@QUICK
@given(days(), st.data())
def test_an_order_that_filled_otherwise_is_the_one_difference(
    day: Sides, data: st.DataObject
) -> None:
    taken = [one for one in day.theirs.orders if one.status is not S.REJECTED]
    known = {one.client_order_id for one in day.orders if one.status is not S.UNKNOWN}
    taken = [one for one in taken if one.client_order_id in known]
    if not taken:
        return
    one = data.draw(st.sampled_from(taken))
    filled = data.draw(st.integers(0, 1_000).filter(lambda qty: qty != one.filled_qty))
    changed = replace(one, filled_qty=filled)
    day.theirs = replace(
        day.theirs, orders=[changed if other is one else other for other in day.theirs.orders]
    )
    assert day.found() == [("order", one.client_order_id)]


@QUICK
@given(days(), st.data())
def test_an_order_listed_twice_is_the_one_difference(day: Sides, data: st.DataObject) -> None:
    taken = [one for one in day.theirs.orders if one.status is not S.REJECTED]
    if not taken:
        return
    one = data.draw(st.sampled_from(taken))
    twin = replace(one, broker_order_id="N99")
    day.theirs = replace(day.theirs, orders=[*day.theirs.orders, twin])
    assert day.found() == [("order", one.client_order_id)]


@QUICK
@given(days(), st.data())
def test_an_order_we_gave_up_and_the_venue_took_is_the_one_difference(
    day: Sides, data: st.DataObject
) -> None:
    given_up = [one for one in day.orders if one.status in (S.NOT_SENT, S.REJECTED)]
    if not given_up:
        return
    order = data.draw(st.sampled_from(given_up))
    others = [o for o in day.theirs.orders if o.client_order_id != order.client_order_id]
    alive = replace(as_listed(order), status=S.ACCEPTED)
    day.theirs = replace(day.theirs, orders=[*others, alive])
    assert day.found() == [("order", order.client_order_id)]


@QUICK
@given(days(), st.data(), st.sampled_from(["gone", "qty", "price", "symbol", "side", "new"]))
def test_any_other_fill_is_the_one_difference(day: Sides, data: st.DataObject, what: str) -> None:
    told = list(day.theirs.fills)
    if not told:
        return
    number = data.draw(st.integers(0, len(told) - 1))
    fill = told[number]
    keys = [("fill", fill.broker_fill_id)]
    if what == "gone":
        del told[number]
    elif what == "new":
        told.append(replace(fill, broker_fill_id="T99"))
        keys = [("fill", "T99")]
    elif what == "side":
        # The venue's id is one per side: each side lacks what the other has.
        told[number] = replace(fill, side=Side.SELL)
        keys *= 2
    else:
        values = {"qty": fill.qty + 1, "price": fill.price + 100, "symbol": "600009.SH"}
        told[number] = replace(fill, **{what: values[what]})
    day.theirs = replace(day.theirs, fills=told)
    assert day.found() == keys


@QUICK
@given(days(), st.data(), st.sampled_from([S.ACCEPTED, S.PARTIALLY_FILLED, S.PENDING_CANCEL]))
def test_an_order_that_ended_here_and_lives_there_is_the_one_difference(
    day: Sides, data: st.DataObject, alive: OrderStatus
) -> None:
    ended = [one for one in day.theirs.orders if one.status in (S.CANCELED, S.EXPIRED)]
    if not ended:
        return
    one = data.draw(st.sampled_from(ended))
    changed = replace(one, status=alive)
    day.theirs = replace(
        day.theirs, orders=[changed if other is one else other for other in day.theirs.orders]
    )
    assert day.found() == [("order", one.client_order_id)]
