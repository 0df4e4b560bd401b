"""The hand: sends a cleared order once, and asks when it does not know.

Owns `send` and `resolve`. The order's intent is durable before it comes here, `sending` is durable
before the first byte leaves, and an order found in `sending` after a crash is never sent again:
the venue is asked by our tag. Must never place an order without its Clearance, nor retry one.
Tests: tests/simulation/test_crash_matrix.py.
"""

from __future__ import annotations

from datetime import datetime

from caopan.application.ports.broker import Broker, OrderStatusReport
from caopan.domain.orders.order import Order, OrderStatus, moved
from caopan.domain.risk.clearance import Clearance, verify
from caopan.kernel.errors import Denied, OutcomeUnknown, Unavailable


async def send(order: Order, clearance: Clearance, broker: Broker, now: datetime) -> Order:
    """Send an order that is durably `sending`; return it in the state the answer gives.

    A refusal gives `rejected`, a lost answer `unknown`, a connection that failed before anything
    left gives `not_sent`.
    """
    if order.status is not OrderStatus.SENDING:
        raise Denied("ORDER_NOT_SENDING", f"order {order.client_order_id} is {order.status}")
    try:
        verify(clearance, order, now)
    except Denied as refusal:
        # Refused by ourselves: nothing left, so the venue has not said no.
        return moved(order, OrderStatus.NOT_SENT, now, reject_code=refusal.code)
    try:
        report = await broker.submit(order, clearance)
    except Denied as refusal:
        return moved(order, OrderStatus.REJECTED, now, reject_code=refusal.code)
    except Unavailable as outage:
        return moved(order, OrderStatus.NOT_SENT, now, reject_code=outage.code)
    except OutcomeUnknown as lost:
        return moved(order, OrderStatus.UNKNOWN, now, reject_code=lost.code)
    return acknowledged(order, report)


async def resolve(order: Order, broker: Broker, now: datetime) -> Order:
    """Settle an order whose answer was lost, by the venue's evidence alone.

    An order the venue has never seen becomes `not_sent`: a fresh decision may ask for it again.
    """
    try:
        report = await broker.find(order.client_order_id)
    except (Unavailable, OutcomeUnknown):
        if order.status is OrderStatus.SENDING:
            return moved(order, OrderStatus.UNKNOWN, now, reject_code="BROKER_TIMEOUT")
        return order
    if report is None:
        return moved(order, OrderStatus.NOT_SENT, now, reject_code="BROKER_NEVER_SEEN")
    return acknowledged(order, report)


def acknowledged(order: Order, report: OrderStatusReport) -> Order:
    """Return `order` as the venue took it; fills are booked from fill reports, never from here."""
    status = OrderStatus.REJECTED
    if report.status is not OrderStatus.REJECTED:
        status = OrderStatus.ACCEPTED
    return moved(
        order,
        status,
        report.at,
        broker_order_id=report.broker_order_id,
        reject_code=report.reason if status is OrderStatus.REJECTED else None,
    )
