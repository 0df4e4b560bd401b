"""Lots of a trading account: shares by day of purchase, and what of them an order holds back.

Owns LotState, Holding, Reserve and Receivable, their plain values, and the dividend tax that a
sale out of a reserve owes. Must never move cash or note a movement: the account does. Tests:
tests/property/domain/accounting/test_trading_account.py and
tests/unit/domain/accounting/test_trading_account.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction
from typing import Any, NamedTuple

from caopan.domain.accounting.dividend_tax import (
    DividendTaxTable,
    Income,
    TaxLot,
    spread,
    tax_of_sale,
)
from caopan.domain.accounting.movements import LotPart
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
    listed_on: date | None = None
    """Until that day the shares are due but not listed: held, not sellable; None once listed."""

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

    def split_off(self, qty: int, listed_on: date) -> LotState:
        """Take `qty` free shares, with their part of the cost, into a lot not listed yet."""
        cost = self.cost * qty // self.qty
        self.free -= qty
        self.cost -= cost
        return LotState(self.bought_on, qty, 0, cost, self.untaxed, listed_on)

    def absorb(self, other: LotState) -> None:
        """Take in all shares of another lot of the same day."""
        both = self.qty + other.qty
        earned: dict[date, Fraction] = {}
        for lot in (self, other):
            for one in spread(lot.untaxed, lot.qty, both):
                earned[one.recorded_on] = earned.get(one.recorded_on, Fraction(0)) + one.per_share
        self.untaxed = tuple(Income(day, share) for day, share in earned.items())
        self.free += other.free
        self.frozen += other.frozen
        self.cost += other.cost


@dataclass(slots=True)
class Holding:
    """All lots of one symbol, oldest first, and what of them may be sold now."""

    symbol: str
    lots: list[LotState] = field(default_factory=list[LotState])
    qty: int = 0
    sellable: int = 0
    """Settled, listed and not frozen."""

    def take_in(self, qty: int, cost: int, day: date) -> None:
        """Put shares bought on `day`, and listed, into its lot."""
        self.qty += qty
        last = self.lots[-1] if self.lots else None
        if last is not None and last.bought_on == day and last.listed_on is None:
            last.add(qty, cost)
        else:
            self.lots.append(LotState(day, qty, 0, cost))

    def multiply(
        self, share_factor: Fraction, earned: Income | None, listed_on: date | None
    ) -> list[LotPart]:
        """Turn each share into `share_factor`, the whole holding rounded down once.

        What a lot's own rounding would lose goes to the lot that completes the next whole share.
        New shares wait for `listed_on`, where one is told; those of shares that wait already, wait
        with them. A lot that is left without a share hands its cost to the next.
        """
        lots: list[LotState] = []
        parts: list[LotPart] = []
        before = after = carried = 0
        for lot in self.lots:
            held, moved = lot.free, carried
            before += held
            given = int(before * share_factor) - after - held
            after += held + given
            lot.become(held + given, earned)
            lot.cost, carried = lot.cost + carried, 0
            if lot.free:
                lots.append(lot)
            else:
                moved -= lot.cost
                carried = lot.cost
            waits_for = lot.listed_on
            if listed_on is not None and waits_for is None and held and given > 0:
                lots.append(lot.split_off(given, listed_on))
                waits_for = listed_on
            if given or moved:
                parts.append(LotPart(lot.bought_on, given, moved, waits_for))
        if carried and lots:
            lots[-1].cost += carried
            parts.append(LotPart(lots[-1].bought_on, 0, carried, lots[-1].listed_on))
        self.lots, self.qty = _one_lot_a_day(lots) if listed_on else lots, after
        return parts

    @property
    def unlisted(self) -> int:
        """Return shares that wait for their listing."""
        return sum(lot.free for lot in self.lots if lot.listed_on is not None)

    def list_due(self, day: date) -> list[LotState]:
        """Let the shares due by `day` join the lot of their purchase day; return what they were."""
        due = [lot for lot in self.lots if lot.listed_on is not None and lot.listed_on <= day]
        for lot in due:
            # What is returned tells the old state; the holding goes on with a lot of its own.
            at = self.lots.index(lot)
            listed = (one for one in self.lots if one.listed_on is None)
            parent = next((one for one in listed if one.bought_on == lot.bought_on), None)
            if parent is None:
                self.lots[at] = replace(lot, listed_on=None)
            else:
                parent.absorb(lot)
                del self.lots[at]
        self.sellable = self.settled
        return due

    @property
    def settled(self) -> int:
        """Return listed shares that no order holds, whatever their day of purchase."""
        return sum(lot.free for lot in self.lots if lot.listed_on is None)


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


def _one_lot_a_day(lots: list[LotState]) -> list[LotState]:
    """Return the lots, those of one purchase day that are listed on one day being one."""
    found: dict[tuple[date, date | None], LotState] = {}
    for lot in lots:
        key = (lot.bought_on, lot.listed_on)
        if key in found:
            found[key].absorb(lot)
        else:
            found[key] = lot
    return list(found.values())


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
    """Return a lot as plain values; untaxed income and listing day follow only where they are."""
    values: list[Any] = [lot.bought_on.isoformat(), lot.free, lot.frozen, lot.cost]
    if lot.untaxed or lot.listed_on:
        values.append([[one.recorded_on.isoformat(), str(one.per_share)] for one in lot.untaxed])
    if lot.listed_on:
        values.append(lot.listed_on.isoformat())
    return values
