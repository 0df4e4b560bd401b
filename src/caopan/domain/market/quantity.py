"""Quantities (申报数量): lots, steps, odd lots and the largest order, by board and date.

Owns the shape of the quantity rules and the check of one order's quantity. The rows are given
(dated_rows.py holds them). Must never trim a quantity. Tests:
tests/unit/domain/market/test_quantity.py, tests/property/domain/market.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from caopan.domain.market.dated import DatedRow, require
from caopan.domain.market.reference import Board, Exchange, Reference

LOT_SIZE = "RISK_LOT_SIZE"
MAX_ORDER_QTY = "RISK_MAX_ORDER_QTY"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantityRow(DatedRow):
    """The quantity rules of one board; all in shares."""

    exchange: Exchange
    board: Board
    lot_size: int
    min_buy_qty: int
    qty_step: int
    max_limit_qty: int
    max_market_qty: int

    def value(self) -> object:
        """Return the quantities."""
        return (
            self.lot_size,
            self.min_buy_qty,
            self.qty_step,
            self.max_limit_qty,
            self.max_market_qty,
        )


class QuantityTable:
    """The quantity rules of all boards, by date."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[QuantityRow]) -> None:
        self._rows: dict[tuple[Exchange, Board], list[QuantityRow]] = {}
        for row in rows:
            self._rows.setdefault((row.exchange, row.board), []).append(row)

    def rule(self, exchange: Exchange, board: Board, day: date) -> QuantityRow:
        """Return the rule for `board` on `day`.

        Raises:
            Denied: RISK_RULES_UNKNOWN if the table does not cover it; it is not traded then.
        """
        rows = self._rows.get((exchange, board), [])
        return require(rows, day, f"order quantities of {board} on {exchange}")


class QuantityRefusal(NamedTuple):
    """Why a quantity is refused: the code, the figure it broke, and a sentence."""

    code: str
    limit: int
    detail: str


def check_quantity(
    reference: Reference,
    qty: int,
    *,
    selling: bool,
    sellable: int = 0,
    market_order: bool = False,
) -> QuantityRefusal | None:
    """Return why an order of `qty` shares is refused for its quantity, or None.

    `sellable` is what may be sold now: it decides how odd lots (零股) may go. Whether `qty` exceeds
    it is the position check's question, not this one's.
    """
    if qty <= 0:
        return QuantityRefusal(
            LOT_SIZE, reference.min_buy_qty, f"{qty} shares: a quantity is positive"
        )
    return _check_ceiling(reference, qty, market_order=market_order) or (
        _check_sell(reference, qty, sellable) if selling else _check_buy(reference, qty)
    )


def _check_ceiling(reference: Reference, qty: int, *, market_order: bool) -> QuantityRefusal | None:
    kind = "market" if market_order else "limit"
    most = reference.max_market_qty if market_order else reference.max_limit_qty
    if most is None:
        return QuantityRefusal(MAX_ORDER_QTY, 0, f"the largest {kind} order is not known")
    if qty > most:
        return QuantityRefusal(
            MAX_ORDER_QTY, most, f"{qty} shares exceed the largest {kind} order of {most}"
        )
    return None


def _check_buy(reference: Reference, qty: int) -> QuantityRefusal | None:
    least, step = reference.min_buy_qty, reference.qty_step
    if qty < least:
        return QuantityRefusal(
            LOT_SIZE, least, f"{qty} shares: a buy order is for at least {least}"
        )
    if (qty - least) % step:
        return QuantityRefusal(
            LOT_SIZE, step, f"{qty} shares: beyond {least} a buy order grows by {step}"
        )
    return None


def _check_sell(reference: Reference, qty: int, sellable: int) -> QuantityRefusal | None:
    least, step = reference.min_buy_qty, reference.qty_step
    if sellable < least:
        if qty >= sellable:
            return None
        return QuantityRefusal(
            LOT_SIZE,
            sellable,
            f"{qty} of {sellable} sellable shares: a remainder below {least} is sold at once",
        )
    if qty < least and step < least:
        return QuantityRefusal(
            LOT_SIZE, least, f"{qty} shares: a sell order is for at least {least}"
        )
    odd = sellable % step
    if qty % step in {0, odd}:
        return None
    return QuantityRefusal(
        LOT_SIZE,
        step,
        f"{qty} of {sellable} sellable shares: the odd lot of {odd} shares is sold whole"
        f" or not at all, the rest in multiples of {step}",
    )
