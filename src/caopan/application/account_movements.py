"""Money and shares that come into an account from outside, and money that leaves it.

Owns deposit, withdrawal and the opening of an existing account. Each is booked once per key, with
its ledger entry in the same commit. Must never move anything at the venue: a person did, or the
sandbox is told by its own door. Tests: tests/unit/application/test_account_movements.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from caopan.application import records
from caopan.application.seat import Seat
from caopan.domain.accounting.bookings import BroughtLot, brought_in, deposit, withdrawal
from caopan.domain.accounting.journal import Transaction
from caopan.kernel.errors import ConfigInvalid, Conflict, Denied
from caopan.kernel.ids import derived_uuid
from caopan.kernel.money import yuan

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def pay_in(seat: Seat, key: str, cash: int, by: str) -> bool:
    """Book `cash` units paid in; False if `key` was booked before."""
    _refuse_no_money(cash)
    txn_id = derived_uuid(_EPOCH, seat.desk.run.config_hash, "deposit", key)
    return await _book(seat, "deposit", key, [deposit(txn_id, cash, seat.desk.clock.now())], by)


async def pay_out(seat: Seat, key: str, cash: int, by: str) -> bool:
    """Book `cash` units paid out; False if `key` was booked before.

    Raises:
        Denied: CASH_MISSING if less than that is free.
    """
    _refuse_no_money(cash)
    txn_id = derived_uuid(_EPOCH, seat.desk.run.config_hash, "withdrawal", key)
    if await _booked(seat, txn_id):
        return False
    free = seat.account.book.cash_free
    if cash > free:
        raise Denied(
            "CASH_MISSING",
            f"{yuan(cash)} yuan asked for, {yuan(free)} are free",
            remedy="ask for less, or cancel what reserves cash",
        )
    return await _book(
        seat, "withdrawal", key, [withdrawal(txn_id, cash, seat.desk.clock.now())], by
    )


async def open_with(seat: Seat, key: str, cash: int, lots: Sequence[BroughtLot], by: str) -> bool:
    """Make the account what it is at the venue: `cash` units and `lots`; False if done before.

    Raises:
        Conflict: ACCOUNT_NOT_EMPTY if it has traded, or holds shares already.
    """
    txn_id = derived_uuid(_EPOCH, seat.desk.run.config_hash, "import", key)
    if await _booked(seat, txn_id):
        return False
    account, now = seat.account, seat.desk.clock.now()
    if account.day_orders or account.last_nav is not None or account.book.quantities():
        raise Conflict(
            "ACCOUNT_NOT_EMPTY",
            "the account has traded or holds shares; an import is for its opening",
            remedy="use `caopan account deposit` or `withdraw`, or open another desk",
        )
    moved: list[Transaction] = [brought_in(txn_id, lots, now)]
    change = cash - account.book.cash_free
    cash_id = derived_uuid(_EPOCH, seat.desk.run.config_hash, "import cash", key)
    if change > 0:
        moved.append(deposit(cash_id, change, now))
    elif change < 0:
        moved.append(withdrawal(cash_id, -change, now))
    return await _book(seat, "import", key, moved, by)


async def _book(seat: Seat, action: str, key: str, moved: Sequence[Transaction], by: str) -> bool:
    if await _booked(seat, moved[0].txn_id):
        return False
    async with seat.begin() as uow:
        await uow.journal.post(moved)
        await uow.ledger.append([records.account_moved(action, key, moved, by)])
        await uow.commit()
    seat.account.apply(moved)
    return True


async def _booked(seat: Seat, txn_id: UUID) -> bool:
    async with seat.begin() as uow:
        return bool(await uow.journal.booked([txn_id]))


def _refuse_no_money(cash: int) -> None:
    if cash <= 0:
        raise ConfigInvalid(
            "CASH_INVALID", f"{yuan(cash)} yuan is no amount", remedy="give one above 0"
        )
