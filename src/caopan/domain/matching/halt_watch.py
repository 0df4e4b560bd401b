"""Temporary halts (盘中临时停牌) of one security on one day, raised from its bars and prints.

Owns HaltWatch: the day's opening price, the tiers used up, until when trading stands still. The
thresholds and minutes are the market room's. Must never halt a security that has a price limit.
Tests: tests/unit/domain/matching/test_halt_watch.py.

A bar does not tell at which of its moments a tier was reached, so its halt begins when the bar
ends; with prints the moment is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, time, timedelta

from caopan.domain.market.halts import HaltRow, Tier, halt_after
from caopan.kernel.clock import at_shanghai

_MILLISECOND = timedelta(milliseconds=1)
_BREAK_MS = 41_400_000
"""11:30:00."""

BarValues = tuple[int, int, int, int, int, int, int]
"""A `Bar`: start and end (ms), open, high, low, close (units), volume (shares)."""


@dataclass(slots=True)
class HaltWatch:
    """What stands in the way of trading today; prices in units, moments of the day in ms."""

    row: HaltRow
    opening: int = 0
    """The day's opening price; 0 before it."""
    until_ms: int = 0
    """When trading resumes after the last halt; 0 where there was none."""
    done: frozenset[Tier] = frozenset()
    """The tiers used up."""
    resumes: bool = False
    """Whether the next bar that serves begins with the auction that ends a halt."""

    def holds(self, at_ms: int) -> bool:
        """Return whether trading is halted at a moment that is not before the last bar's end."""
        return at_ms < self.until_ms

    def covers(self, bar: BarValues) -> bool:
        """Return whether `bar` lies within the halt: nobody is served by it."""
        return bar[0] < self.until_ms and bar[1] <= self.until_ms

    def observe(self, day: date, bar: BarValues) -> None:
        """Note a finished bar after it has served; it may begin a halt."""
        _, end_ms, first, high, low, _, volume = bar
        if not volume:
            return
        if not self.covers(bar):
            self.resumes = False
        self.opening = self.opening or first
        # What trades in the last moment before the break is halted for its minutes after it.
        early = 1 if end_ms == _BREAK_MS else 0
        midnight = at_shanghai(day, time(0, 0))
        at = midnight + (end_ms - early) * _MILLISECOND
        for price in (high, low):
            halt = halt_after(self.row, self.opening, price, at, self.done)
            if halt is None:
                continue
            self.done |= halt.reached
            until_ms = (halt.until - midnight) // _MILLISECOND + (0 if halt.cut_short else early)
            if until_ms > end_ms:
                self.until_ms = until_ms
                self.resumes = True
