"""Small batches of bars, written by hand, and the means to spoil them."""

from datetime import date

import polars as pl
import pytest

from caopan.domain.market.calendar import TradingCalendar

SESSIONS = tuple(
    date(2023, 1, day) for day in (3, 4, 5, 6, 9, 10, 11, 12, 13, 16, 17, 18, 19, 20, 30, 31)
)


@pytest.fixture
def calendar():
    return TradingCalendar("hand-made", date(2023, 1, 1), date(2023, 1, 31), SESSIONS)


@pytest.fixture
def bars():
    """Two shares over four sessions, as a vendor would give them: yuan, shares, floats."""
    rows = []
    for symbol, price in (("600519.SH", 1700.0), ("300750.SZ", 400.0)):
        for number, day in enumerate(SESSIONS[:4]):
            close = price + number
            rows.append(
                {
                    "symbol": symbol,
                    "date": day.isoformat(),
                    "open": close - 0.5,
                    "high": close + 1.0,
                    "low": close - 1.5,
                    "close": close,
                    "pre_close": close - 1.0,
                    "volume": 10_000,
                    "amount": (close - 0.2) * 10_000,
                    "is_suspended": False,
                    "is_st": False,
                }
            )
    return pl.DataFrame(rows)


@pytest.fixture
def spoil(bars):
    """Return the batch with one value of one row changed."""

    def change(column, value, row=0):
        number = pl.int_range(pl.len())
        return bars.with_columns(
            pl.when(number == row).then(pl.lit(value)).otherwise(pl.col(column)).alias(column)
        )

    return change
