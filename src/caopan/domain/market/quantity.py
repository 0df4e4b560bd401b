"""Quantities (申报数量): lots, steps, odd lots and the largest order, by board and date.

Owns the shape of the quantity rules, the check of one order's quantity and the daily cap on buying
a risk-warning share. The rows are given (adapters/rules holds them). Must never trim a quantity.
Tests: tests/unit/domain/market/test_quantity.py, tests/property/domain/market.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple, Protocol

from caopan.domain.market.dated import DatedRow, find, require
from caopan.domain.market.phases import OrderKind
from caopan.domain.market.reference import Board, Exchange

LOT_SIZE = "RISK_LOT_SIZE"
MAX_ORDER_QTY = "RISK_MAX_ORDER_QTY"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantityRow(DatedRow):
    """The quantity rules of one board; in shares, fund units or bonds of 100 yuan."""

    exchange: Exchange
    board: Board
    lot_size: int
    min_buy_qty: int
    qty_step: int
    max_limit_qty: int
    max_market_qty: int | None
    """None where it is not known: no market order is sent then."""
    max_after_hours_qty: int | None = None
    """None where an order at the close may be as large as a limit order."""

    def value(self) -> object:
        """Return the quantities."""
        return (
            self.lot_size,
            self.min_buy_qty,
            self.qty_step,
            self.max_limit_qty,
            self.max_market_qty,
            self.max_after_hours_qty,
        )

    def largest(self, kind: OrderKind) -> int | None:
        """Return the largest quantity of one order of `kind`; None where it is not known."""
        if kind is OrderKind.MARKET:
            return self.max_market_qty
        if kind is OrderKind.AFTER_HOURS_FIXED and self.max_after_hours_qty is not None:
            return self.max_after_hours_qty
        return self.max_limit_qty


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyBuyCapRow(DatedRow):
    """How many shares of one risk-warning stock an account may buy on one day."""

    exchange: Exchange
    most: int

    def value(self) -> object:
        """Return the number of shares."""
        return self.most


class QuantityTable:
    """The quantity rules of all boards, by date."""

    __slots__ = ("_caps", "_rows")

    def __init__(self, rows: Iterable[QuantityRow], caps: Iterable[DailyBuyCapRow] = ()) -> None:
        self._caps = tuple(caps)
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

    def daily_buy_cap(self, exchange: Exchange, day: date) -> DailyBuyCapRow | None:
        """Return the cap on buying one risk-warning share on `day`; None where there is none."""
        rows = (row for row in self._caps if row.exchange is exchange)
        return find(rows, day, f"daily cap on buying a risk-warning share on {exchange}")


class QuantityLimits(Protocol):
    """What the check needs to know; a QuantityRow and a Reference both tell it."""

    @property
    def min_buy_qty(self) -> int:
        """Smallest buy."""
        ...

    @property
    def qty_step(self) -> int:
        """Step above it."""
        ...

    @property
    def max_limit_qty(self) -> int:
        """Largest limit order."""
        ...

    @property
    def max_market_qty(self) -> int | None:
        """Largest market order; None where it is not known."""
        ...


class QuantityFault(StrEnum):
    """What is wrong with a quantity."""

    NOT_A_LOT = "not_a_lot"
    ODD_LOT_SPLIT = "odd_lot_split"
    """An odd lot is sold whole or not at all."""
    TOO_LARGE = "too_large"
    DAILY_CAP = "daily_cap"


class QuantityRefusal(NamedTuple):
    """Why a quantity is refused: the code, the figure it broke, a sentence, and the fault."""

    code: str
    limit: int
    detail: str
    fault: QuantityFault = QuantityFault.NOT_A_LOT


def check_daily_buy(cap: DailyBuyCapRow | None, qty: int, bought: int) -> QuantityRefusal | None:
    """Return why buying `qty` more risk-warning shares, after `bought` today, is refused."""
    if cap is None or bought + qty <= cap.most:
        return None
    return QuantityRefusal(
        MAX_ORDER_QTY,
        cap.most,
        f"{bought} and {qty} shares exceed the {cap.most} shares of one risk-warning stock that"
        " an account may buy a day",
        QuantityFault.DAILY_CAP,
    )


def check_quantity(
    reference: QuantityLimits,
    qty: int,
    *,
    selling: bool,
    sellable: int = 0,
    market_order: bool = False,
    most: int | None = None,
) -> QuantityRefusal | None:
    """Return why an order of `qty` shares is refused for its quantity, or None.

    `sellable` is what may be sold now: it decides how odd lots (零股) may go. Whether `qty` exceeds
    it is the position check's question, not this one's. `most` replaces the largest limit order
    where the order is of another kind (`QuantityRow.largest`).
    """
    if qty <= 0:
        return QuantityRefusal(
            LOT_SIZE, reference.min_buy_qty, f"{qty} shares: a quantity is positive"
        )
    if most is None:
        most = reference.max_market_qty if market_order else reference.max_limit_qty
    kind = "market" if market_order else "limit"
    return _check_ceiling(most, qty, kind) or (
        _check_sell(reference, qty, sellable) if selling else _check_buy(reference, qty)
    )


def _check_ceiling(most: int | None, qty: int, kind: str) -> QuantityRefusal | None:
    if most is None:
        detail = f"the largest {kind} order is not known"
        return QuantityRefusal(MAX_ORDER_QTY, 0, detail, QuantityFault.TOO_LARGE)
    if qty > most:
        detail = f"{qty} shares exceed the largest {kind} order of {most}"
        return QuantityRefusal(MAX_ORDER_QTY, most, detail, QuantityFault.TOO_LARGE)
    return None


def _check_buy(reference: QuantityLimits, qty: int) -> QuantityRefusal | None:
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


def _check_sell(reference: QuantityLimits, qty: int, sellable: int) -> QuantityRefusal | None:
    least, step = reference.min_buy_qty, reference.qty_step
    if sellable < least:
        if qty >= sellable:
            return None
        return QuantityRefusal(
            LOT_SIZE,
            sellable,
            f"{qty} of {sellable} sellable shares: a remainder below {least} is sold at once",
            QuantityFault.ODD_LOT_SPLIT,
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
        QuantityFault.ODD_LOT_SPLIT,
    )
