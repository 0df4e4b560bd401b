"""The account as this process knows it: book, orders, high-water mark.

Owns AccountCache, the in-memory image of what the store holds for one run, and how the gate sees
it (`standing`). Must never be ahead of the store: it is changed only after a commit, and reloaded
after any failure. One process holds a run's lease, so the image cannot fall behind either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

from caopan.application.ports.store import NavPoint, UnitOfWork
from caopan.domain.accounting.journal import (
    CASH_FROZEN,
    CNY,
    COMMISSION,
    OTHER_FEES,
    REALISED,
    SHARES_FROZEN,
    STAMP_DUTY,
    TRANSFER_FEE,
    Book,
    Transaction,
)
from caopan.domain.market.reference import Reference
from caopan.domain.orders.order import Fill, Order, Side
from caopan.domain.risk.question import Standing


class AccountCache:
    """Book, working orders and NAV marks of one run."""

    def __init__(self, book: Book, working: Sequence[Order]) -> None:
        """Start from what the store holds; use `load`."""
        self.book = book
        self.working: dict[UUID, Order] = {order.order_id: order for order in working}
        self.booked_fills: set[str] = set()
        self.orders_by_day: dict[date, int] = {}
        self.exit_plans: dict[str, Mapping[str, Any]] = {}
        self.last_nav: NavPoint | None = None
        self.nav_peak = 0

    @classmethod
    async def load(cls, uow: UnitOfWork) -> AccountCache:
        """Read the account of the unit of work's run."""
        cache = cls(await uow.journal.balances(), await uow.orders.not_terminal())
        for decision_id in {order.decision_id for order in cache.working.values()}:
            cache.booked_fills.update(
                fill.broker_fill_id for fill in await uow.orders.fills(decision_id)
            )
        newest = await uow.cycles.last()
        if newest is not None:
            placed = await uow.orders.of_day(newest.trading_day)
            cache.orders_by_day[newest.trading_day] = len(placed)
        cache.exit_plans.update(await uow.exit_plans.latest())
        for point in await uow.nav.all():
            cache.mark(point)
        return cache

    def mark(self, point: NavPoint) -> None:
        """Take note of a day's closing NAV."""
        self.last_nav = point
        self.nav_peak = max(self.nav_peak, point.nav)

    def apply(
        self,
        transactions: Sequence[Transaction] = (),
        orders: Sequence[Order] = (),
        fills: Sequence[Fill] = (),
    ) -> None:
        """Take over what has just been committed."""
        for transaction in transactions:
            self.book.post(transaction)
        for order in orders:
            if order.is_terminal:
                self.working.pop(order.order_id, None)
            else:
                self.working[order.order_id] = order
        self.booked_fills.update(fill.broker_fill_id for fill in fills)

    def orders_on(self, day: date) -> int:
        """Return how many orders were made on `day`."""
        return self.orders_by_day.get(day, 0)

    def nav(self, prices: Mapping[str, int]) -> int:
        """Return cash plus holdings at `prices`, in units."""
        return (
            self.book.cash_free
            + self.book.cash_frozen
            + sum(prices.get(symbol, 0) * qty for symbol, qty in self.book.quantities().items())
        )

    @property
    def fees_total(self) -> int:
        """Return all fees ever booked, in units."""
        return sum(
            self.book.balance(account)
            for account in (COMMISSION, STAMP_DUTY, TRANSFER_FEE, OTHER_FEES)
        )

    @property
    def realised_total(self) -> int:
        """Return the realised profit before fees, in units."""
        return -self.book.balance(REALISED)

    def standing(
        self,
        references: Mapping[str, Reference],
        prices: Mapping[str, int],
        day: date,
        *,
        without: Order | None = None,
    ) -> Standing:
        """Return the account as the gate judges it; `without` leaves out one order's reservation.

        Holdings without a price today keep their cost as exposure, so that they are never free.
        """
        book = self.book
        cash_free = book.cash_free
        left_out = None if without is None else without.order_id
        working = [order for order in self.working.values() if order.order_id != left_out]
        held: dict[str, int] = {}
        sellable: dict[str, int] = {}
        exposure: dict[str, int] = {}
        for lot in book.lots():
            reference = references.get(lot.symbol)
            settled = lot.bought_on < day or (reference is not None and not reference.t_plus_one)
            held[lot.symbol] = held.get(lot.symbol, 0) + lot.qty
            sellable[lot.symbol] = sellable.get(lot.symbol, 0) + lot.free_qty * settled
            price = prices.get(lot.symbol)
            value = lot.cost if price is None else price * lot.qty
            exposure[lot.symbol] = exposure.get(lot.symbol, 0) + value
        if without is not None:
            cash_free += book.balance(f"{CASH_FROZEN}/{without.order_id}", CNY)
            own = book.total(f"{SHARES_FROZEN}/{without.order_id}", without.symbol)
            if own:
                sellable[without.symbol] = sellable.get(without.symbol, 0) + own
        for order in working:
            if order.side is Side.BUY:
                value = order.open_qty * order.price
                exposure[order.symbol] = exposure.get(order.symbol, 0) + value
        nav = book.cash_free + book.cash_frozen
        nav += sum(prices.get(symbol, 0) * qty for symbol, qty in held.items())
        return Standing(
            nav=nav,
            nav_day_open=nav if self.last_nav is None else self.last_nav.nav,
            nav_peak=max(nav, self.nav_peak),
            cash_free=cash_free,
            sellable=sellable,
            held=held,
            exposure=exposure,
            open_orders=len(working),
            orders_today=self.orders_on(day) - (without is not None),
            working={(order.symbol, order.side) for order in working},
        )


def saved_once(order: Order, stored: Order) -> Order:
    """Return `order` with the version of one change on `stored`, however many steps it took."""
    return replace(order, version=stored.version + 1)
