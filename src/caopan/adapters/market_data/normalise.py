"""Brings a vendor's table to the normalised frame, exactly or not at all.

Owns the conversion of types and units. A vendor's float is taken for the tick it stands for when it
lies within a millionth of a yuan of one (12.469999 is 12.47), and blamed otherwise. Must never fill
a missing figure with a guess. Tests: tests/unit/adapters/market_data/test_normalise.py.

A suspended row, or one without volume, may come without prices or with zeros: it is flat at its
close, or else at its reference price, which is what such a day means.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from fractions import Fraction

import polars as pl

from caopan.adapters.market_data.frame import SCHEMA
from caopan.adapters.market_data.mapping import COLUMNS, NAMES, Layout
from caopan.adapters.market_data.problems import UNIT, BadRows
from caopan.adapters.market_data.unit_proof import prove_units
from caopan.domain.market.symbols import canonical_symbol
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import UNITS_PER_YUAN

TICKS_PER_YUAN = 100
"""A shares trade in ticks of 0.01 yuan."""
PRICE_NOISE_YUAN = 1.5e-6
HIGHEST_PRICE_YUAN = 1e6
NO_LIMIT_FROM_YUAN = 10_000
"""Vendors write 99999.99, 100000 or 0 where no limit applies or none is known."""
_SINGLE_PRECISION = 2.0**-22
_SHARE_NOISE = 0.01
_LARGEST = 2.0**53
_UNADJUSTED = frozenset({"", "none", "none(inferred)", "3", "不复权"})
_TRUE = ("1", "true", "t", "yes", "是")
_FALSE = ("0", "false", "f", "no", "否")
_DAY_FORMATS = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d")
_MIDNIGHT = r"[ T]0{1,2}:00(:00(\.0+)?)?$"


def normalise(raw: pl.DataFrame, layout: Layout, label: str) -> pl.DataFrame:
    """Return `raw` in the normalised schema; `frame.validate` then judges it as a whole.

    Raises:
        ConfigInvalid: SYMBOL_INVALID, DATA_UNIT for a unit that is wrong, or neither declared nor
            provable, DATA_BAD_ROW for unreadable values.
    """
    table = raw.select(pl.col(theirs).alias(ours) for ours, theirs in layout.columns.items())
    _refuse_unproved_volume(table, layout, label)
    bad = BadRows(label)
    table = _days(_symbols(table, label), bad)
    bad.raise_if_any()
    table = _flags(table, bad)
    for column in ("open", "high", "low", "close", "pre_close"):
        table = _price(table, column, bad)
    for column in ("limit_up", "limit_down"):
        table = _limit(table, column, bad)
    table = _scaled(table, "volume", layout.volume_factor, bad)
    table = _scaled(table, "amount", layout.amount_factor * UNITS_PER_YUAN, bad)
    table = _scaled(table, "cash_per_share", UNITS_PER_YUAN, bad)
    table = _factor(table, bad)
    bad.raise_if_any()
    _prove_units(table, label)
    table = _whole(table, "volume", bad, noise=_SHARE_NOISE)
    table = _whole(_whole(table, "amount", bad), "cash_per_share", bad)
    bad.raise_if_any()
    table = _flat_days(_reference_price(table, layout))
    return _in_schema(_ex_dates(table), layout)


def refuse_adjusted(raw: pl.DataFrame, label: str) -> None:
    """Refuse a table that says of itself that its prices are adjusted.

    Raises:
        ConfigInvalid: DATA_ADJUSTED.
    """
    for column in NAMES["adjusted"]:
        if column not in raw.columns:
            continue
        kinds = raw[column].cast(pl.String).fill_null("").str.strip_chars().unique()
        adjusted = sorted(set(kinds.str.to_lowercase()) - _UNADJUSTED)
        if adjusted:
            raise ConfigInvalid(
                "DATA_ADJUSTED",
                f"{label}: prices are adjusted ({', '.join(adjusted)}); nobody traded at them, so"
                " limits, fees and fills would be invented",
                remedy="give unadjusted bars; dividends come from pre_close or corporate actions",
            )


def read_days(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return `column` as dates, null where it names no day."""
    if isinstance(dtype, pl.Date):
        return column
    text = column.cast(pl.String).str.strip_chars().str.replace(_MIDNIGHT, "")
    return pl.coalesce(text.str.to_date(form, strict=False) for form in _DAY_FORMATS)


def read_factor(text: str) -> str | None:
    """Return a share factor such as "1.3" or "13/10" as the shortest fraction, None if it is none.

    The factor is what a holder of one share holds after the ex-date, so it is positive.
    """
    try:
        over, _, under = text.partition("/")
        value = Fraction(Decimal(over.strip())) / Fraction(Decimal(under.strip() or "1"))
    except (InvalidOperation, ValueError, OverflowError, ZeroDivisionError):
        return None
    return str(value) if value > 0 else None


def _refuse_unproved_volume(table: pl.DataFrame, layout: Layout, label: str) -> None:
    proved = "amount" in table.columns and table["amount"].null_count() < table.height
    if not proved and not layout.units_declared:
        raise ConfigInvalid(
            UNIT,
            f"{label}: without amounts the unit of volume cannot be proved",
            remedy='declare it in mapping.toml: [units] volume = "share" or "lot"',
        )


def _symbols(table: pl.DataFrame, label: str) -> pl.DataFrame:
    text = pl.col("symbol").cast(pl.String).str.strip_chars()
    if table["symbol"].dtype.is_integer():
        # A spreadsheet that took codes for numbers lost their leading zeros.
        text = text.str.zfill(6)
    table = table.with_columns(text.alias("symbol"))
    if table["symbol"].null_count():
        raise ConfigInvalid(
            COLUMNS, f"{label}: {table['symbol'].null_count()} rows without a symbol"
        )
    spelled = {name: canonical_symbol(name) for name in table["symbol"].unique()}
    return table.with_columns(pl.col("symbol").replace_strict(spelled, return_dtype=pl.String))


def _days(table: pl.DataFrame, bad: BadRows) -> pl.DataFrame:
    found = table.with_columns(read_days(pl.col("day"), table["day"].dtype).alias("read"))
    bad.add(found, pl.col("read").is_null(), "day", "write a day as 2023-01-04 or 20230104")
    found = found.with_columns(pl.col("read").alias("day")).drop("read")
    if "list_date" in found.columns:
        listed = read_days(pl.col("list_date"), found["list_date"].dtype)
        found = found.with_columns(listed.alias("list_date"))
    return found


def _flags(table: pl.DataFrame, bad: BadRows) -> pl.DataFrame:
    suspended, st = pl.lit(value=False), pl.lit(value=False)
    if "is_suspended" in table.columns:
        suspended = _flag(table, "is_suspended", bad)
    elif "tradestatus" in table.columns:
        suspended = ~_flag(table, "tradestatus", bad)
    if "is_st" in table.columns:
        st = _flag(table, "is_st", bad)
    elif "name" in table.columns:
        st = pl.col("name").cast(pl.String).str.to_uppercase().str.contains("ST", literal=True)
    return table.with_columns(suspended.alias("is_suspended"), st.alias("is_st"))


def _flag(table: pl.DataFrame, column: str, bad: BadRows) -> pl.Expr:
    if isinstance(table[column].dtype, pl.Boolean):
        bad.add(table, pl.col(column).is_null(), column, "missing")
        return pl.col(column)
    text = pl.col(column).cast(pl.String).str.strip_chars().str.to_lowercase()
    text = text.str.replace(r"\.0+$", "")
    true, false = text.is_in(_TRUE), text.is_in(_FALSE)
    bad.add(table, ~(true | false).fill_null(value=False), column, "write 0 or 1")
    return true


def _number(table: pl.DataFrame, column: str, bad: BadRows, *, needed: bool) -> pl.DataFrame:
    """Return `table` with `column` as float and what it was as `raw`; NaN only where not needed."""
    table = table.with_columns(pl.col(column).alias("raw"))
    dtype = table[column].dtype
    if isinstance(dtype, pl.String):
        text = pl.col("raw").str.strip_chars()
        text = pl.when(text != "").then(text)
        table = table.with_columns(text.cast(pl.Float64, strict=False).alias(column))
        unread = pl.col(column).is_null() & (pl.col("raw").str.strip_chars() != "")
        bad.add(table, unread, column, "not a number", shown="raw")
    elif dtype.is_numeric() or isinstance(dtype, pl.Null):
        table = table.with_columns(pl.col(column).cast(pl.Float64))
    else:
        raise ConfigInvalid(COLUMNS, f"{bad.label}: column {column} holds {dtype}, not numbers")
    odd = ~pl.col(column).is_finite()
    if needed:
        bad.add(table, odd, column, "not a finite number", shown="raw")
    return table.with_columns(pl.when(~odd).then(pl.col(column)).alias(column))


def _price(table: pl.DataFrame, column: str, bad: BadRows, *, needed: bool = True) -> pl.DataFrame:
    """Return `table` with `column` in units: the tick the number stands for, or blamed."""
    if column not in table.columns:
        return table
    single = isinstance(table[column].dtype, pl.Float32)
    table = _number(table, column, bad, needed=needed)
    value = pl.col(column)
    ticks = (value * TICKS_PER_YUAN).round(0)
    noise = PRICE_NOISE_YUAN + (value.abs() * _SINGLE_PRECISION if single else 0.0)
    huge = value.abs() > HIGHEST_PRICE_YUAN
    off = (value - ticks / TICKS_PER_YUAN).abs() > noise
    bad.add(table, huge, column, "no price of a share", shown="raw")
    bad.add(table, off & ~huge, column, "not a multiple of 0.01 yuan", shown="raw")
    exact = ticks.cast(pl.Int64, strict=False) * (UNITS_PER_YUAN // TICKS_PER_YUAN)
    return table.with_columns(exact.alias(column)).drop("raw")


def _limit(table: pl.DataFrame, column: str, bad: BadRows) -> pl.DataFrame:
    if column not in table.columns:
        return table
    table = _price(table, column, bad, needed=False)
    applies = (pl.col(column) > 0) & (pl.col(column) < NO_LIMIT_FROM_YUAN * UNITS_PER_YUAN)
    return table.with_columns(pl.when(applies).then(pl.col(column)).alias(column))


def _scaled(table: pl.DataFrame, column: str, factor: int, bad: BadRows) -> pl.DataFrame:
    """Return `table` with `column` as a float in our unit, the vendor's value kept beside it."""
    if column not in table.columns:
        return table
    table = _number(table, column, bad, needed=column == "volume")
    return table.with_columns(pl.col(column) * factor).rename({"raw": f"{column}_raw"})


def _whole(
    table: pl.DataFrame, column: str, bad: BadRows, *, noise: float | None = None
) -> pl.DataFrame:
    """Return `table` with `column` as integers; without `noise` it is rounded, else blamed."""
    if column not in table.columns:
        return table
    whole = pl.col(column).round(0)
    broken = pl.col(column).abs() > _LARGEST
    if noise is not None:
        broken = broken | ((pl.col(column) - whole).abs() > noise)
    bad.add(table, broken, column, "not a whole number in our unit", shown=f"{column}_raw")
    return table.with_columns(whole.cast(pl.Int64, strict=False).alias(column))


def _prove_units(table: pl.DataFrame, label: str) -> None:
    """Prove the units before broken shares are blamed: in a wrong unit most rows have them."""
    if "amount" not in table.columns:
        return
    inside = (pl.col(name).is_between("low", "high") for name in ("open", "close"))
    prove_units(table.filter(*inside), label)


def _factor(table: pl.DataFrame, bad: BadRows) -> pl.DataFrame:
    if "share_factor" not in table.columns:
        return table
    text = table["share_factor"].cast(pl.String)
    known = {item: read_factor(item) for item in text.drop_nulls().unique()}
    table = table.with_columns(
        text.replace_strict(known, default=None, return_dtype=pl.String).alias("fraction")
    )
    wrong = pl.col("share_factor").is_not_null() & pl.col("fraction").is_null()
    bad.add(table, wrong, "share_factor", "write it as 1.3 or 13/10")
    return table.with_columns(pl.col("fraction").alias("share_factor")).drop("fraction")


def _reference_price(table: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    table = table.sort("symbol", "day", maintain_order=True)
    if "pre_close" in table.columns or not layout.previous_close_as_pre_close:
        return table
    close = pl.when(pl.col("close") > 0).then(pl.col("close"))
    before = close.forward_fill().shift(1).over("symbol")
    # A symbol's first row only gives the reference price of its second.
    return table.with_columns(before.alias("pre_close")).filter(pl.col("pre_close").is_not_null())


def _flat_days(table: pl.DataFrame) -> pl.DataFrame:
    still = pl.col("is_suspended") | (pl.col("volume") == 0)
    table = table.with_columns(
        pl.when("is_suspended").then(pl.col("volume").fill_null(0)).otherwise("volume")
    )

    def flat(column: str, otherwise: str) -> pl.Expr:
        absent = still & (pl.col(column).is_null() | (pl.col(column) == 0))
        return pl.when(absent).then(otherwise).otherwise(column).alias(column)

    table = table.with_columns(flat("close", "pre_close"))
    return table.with_columns(flat(column, "close") for column in ("open", "high", "low"))


def _ex_dates(table: pl.DataFrame) -> pl.DataFrame:
    before = pl.col("close").shift(1).over("symbol")
    ex_date = (before.is_not_null() & (before != pl.col("pre_close"))).fill_null(value=False)
    for column in ("cash_per_share", "share_factor"):
        if column in table.columns:
            ex_date = ex_date | pl.col(column).is_not_null()
    return table.with_columns(ex_date.alias("is_ex_date"))


def _in_schema(table: pl.DataFrame, layout: Layout) -> pl.DataFrame:
    if "turnover_rate" in table.columns:
        rate = pl.col("turnover_rate").cast(pl.Float64, strict=False) / layout.turnover_divisor
        rate = pl.when(rate.is_finite()).then(rate)
        table = table.with_columns(rate.alias("turnover_rate"))
    return table.select(
        (pl.col(name) if name in table.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in SCHEMA.items()
    )
