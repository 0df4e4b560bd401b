"""Call auctions (集合竞价): the one price of an auction and who trades at it.

Owns `auction_price` with the tie rules of each exchange and `allocate`. Common to all
(market-rules.md §4.1): the price with the greatest volume; every order better than it trades in
full; of the orders at it, one side at least trades in full. Where several prices do:
Shanghai takes the smallest untraded volume, then the middle of the prices left; Shenzhen and
Beijing take the smallest difference between buys at or above and sells at or below, then the price
nearest to a reference (previous close at the open, last price later). Must never see orders
placed after the auction. Tests: tests/unit/domain/matching/test_auction.py,
tests/property/domain/matching/test_auction_rules.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from caopan.domain.market.reference import Exchange
from caopan.kernel.money import ratio_half_up


class AuctionOrder(NamedTuple):
    """One limit order of an auction; orders stand in order of arrival."""

    key: int
    price: int
    qty: int


class AuctionResult(NamedTuple):
    """The price (units), the shares traded, and what is left at or beyond the price."""

    price: int
    volume: int
    unmatched_buy: int
    unmatched_sell: int


class _Span(NamedTuple):
    """Prices from `low` to `high` at which the same orders meet."""

    low: int
    high: int
    bids: int
    """Buys at such a price or above."""
    asks: int
    """Sells at such a price or below."""

    @property
    def volume(self) -> int:
        return min(self.bids, self.asks)

    @property
    def imbalance(self) -> int:
        return abs(self.bids - self.asks)


def auction_price(
    buys: Sequence[AuctionOrder],
    sells: Sequence[AuctionOrder],
    *,
    exchange: Exchange,
    reference: int,
    tick: int,
) -> AuctionResult | None:
    """Return the auction's price, or None where no buy meets a sell.

    `reference` is the previous close for the opening, the last price for a later auction.
    """
    best = _best_spans(buys, sells, tick)
    if not best:
        return None
    least = min(span.imbalance for span in best)
    tied = [span for span in best if span.imbalance == least]
    if exchange is Exchange.SH:
        # Half a tick is rounded up (not settled by the sources, market-rules.md §4.1 [U]).
        price = ratio_half_up(tied[0].low + tied[-1].high, 2, tick)
    else:
        near = [min(max(reference, span.low), span.high) for span in tied]
        # Of two as near, the higher one.
        price = min(near, key=lambda candidate: (abs(candidate - reference), -candidate))
    bids = sum(order.qty for order in buys if order.price >= price)
    asks = sum(order.qty for order in sells if order.price <= price)
    volume = min(bids, asks)
    return AuctionResult(price, volume, bids - volume, asks - volume)


def allocate(orders: Sequence[AuctionOrder], volume: int, *, buying: bool) -> dict[int, int]:
    """Return shares by key: `volume` shared out by price, then by order of arrival."""
    ranked = sorted(orders, key=lambda order: -order.price if buying else order.price)
    given: dict[int, int] = {}
    for order in ranked:  # sorted() keeps the order of arrival among equals
        if not volume:
            break
        taken = min(order.qty, volume)
        given[order.key] = taken
        volume -= taken
    return given


def _best_spans(
    buys: Sequence[AuctionOrder], sells: Sequence[AuctionOrder], tick: int
) -> list[_Span]:
    """Return the spans of greatest volume that satisfy the common conditions, lowest first."""
    prices = sorted({order.price for order in (*buys, *sells)})
    spans: list[_Span] = []
    for number, price in enumerate(prices):
        # Prices between two orders' prices are prices too; fewer orders stand at them.
        if number and price - prices[number - 1] > tick:
            spans.append(_span(prices[number - 1] + tick, price - tick, buys, sells))
        spans.append(_span(price, price, buys, sells))
    most = max((span.volume for span in spans), default=0)
    if not most:
        return []
    return [
        span
        for span in spans
        if span.volume == most
        and sum(order.qty for order in buys if order.price > span.high) <= most
        and sum(order.qty for order in sells if order.price < span.low) <= most
    ]


def _span(
    low: int, high: int, buys: Sequence[AuctionOrder], sells: Sequence[AuctionOrder]
) -> _Span:
    return _Span(
        low,
        high,
        sum(order.qty for order in buys if order.price >= high),
        sum(order.qty for order in sells if order.price <= low),
    )
