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
from caopan.domain.accounting.bookings import capital_flow
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
    Kind,
    Transaction,
)
from caopan.domain.market.reference import Reference
from caopan.domain.orders.order import Fill, FillKey, Order, OrderStatus, Side
from caopan.domain.risk.kill_switch import Control
from caopan.domain.risk.question import Standing
from caopan.domain.risk.venue import Licence
from caopan.kernel.clock import shanghai

_CANCELS = frozenset({OrderStatus.PENDING_CANCEL, OrderStatus.CANCELED})


class AccountCache:
    """Book, orders and NAV marks of one run."""

    def __init__(self, book: Book, working: Sequence[Order]) -> None:
        """Start from what the store holds; use `load`."""
        self.book = book
        self.working: dict[UUID, Order] = {order.order_id: order for order in working}
        self.day = date.min
        """The newest day of an order."""
        self.day_orders: dict[UUID, Order] = {}
        """Every order of that day, ended ones too."""
        self.booked_fills: set[FillKey] = set()
        """Of that day, and of earlier days whose orders are still worked."""
        self.cancels_asked = 0
        """Requests to cancel this process has sent on that day, repeated ones too."""
        self.exited_on: dict[str, date] = {}
        self.results: list[int] = []
        """What each sale of the day realised, units, oldest first."""
        self.exit_plans: dict[str, Mapping[str, Any]] = {}
        self.last_nav: NavPoint | None = None
        self.flow = 0
        """Money and shares at cost that came in since that close, less what went out, units."""
        self.nav_peak = 0

    @classmethod
    async def load(cls, uow: UnitOfWork) -> AccountCache:
        """Read the account of the unit of work's run."""
        cache = cls(await uow.journal.balances(), await uow.orders.not_terminal())
        newest = await uow.cycles.last()
        if newest is not None:
            cache.day = newest.trading_day
            placed = await uow.orders.of_day(cache.day)
            cache.day_orders = {order.order_id: order for order in placed}
        followed = {cache.day, *(order.trading_day for order in cache.working.values())}
        held = cache.book.quantities()
        for fill in await uow.orders.fills():
            if fill.trading_day in followed:
                cache.booked_fills.add(fill.key)
            if fill.side is Side.SELL and not held.get(fill.symbol):
                cache.exited_on[fill.symbol] = fill.trading_day
        journal = await uow.journal.transactions()
        for transaction in journal:
            cache._note_result(transaction)
        cache.exit_plans.update(await uow.exit_plans.latest())
        flows = [(one.at, 0, one) for one in journal if capital_flow(one)]
        closes = [(point.at, 1, point) for point in await uow.nav.all()]
        for _, _, event in sorted([*flows, *closes], key=lambda found: found[:2]):
            if isinstance(event, Transaction):
                cache._note_flow(event)
            else:
                cache.mark(event)
        return cache

    def mark(self, point: NavPoint) -> None:
        """Take note of a day's closing NAV."""
        self.last_nav, self.flow = point, 0
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
            if order.trading_day > self.day:
                self._begin_day(order.trading_day)
            if order.trading_day == self.day:
                self.day_orders[order.order_id] = order
        for transaction in transactions:
            self._note_result(transaction)
            self._note_flow(transaction)
        self.booked_fills.update(fill.key for fill in fills)
        sold = {fill.symbol: fill.trading_day for fill in fills if fill.side is Side.SELL}
        held = self.book.quantities() if sold else {}
        self.exited_on.update({s: day for s, day in sold.items() if not held.get(s)})

    def _begin_day(self, day: date) -> None:
        self.day, self.day_orders, self.results, self.cancels_asked = day, {}, [], 0
        kept = {day, *(order.trading_day for order in self.working.values())}
        self.booked_fills = {key for key in self.booked_fills if key[0] in kept}

    def _note_result(self, transaction: Transaction) -> None:
        if transaction.kind is not Kind.FILL or shanghai(transaction.at).date() != self.day:
            return
        realised = [-one.amount for one in transaction.postings if one.account == REALISED]
        self.results.extend(realised)

    def _note_flow(self, transaction: Transaction) -> None:
        """Move the marks by what came in or went out: neither is a gain or a loss."""
        flow = capital_flow(transaction)
        self.flow += flow
        self.nav_peak += flow if self.last_nav is not None else 0

    @property
    def late(self) -> dict[UUID, Order]:
        """Return the day's orders that ended with something open: a fill may still come."""
        return {key: order for key, order in self.day_orders.items() if may_fill_late(order)}

    def orders_on(self, day: date) -> int:
        """Return how many orders were made on `day`."""
        return len(self.day_orders) if day == self.day else 0

    def nav(self, prices: Mapping[str, int]) -> int:
        """Return cash plus holdings at `prices`, in units."""
        return (
            self.book.cash_free
            + self.book.cash_frozen
            - self.book.cash_owed
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
        control: Control | None,
        licence: Licence,
        without: Order | None = None,
        requests_last_second: int = 0,
    ) -> Standing:
        """Return the account as the gate judges it; `without` leaves out one order's reservation.

        What is not yet to be sent is judged as if nothing had just been: sending keeps the pace.
        Holdings without a price today keep their cost as exposure, so that they are never free.
        """
        book = self.book
        cash_free = book.cash_free
        left_out = None if without is None else without.order_id
        working = [order for order in self.working.values() if order.order_id != left_out]
        held: dict[str, int] = {}
        sellable: dict[str, int] = {}
        exposure: dict[str, int] = {}
        opened_on: dict[str, date] = {}
        for lot in book.lots():
            reference = references.get(lot.symbol)
            settled = lot.bought_on < day or (reference is not None and not reference.t_plus_one)
            held[lot.symbol] = held.get(lot.symbol, 0) + lot.qty
            opened_on[lot.symbol] = min(opened_on.get(lot.symbol, lot.bought_on), lot.bought_on)
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
        nav = book.cash_free + book.cash_frozen - book.cash_owed
        nav += sum(prices.get(symbol, 0) * qty for symbol, qty in held.items())
        standing = Standing(
            nav=nav,
            nav_day_open=nav if self.last_nav is None else self.last_nav.nav + self.flow,
            nav_peak=max(nav, self.nav_peak),
            cash_free=cash_free,
            sellable=sellable,
            held=held,
            exposure=exposure,
            open_orders=len(working),
            orders_today=self.orders_on(day) - (without is not None),
            venue=licence.venue,
            permissions=licence.permissions,
            report=licence.report,
            software_version=licence.software_version,
            strategy_hash=licence.strategy_hash,
            working={(order.symbol, order.side) for order in working},
            resting=_best_resting(working),
            requests_last_second=requests_last_second,
            control=control,
            opened_on=opened_on,
            exited_on=dict(self.exited_on),
            loss_streak=_streak(self.results) if day == self.day else 0,
        )
        self._count_today(standing, day, left_out)
        return standing

    def _count_today(self, standing: Standing, day: date, left_out: UUID | None) -> None:
        """Fill in what was done today: what was filled, and what is still open at its price."""
        ordered: dict[tuple[str, Side], int] = {}
        filled, still_open = dict.fromkeys(Side, 0), dict.fromkeys(Side, 0)
        opened: set[str] = set()
        cancels = 0
        for order in self.day_orders.values() if day == self.day else ():
            if order.order_id == left_out:
                continue
            is_open = 0 if order.is_terminal else order.open_qty
            cancels += order.submitted_at is not None and order.status in _CANCELS
            if not order.filled_qty + is_open:
                continue
            key = (order.symbol, order.side)
            ordered[key] = ordered.get(key, 0) + order.filled_qty + is_open
            filled[order.side] += order.filled_amount
            still_open[order.side] += is_open * order.price
            opens = (standing.opened_on or {}).get(order.symbol, day) == day
            if order.side is Side.BUY and opens:
                opened.add(order.symbol)
        standing.ordered_today = ordered
        standing.bought_value = filled[Side.BUY] + still_open[Side.BUY]
        standing.sold_value, standing.selling_value = filled[Side.SELL], still_open[Side.SELL]
        # Orders tell of those before a restart, the count of those asked more than once.
        standing.cancels_today = max(cancels, self.cancels_asked if day == self.day else 0)
        standing.opened_today = opened


def _best_resting(working: Sequence[Order]) -> dict[tuple[str, Side], int]:
    """Return the best price we rest at: highest of the buys, lowest of the sales."""
    best: dict[tuple[str, Side], int] = {}
    for order in working:
        key = (order.symbol, order.side)
        better = max if order.side is Side.BUY else min
        best[key] = better(best.get(key, order.price), order.price)
    return best


def _streak(results: Sequence[int]) -> int:
    """Return how many sales at a loss came since the last one at a gain."""
    count = 0
    for result in reversed(results):
        if result >= 0:
            break
        count += 1
    return count


def may_fill_late(order: Order) -> bool:
    """Return whether a fill may still come for an order that has ended."""
    return order.status in (OrderStatus.CANCELED, OrderStatus.EXPIRED) and order.open_qty > 0


def saved_once(order: Order, stored: Order) -> Order:
    """Return `order` with the version of one change on `stored`, however many steps it took."""
    return replace(order, version=stored.version + 1)
