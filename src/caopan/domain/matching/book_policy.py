"""The fill policy "book": auctions, a synthetic book with a spread, queues at a price.

Owns what a bar is taken to mean for a book: where its levels stand, how deep they are, who waits
before whom. Must never look ahead (policies.py). Tests: tests/unit/domain/matching/test_book.py,
tests/property/domain/matching/test_exchange_machine.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.matching.policies import (
    NO_VOLUME,
    SEALED,
    Floor,
    as_limit,
    end_market,
    is_sealed,
    market_obstacle,
)
from caopan.domain.matching.terms import (
    CLOSE_MS,
    OPENING_PRINT_MS,
    Bar,
    Listing,
    LiveOrder,
    Status,
)


@dataclass(frozen=True, slots=True)
class Book:
    """Levels around a bar's open, one tick apart, each as deep as an equal part of the capacity."""

    half_spread_ticks: int = 1
    levels: int = 5
    seal_queue: int = 10
    """Shares before a new order at a sealed limit, in volumes of the bar it joins in."""

    @property
    def name(self) -> str:
        """Return the name it is chosen by."""
        return "book"

    @property
    def assumes(self) -> str:
        """Return what it takes for granted."""
        return (
            "The day's first bar holds the opening auction, whose price is its open; the bar that "
            "ends at 15:00 holds the closing auction, whose price is its close. Between them an "
            "order that reaches the best price on arrival walks five levels that begin half a "
            "spread from the bar's open; what rests is last in the queue at its price and trades "
            "when the bar trades through it, or at it once the queue before it has traded. At a "
            "sealed limit ten bars' volume wait before a new order."
        )

    @property
    def serves_arrivals(self) -> bool:
        """Return False: the book an order meets is that of the next bar."""
        return False

    def refuse(self, listing: Listing, order: LiveOrder) -> tuple[str, str] | None:
        """Take every order."""
        del listing, order
        return None

    def arrive(self, floor: Floor, listing: Listing, order: LiveOrder) -> None:
        """Let it rest until a bar comes."""

    def match(self, floor: Floor, listing: Listing, bar: Bar) -> None:
        """Serve by opening auction, continuous trading and closing auction, as the bar has them."""
        ranked = sorted(listing.resting, key=_price_then_time)
        depth = listing.left // self.levels
        standing = [order for order in ranked if order.active_ms <= bar.start_ms]
        opens = listing.bars_today == 0 and bar.start_ms <= OPENING_PRINT_MS
        if opens or (listing.halts is not None and listing.halts.resumes):
            _auction(floor, listing, standing, bar.open)
        for order in standing:
            if order.status is not Status.LIVE:
                continue
            if order.queue_ahead < 0:
                self._walk(floor, listing, order, bar, depth)
            if order.status is Status.LIVE:
                self._wait(floor, listing, order, bar, depth)
        if bar.end_ms >= CLOSE_MS:
            late = [order for order in ranked if order.active_ms <= bar.end_ms]
            _auction(floor, listing, late, bar.close)

    def _walk(self, floor: Floor, listing: Listing, order: LiveOrder, bar: Bar, depth: int) -> None:
        """Trade against the levels of the other side, nearest first."""
        step = listing.tick if order.is_buy else -listing.tick
        half = self.half_spread_ticks * step
        best = bar.open + half
        is_market = order.kind is not ExchangeOrderType.LIMIT
        if is_market:
            self._meet(floor, listing, order, bar, half)
            if order.status is not Status.LIVE or order.queue_ahead >= 0:
                return
        elif is_sealed(listing, order, bar.open):
            return
        prices = self._levels(listing, order, bar, best, step)
        if (
            order.kind is ExchangeOrderType.MARKET_FOK
            and min(depth * len(prices), listing.left) < order.open
        ):
            floor.finish(order, Status.CANCELED, bar.start_ms, NO_VOLUME)
            return
        last = 0
        for price in prices:
            worse = floor.worse(listing, order, price, min(order.open, depth), bar)
            if floor.take(listing, order, worse, depth):
                last = price
            if order.status is not Status.LIVE:
                return
        if is_market:
            end_market(floor, order, last)

    def _meet(self, floor: Floor, listing: Listing, order: LiveOrder, bar: Bar, half: int) -> None:
        """End a market order that meets nobody; give the two "best" types their limit."""
        passive = order.kind is ExchangeOrderType.MARKET_OWN_BEST
        met = _within(listing, bar.open - half if passive else bar.open + half)
        sealed = SEALED if is_sealed(listing, order, bar.open) else ""
        why = sealed or market_obstacle(listing, order, met)
        if why:
            floor.finish(order, Status.CANCELED, bar.start_ms, why)
        elif order.kind in (ExchangeOrderType.MARKET_PEER_BEST, ExchangeOrderType.MARKET_OWN_BEST):
            as_limit(order, met)
            if passive:
                # It joins the queue of its own side and takes nothing.
                order.queue_ahead = listing.left // self.levels

    def _levels(
        self, listing: Listing, order: LiveOrder, bar: Bar, best: int, step: int
    ) -> list[int]:
        """Return the prices of the other side that the order reaches and the bar knows."""
        bound = order.price
        if order.is_buy:
            most = min(bar.high, listing.limit_up, bound or bar.high)
        else:
            most = max(bar.low, listing.limit_down, bound or bar.low)
        count = (most - best) // step + 1
        # IOC and FOK may take every level the bar reached, the others five.
        if order.kind not in (ExchangeOrderType.MARKET_IOC, ExchangeOrderType.MARKET_FOK):
            count = min(count, self.levels)
        return [best + number * step for number in range(max(count, 0))]

    def _wait(self, floor: Floor, listing: Listing, order: LiveOrder, bar: Bar, depth: int) -> None:
        """Trade passively: through the limit, or at it once the queue before it has traded."""
        price = order.price
        if order.is_buy:
            through, touched, at = bar.low < price, bar.low == price, min(price, bar.high)
        else:
            through, touched, at = bar.high > price, bar.high == price, max(price, bar.low)
        joined = order.queue_ahead >= 0
        if not joined:
            sealed = is_sealed(listing, order, bar.low if order.is_buy else bar.high)
            order.queue_ahead = bar.volume * self.seal_queue if sealed else depth
        if through:
            floor.take(listing, order, at)
        elif touched and joined:
            traded_there = bar.volume // ((bar.high - bar.low) // listing.tick + 1)
            beyond = traded_there - order.queue_ahead
            order.queue_ahead = max(-beyond, 0)
            if beyond > 0:
                floor.take(listing, order, at, beyond)


def _auction(floor: Floor, listing: Listing, orders: list[LiveOrder], price: int) -> None:
    """Trade every limit order the auction's price reaches, by price, then by arrival."""
    for order in orders:
        if order.status is not Status.LIVE or order.kind is not ExchangeOrderType.LIMIT:
            continue
        reached = order.price >= price if order.is_buy else order.price <= price
        if reached and not is_sealed(listing, order, price):
            floor.take(listing, order, price)


def _within(listing: Listing, price: int) -> int:
    return min(max(price, listing.limit_down), listing.limit_up)


def _price_then_time(order: LiveOrder) -> tuple[bool, int, int]:
    """Market orders first, then the better price, then the earlier order, buys before sells."""
    if order.kind is not ExchangeOrderType.LIMIT:
        return (not order.is_buy, -1, order.number)
    if order.is_buy:
        return (False, (1 << 62) - order.price, order.number)
    return (True, order.price, order.number)
