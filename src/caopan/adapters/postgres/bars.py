"""Bars in bulk: a normalised frame into the partitions of `bar` and back, by COPY.

Owns the writing and reading of data sets. Must never change a row: what comes back equals what was
given. The frame is the one adapters/market_data makes (prices and amounts as integer units);
adapters do not import each other, so its columns are named here once more and checked. Tests:
tests/integration/postgres/test_bars.py. Measured: bench/ledger.py.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import date
from io import BytesIO
from typing import Any, Final, cast

import polars as pl
import psycopg

from caopan.adapters.postgres.connection import conninfo, place
from caopan.adapters.postgres.errors import not_connected, translated
from caopan.adapters.postgres.partitions import ENSURE_BARS
from caopan.kernel.errors import ConfigInvalid

SCHEMA: Final = pl.Schema(
    {
        "symbol": pl.String(),
        "day": pl.Date(),
        "open": pl.Int64(),
        "high": pl.Int64(),
        "low": pl.Int64(),
        "close": pl.Int64(),
        "pre_close": pl.Int64(),
        "volume": pl.Int64(),
        "amount": pl.Int64(),
        "limit_up": pl.Int64(),
        "limit_down": pl.Int64(),
        "is_suspended": pl.Boolean(),
        "is_st": pl.Boolean(),
        "is_ex_date": pl.Boolean(),
        "list_date": pl.Date(),
        "cash_per_share": pl.Int64(),
        "share_factor": pl.String(),
        "turnover_rate": pl.Float64(),
    }
)
_MONEY: Final = (
    "open",
    "high",
    "low",
    "close",
    "pre_close",
    "amount",
    "limit_up",
    "limit_down",
    "cash_per_share",
)
_COLUMNS: Final = ", ".join(SCHEMA)
_COPY_IN: Final = f"COPY bar (dataset_id, {_COLUMNS}) FROM STDIN (FORMAT csv)"
_UNITS: Final = ", ".join(
    f"({name} * 10000)::bigint AS {name}" if name in _MONEY else name for name in SCHEMA
)
_COPY_OUT: Final = (
    f"COPY (SELECT {_UNITS} FROM bar WHERE dataset_id = %(dataset_id)s"  # noqa: S608 - own names
    " ORDER BY symbol, day) TO STDOUT (FORMAT csv)"
)
_ONE_IMPORT: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%(checksum)s, 0))"
_FIND: Final = "SELECT dataset_id FROM dataset WHERE checksum = %(checksum)s"
_LAST_CLOSES: Final = """
    SELECT DISTINCT ON (symbol) symbol, day, (close * 10000)::bigint
    FROM bar JOIN dataset USING (dataset_id)
    WHERE checksum = %(checksum)s AND symbol = ANY(%(symbols)s) AND day <= %(day)s
    ORDER BY symbol, day DESC
"""
_INSERT: Final = """
    INSERT INTO dataset (label, source, checksum, synthetic, row_count, first_day, last_day)
    VALUES (%(label)s, %(source)s, %(checksum)s, %(synthetic)s, %(rows)s, %(first)s, %(last)s)
    RETURNING dataset_id
"""


def import_bars(
    url: str, *, label: str, source: str, checksum: str, synthetic: bool, frame: pl.DataFrame
) -> int:
    """Store `frame` whole or not at all, and return the number of its data set.

    A checksum that is stored already changes nothing and returns the data set stored then.

    Raises ConfigInvalid DATA_COLUMNS, CorruptState CHECK_VIOLATION, Unavailable.
    """
    missing = [name for name, kind in SCHEMA.items() if frame.schema.get(name) != kind]
    if missing or frame.is_empty():
        raise ConfigInvalid("DATA_COLUMNS", f"{label}: not the normalised schema: {missing}")
    params = {
        "label": label,
        "source": source,
        "checksum": checksum,
        "synthetic": synthetic,
        "rows": frame.height,
        "first": cast("Any", frame["day"].min()),
        "last": cast("Any", frame["day"].max()),
    }
    with _connected(url) as connection, connection.cursor() as cursor:
        # Two processes that import the same file at once store it once.
        cursor.execute(_ONE_IMPORT, params)
        found = cursor.execute(_FIND, params).fetchone()
        if found is not None:
            return found[0]
        cursor.execute(ENSURE_BARS, params)
        row = cursor.execute(_INSERT, params).fetchone()
        assert row is not None
        with cursor.copy(cast("Any", _COPY_IN)) as copy:
            copy.write(_as_csv(frame, row[0]))
        return row[0]


def load_bars(url: str, dataset_id: int) -> pl.DataFrame:
    """Return a stored data set in the normalised schema, sorted by symbol and day.

    Raises ConfigInvalid DATASET_UNKNOWN.
    """
    received = BytesIO()
    wanted = {"dataset_id": dataset_id}
    with (
        _connected(url) as connection,
        connection.cursor() as cursor,
        cursor.copy(cast("Any", _COPY_OUT), wanted) as copy,
    ):
        for block in copy:
            received.write(block)
    if not received.tell():
        raise ConfigInvalid("DATASET_UNKNOWN", f"there is no data set {dataset_id}")
    flags = [name for name, kind in SCHEMA.items() if kind == pl.Boolean()]
    texts = {name: pl.String() if name in flags else kind for name, kind in SCHEMA.items()}
    received.seek(0)
    frame = pl.read_csv(received, has_header=False, schema=pl.Schema(texts))
    return frame.with_columns(pl.col(name) == "t" for name in flags)


def last_closes(
    url: str, checksum: str, symbols: Sequence[str], day: date
) -> dict[str, tuple[int, date]]:
    """Return, by symbol, the last stored close (units) on or before `day`, and its day."""
    params = {"checksum": checksum, "symbols": list(symbols), "day": day}
    with _connected(url) as connection:
        rows = connection.execute(_LAST_CLOSES, params).fetchall()
    return {symbol: (close, on) for symbol, on, close in rows}


def _as_csv(frame: pl.DataFrame, dataset_id: int) -> bytes:
    # "124700e-4" is an exact numeric to the server; writing it so needs no division here.
    written = [
        pl.concat_str(pl.col(name), pl.lit("e-4")).alias(name) if name in _MONEY else pl.col(name)
        for name in SCHEMA
    ]
    rows = frame.sort("day", "symbol").select(pl.lit(dataset_id).alias("dataset_id"), *written)
    return rows.write_csv(include_header=False).encode()


@contextmanager
def _connected(url: str) -> Generator[psycopg.Connection[tuple[Any, ...]]]:
    """Yield a connection whose transaction is committed at the end, or rolled back."""
    try:
        connection = psycopg.connect(conninfo(url))
    except psycopg.OperationalError as error:
        raise not_connected(error, place(url)) from error
    committing = False
    try:
        yield connection
        committing = True
        connection.commit()
    except psycopg.Error as error:
        raise translated(error, lost=connection.closed, committing=committing) from error
    finally:
        connection.close()
