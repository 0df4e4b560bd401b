"""The hand: sends a cleared order once, cancels, and asks when it does not know.

Owns `send`, `cancel` and `resolve`: one call to the venue each, and the order in the state the
answer gives. The order's intent is durable before it comes here, `sending` is durable before the
first byte leaves, and an order found in `sending` after a crash is never sent again: the venue is
asked by our tag. Must never place an order without its Clearance, nor retry one, nor refuse a
cancel. Tests: tests/unit/application/execution, tests/simulation/test_crash_matrix.py.
"""

from __future__ import annotations

from datetime import datetime

from caopan.application.ports.broker import Broker, OrderStatusReport
from caopan.application.ports.kill_switch import KillSwitch
from caopan.domain.orders.order import Order, OrderStatus, Side, moved
from caopan.domain.risk.clearance import Clearance, verify
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import Denied, OutcomeUnknown, Unavailable

WORKED = frozenset({OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED, OrderStatus.PENDING_CANCEL})
"""States in which a venue says that it works an order."""


async def send(
    order: Order, clearance: Clearance, broker: Broker, now: datetime, switch: KillSwitch
) -> Order:
    """Send an order that is durably `sending`; return it in the state the answer gives.

    A refusal gives `rejected`, a lost answer `unknown`, a connection that failed before anything
    left gives `not_sent`; so do a kill switch that was pulled since the order was judged and a
    clearance that no longer holds.
    """
    if order.status is not OrderStatus.SENDING:
        raise Denied("ORDER_NOT_SENDING", f"order {order.client_order_id} is {order.status}")
    try:
        verify(clearance, order, now)
        _refuse_halted(order, switch.level())
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


async def cancel(order: Order, broker: Broker, now: datetime) -> Order:
    """Ask for the cancel of an order that is durably `pending_cancel`.

    What became of it is learned from the venue's reports, fills first; only a refusal puts the
    order back to work. A lost request or answer leaves it `pending_cancel`, to be asked again.
    """
    try:
        await broker.cancel(order)
    except Denied as refusal:
        back = OrderStatus.PARTIALLY_FILLED if order.filled_qty else OrderStatus.ACCEPTED
        return moved(order, back, now, reject_code=refusal.code)
    except (Unavailable, OutcomeUnknown):
        return order
    return order


async def resolve(order: Order, broker: Broker, now: datetime) -> Order:
    """Settle an order whose answer was lost, by the venue's evidence alone.

    An order that the venue does not know once its settle window has passed was never taken: it
    becomes `not_sent`, and a fresh decision may ask for it again. Until then it stays `unknown`,
    and so it does after its day at a venue that forgets: absence proves nothing there.
    """
    try:
        report = await broker.find(order.client_order_id)
    except (Unavailable, OutcomeUnknown):
        return _still_unknown(order, now)
    if report is not None:
        return acknowledged(order, report)
    sent, can = order.submitted_at or order.created_at, broker.capabilities
    another_day = shanghai(now).date() > order.trading_day
    if now < sent + can.settle_window or (another_day and not can.remembers_days):
        return _still_unknown(order, now)
    return moved(order, OrderStatus.NOT_SENT, now, reject_code="BROKER_NEVER_SEEN")


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


def _still_unknown(order: Order, now: datetime) -> Order:
    if order.status is OrderStatus.SENDING:
        return moved(order, OrderStatus.UNKNOWN, now, reject_code="BROKER_TIMEOUT")
    return order


def _refuse_halted(order: Order, level: KillLevel) -> None:
    """Refuse what the kill switch stops, at the last moment before the wire."""
    stopped = {
        KillLevel.OFF: False,
        KillLevel.NO_OPENINGS: order.side is Side.BUY,
        KillLevel.NO_ORDERS: True,
        KillLevel.FLATTEN: order.side is Side.BUY,
    }[level]
    if stopped:
        raise Denied("RISK_KILL_SWITCH", f"the kill switch stands at level {int(level)}")
