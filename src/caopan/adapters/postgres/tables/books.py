"""The double-entry journal, the balances it sums to, and the day-close snapshots.

Owns journal_transaction, journal_posting, balance and nav_point. That every transaction sums to
zero per asset is a constraint trigger of the migrations, checked at commit. Amounts are yuan for
CNY and whole shares for everything else.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import BigInteger, Column, Identity, Index

from caopan.adapters.postgres.tables.base import (
    Row,
    column,
    ident,
    instant,
    key,
    key_day,
    key_number,
    key_text,
    money,
    one_of,
    rule,
    run_key,
    text,
    within_run,
)
from caopan.domain.accounting.journal import Kind

_WHOLE_SHARES = "asset = 'CNY' OR amount = trunc(amount)"


class JournalTransactionRow(Row, table=True):
    """One balanced movement of money or shares; append-only."""

    __table_args__ = (
        within_run("run"),
        # Deferred: which of order, fill and booking is written first inside a commit is free.
        within_run("trade_order", "order_id", deferred=True),
        within_run("fill", "fill_id", deferred=True),
        Index("ix_journal_transaction_position", "run_id", "position", unique=True),
        one_of("kind", Kind),
    )

    run_id: int = run_key()
    txn_id: UUID = key()
    position: int = column(Column(BigInteger, Identity(always=True), nullable=False))
    kind: str = text()
    at: datetime = instant()
    order_id: UUID | None = ident(nullable=True)
    fill_id: UUID | None = ident(nullable=True)
    memo: str = text()


class JournalPostingRow(Row, table=True):
    """One leg of a transaction; append-only."""

    __table_args__ = (
        within_run("journal_transaction", "txn_id"),
        rule("leg", "leg >= 0"),
        rule("account", "account <> ''"),
        rule("whole_shares", _WHOLE_SHARES),
    )

    run_id: int = run_key()
    txn_id: UUID = key()
    leg: int = key_number()
    account: str = text()
    asset: str = text()
    amount: Decimal = money()


class BalanceRow(Row, table=True):
    """The sum of one account's postings, kept in the same transaction; no row means zero."""

    __table_args__ = (
        within_run("run"),
        rule("not_zero", "amount <> 0"),
        rule("whole_shares", _WHOLE_SHARES),
        rule(
            "not_negative",
            "amount >= 0 OR NOT (account LIKE 'cash.%' OR account LIKE 'shares.%'"
            " OR account LIKE 'inventory%')",
        ),
    )

    run_id: int = run_key()
    account: str = key_text()
    asset: str = key_text()
    amount: Decimal = money()


class NavPointRow(Row, table=True):
    """The account at the close of one trading day; append-only."""

    __table_args__ = (
        within_run("run"),
        rule("parts", "cash_free >= 0 AND cash_frozen >= 0 AND market_value >= 0"),
        rule("nav", "nav = cash_free + cash_frozen + market_value"),
        rule("fees_total", "fees_total >= 0"),
        rule("benchmark", "benchmark >= 0"),
    )

    run_id: int = run_key()
    trading_day: date = key_day()
    at: datetime = instant()
    nav: Decimal = money()
    cash_free: Decimal = money()
    cash_frozen: Decimal = money()
    market_value: Decimal = money()
    fees_total: Decimal = money()
    realised_total: Decimal = money()
    benchmark: Decimal | None = money(nullable=True)
