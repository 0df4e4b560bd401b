"""Named models of what a bar does not tell: latency, slippage, impact.

Owns the three families and their arithmetic in integers. Every model is deterministic; a seeded
one derives its numbers from the seed and the order's number alone, so that no other order can
change them. A worse price is always cut to [low, high], the day's limits and the order's own
limit by the engine. Must never improve a price. Tests: tests/unit/domain/matching/test_models.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import isqrt
from typing import Protocol

from caopan.domain.matching.terms import Bar


class Latency(Protocol):
    """How long a request takes to the exchange's book, in milliseconds."""

    def order_ms(self, number: int) -> int:
        """Return the way of order `number`."""
        ...

    def cancel_ms(self, number: int) -> int:
        """Return the way of a cancel of order `number`."""
        ...


@dataclass(frozen=True, slots=True)
class FixedLatency:
    """`fixed`: every request takes the same time."""

    order: int = 0
    cancel: int = 0

    def order_ms(self, number: int) -> int:
        """Return the way of any order."""
        del number
        return self.order

    def cancel_ms(self, number: int) -> int:
        """Return the way of any cancel."""
        del number
        return self.cancel


@dataclass(frozen=True, slots=True)
class SeededLatency:
    """`seeded`: uniform between `least` and `most`, a function of seed and order number."""

    seed: int
    least: int
    most: int

    def order_ms(self, number: int) -> int:
        """Return the way of order `number`."""
        return self._draw(f"order {number}")

    def cancel_ms(self, number: int) -> int:
        """Return the way of a cancel of order `number`."""
        return self._draw(f"cancel {number}")

    def _draw(self, what: str) -> int:
        digest = hashlib.sha256(f"{self.seed} {what}".encode()).digest()
        return self.least + int.from_bytes(digest[:8], "big") % (self.most - self.least + 1)


class PriceModel(Protocol):
    """How much worse than the bar's price one taking fill is, in units (>= 0)."""

    def worse_by(self, price: int, qty: int, bar: Bar, tick: int) -> int:
        """Return the distance for `qty` shares taken at `price` out of `bar`."""
        ...


@dataclass(frozen=True, slots=True)
class NoSlippage:
    """`none`: the bar's own price."""

    def worse_by(self, price: int, qty: int, bar: Bar, tick: int) -> int:
        """Return nothing."""
        del price, qty, bar, tick
        return 0


@dataclass(frozen=True, slots=True)
class TickSlippage:
    """`ticks`: a fixed number of ticks, what crossing a spread costs."""

    ticks: int

    def worse_by(self, price: int, qty: int, bar: Bar, tick: int) -> int:
        """Return the ticks in units."""
        del price, qty, bar
        return self.ticks * tick


@dataclass(frozen=True, slots=True)
class BasisPointSlippage:
    """`bps`: a share of the price, rounded up to the tick."""

    bps: int

    def worse_by(self, price: int, qty: int, bar: Bar, tick: int) -> int:
        """Return the share of `price`."""
        del qty, bar
        return -(-price * self.bps // (10_000 * tick)) * tick


@dataclass(frozen=True, slots=True)
class SquareRootImpact:
    """`sqrt_impact`: coefficient × (high − low) × sqrt(qty / volume), rounded up to the tick.

    The usual square-root law with the bar's range in the place of its volatility.
    """

    coefficient_pct: int = 100

    def worse_by(self, price: int, qty: int, bar: Bar, tick: int) -> int:
        """Return the impact of `qty` shares in `bar`."""
        del price
        if not bar.volume:
            return 0
        root_pct = isqrt(10_000 * qty * 10_000 // bar.volume)  # sqrt of the share, times 10,000
        moved = (bar.high - bar.low) * root_pct * self.coefficient_pct
        return -(-moved // (1_000_000 * tick)) * tick
