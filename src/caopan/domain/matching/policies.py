"""Fill policies: at which price, and how much, a finished bar serves an order.

Owns the policies by name and, in each one's `assumes`, what it takes for granted. Must never look
ahead: an order is served by its arrival's last finished bar or by bars that began after it had
arrived. Capacity, lots and funds are the engine's. Tests: tests/property/domain/matching/,
tests/unit/domain/matching/test_policies.py.

A market order has no price but the one it meets; it is served once, by the first bar that could,
and then ends or becomes a limit order as its type says. The two "best" types take the
bar's one price for both sides' best, where a policy has no book.
"""

from __future__ import annotations

from typing import Protocol

from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.phases import OrderKind
from caopan.domain.matching.terms import Bar, Listing, LiveOrder, Status

NO_PRICE = "no price to trade at"
SEALED = "sealed at the limit"
NO_VOLUME = "nothing left to trade"


class Floor(Protocol):
    """What a policy may ask of the exchange that serves by it."""

    now_ms: int

    def take(self, listing: Listing, order: LiveOrder, price: int, most: int | None = None) -> int:
        """Let `order` trade up to `most` shares at `price`; return the shares."""
        ...

    def deal(self, listing: Listing, order: LiveOrder, price: int, qty: int) -> int:
        """Let `order` trade exactly `qty` shares at `price`, outside a bar's volume."""
        ...

    def worse(self, listing: Listing, order: LiveOrder, price: int, qty: int, bar: Bar) -> int:
        """Return `price` after slippage."""
        ...

    def finish(self, order: LiveOrder, status: Status, at_ms: int, code: str = "") -> None:
        """End `order`."""
        ...


class FillPolicy(Protocol):
    """What the engine asks of a policy."""

    @property
    def name(self) -> str:
        """Return the name it is chosen by."""
        ...

    @property
    def assumes(self) -> str:
        """Return what it takes for granted, in one sentence or two."""
        ...

    @property
    def serves_arrivals(self) -> bool:
        """Return whether an order may trade the moment it arrives."""
        ...

    def refuse(self, listing: Listing, order: LiveOrder) -> tuple[str, str] | None:
        """Return why the policy does not take an order at all, or None."""
        ...

    def arrive(self, floor: Floor, listing: Listing, order: LiveOrder) -> None:
        """Serve an order that has just arrived by the last finished bar."""
        ...

    def see_book(self, floor: Floor, listing: Listing) -> None:
        """Serve the resting orders of one security by the book it now shows."""
        ...

    def match(self, floor: Floor, listing: Listing, bar: Bar) -> None:
        """Serve the resting orders of one security by a bar with volume."""
        ...


def is_sealed(listing: Listing, order: LiveOrder, price: int) -> bool:
    """Return whether `price` is the limit at which nobody stands on the other side."""
    if order.is_buy:
        return price >= listing.limit_up
    return price <= listing.limit_down


def touch_price(
    bar: tuple[int, int, int, int], limit_up: int, limit_down: int, price: int, *, is_buy: bool
) -> tuple[int, bool] | None:
    """Return (price, at the open) for a limit order that stood before the bar, or None.

    `bar` is open, high, low and an unused close. At its open if the limit reaches it and it is not
    sealed, else at the limit if the bar traded strictly through it: a touch stands in the queue.
    """
    first, high, low, _ = bar
    if is_buy:
        if price >= first and first < limit_up:
            return first, True
        return (price, False) if low < price else None
    if price <= first and first > limit_down:
        return first, True
    return (price, False) if high > price else None


class _OnePrice:
    """What policies share that know one price at a time."""

    serves_arrivals = False

    def refuse(self, listing: Listing, order: LiveOrder) -> tuple[str, str] | None:
        """Take every order."""
        del listing, order
        return None

    def arrive(self, floor: Floor, listing: Listing, order: LiveOrder) -> None:
        """Let it rest until a bar comes."""

    def see_book(self, floor: Floor, listing: Listing) -> None:
        """Wait for a bar: a policy of one price knows no book."""

    def capacity(self, listing: Listing) -> int:
        """Return what one order may take now."""
        return listing.left

    def serve_at(
        self, floor: Floor, listing: Listing, order: LiveOrder, price: int, bar: Bar
    ) -> None:
        """Serve an order at the one price there is."""
        if order.kind is not ExchangeOrderType.LIMIT:
            self._serve_market(floor, listing, order, price, bar)
            return
        reaches = order.price >= price if order.is_buy else order.price <= price
        if reaches and not is_sealed(listing, order, price):
            self._take(floor, listing, order, price, bar)

    def _take(self, floor: Floor, listing: Listing, order: LiveOrder, price: int, bar: Bar) -> int:
        most = self.capacity(listing)
        worse = floor.worse(listing, order, price, min(order.open, most), bar)
        return floor.take(listing, order, worse, most)

    def _serve_market(
        self, floor: Floor, listing: Listing, order: LiveOrder, price: int, bar: Bar
    ) -> None:
        why = market_obstacle(listing, order, price)
        if why:
            floor.finish(order, Status.CANCELED, floor.now_ms, why)
            return
        if order.kind is ExchangeOrderType.MARKET_FOK and self.capacity(listing) < order.open:
            floor.finish(order, Status.CANCELED, floor.now_ms, NO_VOLUME)
            return
        if order.kind in (ExchangeOrderType.MARKET_PEER_BEST, ExchangeOrderType.MARKET_OWN_BEST):
            passive = order.kind is ExchangeOrderType.MARKET_OWN_BEST
            as_limit(order, price)
            if passive:
                return
        taken = self._take(floor, listing, order, price, bar)
        if order.status is Status.LIVE:
            end_market(floor, order, price if taken else 0)


def market_obstacle(listing: Listing, order: LiveOrder, price: int) -> str:
    """Return why a market order meets nobody at `price`, or ""."""
    if is_sealed(listing, order, price):
        return SEALED
    protected = order.price
    if protected and (price > protected if order.is_buy else price < protected):
        return "beyond the protective price"
    return ""


def as_limit(order: LiveOrder, price: int) -> None:
    """Turn a market order into a limit order at `price`."""
    order.price = price
    order.kind = ExchangeOrderType.LIMIT


def end_market(floor: Floor, order: LiveOrder, last_price: int) -> None:
    """End what a market order could not trade, or let it rest as its type says."""
    if order.kind is ExchangeOrderType.LIMIT:
        return
    if order.kind is ExchangeOrderType.MARKET_BEST5_LIMIT and last_price:
        as_limit(order, last_price)
        return
    floor.finish(order, Status.CANCELED, floor.now_ms, NO_VOLUME)


class BarClose(_OnePrice):
    """Trade at the close of the bar that has just finished."""

    name = "bar_close"
    assumes = (
        "An order trades at once at the close of the last finished bar, which its sender knew; "
        "what rests trades at the close of later bars that its limit reaches. Nothing is bought at "
        "limit-up or sold at limit-down. Each bar gives its share of volume in whole lots."
    )
    serves_arrivals = True

    def refuse(self, listing: Listing, order: LiveOrder) -> tuple[str, str] | None:
        """Refuse a market order at a sealed limit."""
        bar = listing.bar
        is_market = order.kind.kind is OrderKind.MARKET
        if is_market and bar is not None and is_sealed(listing, order, bar.close):
            return ("BROKER_REJECT_PRICE_LIMIT", SEALED)
        return None

    def capacity(self, listing: Listing) -> int:
        """Return whole lots only, even to the order that asks for less than is left."""
        return listing.left - listing.left % listing.lot

    def arrive(self, floor: Floor, listing: Listing, order: LiveOrder) -> None:
        """Trade at the last close."""
        if order.active_ms > floor.now_ms:
            return
        bar = listing.bar
        if bar is not None and bar.volume:
            self.serve_at(floor, listing, order, bar.close, bar)
        elif order.kind is not ExchangeOrderType.LIMIT:
            floor.finish(order, Status.CANCELED, floor.now_ms, NO_PRICE)

    def match(self, floor: Floor, listing: Listing, bar: Bar) -> None:
        """Trade at this bar's close, which comes after every order that rests."""
        for order in listing.resting:
            if order.status is Status.LIVE and order.active_ms <= bar.end_ms:
                self.serve_at(floor, listing, order, bar.close, bar)


class NextBarOpen(_OnePrice):
    """Trade at the open of the next bar."""

    name = "next_bar_open"
    assumes = (
        "An order trades at the open of the first bar that begins after its arrival, if its limit "
        "reaches it; what rests waits for later opens. Nothing is bought at an open at limit-up or "
        "sold at one at limit-down."
    )

    def match(self, floor: Floor, listing: Listing, bar: Bar) -> None:
        """Trade at this bar's open."""
        for order in listing.resting:
            if order.status is Status.LIVE and order.active_ms <= bar.start_ms:
                self.serve_at(floor, listing, order, bar.open, bar)


class AuctionThenTouch(_OnePrice):
    """Trade at the open, else where the bar trades through the limit."""

    name = "auction_then_touch"
    assumes = (
        "Orders stood before the bar (before the opening auction, for a daily bar): one whose "
        "limit reaches the open trades at the open, another at its limit if the bar traded "
        "strictly through it. At limit-up a buy, at limit-down a sell, trades only if the seal "
        "broke. Orders of a symbol share its volume in order of arrival."
    )

    def match(self, floor: Floor, listing: Listing, bar: Bar) -> None:
        """Trade at the open or by touch."""
        prices = (bar.open, bar.high, bar.low, bar.close)
        for order in listing.resting:
            if order.status is not Status.LIVE or order.active_ms > bar.start_ms:
                continue
            if order.kind is not ExchangeOrderType.LIMIT:
                self.serve_at(floor, listing, order, bar.open, bar)
                continue
            found = touch_price(
                prices, listing.limit_up, listing.limit_down, order.price, is_buy=order.is_buy
            )
            if found is None:
                continue
            price, at_open = found
            if at_open:
                self._take(floor, listing, order, price, bar)
            else:
                floor.take(listing, order, price)
