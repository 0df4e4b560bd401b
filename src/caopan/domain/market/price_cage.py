"""The price cage (价格笼子): how far from the market a limit order may be priced.

Owns the shape of the cage rules, the base price and the bounds. Must never apply outside
continuous trading, to market orders or to orders at the close. Tests:
tests/unit/domain/market/test_price_cage.py.

A buy has only an upper bound, a sell only a lower one. Base: the best opposite price; without one
the best price of the own side; without that the last trade; before the first trade pre_close.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction

from caopan.domain.market.dated import DatedRow, require, unknown
from caopan.domain.market.phases import OrderKind, Phase
from caopan.domain.market.reference import Board, Exchange
from caopan.kernel.money import half_up

CAGE_PHASES = frozenset({Phase.CONTINUOUS_AM, Phase.CONTINUOUS_PM})


class Beyond(StrEnum):
    """What becomes of an order priced beyond the cage."""

    VOID = "void"
    HELD = "held"
    """Kept by the exchange until the market has moved so far that it lies inside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CageRow(DatedRow):
    """The cage of one board; `share` None where the board has none."""

    exchange: Exchange
    board: Board
    share: Fraction | None
    """How far from the base, as a share of it."""
    ticks: int
    """At least so many ticks from the base."""
    beyond: Beyond = Beyond.VOID

    def value(self) -> object:
        """Return the width and what becomes of an order beyond it."""
        return (self.share, self.ticks, self.beyond)


@dataclass(frozen=True, slots=True)
class BookTop:
    """What the base price is taken from, in units; None where there is none."""

    best_bid: int | None
    best_ask: int | None
    last: int | None
    pre_close: int


class CageTable:
    """The cages of all boards, by date."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[CageRow]) -> None:
        self._rows: dict[tuple[Exchange, Board], list[CageRow]] = {}
        for row in rows:
            self._rows.setdefault((row.exchange, row.board), []).append(row)

    def row(self, exchange: Exchange, board: Board, day: date) -> CageRow:
        """Return the rule for `board`; its `share` is None where it has no cage.

        Raises:
            Denied: RISK_RULES_UNKNOWN if the table does not cover it; it is not traded then.
        """
        rows = self._rows.get((exchange, board), [])
        return require(rows, day, f"price cage of {board} on {exchange}")


def applies(row: CageRow, phase: Phase, kind: OrderKind, *, halted: bool = False) -> bool:
    """Return whether an order of `kind` is held to the cage in `phase`."""
    in_auction = halted or phase not in CAGE_PHASES
    return row.share is not None and kind is OrderKind.LIMIT and not in_auction


def base_price(top: BookTop, *, buying: bool) -> int:
    """Return the base for a buy or a sell, in units."""
    opposite, same = (top.best_ask, top.best_bid) if buying else (top.best_bid, top.best_ask)
    for price in (opposite, same, top.last):
        if price is not None:
            return price
    return top.pre_close


def cage_bound(row: CageRow, base: int, tick: int, *, buying: bool) -> int:
    """Return the highest price of a buy, or the lowest of a sell, in units.

    Rounded half up to the tick, at least one tick from the base.

    Raises:
        Denied: RISK_RULES_UNKNOWN if the board has no cage or the base is not positive.
    """
    if row.share is None or base <= 0:
        raise unknown(f"price cage of {row.board}: no cage, or base {base} units is not positive")
    least = max(row.ticks, 1) * tick
    if buying:
        return max(half_up(base * (1 + row.share), tick), base + least)
    return max(min(half_up(base * (1 - row.share), tick), base - least), tick)
