"""Dividend tax of an individual, by how long the shares were held (差别化红利税).

Owns the rates by date, the holding periods and the order in which lots are sold (first in, first
out). Dividends are paid in full; what is owed is taken when the shares are sold. Must never tax
shares made of capital reserves (转增), and taxes bonus shares (送股) at their par value. Tests:
tests/unit/domain/accounting/test_dividend_tax.py.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from fractions import Fraction

from caopan.domain.market.dated import DatedRow, require
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import UNITS_PER_YUAN, to_fen

PAR_VALUE = UNITS_PER_YUAN
"""Units at which a bonus share counts as income; a few shares have another par value."""
_YEAR = 12


class HeldFor(StrEnum):
    """Holding periods, by natural months and years."""

    UP_TO_A_MONTH = "up_to_a_month"
    UP_TO_A_YEAR = "up_to_a_year"
    LONGER = "longer"


@dataclass(frozen=True, slots=True, kw_only=True)
class DividendTaxRow(DatedRow):
    """The share of a dividend owed for one holding period; in force by the record date."""

    held_for: HeldFor
    rate: Fraction

    def value(self) -> object:
        """Return the rate."""
        return self.rate


class DividendTaxTable:
    """The rates by date."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[DividendTaxRow]) -> None:
        self._rows = tuple(rows)

    def rate(self, held_for: HeldFor, day: date) -> Fraction:
        """Return the rate for dividends recorded on `day`. Raises Denied RISK_RULES_UNKNOWN."""
        rows = (row for row in self._rows if row.held_for is held_for)
        return require(rows, day, f"dividend tax of shares held {held_for}").rate

    def rows(self, day: date) -> tuple[DividendTaxRow, ...]:
        """Return the rows in force on `day`."""
        return tuple(row for row in self._rows if row.in_force(day))


@dataclass(frozen=True, slots=True)
class Income:
    """What one share earned on one record date, in units: cash, and par value of bonus shares."""

    recorded_on: date
    per_share: Fraction


@dataclass(frozen=True, slots=True)
class TaxLot:
    """Shares bought on one day, with what each has earned since and not been taxed for."""

    bought_on: date
    qty: int
    untaxed: tuple[Income, ...] = ()


@dataclass(frozen=True, slots=True)
class TaxedSale:
    """What a sale owes (units, whole fen), and the lots left."""

    tax: int
    left: tuple[TaxLot, ...]


def held_for(bought_on: date, sold_on: date) -> HeldFor:
    """Return the holding period of shares bought and sold on these days.

    It runs to the day before the sale; a month or a year is over on the day of the same number.

    Raises:
        ConfigInvalid: DIVIDEND_TAX_INVALID if the sale lies before the purchase.
    """
    if sold_on < bought_on:
        raise ConfigInvalid(
            "DIVIDEND_TAX_INVALID", f"sold on {sold_on}, before the purchase on {bought_on}"
        )
    if sold_on <= _months_after(bought_on, 1):
        return HeldFor.UP_TO_A_MONTH
    return HeldFor.UP_TO_A_YEAR if sold_on <= _months_after(bought_on, _YEAR) else HeldFor.LONGER


def record(
    lots: Sequence[TaxLot], day: date, cash: Fraction | int, bonus: Fraction | int
) -> list[TaxLot]:
    """Return the lots with the income of one record date; `bonus` are bonus shares per share.

    The bonus shares themselves join the lots elsewhere, with the purchase day of their parents.
    """
    income = Income(day, Fraction(cash + bonus * PAR_VALUE))
    return [replace(lot, untaxed=(*lot.untaxed, income)) for lot in lots]


def tax_of_sale(
    table: DividendTaxTable, lots: Sequence[TaxLot], qty: int, sold_on: date
) -> TaxedSale:
    """Return what selling `qty` shares owes; the oldest lots go first.

    Raises:
        ConfigInvalid: DIVIDEND_TAX_INVALID if more is sold than held.
        Denied: RISK_RULES_UNKNOWN if a record date lies outside the table.
    """
    ordered = sorted(lots, key=lambda lot: lot.bought_on)
    if not 0 < qty <= sum(lot.qty for lot in ordered):
        raise ConfigInvalid(
            "DIVIDEND_TAX_INVALID", f"{qty} shares sold of {sum(lot.qty for lot in ordered)} held"
        )
    owed, left = Fraction(0), list[TaxLot]()
    for lot in ordered:
        taken = min(qty, lot.qty)
        qty -= taken
        period = held_for(lot.bought_on, sold_on)
        for income in lot.untaxed if taken else ():
            owed += income.per_share * taken * table.rate(period, income.recorded_on)
        if taken < lot.qty:
            left.append(replace(lot, qty=lot.qty - taken))
    return TaxedSale(to_fen(owed), tuple(left))


def spread(untaxed: Iterable[Income], before: int, after: int) -> tuple[Income, ...]:
    """Return the income of `before` shares per share once they have become `after` (> 0)."""
    share = Fraction(before, after)
    return tuple(Income(one.recorded_on, one.per_share * share) for one in untaxed)


def _months_after(day: date, months: int) -> date:
    year, month = divmod(day.month - 1 + months, _YEAR)
    year, month = day.year + year, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))
