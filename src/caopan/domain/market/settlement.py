"""When what was bought may be sold (T+1, T+0), and how much of a holding that is.

Owns the settlement rules by kind of security and date. Must never guess a fund's kind: an equity
fund and a bond fund carry codes of one range. Tests: tests/unit/domain/market/test_settlement.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from caopan.domain.market.dated import DatedRow, require, unknown
from caopan.domain.market.reference import Board, Exchange, FundKind, Instrument


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementRow(DatedRow):
    """How many sessions a purchase is held before it may be sold."""

    exchange: Exchange
    instrument: Instrument
    fund_kind: FundKind | None = None
    """None for everything that is no fund."""
    holding_days: int

    def value(self) -> object:
        """Return the sessions."""
        return self.holding_days


class SettlementTable:
    """The settlement rules of all kinds of security, by date."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[SettlementRow]) -> None:
        self._rows = tuple(rows)

    def row(
        self, exchange: Exchange, board: Board, fund_kind: FundKind | None, day: date
    ) -> SettlementRow:
        """Return the rule for purchases made on `day`.

        Raises:
            Denied: RISK_RULES_UNKNOWN if the table does not cover the case, or a fund's kind is
                not given.
        """
        if board is Board.ETF20:
            # Its holdings are domestic shares by definition.
            fund_kind = FundKind.EQUITY
        kind = board.instrument
        if kind is Instrument.FUND and fund_kind is None:
            raise unknown(f"settlement of a fund on {exchange}: the kind of the fund is needed")
        key = (exchange, kind, fund_kind)
        rows = (row for row in self._rows if (row.exchange, row.instrument, row.fund_kind) == key)
        what = kind if fund_kind is None else f"{fund_kind} fund"
        return require(rows, day, f"settlement of a {what} on {exchange}")


class SellFault(StrEnum):
    """Why a sale is more than may go now."""

    NOT_SETTLED = "not_settled"
    """Enough is held, but some of it was bought today."""
    NOT_HELD = "not_held"


def sellable(settled: int, bought_today: int, frozen: int, holding_days: int) -> int:
    """Return how many may be sold now.

    `settled` was held before today, `frozen` rests in sell orders already.
    """
    return max(0, settled + (bought_today if holding_days == 0 else 0) - frozen)


def check_sale(
    qty: int, settled: int, bought_today: int, frozen: int, holding_days: int
) -> SellFault | None:
    """Return why `qty` cannot be sold now, or None."""
    if qty <= sellable(settled, bought_today, frozen, holding_days):
        return None
    free = settled + bought_today - frozen
    return SellFault.NOT_SETTLED if qty <= free else SellFault.NOT_HELD
