"""One order against a visible book: price first, then time, at the resting side's price.

Owns how far each order type reaches and what becomes of its rest. Must never change the book it is
given. Tests: tests/unit/domain/matching/test_sweep.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from caopan.domain.market.order_types import ExchangeOrderType

VISIBLE_LEVELS = 5


class Resting(NamedTuple):
    """An order of the other side; in the order of arrival among those of one price."""

    key: str
    price: int
    qty: int


class Trade(NamedTuple):
    """A trade with one resting order, at its price."""

    key: str
    price: int
    qty: int


class Rest(StrEnum):
    """What becomes of what did not trade."""

    NONE = "none"
    STAYS = "stays"
    """It rests as a limit order."""
    CANCELLED = "cancelled"


class Swept(NamedTuple):
    """The trades in turn, and the rest with the price at which it stays (None: it does not)."""

    trades: tuple[Trade, ...]
    rest: Rest
    left: int
    price: int | None


def sweep(
    order_type: ExchangeOrderType,
    price: int | None,
    qty: int,
    opposite: Sequence[Resting],
    best_own: int | None,
    *,
    buying: bool,
) -> Swept:
    """Return what an order of `qty` shares meets.

    `price` is its limit or protective price in units (None: none), `opposite` the resting orders of
    the other side (one of no shares tells a best price and no more), `best_own` the best price of
    its own side. A market order that finds no price to take is cancelled whole.
    """
    ranked = sorted(opposite, key=lambda one: one.price if buying else -one.price)
    if order_type is ExchangeOrderType.MARKET_OWN_BEST:
        # It never takes: it joins its own side.
        rest = Rest.CANCELLED if best_own is None else Rest.STAYS
        return Swept((), rest, qty, best_own)
    if order_type is ExchangeOrderType.MARKET_PEER_BEST:
        if not ranked:
            return Swept((), Rest.CANCELLED, qty, None)
        price, order_type = ranked[0].price, ExchangeOrderType.LIMIT
    reached = [
        one
        for one in ranked
        if one.qty and (price is None or _takes(one.price, price, buying=buying))
    ]
    if order_type in {
        ExchangeOrderType.MARKET_BEST5_CANCEL,
        ExchangeOrderType.MARKET_BEST5_LIMIT,
    }:
        seen = sorted({one.price for one in reached}, reverse=not buying)[:VISIBLE_LEVELS]
        reached = [one for one in reached if one.price in seen]
    if order_type is ExchangeOrderType.MARKET_FOK and sum(one.qty for one in reached) < qty:
        return Swept((), Rest.CANCELLED, qty, None)
    trades, left = list[Trade](), qty
    for one in reached:
        if not left:
            break
        taken = min(one.qty, left)
        trades.append(Trade(one.key, one.price, taken))
        left -= taken
    if not left:
        return Swept(tuple(trades), Rest.NONE, 0, None)
    stays = price if order_type is ExchangeOrderType.LIMIT else None
    if order_type is ExchangeOrderType.MARKET_BEST5_LIMIT and trades:
        stays = trades[-1].price
    return Swept(tuple(trades), Rest.CANCELLED if stays is None else Rest.STAYS, left, stays)


def _takes(resting: int, limit: int, *, buying: bool) -> bool:
    return resting <= limit if buying else resting >= limit
