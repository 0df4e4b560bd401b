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
    is_sealed,
    market_obstacle,
)
from caopan.domain.matching.sweep import Rest, Resting, Swept, sweep
from caopan.domain.matching.terms import (
    CLOSE_MS,
    OPENING_PRINT_MS,
    Bar,
    Listing,
    LiveOrder,
    Status,
)
from caopan.domain.matching.visible_book import VisibleBook


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
            "sealed limit ten bars' volume wait before a new order. Where quote snapshots are "
            "given, an order meets the levels they show instead, and joins the queue they show."
        )

    @property
    def serves_arrivals(self) -> bool:
        """Return True: an order meets a visible book at once."""
        return True

    def refuse(self, listing: Listing, order: LiveOrder) -> tuple[str, str] | None:
        """Take every order."""
        del listing, order
        return None

    def arrive(self, floor: Floor, listing: Listing, order: LiveOrder) -> None:
        """Meet the visible book; without one it rests until a bar comes."""
        if listing.book is not None and order.active_ms <= floor.now_ms:
            _meet(floor, listing, order, listing.book)

    def see_book(self, floor: Floor, listing: Listing) -> None:
        """Let those that have arrived meet the book, and those it now crosses trade."""
        book = listing.book
        assert book is not None
        for order in sorted(listing.resting, key=_price_then_time):
            if order.status is not Status.LIVE or order.active_ms > floor.now_ms:
                continue
            if order.queue_ahead < 0:
                _meet(floor, listing, order, book)
            else:
                _crossed(floor, listing, order, book)

    def match(self, floor: Floor, listing: Listing, bar: Bar) -> None:
        """Serve by opening auction, continuous trading and closing auction, as the bar has them."""
        ranked = sorted(listing.resting, key=_price_then_time)
        depth = listing.left // self.levels
        standing = [order for order in ranked if order.active_ms <= bar.start_ms]
        opens = listing.bars_today == 0 and bar.start_ms <= OPENING_PRINT_MS
        if opens or (listing.halts is not None and listing.halts.resumes):
            _auction(floor, listing, standing, bar.open)
        # Where snapshots come, an order that has not met one waits for the next.
        seen = listing.book is not None and listing.book.at_ms >= bar.start_ms
        for order in standing:
            if order.status is not Status.LIVE:
                continue
            if order.queue_ahead < 0:
                if seen:
                    continue
                self._walk(floor, listing, order, bar, depth)
            if order.status is Status.LIVE:
                self._wait(floor, listing, order, bar, depth)
        if bar.end_ms >= CLOSE_MS:
            late = [order for order in ranked if order.active_ms <= bar.end_ms]
            _auction(floor, listing, late, bar.close)

    def _walk(self, floor: Floor, listing: Listing, order: LiveOrder, bar: Bar, depth: int) -> None:
        """Trade against the synthetic levels of the other side, nearest first."""
        half = self.half_spread_ticks * (listing.tick if order.is_buy else -listing.tick)
        passive = order.kind is ExchangeOrderType.MARKET_OWN_BEST
        best, own = (_within(listing, bar.open + off) for off in (half, -half))
        sealed = is_sealed(listing, order, bar.open)
        if order.kind is not ExchangeOrderType.LIMIT:
            why = SEALED if sealed else market_obstacle(listing, order, own if passive else best)
            if why:
                floor.finish(order, Status.CANCELED, bar.start_ms, why)
                return
        elif sealed:
            return
        levels = self._levels(listing, order, bar, best, depth)
        swept = _sweep(order, levels, own)
        for trade in swept.trades:
            worse = floor.worse(listing, order, trade.price, trade.qty, bar)
            floor.take(listing, order, worse, trade.qty)
            if order.status is not Status.LIVE:
                return
        if passive:
            # It joins the queue of its own side and takes nothing.
            order.queue_ahead = depth
        _become(floor, order, swept)

    def _levels(
        self, listing: Listing, order: LiveOrder, bar: Bar, best: int, depth: int
    ) -> list[Resting]:
        """Return the levels of the other side that the bar knows, in whole lots.

        Where it knows none, the best price alone is known.
        """
        if order.is_buy:
            step, most = listing.tick, min(bar.high, listing.limit_up)
        else:
            step, most = -listing.tick, max(bar.low, listing.limit_down)
        count = (most - best) // step + 1
        # IOC and FOK may take every level the bar reached, the others five.
        if order.kind not in (ExchangeOrderType.MARKET_IOC, ExchangeOrderType.MARKET_FOK):
            count = min(count, self.levels)
        each, left = depth - depth % listing.lot, listing.left
        found: list[Resting] = []
        while each and len(found) < count and left >= each:
            found.append(Resting("", best + len(found) * step, each))
            left -= each
        return found or [Resting("", best, 0)]

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


def _sweep(order: LiveOrder, opposite: list[Resting], best_own: int | None) -> Swept:
    bound = order.price or None
    return sweep(order.kind, bound, order.open, opposite, best_own, buying=order.is_buy)


def _become(floor: Floor, order: LiveOrder, swept: Swept) -> None:
    """End what a market order could not trade, or let it rest as its type says."""
    if order.kind is ExchangeOrderType.LIMIT:
        return
    if swept.rest is Rest.STAYS and swept.price is not None:
        as_limit(order, swept.price)
    else:
        floor.finish(order, Status.CANCELED, floor.now_ms, NO_VOLUME)


def _meet(floor: Floor, listing: Listing, order: LiveOrder, book: VisibleBook) -> None:
    """Trade against a visible book; what stays joins the queue that it shows."""
    buying = order.is_buy
    swept = _sweep(order, book.opposite(buying=buying), book.best_own(buying=buying))
    for trade in swept.trades:
        done = floor.deal(listing, order, trade.price, trade.qty)
        book.remove(trade.price, done, buying=buying)
        if order.status is not Status.LIVE:
            return
    _become(floor, order, swept)
    if order.status is Status.LIVE:
        ahead = book.ahead(order.price, buying=buying)
        own = book.own(buying=buying)
        # Below what is seen a level is taken to be as deep as the last one seen.
        order.queue_ahead = ahead if ahead is not None else (own[-1].qty if own else 0)


def _crossed(floor: Floor, listing: Listing, order: LiveOrder, book: VisibleBook) -> None:
    """Trade at its own price with those who came to it; those before it can only become fewer."""
    buying = order.is_buy
    swept = _sweep(order, book.opposite(buying=buying), None)
    for trade in swept.trades:
        book.remove(trade.price, floor.deal(listing, order, order.price, trade.qty), buying=buying)
    ahead = book.ahead(order.price, buying=buying)
    if ahead is not None:
        order.queue_ahead = min(order.queue_ahead, ahead)


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
