"""How a finished daily bar serves the sandbox's orders, cancels among them.

Owns DailyBars, "auction_then_touch" for a venue that learns of a day only at its end, and the way
of a cancel there. Must never give a fill to an order that was cancelled before it could be had.
Tests: tests/unit/adapters/brokers/test_sandbox_venue.py.
"""

from __future__ import annotations

from caopan.domain.matching.policies import AuctionThenTouch, Floor, touch_price
from caopan.domain.matching.terms import OPENING_PRINT_MS, Bar, Listing, LiveOrder, Status
from caopan.domain.orders.order import Side

BAR_START_MS = OPENING_PRINT_MS - 1
"""A day's bar begins with the opening auction's price: who arrives at 9:25:00 is too late."""


class DailyBars(AuctionThenTouch):
    """Trade at the open, else through the limit; a cancelled order at the open only."""

    assumes = (
        "Orders stood before the opening auction ended: one whose limit reaches the open trades at "
        "it, another at its limit if the day traded strictly through it. At limit-up a buy, at "
        "limit-down a sell, trades only if the seal broke. An order whose cancel came after the "
        "auction may have traded in it; of the rest of the day a bar does not tell when, so the "
        "cancel is taken to have come first. Orders of a symbol share a part of its volume in "
        "order of arrival."
    )

    def match(self, floor: Floor, listing: Listing, bar: Bar) -> None:
        """Trade at the open or by touch."""
        prices = (bar.open, bar.high, bar.low, bar.close)
        for order in listing.resting:
            if order.status is not Status.LIVE or order.active_ms > bar.start_ms:
                continue
            found = touch_price(
                prices, listing.limit_up, listing.limit_down, order.price, is_buy=order.is_buy
            )
            if found is not None and (found[1] or order.cancel_ms < 0):
                floor.take(listing, order, found[0])


def was_at_open(listing: Listing, bar: Bar, price: int, side: Side) -> bool:
    """Return whether a trade at `price` was the opening auction's; sealed, it gives nothing."""
    sealed = bar.open >= listing.limit_up if side is Side.BUY else bar.open <= listing.limit_down
    return price == bar.open and not sealed


class UntilTheBar:
    """The way of requests: none, but a cancel may have to wait for the day's bar to be judged."""

    def __init__(self) -> None:
        """Let every request arrive at once."""
        self._cancel = 0

    def aim(self, order: LiveOrder, at_ms: int) -> None:
        """Say what the cancel that is about to be asked for at `at_ms` meets.

        After the opening auction nobody knows, before the bar is finished, whether it has served
        the order; one that came too late for it can be cancelled at once.
        """
        stood = order.active_ms <= BAR_START_MS < at_ms
        self._cancel = 1 if stood else 0

    def order_ms(self, number: int) -> int:
        """Return nothing."""
        del number
        return 0

    def cancel_ms(self, number: int) -> int:
        """Return 1 where the order may have traded already, so that the cancel stays on its way."""
        del number
        return self._cancel
