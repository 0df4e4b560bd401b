"""Matching a day's limit orders against that day's finished bar.

Owns the fill policy "auction_then_touch". What it assumes: orders were placed before the opening
auction; a buy whose limit is at or above the open fills at the open, otherwise at its limit if the
bar traded strictly below it (a touch alone would stand behind the queue); sells mirrored. At
limit-up a buy, at limit-down a sell, fills only if the seal broke during the day. All orders of a
symbol share `participation` of the bar's volume, in order of arrival, in whole lots. Must never
let an order see a bar before the bar is finished. Tests: tests/property/domain/matching.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from caopan.domain.market.reference import DailyBar
from caopan.domain.matching.policies import touch_price
from caopan.domain.matching.terms import NO_LIMIT_UP
from caopan.domain.orders.order import Side


class FillMoment(StrEnum):
    """When within the day a match is taken to have happened."""

    OPENING_AUCTION = "opening_auction"
    INTRADAY = "intraday"
    """Somewhere in the bar; reported at its end, because a bar does not tell when."""


@dataclass(frozen=True, slots=True)
class RestingOrder:
    """One order in the exchange's book. Price in units, quantity in shares."""

    client_order_id: str
    side: Side
    price: int
    open_qty: int
    lot_size: int


@dataclass(frozen=True, slots=True)
class Match:
    """One execution the day's bar allows."""

    client_order_id: str
    qty: int
    price: int
    moment: FillMoment


def match_day(
    orders: Sequence[RestingOrder], bar: DailyBar, participation: Fraction
) -> list[Match]:
    """Return the matches of one symbol's orders, in order of arrival, against its bar."""
    if bar.suspended or bar.volume == 0:
        return []
    capacity = int(bar.volume * participation)
    matches: list[Match] = []
    for order in orders:
        found = _price_of(order, bar)
        if found is None:
            continue
        qty = min(order.open_qty, capacity)
        if qty < order.open_qty:
            qty -= qty % order.lot_size
        if qty == 0:
            continue
        capacity -= qty
        price, moment = found
        matches.append(Match(order.client_order_id, qty, price, moment))
    return matches


def _price_of(order: RestingOrder, bar: DailyBar) -> tuple[int, FillMoment] | None:
    found = touch_price(
        (bar.open, bar.high, bar.low, bar.close),
        NO_LIMIT_UP if bar.limit_up is None else bar.limit_up,
        0 if bar.limit_down is None else bar.limit_down,
        order.price,
        is_buy=order.side is Side.BUY,
    )
    if found is None:
        return None
    price, at_open = found
    return price, FillMoment.OPENING_AUCTION if at_open else FillMoment.INTRADAY
