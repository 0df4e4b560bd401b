"""Orders that somebody placed at the venue without us.

Owns how such an order is recognised, which tag it gets among ours, and the venue's word on it as
reports. It is followed and booked, never sent, changed or cancelled by a model. Must never take one
of our own orders for foreign: what carries a tag of ours is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from caopan.application.ports.broker import FillReport, OrderStatusReport, Report, VenueOrder
from caopan.domain.orders.order import Order, OrderStatus, OrderType
from caopan.kernel.ids import derived_uuid, foreign_order_id


def order_of(
    found: VenueOrder, *, decision_id: UUID, account_id: str, broker: str, now: datetime
) -> Order:
    """Return our image of a foreign order: taken by the venue, nothing booked yet."""
    key = (str(decision_id), found.broker_order_id)
    return Order(
        order_id=derived_uuid(found.at, *key, "order"),
        client_order_id=foreign_order_id(found.broker_order_id),
        decision_id=decision_id,
        action_index=0,
        account_id=account_id,
        symbol=found.symbol,
        side=found.side,
        order_type=OrderType.LIMIT,
        price=found.price,
        qty=found.qty,
        broker=broker,
        clearance_id=derived_uuid(found.at, *key, "foreign"),
        trading_day=found.trading_day,
        not_after=now,
        created_at=found.at,
        updated_at=found.at,
        status=OrderStatus.ACCEPTED,
        broker_order_id=found.broker_order_id,
        submitted_at=found.at,
    )


def reports_of(orders: Sequence[VenueOrder], fills: Sequence[FillReport]) -> list[Report]:
    """Return the venue's lists of a day as reports under our tags, fills before endings."""
    found: list[Report] = [
        FillReport(
            client_order_id=foreign_order_id(fill.broker_order_id),
            broker_fill_id=fill.broker_fill_id,
            trading_day=fill.trading_day,
            symbol=fill.symbol,
            side=fill.side,
            qty=fill.qty,
            price=fill.price,
            at=fill.at,
            broker_order_id=fill.broker_order_id,
        )
        for fill in fills
    ]
    found.extend(
        OrderStatusReport(
            foreign_order_id(one.broker_order_id), one.broker_order_id, one.status, one.at
        )
        for one in orders
    )
    return found
