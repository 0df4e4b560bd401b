"""Imported data sets with their bars, and snapshots of the trading calendar.

Owns dataset, bar and calendar_snapshot. Bars are partitioned by month of their day. Vendors'
defects are refused before they come here (adapters/market_data); these rules are the last net.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

from sqlalchemy import ARRAY, Column, Date, Double, UniqueConstraint

from caopan.adapters.postgres.tables.base import (
    Row,
    column,
    flag,
    identity,
    is_hash,
    key_day,
    key_number,
    key_text,
    money,
    number,
    recorded_at,
    rule,
    text,
)


class DatasetRow(Row, table=True):
    """One import of bars; the same checksum is the same data set. Append-only."""

    __table_args__ = (
        UniqueConstraint("checksum", name="uq_dataset_checksum"),
        is_hash("checksum"),
        rule("rows", "row_count > 0"),
        rule("days", "first_day <= last_day"),
    )

    dataset_id: int = identity()
    label: str = text()
    source: str = text()
    checksum: str = text()
    synthetic: bool = flag()
    row_count: int = number()
    first_day: dt.date = column(Column(Date, nullable=False))
    last_day: dt.date = column(Column(Date, nullable=False))
    imported_at: dt.datetime = recorded_at()


class BarRow(Row, table=True):
    """One finished daily bar. Volume in shares, amount in yuan.

    That its data set exists is checked once per statement by a trigger (bar_has_dataset) and
    data sets are append-only: a foreign key, checked row by row, doubled the time of an import.
    """

    __table_args__ = (
        rule("symbol", "length(symbol) = 9 AND right(symbol, 3) IN ('.SH', '.SZ', '.BJ')"),
        rule(
            "prices", "low > 0 AND high >= open AND high >= close AND low <= open AND low <= close"
        ),
        rule("pre_close", "pre_close > 0"),
        rule("volume", "volume >= 0 AND (volume = 0 OR NOT is_suspended)"),
        rule("amount", "amount >= 0"),
        rule("limits", "limit_down > 0 AND limit_up >= limit_down"),
        rule("cash_per_share", "cash_per_share >= 0"),
        rule("share_factor", "share_factor ~ '^[0-9]+(/[1-9][0-9]*)?$'"),
        rule("turnover_rate", "turnover_rate >= 0"),
        {"postgresql_partition_by": "RANGE (day)"},
    )

    dataset_id: int = key_number()
    symbol: str = key_text()
    day: dt.date = key_day()
    open: Decimal = money()
    high: Decimal = money()
    low: Decimal = money()
    close: Decimal = money()
    pre_close: Decimal = money()
    volume: int = number()
    amount: Decimal | None = money(nullable=True)
    limit_up: Decimal | None = money(nullable=True)
    limit_down: Decimal | None = money(nullable=True)
    is_suspended: bool = flag()
    is_st: bool = flag()
    is_ex_date: bool = flag()
    list_date: dt.date | None = column(Column(Date, nullable=True))
    cash_per_share: Decimal | None = money(nullable=True)
    share_factor: str | None = text(nullable=True)
    turnover_rate: float | None = column(Column(Double, nullable=True))


class CalendarSnapshotRow(Row, table=True):
    """The trading days as a calendar library told them once; append-only."""

    __table_args__ = (rule("sessions", "cardinality(sessions) > 0"),)

    snapshot_id: int = identity()
    name: str = text()
    version: str = text()
    sessions: list[dt.date] = column(Column(ARRAY(Date), nullable=False))
    recorded_at: dt.datetime = recorded_at()
