"""What a vendor's library offers, as an adapter uses it. Replace it by the vendor's own.

Owns the protocol of a made-up counter whose shapes are those of many real ones: numbers for
states, its own order numbers, a remark, texts for reasons. Must never be imported by anything but
its adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol


class CounterRefused(Exception):
    """The counter said no: a number (or the "unset" one) and a text."""

    def __init__(self, code: int, text: str) -> None:
        """Keep both."""
        super().__init__(code, text)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class CounterOrder:
    """An order as the counter lists it; prices in yuan."""

    number: str
    remark: str
    stock_code: str
    is_buy: bool
    price: Decimal
    volume: int
    traded_volume: int
    status: int
    status_msg: str
    order_time: datetime
    updated: datetime


@dataclass(frozen=True, slots=True)
class CounterTrade:
    """An execution as the counter lists it."""

    traded_id: str
    order_number: str
    stock_code: str
    is_buy: bool
    price: Decimal
    volume: int
    traded_time: datetime


@dataclass(frozen=True, slots=True)
class CounterAsset:
    """The account's money in yuan, and (code, volume, sellable volume) of what it holds."""

    cash: Decimal
    frozen_cash: Decimal
    positions: Sequence[tuple[str, int, int]]


class Counter(Protocol):
    """The vendor's client. It raises OSError, TimeoutError and CounterRefused."""

    def is_connected(self) -> bool:
        """Return whether a request would leave at all."""
        ...

    async def order_stock(
        self, stock_code: str, volume: int, price: Decimal, remark: str, *, is_buy: bool
    ) -> str:
        """Send an order; return the counter's number."""
        ...

    async def cancel_order(self, number: str) -> None:
        """Send a cancel."""
        ...

    async def query_orders(self, day: date) -> Sequence[CounterOrder]:
        """Return the orders of a day."""
        ...

    async def query_trades(self, day: date) -> Sequence[CounterTrade]:
        """Return the executions of a day."""
        ...

    async def query_asset(self) -> CounterAsset:
        """Return money and positions."""
        ...
