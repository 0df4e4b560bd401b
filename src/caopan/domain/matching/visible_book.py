"""A book somebody saw: the best levels of one security at a moment, as a quote snapshot gives them.

Owns VisibleBook: reading a snapshot, what is left of its levels, who stands before an order at its
price. Must never invent a level. Tests: tests/unit/domain/matching/test_visible_book.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from caopan.domain.matching.sweep import Resting
from caopan.kernel.errors import ConfigInvalid

Level = tuple[int, int]
"""Price in units, shares."""


@dataclass(slots=True)
class VisibleBook:
    """Levels of both sides, best first; what orders of ours took is gone until the next."""

    at_ms: int
    bids: list[Resting]
    asks: list[Resting]

    def opposite(self, *, buying: bool) -> list[Resting]:
        """Return the levels an order trades against."""
        return self.asks if buying else self.bids

    def own(self, *, buying: bool) -> list[Resting]:
        """Return the levels an order would join."""
        return self.bids if buying else self.asks

    def best_own(self, *, buying: bool) -> int | None:
        """Return the best price of an order's own side."""
        levels = self.own(buying=buying)
        return levels[0].price if levels else None

    def remove(self, price: int, qty: int, *, buying: bool) -> None:
        """Take `qty` shares off the level that an order traded with."""
        levels = self.opposite(buying=buying)
        for i, one in enumerate(levels):
            if one.price == price:
                rest = one.qty - qty
                levels[i : i + 1] = [Resting("", price, rest)] if rest else []
                return

    def ahead(self, price: int, *, buying: bool) -> int | None:
        """Return the shares that stand at `price`; None beyond the last level: it is not seen."""
        levels = self.own(buying=buying)
        if not levels or (price < levels[-1].price if buying else price > levels[-1].price):
            return None
        return next((one.qty for one in levels if one.price == price), 0)


def seen_book(
    symbol: str,
    at_ms: int,
    bids: Iterable[Level],
    asks: Iterable[Level],
    *,
    tick: int,
    limits: tuple[int, int],
) -> VisibleBook:
    """Return a snapshot as a book; levels without a price or shares, as feeds pad them, are none.

    `limits` are the lowest and highest price of the day.

    Raises:
        ConfigInvalid: BARS_INVALID naming symbol, moment, side and level.
    """
    sides = [[one for one in levels if one[0] and one[1]] for levels in (bids, asks)]
    where = f"{symbol} book at {at_ms} ms"
    for name, levels, sign in (("bids", sides[0], -1), ("asks", sides[1], 1)):
        before: int | None = None
        for i, (price, qty) in enumerate(levels):
            why = _fault(price, qty, tick, limits)
            if before is not None and (price - before) * sign <= 0:
                why = f"does not come after {before}: best first"
            if why:
                raise _invalid(where, f"{name} level {i + 1}", (price, qty), why)
            before = price
    if sides[0] and sides[1] and sides[0][0][0] >= sides[1][0][0]:
        raise _invalid(where, "bids level 1", sides[0][0], f"crosses the best ask {sides[1][0]}")
    made = [[Resting("", price, qty) for price, qty in levels] for levels in sides]
    return VisibleBook(at_ms, made[0], made[1])


def _fault(price: int, qty: int, tick: int, limits: tuple[int, int]) -> str:
    if price < 0 or qty < 0:
        return "is negative"
    if price % tick:
        return f"is not on the tick {tick}"
    return "" if limits[0] <= price <= limits[1] else "is outside the limits"


def _invalid(where: str, name: str, value: object, why: str) -> ConfigInvalid:
    return ConfigInvalid(
        "BARS_INVALID",
        f"{where}, {name}: {value!r} {why}",
        remedy="correct the feed; nothing of it was used",
    )
