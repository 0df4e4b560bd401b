"""The normalised frame: one row per symbol and session, exact units, proved.

Owns the schema every source is brought to and the checks a batch must pass as a whole. Must never
let a row through that a check blames: a batch is used or refused. Tests:
tests/unit/adapters/market_data/test_frame.py.
"""

from __future__ import annotations

import polars as pl

from caopan.adapters.market_data.problems import BadRows
from caopan.adapters.market_data.unit_proof import prove_units
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.symbols import parse_symbol
from caopan.kernel.canonical import sha256_hex
from caopan.kernel.errors import ConfigInvalid

SCHEMA = pl.Schema(
    {
        "symbol": pl.String(),
        "day": pl.Date(),
        # Prices in units (0.0001 yuan). pre_close is the exchange's reference price of the day.
        "open": pl.Int64(),
        "high": pl.Int64(),
        "low": pl.Int64(),
        "close": pl.Int64(),
        "pre_close": pl.Int64(),
        "volume": pl.Int64(),  # whole shares
        "amount": pl.Int64(),  # units, or null
        "limit_up": pl.Int64(),  # the vendor's, or null: none applies, or not given
        "limit_down": pl.Int64(),
        "is_suspended": pl.Boolean(),  # the whole day; known before the open
        "is_st": pl.Boolean(),
        "is_ex_date": pl.Boolean(),
        "list_date": pl.Date(),
        "cash_per_share": pl.Int64(),  # units, pre-tax, on the ex-date
        "share_factor": pl.String(),  # "13/10" on the ex-date: holding after / before
        "turnover_rate": pl.Float64(),  # fraction of the float
    }
)
PRICES = ("open", "high", "low", "close", "pre_close")
_REQUIRED = ("symbol", "day", *PRICES, "volume", "is_suspended", "is_st", "is_ex_date")


def empty() -> pl.DataFrame:
    """Return a frame of the schema without rows."""
    return pl.DataFrame(schema=SCHEMA)


def validate(
    frame: pl.DataFrame, calendar: TradingCalendar, *, label: str = "data"
) -> pl.DataFrame:
    """Return `frame` sorted by symbol and day, if every row of it stands.

    Raises:
        ConfigInvalid: DATA_COLUMNS if it has not the schema, DATA_EMPTY, SYMBOL_INVALID,
            DATA_BAD_ROW (up to ten rows named) or DATA_UNIT (with the factor it seems to have).
        Denied: DATA_CALENDAR if it holds days the calendar does not know.
    """
    if frame.schema != SCHEMA:
        raise ConfigInvalid("DATA_COLUMNS", f"{label}: not the normalised schema: {frame.schema}")
    if frame.is_empty():
        raise ConfigInvalid("DATA_EMPTY", f"{label}: no rows", remedy="give a file with bars")
    _check_rows(frame, calendar, label)
    prove_units(frame, label)
    return frame.sort("symbol", "day")


def _check_rows(frame: pl.DataFrame, calendar: TradingCalendar, label: str) -> None:
    bad = BadRows(label)
    for column in _REQUIRED:
        bad.add(frame, pl.col(column).is_null(), column, "missing")
    bad.raise_if_any()
    for symbol in frame["symbol"].unique(maintain_order=True):
        parse_symbol(symbol)
    for column in PRICES:
        bad.add(frame, pl.col(column) <= 0, column, "a price is positive")
    bad.add(frame, pl.col("high") < pl.col("low"), "high", "high is below low")
    for column in ("open", "close"):
        outside = (pl.col(column) > pl.col("high")) | (pl.col(column) < pl.col("low"))
        ordered = pl.col("high") >= pl.col("low")
        bad.add(frame, outside & ordered, column, f"{column} lies outside low to high")
    for column in ("volume", "amount", "cash_per_share"):
        bad.add(frame, pl.col(column) < 0, column, "negative")
    traded, paid = pl.col("volume") > 0, pl.col("amount") > 0
    bad.add(frame, traded & ~paid, "amount", "volume without amount")
    bad.add(frame, ~traded & paid, "amount", "amount without volume")
    bad.add(frame, traded & pl.col("is_suspended"), "volume", "traded while suspended")
    bad.add(frame, pl.struct("symbol", "day").is_duplicated(), "day", "the row comes twice")
    days = frame["day"].unique().sort().to_list()
    closed = [day for day in days if not calendar.is_session(day)]
    bad.add(frame, pl.col("day").is_in(closed), "day", f"no session by {calendar.name}")
    bad.raise_if_any()


def checksum(frame: pl.DataFrame) -> str:
    """Return the SHA-256 over the rows, whatever their order, file or format was."""
    text = (
        frame.sort("symbol", "day")
        .with_columns((pl.col("turnover_rate") * 1e10).round(0).cast(pl.Int64))
        .write_csv()
    )
    return sha256_hex(text.encode())
