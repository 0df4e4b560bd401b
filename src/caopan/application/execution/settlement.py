"""From the venue's reports to fills, bookings and order states.

Owns `settle_reports`: pure arithmetic over reports, so that a report said twice changes nothing
and late, early or repeated fills come out the same. Must never talk to a venue or a store. Tests:
tests/property/application/execution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from uuid import UUID

from caopan.application.ports.broker import FillReport, Report
from caopan.domain.accounting.bookings import book_fill, release
from caopan.domain.accounting.fees import FeeSchedule, order_fees
from caopan.domain.accounting.journal import Book, Transaction
from caopan.domain.market.reference import Exchange
from caopan.domain.market.symbols import instrument_of
from caopan.domain.orders.order import (
    Fill,
    FillKey,
    Order,
    OrderStatus,
    moved,
    with_fill,
)
from caopan.kernel.errors import CorruptState
from caopan.kernel.ids import derived_uuid

_ENDINGS = frozenset({OrderStatus.CANCELED, OrderStatus.EXPIRED, OrderStatus.REJECTED})


@dataclass(slots=True)
class Settlement:
    """What a batch of reports comes to."""

    orders: dict[str, Order]
    """By client_order_id, as they now stand."""
    fills: list[Fill] = field(default_factory=list[Fill])
    transactions: list[Transaction] = field(default_factory=list[Transaction])
    changed: dict[str, Order] = field(default_factory=dict[str, Order])
    """Orders whose state differs from before."""
    faults: dict[str, CorruptState] = field(default_factory=dict[str, CorruptState])
    """Orders that were set aside, and why."""


def settle_reports(
    working: Mapping[str, Order],
    reports: Sequence[Report],
    *,
    booked: AbstractSet[FillKey],
    book: Book,
    fees: FeeSchedule,
) -> Settlement:
    """Return what `reports` mean for the `working` orders; `book` is left as it was.

    `booked` holds the keys of fills that are already in the books. Reports on orders that are not
    ours to work are left out. An order of which a
    report contradicts our orders or books is set aside as it was (`faults`): one bad report keeps
    no other order's fills from the books.
    """
    outcome = Settlement(dict(working))
    ledger = book.copy()
    seen = set(booked)
    for report in reports:
        order = outcome.orders.get(report.client_order_id)
        if order is None or order.client_order_id in outcome.faults:
            continue
        try:
            after = _after(outcome, ledger, order, report, seen, fees)
        except CorruptState as fault:
            outcome.faults[order.client_order_id] = fault
            continue
        if after is None:
            continue
        outcome.orders[report.client_order_id] = after
        outcome.changed[report.client_order_id] = after
        if after.is_terminal:
            _release(outcome, ledger, after)
    return outcome


def _after(
    outcome: Settlement,
    ledger: Book,
    order: Order,
    report: Report,
    seen: set[FillKey],
    fees: FeeSchedule,
) -> Order | None:
    """Return `order` after one report, None where it says nothing new."""
    if isinstance(report, FillReport):
        key = (report.trading_day, report.broker_fill_id, report.side)
        if key in seen:
            return None
        after = _book(outcome, ledger, order, report, fees)
        seen.add(key)
        return after
    if report.status not in _ENDINGS or order.is_terminal:
        return None
    # What is refused after a part has traded has ended like a cancelled rest.
    refused_rest = report.status is OrderStatus.REJECTED and order.filled_qty > 0
    return moved(
        order,
        OrderStatus.CANCELED if refused_rest else report.status,
        report.at,
        broker_order_id=report.broker_order_id,
        reject_code=report.reason,
    )


def _book(
    outcome: Settlement, ledger: Book, order: Order, report: FillReport, fees: FeeSchedule
) -> Order:
    if (report.symbol, report.side) != (order.symbol, order.side):
        raise CorruptState(
            "FILL_MISMATCH",
            f"fill {report.broker_fill_id} is a {report.side} of {report.symbol}, order "
            f"{order.client_order_id} a {order.side} of {order.symbol}",
            remedy="compare orders and fills with the venue's own record",
        )
    place = Exchange(report.symbol[-2:]), instrument_of(report.symbol)
    after = with_fill(order, report.qty, report.price, report.at)
    cost = order_fees(
        fees, order.side, after.filled_amount, report.trading_day, *place
    ) - order_fees(fees, order.side, order.filled_amount, report.trading_day, *place)
    fill = Fill(
        fill_id=derived_uuid(report.at, str(order.order_id), "fill", report.broker_fill_id),
        order_id=order.order_id,
        decision_id=order.decision_id,
        broker=order.broker,
        broker_fill_id=report.broker_fill_id,
        trading_day=report.trading_day,
        symbol=report.symbol,
        side=report.side,
        qty=report.qty,
        price=report.price,
        commission=cost.commission,
        stamp_duty=cost.stamp_duty,
        transfer_fee=cost.transfer_fee,
        other_fees=cost.other_fees,
        filled_at=report.at,
    )
    transaction = book_fill(_txn(fill.fill_id, report), fill, order, ledger)
    ledger.post(transaction)
    outcome.fills.append(fill)
    outcome.transactions.append(transaction)
    return after


def _release(outcome: Settlement, ledger: Book, order: Order) -> None:
    txn_id = derived_uuid(order.updated_at, str(order.order_id), "release", order.filled_qty)
    transaction = release(txn_id, order, ledger, order.updated_at)
    if transaction is not None:
        ledger.post(transaction)
        outcome.transactions.append(transaction)


def _txn(fill_id: UUID, report: FillReport) -> UUID:
    return derived_uuid(report.at, str(fill_id), "txn")
