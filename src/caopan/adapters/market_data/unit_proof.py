"""Proves the units of volume and amount: their quotient must be a price of the day.

Owns the check amount/volume within [low, high] and the naming of the factor a batch seems to have.
Must never convert: units are converted where they are declared, here they are proved. Tests:
tests/unit/adapters/market_data/test_unit_proof.py.

A vendor's single wrong figure fits no unit and is tolerated (it shows in the panel's audit); a row
that fits another unit, or a symbol most of whose rows fit none, refuses the batch.
"""

from __future__ import annotations

import polars as pl

from caopan.adapters.market_data.problems import NAMED_ROWS, UNIT
from caopan.kernel.errors import ConfigInvalid

TOLERANCE = 0.002
"""Amounts come rounded to yuan or thousands, volumes to lots."""
FACTORS = (100.0, 0.01, 1000.0, 0.001, 10.0, 0.1, 10_000.0, 0.0001, 100_000.0, 0.00001)
"""What (amount/volume)/price shows when a unit is wrong; 1 is right."""
_STRAY_SHARE = 0.05

_WORDS = {
    100.0: "volume is in lots (手), or amount in fen",
    0.01: "amount is in hundreds of yuan, or volume 100 times too large",
    1000.0: "volume is in thousands of shares",
    0.001: "amount is in thousands of yuan",
    10.0: "volume in lots beside amount in ten fen",
    0.1: "volume in lots beside amount in thousands of yuan",
    10_000.0: "volume is in ten thousands of shares (万股)",
    0.0001: "amount is in ten thousands of yuan (万元)",
    100_000.0: "volume is in hundred thousands of shares",
    0.00001: "volume in lots beside amount in ten millions of yuan",
}


def fits(factor: float) -> pl.Expr:
    """Return whether amount/volume, freed of `factor`, lies within [low, high]."""
    price = pl.col("amount") / pl.col("volume") / factor
    low, high = pl.col("low") * (1 - TOLERANCE), pl.col("high") * (1 + TOLERANCE)
    return (price >= low) & (price <= high)


def prove_units(frame: pl.DataFrame, label: str) -> None:
    """Refuse a batch whose volume or amount is in another unit, or whose prices are adjusted.

    Rows without volume or amount prove nothing and pass.

    Raises:
        ConfigInvalid: DATA_UNIT naming each symbol (up to ten) with the factor it seems to have.
    """
    traded = frame.filter((pl.col("volume") > 0) & (pl.col("amount") > 0))
    # The first factor that fits, 1 before all others; null where none does.
    seen = pl.coalesce(
        pl.when(fits(factor)).then(pl.lit(factor)) for factor in (1.0, *FACTORS)
    ).alias("factor")
    wrong = traded.with_columns(seen).filter(pl.col("factor").is_null() | (pl.col("factor") != 1))
    if wrong.is_empty():
        return
    rows = traded.group_by("symbol").agg(pl.len().alias("rows"))
    found = (
        wrong.group_by("symbol", "factor")
        .agg(pl.len().alias("wrong"), pl.col("day").min().alias("day"))
        .join(rows, on="symbol")
        .filter(pl.col("factor").is_not_null() | (pl.col("wrong") > pl.col("rows") * _STRAY_SHARE))
        .sort("symbol", "day")
    )
    if found.is_empty():
        return
    named = [_named(row) for row in found.head(NAMED_ROWS).iter_rows(named=True)]
    rest = found.height - len(named)
    raise ConfigInvalid(
        UNIT,
        f"{label}: amount/volume is no price between low and high: {'; '.join(named)}"
        + (f" and {rest} more" if rest else ""),
        remedy="declare the units in mapping.toml ([units] volume, amount), one unit per file",
    )


def _named(row: dict[str, object]) -> str:
    factor = row["factor"]
    where = f"{row['symbol']} on {row['wrong']} of {row['rows']} rows from {row['day']}"
    if not isinstance(factor, float):
        return f"{where} fits no unit; adjusted prices, or amount and volume of different days"
    return f"{where} seems off by the factor {factor:g}: {_WORDS[factor]}"
