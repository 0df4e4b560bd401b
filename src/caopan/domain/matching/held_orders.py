"""Orders beyond the price cage that the exchange keeps until the market has moved (暂存).

Owns when a held order takes part: once a last price or a book brings it inside the cage, and in
any case in the closing auction and the one that ends a halt, which have none. Which board holds,
and until when, the dated table says; elsewhere such an order is refused. Must never serve an order.
Tests: tests/unit/domain/matching/test_held_orders.py.

A held order rests like any other, with an arrival that no bar reaches.
"""

from __future__ import annotations

from typing import Final

from caopan.domain.market.price_cage import BookTop, base_price, cage_bound
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.models import Latency
from caopan.domain.matching.terms import CLOSING_AUCTION_MS, Listing, LiveOrder

HELD_MS: Final = 1 << 62


def book_top(listing: Listing) -> BookTop:
    """Return what the cage's base is taken from: the book where one is seen, the last price."""
    book = listing.book
    last = None if listing.bar is None else listing.bar.close
    if book is None:
        return BookTop(best_bid=None, best_ask=None, last=last, pre_close=listing.pre_close)
    bid, ask = book.best_own(buying=True), book.best_own(buying=False)
    return BookTop(best_bid=bid, best_ask=ask, last=last, pre_close=listing.pre_close)


def beyond_cage(listing: Listing, order: LiveOrder, rules: DayRules, at_ms: int) -> int | None:
    """Return the cage's bound if `order` lies beyond it, None if it lies inside or none holds.

    Raises:
        Denied: RISK_RULES_UNKNOWN where the table does not know the board.
    """
    row = rules.cage(at_ms, listing.terms)
    if row is None:
        return None
    base = base_price(book_top(listing), buying=order.is_buy)
    bound = cage_bound(row, base, listing.tick, buying=order.is_buy)
    inside = order.price <= bound if order.is_buy else order.price >= bound
    return None if inside else bound


def release(listing: Listing, rules: DayRules, at_ms: int, latency: Latency) -> None:
    """Let those held orders arrive at `at_ms` that the cage then lets through.

    The cage of a bar that ends as its phase does is that of the moment before.
    """
    closing = at_ms >= CLOSING_AUCTION_MS
    if not closing and not rules.is_continuous(at_ms - 1):
        return
    for order in listing.resting:
        if order.active_ms != HELD_MS:
            continue
        if closing or beyond_cage(listing, order, rules, at_ms - 1) is None:
            arrival = order.placed_ms + latency.order_ms(order.number)
            order.active_ms = max(at_ms, arrival)
    listing.holds = any(order.active_ms == HELD_MS for order in listing.resting)


def release_for_auction(listing: Listing, end_ms: int, latency: Latency) -> None:
    """Let held orders arrive for the auction, if any, that a bar ending at `end_ms` holds."""
    watch = listing.halts
    if end_ms > CLOSING_AUCTION_MS:
        at_ms = CLOSING_AUCTION_MS
    elif watch is not None and watch.resumes and end_ms > watch.until_ms:
        at_ms = watch.until_ms
    else:
        return
    for order in listing.resting:
        if order.active_ms == HELD_MS:
            order.active_ms = max(at_ms, order.placed_ms + latency.order_ms(order.number))
    listing.holds = False
