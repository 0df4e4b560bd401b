"""Money and shares that come into an account from outside, and money that leaves it.

Owns deposit, withdrawal and the opening of an existing account. Each is booked once per key, with
its ledger entry in the same commit; `follow` books what the counter's own statement shows and the
books lack, so that a movement cut off between both sides is made whole. Must never move anything
at the venue: a person did, or the sandbox is told by its own door. Tests:
tests/unit/application/test_account_movements.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from uuid import UUID

from caopan.application import records
from caopan.application.day_books import entitlements_of
from caopan.application.ports.broker import VenueMovement
from caopan.application.seat import Seat
from caopan.domain.accounting.bookings import BroughtLot, brought_in, deposit, withdrawal
from caopan.domain.accounting.journal import Book, Transaction
from caopan.kernel.clock import shanghai
from caopan.kernel.errors import ConfigInvalid, Conflict, Denied
from caopan.kernel.ids import derived_uuid
from caopan.kernel.money import yuan

DEPOSIT: Final = "deposit"
WITHDRAWAL: Final = "withdrawal"
IMPORT: Final = "import"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_BEGINS: Final = time(8, 50)
"""When a day's references, and so its ex-dates, are known (the market-data port)."""
_NEXT_INSTANT: Final = timedelta(milliseconds=1)


def counter_key(action: str, key: str) -> str:
    """Return the name under which the counter is asked for a movement that the books call `key`."""
    return f"{action}:{key}"


async def pay_in(seat: Seat, key: str, cash: int, by: str) -> bool:
    """Book `cash` units paid in; False if `key` was booked before."""
    _refuse_no_money(cash)
    txn_id = _txn_id(seat, DEPOSIT, key)
    return await _book(seat, DEPOSIT, key, [deposit(txn_id, cash, _moment(seat))], by)


async def pay_out(seat: Seat, key: str, cash: int, by: str) -> bool:
    """Book `cash` units paid out; False if `key` was booked before.

    Raises:
        Denied: CASH_MISSING if less than that is free.
    """
    _refuse_no_money(cash)
    txn_id = _txn_id(seat, WITHDRAWAL, key)
    if await _booked(seat, [txn_id]):
        return False
    refuse_beyond_free(seat, cash)
    return await _book(seat, WITHDRAWAL, key, [withdrawal(txn_id, cash, _moment(seat))], by)


async def open_with(
    seat: Seat,
    key: str,
    cash: int,
    lots: Sequence[BroughtLot],
    by: str,
    *,
    at: datetime | None = None,
) -> bool:
    """Make the account what it is at the venue: `cash` units and `lots`; False if done before.

    `at` tells when they came in there, now otherwise: what an ex-date up to then brought is in them
    already.

    Raises:
        Conflict: ACCOUNT_NOT_EMPTY if it has traded, or holds shares already.
    """
    txn_id = _txn_id(seat, IMPORT, key)
    if await _booked(seat, [txn_id]):
        return False
    refuse_unless_new(seat)
    now = _moment(seat)
    moved: list[Transaction] = [brought_in(txn_id, lots, now)]
    change = cash - seat.account.book.cash_free
    cash_id = _txn_id(seat, "import cash", key)
    if change > 0:
        moved.append(deposit(cash_id, change, now))
    elif change < 0:
        moved.append(withdrawal(cash_id, -change, now))
    moved.extend(_entitled_before(seat, moved[0], at or seat.desk.clock.now()))
    return await _book(seat, IMPORT, key, moved, by)


async def follow(seat: Seat, statement: Sequence[VenueMovement], by: str) -> int:
    """Book what the counter's statement has under a key of ours and the books lack; count it.

    What the books cannot take stays out: the reconciliation that follows shows it.
    """
    ours: list[tuple[UUID, str, str, VenueMovement]] = []
    for moved in statement:
        action, colon, key = moved.key.partition(":")
        if colon and action in (DEPOSIT, WITHDRAWAL, IMPORT):
            ours.append((_txn_id(seat, action, key), action, key, moved))
    known = await _booked(seat, [txn_id for txn_id, *_ in ours])
    count = 0
    for txn_id, action, key, moved in ours:
        if txn_id in known:
            continue
        try:
            if action == DEPOSIT:
                await pay_in(seat, key, moved.cash, by)
            elif action == WITHDRAWAL:
                await pay_out(seat, key, -moved.cash, by)
            else:
                await open_with(seat, key, seat.account.book.cash_free, moved.lots, by, at=moved.at)
        except (Denied, Conflict):
            continue
        count += 1
    return count


def refuse_unless_new(seat: Seat) -> None:
    """Refuse an import into an account that has a life of its own. Raises as `open_with`."""
    account = seat.account
    if account.day_orders or account.last_nav is not None or account.book.quantities():
        raise Conflict(
            "ACCOUNT_NOT_EMPTY",
            "the account has traded, closed a day or holds shares; an import is for its opening",
            remedy="use `caopan account deposit` or `withdraw`, or open another desk",
        )


def refuse_beyond_free(seat: Seat, cash: int) -> None:
    """Refuse to pay out more than is free. Raises as `pay_out`."""
    free = seat.account.book.cash_free
    if cash > free:
        raise Denied(
            "CASH_MISSING",
            f"{yuan(cash)} yuan asked for, {yuan(free)} are free",
            remedy="ask for less, or cancel what reserves cash",
        )


def _entitled_before(seat: Seat, brought: Transaction, at: datetime) -> list[Transaction]:
    """Return the ex-dates of the shares brought in that had begun at `at`, as booked: with nothing.

    Opening such a day later, or again, finds it done.
    """
    desk, local = seat.desk, shanghai(at)
    last = local.date() if local.time() >= _DAY_BEGINS else local.date() - timedelta(days=1)
    first = date.fromisoformat(str(desk.run.config.get("start", last.isoformat())))
    book = Book()
    book.post(brought)
    return [
        replace(found, postings=(), memo=f"{found.memo}, before it was brought in")
        for day in (desk.calendar.between(first, last) if first <= last else ())
        for found in entitlements_of(desk.market, desk.run.config_hash, book, day, desk.clock.now())
    ]


def _moment(seat: Seat) -> datetime:
    """Return when a movement is booked: after the last close, which does not contain it.

    Where time stands still (`--at`), both would bear the same instant, and nobody could tell later
    whether the close had counted the money.
    """
    now, last = seat.desk.clock.now(), seat.account.last_nav
    return now if last is None else max(now, last.at + _NEXT_INSTANT)


def _txn_id(seat: Seat, action: str, key: str) -> UUID:
    return derived_uuid(_EPOCH, seat.desk.run.config_hash, action, key)


async def _book(seat: Seat, action: str, key: str, moved: Sequence[Transaction], by: str) -> bool:
    if await _booked(seat, [moved[0].txn_id]):
        return False
    async with seat.believed(), seat.begin() as uow:
        await uow.journal.post(moved)
        await uow.ledger.append([records.account_moved(action, key, moved, by)])
        await uow.commit()
    seat.account.apply(moved)
    return True


async def _booked(seat: Seat, txn_ids: Sequence[UUID]) -> set[UUID]:
    if not txn_ids:
        return set()
    async with seat.begin() as uow:
        return set(await uow.journal.booked(txn_ids))


def _refuse_no_money(cash: int) -> None:
    if cash <= 0:
        raise ConfigInvalid(
            "CASH_INVALID", f"{yuan(cash)} yuan is no amount", remedy="give one above 0"
        )
