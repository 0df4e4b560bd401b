"""Order types as the exchanges have them, and what each asks for.

Owns which type is offered where and since when, the protective price and the price of an order at
the close. Must never turn one type into another. Tests:
tests/unit/domain/market/test_order_types.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import NamedTuple

from caopan.domain.market.dated import DatedRow, find
from caopan.domain.market.phases import OrderKind
from caopan.domain.market.reference import Board, Exchange
from caopan.kernel.money import yuan


class ExchangeOrderType(StrEnum):
    """Every type of the three exchanges. None outlives its day."""

    LIMIT = "limit"
    MARKET_BEST5_CANCEL = "market_best5_cancel"
    """Best five levels at once, the rest cancelled (最优五档即成剩撤)."""
    MARKET_BEST5_LIMIT = "market_best5_limit"
    """Best five levels at once, the rest stays at the last price (最优五档剩转限价)."""
    MARKET_PEER_BEST = "market_peer_best"
    """A limit order at the best opposite price (对手方最优)."""
    MARKET_OWN_BEST = "market_own_best"
    """A limit order at the best price of the own side (本方最优)."""
    MARKET_IOC = "market_ioc"
    """All levels at once, the rest cancelled (即成剩撤)."""
    MARKET_FOK = "market_fok"
    """Wholly at once or not at all (全额成交或撤销)."""
    AFTER_HOURS_FIXED = "after_hours_fixed"
    """At the close, with a price that the close must not break (盘后定价)."""

    @property
    def kind(self) -> OrderKind:
        """Return how phases treat the type."""
        if self is ExchangeOrderType.LIMIT:
            return OrderKind.LIMIT
        if self is ExchangeOrderType.AFTER_HOURS_FIXED:
            return OrderKind.AFTER_HOURS_FIXED
        return OrderKind.MARKET


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTypeRow(DatedRow):
    """A type an exchange offers on some boards."""

    exchange: Exchange
    boards: frozenset[Board]
    order_type: ExchangeOrderType
    needs_limits: bool = False
    """True where only securities with a price limit take it."""
    needs_protection: bool = False
    """True where it carries a protective price (保护限价)."""

    def value(self) -> object:
        """Return the conditions."""
        return (self.needs_limits, self.needs_protection)


class TypeFault(StrEnum):
    """Why an order's type is refused."""

    NOT_OFFERED = "not_offered"
    NO_LIMIT_TODAY = "no_limit_today"
    NO_PROTECTION = "no_protection"


class TypeRefusal(NamedTuple):
    """The fault, and a sentence."""

    fault: TypeFault
    detail: str


class OrderTypeTable:
    """The types of all exchanges, by date."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[OrderTypeRow]) -> None:
        self._rows = tuple(rows)

    def row(
        self, exchange: Exchange, board: Board, order_type: ExchangeOrderType, day: date
    ) -> OrderTypeRow | None:
        """Return the conditions of a type, or None where it is not offered."""
        rows = (
            row
            for row in self._rows
            if row.exchange is exchange and row.order_type is order_type and board in row.boards
        )
        return find(rows, day, f"{order_type} orders of {board} on {exchange}")

    def offered(self, exchange: Exchange, board: Board, day: date) -> tuple[OrderTypeRow, ...]:
        """Return every type that `board` takes on `day`."""
        found = (self.row(exchange, board, one, day) for one in ExchangeOrderType)
        return tuple(row for row in found if row is not None)

    def check(
        self,
        exchange: Exchange,
        board: Board,
        order_type: ExchangeOrderType,
        day: date,
        *,
        has_limits: bool,
        protection: int | None,
    ) -> TypeRefusal | None:
        """Return why the type is refused, or None.

        `has_limits` tells whether the security has price limits on `day`; `protection` is the
        protective price in units.
        """
        row = self.row(exchange, board, order_type, day)
        if row is None:
            detail = f"{board} on {exchange} takes no {order_type} orders on {day}"
            return TypeRefusal(TypeFault.NOT_OFFERED, detail)
        if row.needs_limits and not has_limits:
            detail = f"{exchange} takes {order_type} orders only where a price limit applies"
            return TypeRefusal(TypeFault.NO_LIMIT_TODAY, detail)
        if row.needs_protection and not protection:
            detail = f"{order_type} orders of {board} on {exchange} carry a protective price"
            return TypeRefusal(TypeFault.NO_PROTECTION, detail)
        return None


def check_after_hours_price(price: int, close: int, *, buying: bool) -> str | None:
    """Return why an order at the close (units) cannot trade there, or None.

    A buy bids at least the close, a sell asks at most it; any other is void.
    """
    if (price < close) if buying else (price > close):
        side = "a buy below" if buying else "a sell above"
        return f"{side} the close: {yuan(price)}, close {yuan(close)}"
    return None
