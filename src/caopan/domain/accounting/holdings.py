"""Lots of a trading account: shares by day of purchase, and what of them an order holds back.

Owns LotState, Holding, Reserve and Receivable, their plain values, and the dividend tax that a
sale out of a reserve owes. Must never move cash or note a movement: the account does. Tests:
tests/property/domain/accounting/test_trading_account.py and
tests/unit/domain/accounting/test_trading_account.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from itertools import chain
from typing import Any, NamedTuple

from caopan.domain.accounting.dividend_tax import (
    DividendTaxTable,
    Income,
    TaxLot,
    spread,
    tax_of_sale,
)
from caopan.kernel.errors import CorruptState


@dataclass(slots=True)
class LotState:
    """Shares of one symbol bought on one day; `cost` in units, fees excluded."""

    bought_on: date
    free: int
    frozen: int
    cost: int
    untaxed: tuple[Income, ...] = ()
    """What each share has earned and not been taxed for; empty where no tax is taken."""

    @property
    def qty(self) -> int:
        """Return all shares of the lot."""
        return self.free + self.frozen

    def add(self, qty: int, cost: int) -> None:
        """Put `qty` more shares of the same day into the lot; they have earned nothing yet."""
        if self.untaxed:
            self.untaxed = spread(self.untaxed, self.qty, self.qty + qty)
        self.free += qty
        self.cost += cost

    def become(self, free: int, earned: Income | None) -> None:
        """Turn the free shares into `free` ones, each old one having earned `earned`."""
        untaxed = self.untaxed if earned is None else (*self.untaxed, earned)
        self.untaxed = spread(untaxed, self.free, free) if untaxed and free else ()
        self.free = free


@dataclass(slots=True)
class Holding:
    """All lots of one symbol, oldest first, and what of them may be sold now."""

    symbol: str
    lots: list[LotState] = field(default_factory=list[LotState])
    qty: int = 0
    sellable: int = 0
    """Settled and not frozen."""


@dataclass(slots=True)
class Reserve:
    """What one resting order holds back: cash of a buy, lots of a sale."""

    cash: int = 0
    lots: list[tuple[LotState, int]] = field(default_factory=list[tuple[LotState, int]])


class Receivable(NamedTuple):
    """A dividend of `symbol` that is due, and paid on `pay_date`; `cash` in units."""

    pay_date: date
    symbol: str
    cash: int


def tax_due(table: DividendTaxTable | None, reserve: Reserve, qty: int, day: date) -> int:
    """Return the dividend tax, in units, owed for the first `qty` shares of `reserve`.

    Raises:
        CorruptState: DIVIDEND_TAX_MISSING if the shares earned under tax, and there is no table.
    """
    if not any(lot.untaxed for lot, _ in reserve.lots):
        return 0
    if table is None:
        raise CorruptState(
            "DIVIDEND_TAX_MISSING",
            "dividends were earned under tax, but no rates were told",
            remedy="give the account its table of rates after a restart",
        )
    lots = [TaxLot(lot.bought_on, frozen, lot.untaxed) for lot, frozen in reserve.lots]
    if qty > sum(lot.qty for lot in lots):
        return 0  # More than is frozen: the sale itself is refused.
    return tax_of_sale(table, lots, qty, day).tax


def exported_lot(lot: LotState) -> list[Any]:
    """Return a lot as plain values; its untaxed income follows only where there is some."""
    values: list[Any] = [lot.bought_on.isoformat(), lot.free, lot.frozen, lot.cost]
    if lot.untaxed:
        values.append([[one.recorded_on.isoformat(), str(one.per_share)] for one in lot.untaxed])
    return values


def rebuilt_lot(values: Sequence[Any]) -> LotState:
    """Return the lot that `exported_lot` described."""
    day, free, frozen, cost, *rest = values
    untaxed = tuple(
        Income(date.fromisoformat(on), Fraction(per_share)) for on, per_share in chain(*rest)
    )
    return LotState(date.fromisoformat(day), free, frozen, cost, untaxed)
