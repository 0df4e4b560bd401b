"""Settlement: whatever way the venue's reports arrive, the books come out the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.execution.settlement import Settlement, settle_reports
from caopan.application.ports.broker import FillReport, OrderStatusReport, Report
from caopan.domain.accounting.bookings import book_fill, deposit, freeze_buy, freeze_sell
from caopan.domain.accounting.fees import Fees, order_fees, upper_bound
from caopan.domain.accounting.journal import Book, fold
from caopan.domain.market.reference import Exchange, Instrument
from caopan.domain.orders.order import Fill, FillKey, Order, OrderStatus, Side, moved
from caopan.kernel.money import units
from caopan.testing.samples import DAY, NOW, sample_fees, sample_id, sample_order

QUICK = settings(deadline=None, max_examples=120)
FEES = sample_fees()
EARLIER = date(2023, 5, 30)
CLOSE = NOW + timedelta(hours=6)


@dataclass
class Day:
    """A day's working orders, the book they froze, and each order's reports as the venue made them.

    No two orders share a symbol: the gate lets only one work at a time.
    """

    orders: list[Order]
    book: Book
    reports: list[list[Report]]

    @property
    def working(self) -> dict[str, Order]:
        return {order.client_order_id: order for order in self.orders}

    @property
    def flat(self) -> list[Report]:
        return [report for reports in self.reports for report in reports]


def trade(order: Order, number: int, qty: int, price: int) -> FillReport:
    return FillReport(
        client_order_id=order.client_order_id,
        broker_fill_id=f"T{order.action_index}-{number}",
        trading_day=DAY,
        symbol=order.symbol,
        side=order.side,
        qty=qty,
        price=price,
        at=NOW + timedelta(minutes=number),
    )


def status(order: Order, what: OrderStatus) -> OrderStatusReport:
    at = CLOSE if what is not OrderStatus.ACCEPTED else NOW
    return OrderStatusReport(order.client_order_id, f"S{order.action_index}", what, at)


def stocked(symbols: Sequence[str], per_symbol: int, cost: int) -> Book:
    """Return a book with cash and settled shares, bought at one price."""
    book = fold([deposit(sample_id(1), units(10**9), NOW)])
    for number, symbol in enumerate(symbols):
        fill = Fill(
            fill_id=sample_id(100 + number),
            order_id=sample_id(200 + number),
            decision_id=sample_id(3),
            broker="sandbox",
            broker_fill_id=f"old{number}",
            trading_day=EARLIER,
            symbol=symbol,
            side=Side.BUY,
            qty=per_symbol,
            price=cost,
            commission=0,
            stamp_duty=0,
            transfer_fee=0,
            other_fees=0,
            filled_at=NOW,
        )
        order = sample_order(symbol=symbol)
        book.post(book_fill(sample_id(300 + number), fill, order, book))
    return book


def kind_of(symbol: str) -> Instrument:
    return Instrument.FUND if symbol.startswith("5") else Instrument.STOCK


@st.composite
def days(draw) -> Day:
    count = draw(st.integers(1, 4))
    # Shares and funds: what a trade costs differs.
    symbols = [f"{draw(st.sampled_from([60, 51]))}000{number}.SH" for number in range(count)]
    book = stocked(symbols, 10_000, draw(st.integers(1, 5_000)) * 100)
    orders: list[Order] = []
    reports: list[list[Report]] = []
    for number, symbol in enumerate(symbols):
        side = draw(st.sampled_from(Side))
        price = draw(st.integers(100, 5_000)) * 100
        qty = draw(st.integers(1, 40)) * 100
        order = sample_order(number, symbol=symbol, side=side, price=price, qty=qty, updated_at=NOW)
        if side is Side.BUY:
            bound = upper_bound(FEES, qty, price, DAY, Exchange.SH, kind_of(symbol))
            book.post(freeze_buy(sample_id(400 + number), order, bound, NOW))
        else:
            frozen = sample_id(400 + number)
            book.post(freeze_sell(frozen, order, book, DAY, NOW, t_plus_one=True))
        order = moved(moved(order, OrderStatus.SENDING, NOW), OrderStatus.ACCEPTED, NOW)
        orders.append(order)
        reports.append(draw(venue_story(order)))
    return Day(orders, book, reports)


@st.composite
def venue_story(draw, order: Order) -> list[Report]:
    """Return what a venue says of one order: accepted, trades, and its end."""
    told: list[Report] = [status(order, OrderStatus.ACCEPTED)]
    left = order.qty
    for number in range(draw(st.integers(0, 4))):
        if left:
            qty = draw(st.integers(1, left))
            better = draw(st.integers(0, order.price // 100 - 1)) * 100
            price = order.price - better if order.side is Side.BUY else order.price + better
            told.append(trade(order, number, qty, price))
            left -= qty
    ends = [OrderStatus.EXPIRED, OrderStatus.CANCELED] if left else [OrderStatus.FILLED]
    told.append(status(order, draw(st.sampled_from(ends))))
    return told


def settle(day: Day, batches: Sequence[Sequence[Report]]) -> tuple[Book, Settlement]:
    """Feed the batches one after the other, each call on what the ones before left."""
    book, orders, booked = day.book.copy(), day.working, set[FillKey]()
    whole = Settlement(dict(orders))
    for batch in batches:
        before = dict(book.balances)
        result = settle_reports(orders, batch, booked=booked, book=book, fees=FEES)
        assert dict(book.balances) == before
        for transaction in result.transactions:
            book.post(transaction)
        assert set(result.changed) <= set(orders)
        for tag, order in result.changed.items():
            assert result.orders[tag] == order != orders[tag]
        orders = result.orders
        booked |= {fill.key for fill in result.fills}
        whole.faults.update(result.faults)
        whole.fills += result.fills
        whole.transactions += result.transactions
        whole.changed |= result.changed
    whole.orders = orders
    return book, whole


def state(result: Settlement) -> dict[str, tuple[str, int, int]]:
    return {
        tag: (order.status, order.filled_qty, order.filled_amount)
        for tag, order in result.orders.items()
    }


def fees_of(result: Settlement) -> dict[str, Fees]:
    found: dict[str, Fees] = {}
    for fill in result.fills:
        paid = found.get(str(fill.order_id), Fees())
        found[str(fill.order_id)] = Fees(
            paid.commission + fill.commission,
            paid.stamp_duty + fill.stamp_duty,
            paid.transfer_fee + fill.transfer_fee,
            paid.other_fees + fill.other_fees,
        )
    return found


@QUICK
@given(days())
def test_books_and_orders_after_a_plain_day(day):
    book, result = settle(day, [day.flat])
    for order, told in zip(day.orders, day.reports, strict=True):
        after = result.orders[order.client_order_id]
        fills = [report for report in told if isinstance(report, FillReport)]
        ending = told[-1]
        assert isinstance(ending, OrderStatusReport)
        assert after.status is ending.status
        assert after.filled_qty == sum(fill.qty for fill in fills)
        assert after.filled_amount == sum(fill.qty * fill.price for fill in fills)
    # Nothing stays frozen, and nobody has paid but for what was traded.
    assert book.cash_frozen == 0
    assert not any(lot.frozen_qty for lot in book.lots())
    signs = {Side.BUY: -1, Side.SELL: 1}
    traded = sum(signs[fill.side] * fill.qty * fill.price for fill in result.fills)
    before = day.book.cash_free + day.book.cash_frozen
    assert book.cash_free == before + traded - sum(fill.fees for fill in result.fills)


@QUICK
@given(days())
def test_fees_are_those_of_the_total_whatever_the_split(day):
    _, result = settle(day, [day.flat])
    paid = fees_of(result)
    for order in result.orders.values():
        place = Exchange.SH, kind_of(order.symbol)
        expected = order_fees(FEES, order.side, order.filled_amount, DAY, *place)
        assert paid.get(str(order.order_id), Fees()) == expected


@QUICK
@given(days(), st.data())
def test_however_the_reports_arrive_the_books_are_the_same(day, data):
    plain_book, plain = settle(day, [day.flat])
    # Any order of arrival (an end before its fills, a fill before its acceptance), any repetition,
    # any cut into calls.
    arrived = data.draw(st.permutations(day.flat))
    arrived += data.draw(st.lists(st.sampled_from(day.flat), max_size=6))
    cuts = data.draw(st.lists(st.integers(0, len(arrived)), max_size=3).map(sorted))
    edges = [0, *cuts, len(arrived)]
    batches = [arrived[start:end] for start, end in pairwise(edges)]
    book, result = settle(day, batches)
    assert state(result) == state(plain)
    assert fees_of(result) == fees_of(plain)
    assert book.balances == plain_book.balances
    assert len({t.txn_id for t in result.transactions}) == len(result.transactions)
    assert len({fill.fill_id for fill in result.fills}) == len(result.fills)


@QUICK
@given(days())
def test_saying_everything_again_changes_nothing(day):
    book, result = settle(day, [day.flat])
    booked = {fill.key for fill in result.fills}
    again = settle_reports(result.orders, day.flat, booked=booked, book=book, fees=FEES)
    assert (again.fills, again.transactions, again.changed) == ([], [], {})


def accepted(number: int = 1) -> Order:
    order = sample_order(number)
    return moved(moved(order, OrderStatus.SENDING, NOW), OrderStatus.ACCEPTED, NOW)


def bought_day() -> Day:
    order = accepted()
    book = stocked(["600009.SH"], 100, 100)
    book.post(freeze_buy(sample_id(400), order, units(10_010), NOW))
    return Day([order], book, [[]])


def test_reports_of_orders_that_are_not_ours_are_left_out():
    day = bought_day()
    stranger = accepted(7)
    reports = [trade(stranger, 1, 100, units(10)), status(stranger, OrderStatus.EXPIRED)]
    _, result = settle(day, [reports])
    assert (result.fills, result.changed) == ([], {})


def test_a_fill_that_overtakes_the_acknowledgement():
    day = bought_day()
    day.orders = [moved(sample_order(1), OrderStatus.SENDING, NOW)]
    (order,) = day.orders
    reports = [trade(order, 1, 1_000, units(10)), status(order, OrderStatus.FILLED)]
    _, result = settle(day, [reports])
    assert result.orders[order.client_order_id].status is OrderStatus.FILLED


def test_a_refusal_after_acceptance_frees_what_was_frozen():
    day = bought_day()
    (order,) = day.orders
    refusal = replace(status(order, OrderStatus.REJECTED), reason="BROKER_REJECT_FUNDS")
    book, result = settle(day, [[refusal]])
    after = result.orders[order.client_order_id]
    assert (after.status, after.reject_code) == (OrderStatus.REJECTED, "BROKER_REJECT_FUNDS")
    assert book.cash_frozen == 0


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"qty": 1_001}, "ORDER_OVERFILL"),
        ({"qty": 0}, "ORDER_OVERFILL"),
        ({"qty": -100}, "ORDER_OVERFILL"),
        ({"symbol": "600002.SH"}, "FILL_MISMATCH"),
        ({"side": Side.SELL}, "FILL_MISMATCH"),
    ],
)
def test_a_fill_that_contradicts_its_order_is_set_aside(change, code):
    day = bought_day()
    (order,) = day.orders
    book, result = settle(day, [[replace(trade(order, 1, 100, units(10)), **change)]])
    assert [fault.code for fault in result.faults.values()] == [code]
    assert (result.fills, result.changed, book.balances) == ([], {}, day.book.balances)


def test_a_fill_of_a_refused_order_is_set_aside():
    day = bought_day()
    (order,) = day.orders
    reports = [status(order, OrderStatus.REJECTED), trade(order, 1, 100, units(10))]
    _, result = settle(day, [reports])
    assert [fault.code for fault in result.faults.values()] == ["ORDER_EDGE"]
    assert result.fills == []


def test_a_worked_example_of_two_fills():
    day = bought_day()
    (order,) = day.orders
    reports = [
        trade(order, 1, 400, units("10.00")),
        trade(order, 2, 500, units("9.90")),
        status(order, OrderStatus.EXPIRED),
    ]
    book, result = settle(day, [reports])
    first, second = result.fills
    # 4,000: the least commission of 5, transfer fee 0.04. 8,950 in all: still 5, and 0.09.
    assert (first.commission, first.transfer_fee) == (units(5), units("0.04"))
    assert (second.commission, second.transfer_fee) == (0, units("0.05"))
    assert [str(fill.stamp_duty) for fill in result.fills] == ["0", "0"]
    spent = units(8_950) + units("5.09")
    assert book.cash_free == day.book.cash_free + day.book.cash_frozen - spent
    (lot,) = book.lots(order.symbol)
    assert (lot.qty, lot.cost, lot.bought_on) == (900, units(8_950), DAY)
