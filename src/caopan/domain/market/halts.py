"""Temporary halts (盘中临时停牌) of securities without a price limit, and the prices they may bid.

Owns the thresholds, how long a halt lasts, and the range of prices taken in the auctions of a
security without a limit. Must never halt one that has a limit. Tests:
tests/unit/domain/market/test_halts.py.

A halt comes when the price first stands 30 % or 60 % from the day's opening price, once for each
direction and tier. Orders are taken in and cancelled during it; it ends with an auction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from caopan.domain.market.dated import DatedRow, find, require
from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import Board, Exchange
from caopan.kernel.clock import at_shanghai, shanghai

_BREAK_BEGINS, _BREAK_ENDS, _RESUMES_AT_LATEST = time(11, 30), time(13, 0), time(14, 57)


class Direction(StrEnum):
    """Which way the price went."""

    UP = "up"
    DOWN = "down"


class Tier(NamedTuple):
    """One halt that may come once a day."""

    direction: Direction
    share: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class HaltRow(DatedRow):
    """The halts of one board."""

    exchange: Exchange
    board: Board
    tiers: tuple[Fraction, ...]
    """Distances from the opening price, ascending."""
    minutes: int

    def value(self) -> object:
        """Return the tiers and the minutes."""
        return (self.tiers, self.minutes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuctionRangeRow(DatedRow):
    """The prices an exchange takes for a security without a limit, as multiples of the base.

    The base is the previous close (the issue price on the first day) for the opening auction, the
    last trade for auctions during the day.
    """

    exchange: Exchange
    opening: bool
    lowest: Fraction | None
    highest: Fraction
    held: bool
    """True where an order beyond the range waits instead of being void."""

    def value(self) -> object:
        """Return the range."""
        return (self.lowest, self.highest, self.held)


class Halt(NamedTuple):
    """One temporary halt."""

    until: datetime
    """When trading resumes (aware, UTC)."""
    cut_short: bool
    """True where it ends at 14:57 although its minutes are not over."""
    reached: frozenset[Tier]
    """The tiers it uses up."""


class HaltTable:
    """The halts and auction ranges of all boards, by date."""

    __slots__ = ("_ranges", "_rows")

    def __init__(self, rows: Iterable[HaltRow], ranges: Iterable[AuctionRangeRow]) -> None:
        self._rows = tuple(rows)
        self._ranges = tuple(ranges)

    def row(self, exchange: Exchange, board: Board, day: date) -> HaltRow:
        """Return the halts of `board` for its days without a limit.

        Raises:
            Denied: RISK_RULES_UNKNOWN if the table does not cover it.
        """
        rows = (row for row in self._rows if (row.exchange, row.board) == (exchange, board))
        return require(rows, day, f"temporary halts of {board} on {exchange}")

    def auction_range(
        self, exchange: Exchange, phase: Phase, day: date, *, halted: bool = False
    ) -> AuctionRangeRow | None:
        """Return the range in `phase`; None where the phase has none, or none is known."""
        opening = phase in {Phase.OPEN_AUCTION, Phase.OPEN_AUCTION_NO_CANCEL}
        if not (opening or halted or phase is Phase.CLOSING_AUCTION):
            return None
        key = (exchange, opening)
        rows = (row for row in self._ranges if (row.exchange, row.opening) == key)
        return find(rows, day, f"prices taken by the auctions of {exchange}")


def halt_after(
    row: HaltRow, opening: int, price: int, at: datetime, done: frozenset[Tier]
) -> Halt | None:
    """Return the halt that a trade at `price` (units) brings at the instant `at`, or None.

    `opening` is the day's opening price, `done` the tiers already used up today. The midday break
    does not count towards the minutes.
    """
    direction = Direction.UP if price > opening else Direction.DOWN
    moved = abs(Fraction(price - opening, opening))
    reached = {Tier(direction, share) for share in row.tiers if moved >= share}
    if not reached - done:
        return None
    day = shanghai(at).date()
    until = at + timedelta(minutes=row.minutes)
    lunch = at_shanghai(day, _BREAK_BEGINS)
    if at < lunch < until:
        until += at_shanghai(day, _BREAK_ENDS) - lunch
    latest = at_shanghai(day, _RESUMES_AT_LATEST)
    return Halt(min(until, latest), until > latest, frozenset(reached))
