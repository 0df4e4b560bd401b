"""The double-entry journal and the book that it folds into.

Owns Posting, Transaction and Book: every movement of cash or shares is a transaction whose
postings sum to zero per asset, and the book is nothing but their sum. Must never compute a fee or
a price. Tests: tests/property/domain/accounting.

Accounts (path, asset):
    cash.free                    CNY   money that may be spent
    cash.frozen/<order id>       CNY   reserved for one resting buy, fees included
    shares.free/<bought on>      symbol  one lot per day of purchase
    shares.frozen/<order id>/<bought on>  symbol  reserved for one resting sell
    shares.unlisted/<listed on>/<bought on>  symbol  due since an ex-date, sellable once listed
    inventory/<symbol>/<bought on>  CNY   what the lot cost, without fees
    receivable/<symbol>/<pay date>  CNY   dividends that are due and not yet paid
    owed                         CNY   below 0: what fills took that our books did not have
    capital, income.*, expense.*  CNY   where money came from and went
    outside                      symbol  the rest of the world's shares
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from caopan.kernel.errors import CorruptState

CNY = "CNY"
CASH_FREE = "cash.free"
CASH_FROZEN = "cash.frozen"
SHARES_FREE = "shares.free"
SHARES_FROZEN = "shares.frozen"
SHARES_UNLISTED = "shares.unlisted"
INVENTORY = "inventory"
RECEIVABLE = "receivable"
CAPITAL = "capital"
OWED = "owed"
OUTSIDE = "outside"
REALISED = "income.realised"
DIVIDEND = "income.dividend"
COMMISSION = "expense.commission"
STAMP_DUTY = "expense.stamp_duty"
TRANSFER_FEE = "expense.transfer_fee"
OTHER_FEES = "expense.other_fees"
DIVIDEND_TAX = "expense.dividend_tax"

_NEVER_NEGATIVE = (
    CASH_FREE,
    CASH_FROZEN,
    SHARES_FREE,
    SHARES_FROZEN,
    SHARES_UNLISTED,
    INVENTORY,
    RECEIVABLE,
)


class Kind(StrEnum):
    """Why a transaction was booked."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    FREEZE = "freeze"
    RELEASE = "release"
    FILL = "fill"
    CORPORATE_ACTION = "corporate_action"


@dataclass(frozen=True, slots=True)
class Posting:
    """One leg: `amount` (units of money, or shares) added to an account."""

    account: str
    asset: str
    amount: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """One balanced movement; corrections are new transactions, never edits."""

    txn_id: UUID
    kind: Kind
    at: datetime
    postings: tuple[Posting, ...]
    order_id: UUID | None = None
    fill_id: UUID | None = None
    memo: str = ""


@dataclass(frozen=True, slots=True)
class Lot:
    """Shares of one symbol bought on one day. `cost` in units, fees excluded."""

    symbol: str
    bought_on: date
    free_qty: int
    frozen_qty: int
    """Reserved by an order, or not listed yet."""
    cost: int

    @property
    def qty(self) -> int:
        """Return all shares of the lot."""
        return self.free_qty + self.frozen_qty


class Book:
    """The balances of one account: the running sum of its journal."""

    def __init__(self, balances: Mapping[tuple[str, str], int] | None = None) -> None:
        """Start from stored balances, or empty."""
        self._balances: dict[tuple[str, str], int] = dict(balances or {})

    def copy(self) -> Book:
        """Return an independent copy, for judging what has not happened yet."""
        return Book(self._balances)

    @property
    def balances(self) -> Mapping[tuple[str, str], int]:
        """Return every non-zero balance by (account, asset)."""
        return self._balances

    def post(self, transaction: Transaction) -> None:
        """Add a transaction.

        Raises:
            CorruptState: JOURNAL_UNBALANCED or BALANCE_NEGATIVE; nothing is applied then.
        """
        sums: dict[str, int] = {}
        changed: dict[tuple[str, str], int] = {}
        for posting in transaction.postings:
            sums[posting.asset] = sums.get(posting.asset, 0) + posting.amount
            key = (posting.account, posting.asset)
            before = changed.get(key, self._balances.get(key, 0))
            changed[key] = before + posting.amount
        for asset, total in sums.items():
            if total != 0:
                raise CorruptState(
                    "JOURNAL_UNBALANCED",
                    f"{transaction.kind} {transaction.txn_id}: {asset} sums to {total}, not 0",
                )
        for (account, asset), amount in changed.items():
            if amount < 0 and account.startswith(_NEVER_NEGATIVE):
                raise CorruptState(
                    "BALANCE_NEGATIVE",
                    f"{transaction.kind} {transaction.txn_id}: {account} {asset} would be {amount}",
                    remedy="compare the account with the broker's before trading again",
                )
        for key, amount in changed.items():
            if amount:
                self._balances[key] = amount
            else:
                self._balances.pop(key, None)

    def balance(self, account: str, asset: str = CNY) -> int:
        """Return one balance, 0 where nothing was booked."""
        return self._balances.get((account, asset), 0)

    def total(self, prefix: str, asset: str = CNY) -> int:
        """Return the sum over an account and all accounts below it."""
        below = prefix + "/"
        return sum(
            amount
            for (account, name), amount in self._balances.items()
            if name == asset and (account == prefix or account.startswith(below))
        )

    @property
    def cash_free(self) -> int:
        """Return money that may be spent, in units."""
        return self._balances.get((CASH_FREE, CNY), 0)

    @property
    def cash_owed(self) -> int:
        """Return what fills took beyond the cash we knew of, units, never below 0."""
        return -self._balances.get((OWED, CNY), 0)

    @property
    def cash_frozen(self) -> int:
        """Return money reserved by resting buys, in units."""
        return self.total(CASH_FROZEN)

    @property
    def receivable(self) -> int:
        """Return dividends that are due and not yet paid, in units."""
        return self.total(RECEIVABLE)

    def lots(self, symbol: str | None = None) -> list[Lot]:
        """Return lots with shares in them, oldest first, of one symbol or of all."""
        found: dict[tuple[str, date], list[int]] = {}
        for (account, asset), amount in self._balances.items():
            if asset == CNY or account == OUTSIDE or (symbol is not None and asset != symbol):
                continue
            head, _, tail = account.rpartition("/")
            slot = found.setdefault((asset, date.fromisoformat(tail)), [0, 0])
            slot[0 if head == SHARES_FREE else 1] += amount
        return [
            Lot(
                name,
                day,
                free,
                frozen,
                self._balances.get((f"{INVENTORY}/{name}/{day.isoformat()}", CNY), 0),
            )
            for (name, day), (free, frozen) in sorted(found.items())
        ]

    def quantities(self) -> dict[str, int]:
        """Return all shares held by symbol, free and frozen."""
        held: dict[str, int] = {}
        for lot in self.lots():
            held[lot.symbol] = held.get(lot.symbol, 0) + lot.qty
        return held

    def sellable(self, symbol: str, today: date, *, t_plus_one: bool) -> int:
        """Return shares that may be sold today: free, and not bought today under T+1."""
        return sum(
            lot.free_qty for lot in self.lots(symbol) if not t_plus_one or lot.bought_on < today
        )


def fold(transactions: Iterable[Transaction]) -> Book:
    """Return the book that a whole journal sums to."""
    book = Book()
    for transaction in transactions:
        book.post(transaction)
    return book
