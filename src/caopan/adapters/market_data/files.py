"""Daily bars from Parquet and CSV files, one or a folder of them.

Owns finding, reading and joining the files. Must never load a part of a bad batch, nor leave a file
of a folder out without saying so. Tests: tests/unit/adapters/market_data/test_files.py.

A folder may hold one file for all symbols or one each (then the symbol may be its name:
600519.SH.csv, sh600519.csv), and corporate actions, known by their columns symbol, ex_date,
cash_per_share (yuan, pre-tax) and share_factor (holding after / before). Files of it that are no
daily bars, or whose prices are adjusted, are left out and named in the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from caopan.adapters.market_data.frame import validate
from caopan.adapters.market_data.mapping import (
    COLUMNS,
    ColumnMapping,
    find_layout,
    read_mapping,
)
from caopan.adapters.market_data.normalise import normalise, read_days, read_factor, refuse_adjusted
from caopan.adapters.market_data.problems import BadRows
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.symbols import SYMBOL_INVALID, canonical_symbol
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import UNITS_PER_YUAN

MAPPING_FILE = "mapping.toml"
FILE = "DATA_FILE"
_SUFFIXES = (".parquet", ".csv")
_NOT_BARS = frozenset({COLUMNS, "DATA_ADJUSTED", "DATA_EMPTY", SYMBOL_INVALID})
_ACTIONS = ("symbol", "ex_date", "cash_per_share", "share_factor")
_NAMED_FILES = 5


def load_files(
    path: Path, calendar: TradingCalendar, mapping: ColumnMapping | None = None
) -> tuple[pl.DataFrame, str]:
    """Return the validated frame of the file or folder `path`, and a label that names it.

    `mapping` None takes mapping.toml beside the files, where there is one.

    Raises:
        ConfigInvalid: DATA_FILE if nothing readable is there; else what makes the batch bad
            (DATA_COLUMNS, DATA_EMPTY, DATA_ADJUSTED, DATA_BAD_ROW, DATA_UNIT, SYMBOL_INVALID).
        Denied: DATA_CALENDAR if the bars reach beyond the calendar.
    """
    files = _files(path)
    if mapping is None:
        sidecar = (path if path.is_dir() else path.parent) / MAPPING_FILE
        mapping = read_mapping(sidecar) if sidecar.is_file() else ColumnMapping()
    label = path.resolve().name
    if not path.is_dir():
        table = _read(path)
        frame = _bars(table, mapping, path)
        return validate(frame, calendar, label=label), label + _caveat(table, mapping)
    frame, note = _folder(files, mapping)
    return validate(frame, calendar, label=label), f"{label}{note}"


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        found = sorted(item for item in path.iterdir() if item.suffix.lower() in _SUFFIXES)
        if not found:
            raise ConfigInvalid(
                FILE, f"{path}: the folder holds no .parquet or .csv file", remedy="give bars"
            )
        return found
    if not path.is_file():
        raise ConfigInvalid(FILE, f"{path}: no such file or folder", remedy="correct the path")
    if path.suffix.lower() not in _SUFFIXES:
        raise ConfigInvalid(
            FILE,
            f"{path}: {path.suffix or 'no suffix'} is not read",
            remedy="give .parquet or .csv",
        )
    return [path]


def _read(path: Path) -> pl.DataFrame:
    try:
        parquet = path.suffix.lower() == ".parquet"
        table = pl.read_parquet(path) if parquet else _read_csv(path)
    except (OSError, pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise ConfigInvalid(
            FILE, f"{path}: cannot be read: {error}", remedy="give an intact file"
        ) from error
    if table.is_empty():
        raise ConfigInvalid("DATA_EMPTY", f"{path}: no rows", remedy="give a file with bars")
    return table


def _read_csv(path: Path) -> pl.DataFrame:
    body = path.read_bytes()
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        # What Chinese spreadsheets write.
        text = body.decode("gb18030")
    # All as text: codes keep their zeros, and what is no number is named as it stands.
    return pl.read_csv(text.encode(), infer_schema=False)


def _bars(table: pl.DataFrame, mapping: ColumnMapping, path: Path) -> pl.DataFrame:
    refuse_adjusted(table, path.name)
    layout = find_layout(table.columns, mapping, path.name)
    if "symbol" not in layout.columns:
        table = table.with_columns(pl.lit(_symbol_in_name(path, table)).alias("symbol"))
        layout = find_layout(table.columns, mapping, path.name)
    return normalise(table, layout, path.name)


def _symbol_in_name(path: Path, table: pl.DataFrame) -> str:
    try:
        return canonical_symbol(path.stem)
    except ConfigInvalid as error:
        raise ConfigInvalid(
            COLUMNS,
            f"{path.name}: no column for symbol among {', '.join(table.columns)}, and the file's"
            " name is no symbol",
            remedy="name the column in mapping.toml under [columns], or the file 600519.SH.csv",
        ) from error


def _folder(files: Sequence[Path], mapping: ColumnMapping) -> tuple[pl.DataFrame, str]:
    bars: list[pl.DataFrame] = []
    actions: list[tuple[Path, pl.DataFrame]] = []
    left_out: list[str] = []
    refusal: ConfigInvalid | None = None
    caveat = ""
    for path in files:
        try:
            table = _read(path)
            if set(_ACTIONS) <= set(table.columns):
                actions.append((path, table))
                continue
            bars.append(_bars(table, mapping, path))
            caveat = caveat or _caveat(table, mapping)
        except ConfigInvalid as error:
            if error.code not in _NOT_BARS:
                raise
            refusal = refusal or error
            left_out.append(f"{path.name} ({error.code})")
    if not bars:
        assert refusal is not None or actions
        raise refusal or ConfigInvalid("DATA_EMPTY", "corporate actions without bars")
    frame = pl.concat(bars)
    for path, table in actions:
        frame = _with_actions(frame, table, path.name)
    note = f" ({len(bars)} files)" if len(bars) > 1 else ""
    if left_out:
        more = len(left_out) - _NAMED_FILES
        named = ", ".join(left_out[:_NAMED_FILES]) + (f" and {more} more" if more > 0 else "")
        note += f"; left out: {named}"
    return frame, note + caveat


def _caveat(table: pl.DataFrame, mapping: ColumnMapping) -> str:
    """Return what a person must know of a file that does not tell who is under ST."""
    found = find_layout(table.columns, mapping, "").columns
    return "" if {"is_st", "name"} & set(found) else "; no ST column: none taken for ST"


def _with_actions(frame: pl.DataFrame, table: pl.DataFrame, label: str) -> pl.DataFrame:
    """Return `frame` with the exact corporate actions of `table` on their ex-dates.

    Raises:
        ConfigInvalid: DATA_BAD_ROW if one is unreadable, comes twice, or falls on a day within its
            symbol's bars that has no bar.
    """
    bad = BadRows(label)
    cash = pl.col("cash_per_share").cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False)
    factor = pl.col("share_factor").cast(pl.String)
    known = {text: read_factor(text) for text in table["share_factor"].cast(pl.String).drop_nulls()}
    spelled = {text: canonical_symbol(text) for text in table["symbol"].cast(pl.String).unique()}
    read = table.select(
        pl.col("symbol").cast(pl.String).replace_strict(spelled, return_dtype=pl.String),
        read_days(pl.col("ex_date"), table["ex_date"].dtype).alias("day"),
        (cash * UNITS_PER_YUAN).round(0).cast(pl.Int64, strict=False).alias("cash_per_share"),
        factor.replace_strict(known, default=None, return_dtype=pl.String).alias("share_factor"),
    )
    for column in ("day", "cash_per_share", "share_factor"):
        bad.add(read, pl.col(column).is_null(), column, "unreadable")
    bad.add(read, pl.col("cash_per_share") < 0, "cash_per_share", "negative")
    bad.add(read, pl.struct("symbol", "day").is_duplicated(), "day", "the action comes twice")
    ranges = frame.group_by("symbol").agg(
        pl.col("day").min().alias("first"), pl.col("day").max().alias("last")
    )
    lost = read.join(frame.select("symbol", "day"), on=["symbol", "day"], how="anti").join(
        ranges, on="symbol"
    )
    bad.add(lost, pl.col("day").is_between("first", "last"), "day", "an ex-date without a bar")
    bad.raise_if_any()
    merged = frame.drop("cash_per_share", "share_factor").join(
        read, on=["symbol", "day"], how="left", maintain_order="left"
    )
    given = pl.col("share_factor").is_not_null()
    return merged.with_columns((pl.col("is_ex_date") | given).alias("is_ex_date")).select(
        frame.columns
    )
