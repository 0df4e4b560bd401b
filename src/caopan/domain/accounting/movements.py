"""Movements of a trading account, and the balanced transaction each one expands to.

Owns LotPart, Movement and `transaction`. Must never hold a balance: a movement tells what changed.
Tests: tests/property/domain/accounting/test_trading_account.py.
"""

from __future__ import annotations

from datetime import date, time
from typing import NamedTuple
from uuid import UUID

from caopan.domain.accounting import journal as j
from caopan.domain.accounting.journal import Kind, Posting, Transaction
from caopan.kernel.clock import at_shanghai


class LotPart(NamedTuple):
    """Shares taken from, or given to, the lot of one day; `cost` in units where it moves."""

    bought_on: date
    qty: int
    cost: int
    listed_on: date | None = None
    """The listing day of shares that are due and not listed yet."""


class Movement(NamedTuple):
    """One movement of the account: what happened, in the numbers that make its postings."""

    kind: Kind
    day: date
    order: int
    """The order's number at the exchange, 0 where there is none."""
    symbol: str
    cash_free: int
    cash_frozen: int
    parts: tuple[LotPart, ...]
    """FREEZE and RELEASE: shares frozen or freed. FILL: bought (> 0) or sold from frozen (< 0).
    A RELEASE of a part with a listing day makes it free because it is listed."""
    fees: tuple[int, int, int]
    """Commission, stamp duty, transfer fee."""
    amount: int
    """Traded amount of a fill, cash dividend of a corporate action."""
    tax: int = 0
    """Dividend tax taken at a sale."""
    new_symbol: str = ""
    """Code change: the code that the parts of `symbol` move to, with their costs."""
    receivable: int = 0
    """Dividend that has become due (> 0) or is paid (< 0), payable on `pay_date`."""
    pay_date: date | None = None


def transaction(number: int, row: Movement) -> Transaction:
    """Return movement `number` as a balanced transaction of the double-entry journal."""
    order_id = UUID(int=row.order) if row.order else None
    postings: list[Posting] = []
    if row.cash_free:
        postings.append(Posting(j.CASH_FREE, j.CNY, row.cash_free))
    if row.cash_frozen:
        postings.append(Posting(f"{j.CASH_FROZEN}/{order_id}", j.CNY, row.cash_frozen))
    if row.receivable and row.pay_date:
        account = f"{j.RECEIVABLE}/{row.symbol}/{row.pay_date.isoformat()}"
        postings.append(Posting(account, j.CNY, row.receivable))
    for part in row.parts:
        if row.new_symbol:
            postings.extend(_renamed_postings(row, part))
        else:
            postings.extend(_part_postings(row, part, order_id))
    if not row.new_symbol:
        postings.extend(_money_postings(row))
    at = at_shanghai(row.day, time(15, 0))
    return Transaction(UUID(int=number), row.kind, at, tuple(postings), order_id=order_id)


def _part_postings(row: Movement, part: LotPart, order_id: UUID | None) -> list[Posting]:
    day = part.bought_on.isoformat()
    free = f"{j.SHARES_FREE}/{day}"
    frozen = _unlisted(part) or f"{j.SHARES_FROZEN}/{order_id}/{day}"
    if row.kind in (Kind.FREEZE, Kind.RELEASE):
        return [Posting(free, row.symbol, -part.qty), Posting(frozen, row.symbol, part.qty)]
    away = part.listed_on is not None or (row.kind is Kind.FILL and part.qty < 0)
    account = frozen if away else free
    made = [Posting(account, row.symbol, part.qty), Posting(j.OUTSIDE, row.symbol, -part.qty)]
    if part.cost:
        made.append(Posting(f"{j.INVENTORY}/{row.symbol}/{day}", j.CNY, part.cost))
    return made


def _unlisted(part: LotPart) -> str:
    if part.listed_on is None:
        return ""
    return f"{j.SHARES_UNLISTED}/{part.listed_on.isoformat()}/{part.bought_on.isoformat()}"


def _renamed_postings(row: Movement, part: LotPart) -> list[Posting]:
    """Return the move of one lot to its new code; nothing is realised."""
    day = part.bought_on.isoformat()
    made: list[Posting] = []
    for symbol, sign in ((row.symbol, -1), (row.new_symbol, 1)):
        account = _unlisted(part) or f"{j.SHARES_FREE}/{day}"
        made.append(Posting(account, symbol, sign * part.qty))
        made.append(Posting(j.OUTSIDE, symbol, -sign * part.qty))
        if part.cost:
            made.append(Posting(f"{j.INVENTORY}/{symbol}/{day}", j.CNY, sign * part.cost))
    return made


def _money_postings(row: Movement) -> list[Posting]:
    if row.kind is Kind.DEPOSIT:
        return [Posting(j.CAPITAL, j.CNY, -row.cash_free)]
    if row.kind is Kind.CORPORATE_ACTION:
        return _action_postings(row)
    if row.kind is not Kind.FILL:
        return []
    accounts = (j.COMMISSION, j.STAMP_DUTY, j.TRANSFER_FEE)
    made = [
        Posting(account, j.CNY, fee) for account, fee in zip(accounts, row.fees, strict=True) if fee
    ]
    sold = row.parts[0].qty < 0
    if sold:
        cost = -sum(part.cost for part in row.parts)
        made.append(Posting(j.REALISED, j.CNY, cost - row.amount))
    if row.tax:
        made.append(Posting(j.DIVIDEND_TAX, j.CNY, row.tax))
    return made


def _action_postings(row: Movement) -> list[Posting]:
    """Return the income of a dividend, or the loss of a cost that is written off."""
    made = [Posting(j.DIVIDEND, j.CNY, -row.amount)] if row.amount else []
    lost = row.amount - row.cash_free - row.receivable - sum(part.cost for part in row.parts)
    return [*made, Posting(j.REALISED, j.CNY, lost)] if lost else made
