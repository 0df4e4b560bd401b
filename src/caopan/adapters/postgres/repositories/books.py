"""The journal, the balances it sums to, and the day-close snapshots.

Owns the tables journal_transaction, journal_posting, balance and nav_point. Postings and balances
change in one transaction; the database refuses an unbalanced transaction at commit and a negative
balance at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from caopan.adapters.postgres.connection import Session
from caopan.adapters.postgres.statements import arrays, insert, insert_batch, selected
from caopan.adapters.postgres.tables import (
    JOURNAL_POSTING,
    JOURNAL_TRANSACTION,
    NAV_POINT,
)
from caopan.adapters.postgres.values import (
    asset_numeric,
    asset_units,
    numeric,
    numeric_or_none,
    units,
    units_or_none,
)
from caopan.application.ports.store import NavPoint
from caopan.domain.accounting.journal import Book, Kind, Posting, Transaction

_TRANSACTION: Final = ("txn_id", "kind", "at", "order_id", "fill_id", "memo")
_POSTING: Final = ("txn_id", "leg", "account", "asset", "amount")
_CHANGE: Final = ("account", "asset", "amount")
# An upsert would not do: CHECK looks at the row proposed for insertion, which for a withdrawal is
# negative, before it looks for the row to add it to. Present rows are locked, so that two writers
# add up instead of overwriting each other.
_TRANSACTIONS: Final = insert_batch(
    JOURNAL_TRANSACTION, ("run_id", *_TRANSACTION), scalars=("run_id",), prefix="txn_"
)
_POSTINGS: Final = insert_batch(
    JOURNAL_POSTING, ("run_id", *_POSTING), scalars=("run_id",), prefix="leg_"
)
_POST: Final = f"""
    WITH transactions AS ({_TRANSACTIONS}), postings AS ({_POSTINGS}), change AS (
        SELECT * FROM unnest(
            %(change_account)s::text[], %(change_asset)s::text[], %(change_amount)s::numeric[]
        ) AS change(account, asset, amount)
    ), present AS (
        SELECT b.account, b.asset, b.amount + change.amount AS amount
        FROM balance b JOIN change USING (account, asset)
        WHERE b.run_id = %(run_id)s
        FOR UPDATE OF b
    ), emptied AS (
        DELETE FROM balance b USING present p
        WHERE b.run_id = %(run_id)s AND b.account = p.account AND b.asset = p.asset
            AND p.amount = 0
    ), moved AS (
        UPDATE balance b SET amount = p.amount FROM present p
        WHERE b.run_id = %(run_id)s AND b.account = p.account AND b.asset = p.asset
            AND p.amount <> 0
    )
    INSERT INTO balance (run_id, account, asset, amount)
    SELECT %(run_id)s, account, asset, amount FROM change
    WHERE amount <> 0 AND (account, asset) NOT IN (SELECT account, asset FROM present)
"""  # noqa: S608 - our own statements
_BOOKED: Final = (
    "SELECT txn_id FROM journal_transaction"
    " WHERE run_id = %(run_id)s AND txn_id = ANY(%(txn_ids)s::uuid[])"
)
_SELECT_BALANCES: Final = (
    "SELECT account, asset, amount FROM balance WHERE run_id = %(run_id)s ORDER BY account, asset"
)
_SELECT_TRANSACTIONS: Final = """
    SELECT t.txn_id, t.kind, t.at, t.order_id, t.fill_id, t.memo, p.account, p.asset, p.amount
    FROM journal_transaction t LEFT JOIN journal_posting p USING (run_id, txn_id)
    WHERE t.run_id = %(run_id)s
    ORDER BY t.position, p.leg
"""
_NAV_MONEY: Final = (
    "nav",
    "cash_free",
    "cash_frozen",
    "market_value",
    "fees_total",
    "realised_total",
)
_NAV: Final = ("trading_day", "at", *_NAV_MONEY, "benchmark")
_INSERT_NAV: Final = insert(NAV_POINT, ("run_id", *_NAV))
_SELECT_NAV: Final = selected(NAV_POINT, _NAV) + " WHERE run_id = %(run_id)s ORDER BY trading_day"


class PostgresJournal:
    """JournalRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int) -> None:
        """Work for `run_id`."""
        self._session = session
        self._run_id = run_id

    async def post(self, transactions: Sequence[Transaction]) -> None:
        """Append transactions and add their postings to the stored balances.

        Raises CorruptState CHECK_VIOLATION where a balance would fall below zero; an unbalanced
        transaction is refused so at commit.
        """
        if not transactions:
            return
        moves = [
            (t.txn_id, t.kind.value, t.at, t.order_id, t.fill_id, t.memo) for t in transactions
        ]
        legs: list[tuple[Any, ...]] = []
        totals: dict[tuple[str, str], int] = {}
        for transaction in transactions:
            for leg, posting in enumerate(transaction.postings):
                key = (posting.account, posting.asset)
                totals[key] = totals.get(key, 0) + posting.amount
                amount = asset_numeric(posting.asset, posting.amount)
                legs.append((transaction.txn_id, leg, *key, amount))
        changes = [
            (account, asset, asset_numeric(asset, amount))
            for (account, asset), amount in sorted(totals.items())
        ]
        self._session.queue(
            _POST,
            {
                "run_id": self._run_id,
                **arrays(_TRANSACTION, moves, prefix="txn_"),
                **arrays(_POSTING, legs, prefix="leg_"),
                **arrays(_CHANGE, changes, prefix="change_"),
            },
        )

    async def booked(self, txn_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Return those of `txn_ids` that the journal already holds."""
        params = {"run_id": self._run_id, "txn_ids": list(txn_ids)}
        held = {row[0] for row in await self._session.rows(_BOOKED, params)}
        return [txn_id for txn_id in txn_ids if txn_id in held]

    async def balances(self) -> Book:
        """Return the stored balances."""
        rows = await self._session.rows(_SELECT_BALANCES, {"run_id": self._run_id})
        return Book(
            {(account, asset): asset_units(asset, amount) for account, asset, amount in rows}
        )

    async def transactions(self) -> Sequence[Transaction]:
        """Return the whole journal in order of posting."""
        rows = await self._session.rows(_SELECT_TRANSACTIONS, {"run_id": self._run_id})
        heads: dict[UUID, Sequence[Any]] = {}
        legs: dict[UUID, list[Posting]] = {}
        for row in rows:
            heads.setdefault(row[0], row)
            if row[6] is not None:
                posting = Posting(row[6], row[7], asset_units(row[7], row[8]))
                legs.setdefault(row[0], []).append(posting)
        return [
            Transaction(txn, Kind(row[1]), row[2], tuple(legs.get(txn, ())), *row[3:6])
            for txn, row in heads.items()
        ]


class PostgresNav:
    """NavRepository on PostgreSQL."""

    def __init__(self, session: Session, run_id: int) -> None:
        """Work for `run_id`."""
        self._session = session
        self._run_id = run_id

    async def add(self, point: NavPoint) -> None:
        """Store one day's snapshot. Raises Conflict NAV_EXISTS if the day has one."""
        amounts = {name: numeric(getattr(point, name)) for name in _NAV_MONEY}
        params = {
            "run_id": self._run_id,
            "trading_day": point.trading_day,
            "at": point.at,
            **amounts,
            "benchmark": numeric_or_none(point.benchmark),
        }
        self._session.queue(_INSERT_NAV, params)

    async def all(self) -> Sequence[NavPoint]:
        """Return snapshots by day."""
        rows = await self._session.rows(_SELECT_NAV, {"run_id": self._run_id})
        return [_nav_point(dict(zip(_NAV, row, strict=True))) for row in rows]


def _nav_point(row: dict[str, Any]) -> NavPoint:
    for name in _NAV_MONEY:
        row[name] = units(row[name])
    row["benchmark"] = units_or_none(row["benchmark"])
    return NavPoint(**row)
