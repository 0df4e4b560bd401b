"""Trading at the close after hours (盘后固定价格交易, 15:05 to 15:30), in order of time.

Owns AfterHours: when an order at the close meets it, which volume it may take, when a cancel of it
arrives. Whose securities trade so, since when, and when orders are taken in, the dated tables say.
Must never fill at another price than the close, nor before the close is known. Tests:
tests/unit/domain/matching/test_after_hours.py,
tests/property/domain/matching/test_after_hours.py.

A bar of the day does not tell what trades after it. With a share of 0 only bars and prints of
15:05 to 15:30 give volume, their participation like any bar's; with another share that part of the
day's volume is there from 15:05, and such bars serve nobody.
"""

from __future__ import annotations

from fractions import Fraction
from heapq import heappop, heappush
from typing import Final

from caopan.domain.market.order_types import check_after_hours_price
from caopan.domain.matching.policies import Floor, is_sealed
from caopan.domain.matching.terms import (
    AFTER_HOURS_END_MS,
    AFTER_HOURS_MS,
    Bar,
    Listing,
    LiveOrder,
    Status,
)

_EVENING: Final = 1 << 62
"""After every moment: a day without hours ends with its orders at the close."""


class AfterHours:
    """The orders at the close of one exchange; each listing keeps its own, see `Listing`."""

    __slots__ = ("_from_ms", "_participation", "_share", "due")

    def __init__(self, share: Fraction, participation: Fraction, *, has_hours: bool) -> None:
        """Give `share` of the day's volume; without hours all of it trades as the day ends."""
        self._share = share
        self._participation = participation
        self._from_ms = AFTER_HOURS_MS if has_hours else _EVENING
        self.due: list[tuple[int, tuple[int, int], int, Listing, LiveOrder]] = []
        """Moment, the order's arrival, 0 for its cancel, and what to look at then."""

    def enter(self, floor: Floor, listing: Listing, order: LiveOrder) -> None:
        """Take in an accepted order; it meets the close at once where that is known."""
        listing.after_hours.append(order)
        self.restore(listing, order)
        self.advance(floor, floor.now_ms)

    def restore(self, listing: Listing, order: LiveOrder) -> None:
        """Expect an order that stands in its listing. To meet the close twice changes nothing."""
        begins = max(order.active_ms, self._from_ms)
        heappush(self.due, (begins, _arrival(order), 1, listing, order))
        if order.cancel_ms >= 0:
            self.expect_cancel(listing, order)

    def expect_cancel(self, listing: Listing, order: LiveOrder) -> None:
        """Expect a cancel on its way."""
        heappush(self.due, (order.cancel_ms, _arrival(order), 0, listing, order))

    def advance(self, floor: Floor, until_ms: int) -> None:
        """Do what is due up to and at a moment, by time and then by arrival."""
        while self.due and self.due[0][0] <= until_ms:
            moment, _, _, listing, order = heappop(self.due)
            if order.status is not Status.LIVE:
                continue
            if 0 <= order.cancel_ms <= moment:
                floor.finish(order, Status.CANCELED, order.cancel_ms)
                continue
            begun = moment if moment < _EVENING else max(order.active_ms, AFTER_HOURS_MS)
            floor.now_ms = max(floor.now_ms, begun)
            self._meet(floor, listing, order)

    def end_day(self, floor: Floor) -> None:
        """Do what is due until the phase ends, and forget what comes after."""
        self.advance(floor, AFTER_HOURS_END_MS if self._from_ms < _EVENING else _EVENING)
        self.due.clear()

    def on_bar(self, floor: Floor, listing: Listing, bar: Bar) -> None:
        """Serve the orders that had arrived before a finished bar of this phase."""
        self.advance(floor, bar.start_ms)
        self._fix(listing)
        floor.now_ms = max(floor.now_ms, bar.end_ms)
        listing.bar = bar
        if not self._share:
            part = self._participation
            listing.left = bar.volume * part.numerator // part.denominator
            for order in sorted(listing.after_hours, key=_arrival):
                if order.status is Status.LIVE and order.active_ms <= bar.start_ms:
                    _trade(floor, listing, order)
        self.advance(floor, bar.end_ms)
        listing.after_hours = [one for one in listing.after_hours if one.status is Status.LIVE]

    def _fix(self, listing: Listing) -> None:
        """Fix the close: the day's last bars have come."""
        if not listing.close_fixed:
            listing.close_fixed = True
            listing.left = listing.traded * self._share.numerator // self._share.denominator

    def _meet(self, floor: Floor, listing: Listing, order: LiveOrder) -> None:
        self._fix(listing)
        if not listing.close:
            return
        void = check_after_hours_price(order.price, listing.close, buying=order.is_buy)
        if void:
            floor.finish(order, Status.CANCELED, floor.now_ms, void)
        elif self._share:
            _trade(floor, listing, order)


def _arrival(order: LiveOrder) -> tuple[int, int]:
    return (order.active_ms, order.number)


def _trade(floor: Floor, listing: Listing, order: LiveOrder) -> None:
    """Trade at the close; nobody stands on the other side of a sealed one."""
    if not is_sealed(listing, order, listing.close):
        floor.take(listing, order, listing.close)
