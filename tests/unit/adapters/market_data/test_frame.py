"""A batch is used as a whole or refused with its rows named."""

import math
from datetime import date

import polars as pl
import pytest

from caopan.adapters.market_data.frame import SCHEMA, checksum, empty, validate
from caopan.adapters.market_data.mapping import ColumnMapping, find_layout
from caopan.adapters.market_data.normalise import normalise
from caopan.kernel.errors import ConfigInvalid, Denied


def load(raw, calendar):
    layout = find_layout(raw.columns, ColumnMapping(), "batch")
    return validate(normalise(raw, layout, "batch"), calendar, label="batch")


def test_a_sound_batch_is_sorted_and_exact(bars, calendar):
    frame = load(bars.sample(fraction=1.0, shuffle=True, seed=1), calendar)
    assert frame.schema == SCHEMA
    assert frame.select("symbol", "day").rows() == sorted(frame.select("symbol", "day").rows())
    first = frame.row(0, named=True)
    assert first["symbol"] == "300750.SZ"
    assert (first["open"], first["close"], first["pre_close"]) == (3_995_000, 4_000_000, 3_990_000)
    assert first["volume"] == 10_000
    assert first["amount"] == 3_998_000 * 10_000


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("high", math.nan, "high"),
        ("close", math.inf, "close"),
        ("close", None, "close"),
        ("pre_close", None, "pre_close"),
        ("open", -5.0, "open"),
        ("close", 0.0, "close"),
        ("volume", -100, "volume"),
        ("amount", -1.0, "amount"),
        ("amount", 0.0, "amount"),
        ("high", 1690.0, "high"),
        ("close", 1702.0, "close"),
        ("open", 1690.0, "open"),
        ("close", 1700.005, "close"),
        ("close", 3e7, "close"),
        ("date", "2023-01-02", "no session"),
        ("date", "2023-01-04", "twice"),
        ("date", "yesterday", "day"),
        ("is_suspended", True, "traded while suspended"),
    ],
)
def test_one_bad_value_refuses_the_batch_and_is_named(spoil, calendar, column, value, named):
    with pytest.raises(ConfigInvalid) as caught:
        load(spoil(column, value), calendar)
    assert caught.value.code == "DATA_BAD_ROW"
    assert "600519.SH" in caught.value.message
    assert named in caught.value.message
    assert caught.value.remedy


def test_a_bad_value_is_named_in_the_units_of_the_file(spoil, calendar):
    """1.00 yuan was named as high=10000, a holiday as datetime.date(...)."""
    with pytest.raises(ConfigInvalid, match=r"high='1\.00' \(high is below low\)"):
        load(spoil("high", 1.0), calendar)
    with pytest.raises(ConfigInvalid, match=r"2023-01-07 day=2023-01-07 \(no session"):
        load(spoil("date", "2023-01-07"), calendar)


def test_ten_rows_are_named_and_all_are_counted(bars, calendar):
    many = pl.concat(
        bars.with_columns(pl.lit(-1).alias("volume"), pl.col("symbol").str.replace("00", f"{n:02}"))
        for n in range(4)
    )
    with pytest.raises(ConfigInvalid, match="32 bad rows") as caught:
        load(many, calendar)
    assert caught.value.message.count("volume=-1") == 10
    assert "and more" in caught.value.message


@pytest.mark.parametrize("day", ["2022-12-30", "2023-02-01"])
def test_days_the_calendar_does_not_know_are_refused(spoil, calendar, day):
    with pytest.raises(Denied, match="DATA_CALENDAR"):
        load(spoil("date", day), calendar)


@pytest.mark.parametrize("symbol", ["000300.SH", "510300.SH", "AAPL", "600519.SZ"])
def test_what_is_no_a_share_is_refused(spoil, calendar, symbol):
    with pytest.raises(ConfigInvalid, match="SYMBOL_INVALID"):
        load(spoil("symbol", symbol), calendar)


def test_no_rows_or_another_schema_are_refused(bars, calendar):
    with pytest.raises(ConfigInvalid, match="DATA_EMPTY"):
        validate(empty(), calendar)
    with pytest.raises(ConfigInvalid, match="DATA_COLUMNS"):
        validate(bars, calendar)


def test_suspended_rows_are_flat_whatever_the_vendor_wrote(bars, calendar):
    last = bars.height - 1
    number = pl.int_range(pl.len())
    for missing in (None, 0.0):
        raw = bars.with_columns(
            pl.when(number == last).then(pl.lit(missing, pl.Float64)).otherwise(name).alias(name)
            for name in ("open", "high", "low", "close")
        ).with_columns(
            pl.when(number == last).then(0).otherwise("volume").alias("volume"),
            pl.when(number == last).then(0.0).otherwise("amount").alias("amount"),
            (number == last).alias("is_suspended"),
        )
        row = load(raw, calendar).row(3, named=True)
        assert row["is_suspended"]
        assert {row[name] for name in ("open", "high", "low", "close")} == {row["pre_close"]}


def test_ex_dates_are_where_the_reference_price_leaves_the_close(spoil, calendar):
    frame = load(spoil("pre_close", 1698.0, row=1), calendar)
    found = frame.filter("is_ex_date").select("symbol", "day").rows()
    assert found == [("600519.SH", date(2023, 1, 4))]


def test_the_checksum_is_of_the_rows_not_of_their_order(bars, spoil, calendar):
    frame = load(bars, calendar)
    assert checksum(frame) == checksum(frame.reverse())
    assert checksum(frame) != checksum(load(spoil("close", 1700.01), calendar))
    assert checksum(frame) != checksum(frame.head(frame.height - 1))
