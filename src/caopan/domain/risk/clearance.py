"""The gate's written permission, without which no order leaves.

Owns Clearance and its mint. Must never be built elsewhere: the
constructor refuses callers that do not hold this module's seal, a clearance can be neither changed,
copied nor pickled, the hand compares the hash before it sends, and the process that holds the
broker takes each clearance once.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass
from datetime import datetime
from typing import NoReturn, SupportsIndex
from uuid import UUID

from caopan.domain.orders.order import Order
from caopan.kernel.canonical import content_hash
from caopan.kernel.errors import Denied
from caopan.kernel.money import yuan

MISMATCH = "CLEARANCE_MISMATCH"
_SEAL = object()


@dataclass(frozen=True, slots=True)
class Clearance:
    """Permission for exactly one order, under one policy version, until one instant."""

    clearance_id: UUID
    order_hash: str
    policy_version: str
    expires_at: datetime
    # Shown once and not kept, so that `dataclasses.replace` has nothing to hand on.
    seal: InitVar[object]

    def __post_init__(self, seal: object) -> None:
        """Refuse anything not minted here."""
        if seal is not _SEAL:
            raise Denied("CLEARANCE_FORGED", "a Clearance can only be minted by the gate")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Refuse to be copied or pickled: both would build another one without the gate."""
        raise Denied("CLEARANCE_FORGED", "a Clearance can be neither copied nor pickled")


def order_hash(order: Order) -> str:
    """Return the hash of what the venue would receive."""
    return content_hash(
        {
            "account_id": order.account_id,
            "client_order_id": order.client_order_id,
            "order_type": order.order_type.value,
            "price": yuan(order.price),
            "qty": order.qty,
            "side": order.side.value,
            "symbol": order.symbol,
        }
    )


def mint(order: Order, policy_version: str, expires_at: datetime | None = None) -> Clearance:
    """Return the clearance of an order that the gate has just passed.

    It ends with the order, or at `expires_at` where that is earlier.
    """
    ends = order.not_after if expires_at is None else min(order.not_after, expires_at)
    return Clearance(order.clearance_id, order_hash(order), policy_version, ends, _SEAL)


def verify(clearance: Clearance, order: Order, now: datetime) -> None:
    """Check a clearance right before the wire.

    Raises:
        Denied: CLEARANCE_MISMATCH if it is another order's or the order was changed since,
            RISK_EXPIRED if its time is over.
    """
    if clearance.order_hash != order_hash(order) or clearance.clearance_id != order.clearance_id:
        raise Denied(MISMATCH, f"order {order.client_order_id} is not the one that was cleared")
    if now > clearance.expires_at:
        raise Denied(
            "RISK_EXPIRED", f"the clearance of {order.client_order_id} ended {clearance.expires_at}"
        )
