"""How each event becomes a balanced transaction.

Owns the bookings: deposit, freeze, release, fill, entitlement. Must never decide whether an event
may happen; it is told that it did. Tests: tests/property/domain/accounting.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from caopan.domain.accounting import journal as j
from caopan.domain.accounting.journal import Book, Kind, Lot, Posting, Transaction
from caopan.domain.market.reference import CorporateAction
from caopan.domain.orders.order import Fill, Order, Side
from caopan.kernel.errors import CorruptState


def deposit(txn_id: UUID, amount: int, at: datetime) -> Transaction:
    """Return the booking of `amount` units paid in."""
    return Transaction(
        txn_id,
        Kind.DEPOSIT,
        at,
        (Posting(j.CASH_FREE, j.CNY, amount), Posting(j.CAPITAL, j.CNY, -amount)),
    )


def withdrawal(txn_id: UUID, amount: int, at: datetime) -> Transaction:
    """Return the booking of `amount` units paid out of free cash."""
    return Transaction(
        txn_id,
        Kind.WITHDRAWAL,
        at,
        (Posting(j.CASH_FREE, j.CNY, -amount), Posting(j.CAPITAL, j.CNY, amount)),
    )


@dataclass(frozen=True, slots=True)
class BroughtLot:
    """Shares held elsewhere so far. `cost` in units for the whole lot, fees included."""

    symbol: str
    qty: int
    cost: int
    bought_on: date


def brought_in(txn_id: UUID, lots: Iterable[BroughtLot], at: datetime) -> Transaction:
    """Return the booking of shares that come into the account with their cost and age."""
    postings: list[Posting] = []
    for lot in lots:
        postings.append(Posting(_free_shares(lot.bought_on), lot.symbol, lot.qty))
        postings.append(Posting(j.OUTSIDE, lot.symbol, -lot.qty))
        if lot.cost:
            postings.append(Posting(_inventory(lot.symbol, lot.bought_on), j.CNY, lot.cost))
            postings.append(Posting(j.CAPITAL, j.CNY, -lot.cost))
    return Transaction(txn_id, Kind.DEPOSIT, at, tuple(postings), memo="brought in")


def capital_flow(transaction: Transaction) -> int:
    """Return what a transaction brought into the account from outside, units; shares at cost."""
    return -sum(one.amount for one in transaction.postings if one.account == j.CAPITAL)


def repaid(txn_id: UUID, book: Book, at: datetime) -> Transaction | None:
    """Return the booking that settles what is owed from free cash; None if nothing can be."""
    amount = min(book.cash_owed, book.cash_free)
    if amount <= 0:
        return None
    postings = (Posting(j.CASH_FREE, j.CNY, -amount), Posting(j.OWED, j.CNY, amount))
    return Transaction(txn_id, Kind.RELEASE, at, postings, memo="owed")


def freeze_buy(txn_id: UUID, order: Order, cost_bound: int, at: datetime) -> Transaction:
    """Return the reservation of the most cash a buy can need."""
    return Transaction(
        txn_id,
        Kind.FREEZE,
        at,
        (
            Posting(j.CASH_FREE, j.CNY, -cost_bound),
            Posting(_frozen_cash(order.order_id), j.CNY, cost_bound),
        ),
        order_id=order.order_id,
    )


def freeze_sell(
    txn_id: UUID, order: Order, book: Book, today: date, at: datetime, *, t_plus_one: bool
) -> Transaction:
    """Return the reservation of the shares of a sale, oldest lots first.

    Raises:
        CorruptState: SHARES_MISSING if the book holds fewer sellable shares.
    """
    postings: list[Posting] = []
    wanted = order.qty
    for lot in book.lots(order.symbol):
        if wanted == 0 or (t_plus_one and lot.bought_on >= today):
            continue
        taken = min(wanted, lot.free_qty)
        if taken == 0:
            continue
        wanted -= taken
        postings.append(Posting(_free_shares(lot.bought_on), order.symbol, -taken))
        postings.append(Posting(_frozen_shares(order.order_id, lot.bought_on), order.symbol, taken))
    if wanted:
        raise CorruptState(
            "SHARES_MISSING",
            f"order {order.client_order_id} needs {wanted} more sellable shares of {order.symbol}",
        )
    return Transaction(txn_id, Kind.FREEZE, at, tuple(postings), order_id=order.order_id)


def release(txn_id: UUID, order: Order, book: Book, at: datetime) -> Transaction | None:
    """Return the booking that frees what a finished order still holds; None if nothing."""
    postings: list[Posting] = []
    cash = book.balance(_frozen_cash(order.order_id))
    if cash:
        postings.append(Posting(_frozen_cash(order.order_id), j.CNY, -cash))
        postings.append(Posting(j.CASH_FREE, j.CNY, cash))
    for bought_on, qty in _frozen_lots(book, order):
        postings.append(Posting(_frozen_shares(order.order_id, bought_on), order.symbol, -qty))
        postings.append(Posting(_free_shares(bought_on), order.symbol, qty))
    if not postings:
        return None
    return Transaction(txn_id, Kind.RELEASE, at, tuple(postings), order_id=order.order_id)


def book_fill(txn_id: UUID, fill: Fill, order: Order, book: Book) -> Transaction:
    """Return the booking of one fill.

    A buy pays from what its order froze and, should that be short (a late fill after release),
    from free cash; a sale gives up the order's frozen lots, oldest first, and should those be
    short, free lots bought before its day. A fill has happened, whether we knew of the cash or not
    (money paid in by hand, reserved elsewhere meanwhile): what is missing is booked as owed, and
    the comparison with the venue tells.

    Raises:
        CorruptState: SHARES_MISSING if the book holds fewer such shares than were sold.
    """
    amount = fill.qty * fill.price
    if fill.side is Side.BUY:
        postings = _buy_postings(fill, amount, book)
    else:
        postings = _sell_postings(fill, amount, order, book)
    postings.extend(
        Posting(account, j.CNY, fee)
        for account, fee in (
            (j.COMMISSION, fill.commission),
            (j.STAMP_DUTY, fill.stamp_duty),
            (j.TRANSFER_FEE, fill.transfer_fee),
            (j.OTHER_FEES, fill.other_fees),
        )
        if fee
    )
    return Transaction(
        txn_id,
        Kind.FILL,
        fill.filled_at,
        tuple(postings),
        order_id=fill.order_id,
        fill_id=fill.fill_id,
    )


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What one holding receives on an ex-date."""

    cash: int
    new_shares: int


def entitlement(lots: list[Lot], action: CorporateAction) -> Entitlement:
    """Return cash (units) and new shares of the whole holding; a part of a share is dropped once.

    Counters round the holding, not each purchase (market-rules.md, corporate actions).
    """
    held = sum(lot.qty for lot in lots)
    return Entitlement(held * action.cash_per_share, int(held * action.share_factor) - held)


def book_entitlement(
    txn_id: UUID, symbol: str, lots: list[Lot], action: CorporateAction, at: datetime
) -> Transaction:
    """Return the booking of an ex-date: cash to free cash, new shares into their lots."""
    given = entitlement(lots, action)
    postings: list[Posting] = []
    if given.cash:
        postings.append(Posting(j.CASH_FREE, j.CNY, given.cash))
        postings.append(Posting(j.DIVIDEND, j.CNY, -given.cash))
    before = after = 0
    for lot in lots:
        before += lot.qty
        new = int(before * action.share_factor) - after - lot.qty
        after += lot.qty + new
        if new:
            # Bonus shares carry the age of the shares they fall to.
            postings.append(Posting(_free_shares(lot.bought_on), symbol, new))
            postings.append(Posting(j.OUTSIDE, symbol, -new))
    memo = f"{symbol} ex-date" + (" (estimated from the reference price)" * action.estimated)
    return Transaction(txn_id, Kind.CORPORATE_ACTION, at, tuple(postings), memo=memo)


def _buy_postings(fill: Fill, amount: int, book: Book) -> list[Posting]:
    frozen_account = _frozen_cash(fill.order_id)
    due = amount + fill.fees
    from_frozen = min(due, book.balance(frozen_account))
    postings = [
        Posting(_inventory(fill.symbol, fill.trading_day), j.CNY, amount),
        Posting(_free_shares(fill.trading_day), fill.symbol, fill.qty),
        Posting(j.OUTSIDE, fill.symbol, -fill.qty),
    ]
    if from_frozen:
        postings.append(Posting(frozen_account, j.CNY, -from_frozen))
    if due > from_frozen:
        postings.extend(_paid(due - from_frozen, book))
    return postings


def _paid(due: int, book: Book) -> list[Posting]:
    """Take `due` units from free cash, and what is not there from what is owed."""
    there = min(due, book.cash_free)
    postings = [Posting(j.CASH_FREE, j.CNY, -there)] if there else []
    if due > there:
        postings.append(Posting(j.OWED, j.CNY, there - due))
    return postings


def _sell_postings(fill: Fill, amount: int, order: Order, book: Book) -> list[Posting]:
    lots = {lot.bought_on: lot for lot in book.lots(fill.symbol)}
    received = amount - fill.fees
    postings = [Posting(j.OUTSIDE, fill.symbol, fill.qty)]
    if received >= 0:
        postings.append(Posting(j.CASH_FREE, j.CNY, received))
    else:
        # A small sale can cost more than it brings in.
        postings.extend(_paid(-received, book))
    wanted, cost_gone = fill.qty, 0
    gone: dict[date, int] = {}
    for account, bought_on, there in _sale_sources(fill, order, book, lots.values()):
        taken = min(wanted, there)
        if taken == 0:
            continue
        wanted -= taken
        gone[bought_on] = gone.get(bought_on, 0) + taken
        postings.append(Posting(account, fill.symbol, -taken))
    if wanted:
        raise CorruptState(
            "SHARES_MISSING",
            f"fill {fill.broker_fill_id} sells {wanted} shares more of {fill.symbol} than "
            f"{order.client_order_id} reserved or the book holds",
            remedy="reconcile with the venue",
        )
    for bought_on, taken in gone.items():
        lot = lots[bought_on]
        # The last shares of a lot take its whole remaining cost, so that no fen is left behind.
        cost = lot.cost * taken // lot.qty
        cost_gone += cost
        if cost:
            postings.append(Posting(_inventory(fill.symbol, bought_on), j.CNY, -cost))
    postings.append(Posting(j.REALISED, j.CNY, cost_gone - amount))
    return postings


def _sale_sources(
    fill: Fill, order: Order, book: Book, lots: Iterable[Lot]
) -> list[tuple[str, date, int]]:
    """Return (account, day of purchase, shares) that a sale gives up, in order."""
    frozen = [
        (_frozen_shares(order.order_id, bought_on), bought_on, qty)
        for bought_on, qty in _frozen_lots(book, order)
    ]
    # A late fill, after the order's shares were released.
    free = [
        (_free_shares(lot.bought_on), lot.bought_on, lot.free_qty)
        for lot in lots
        if lot.bought_on < fill.trading_day
    ]
    return frozen + free


def _frozen_lots(book: Book, order: Order) -> list[tuple[date, int]]:
    prefix = f"{j.SHARES_FROZEN}/{order.order_id}/"
    return sorted(
        (date.fromisoformat(account.removeprefix(prefix)), amount)
        for (account, asset), amount in book.balances.items()
        if asset == order.symbol and account.startswith(prefix)
    )


def _frozen_cash(order_id: UUID) -> str:
    return f"{j.CASH_FROZEN}/{order_id}"


def _free_shares(bought_on: date) -> str:
    return f"{j.SHARES_FREE}/{bought_on.isoformat()}"


def _frozen_shares(order_id: UUID, bought_on: date) -> str:
    return f"{j.SHARES_FROZEN}/{order_id}/{bought_on.isoformat()}"


def _inventory(symbol: str, bought_on: date) -> str:
    return f"{j.INVENTORY}/{symbol}/{bought_on.isoformat()}"
