"""Vendors' types and notations become exact units, or are blamed."""

import math
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.market_data.mapping import ColumnMapping, find_layout
from caopan.adapters.market_data.normalise import normalise, read_factor
from caopan.kernel.errors import ConfigInvalid


def table(**columns):
    row = {
        "symbol": "600519.SH",
        "date": "2023-01-03",
        "open": 10.0,
        "high": 10.0,
        "low": 10.0,
        "close": 10.0,
        "pre_close": 10.0,
        "volume": 1000,
        "amount": 10_000.0,
        **columns,
    }
    return pl.DataFrame({name: [value] for name, value in row.items()})


def read(raw, **mapping):
    layout = find_layout(raw.columns, ColumnMapping(**mapping), "batch")
    return normalise(raw, layout, "batch").row(0, named=True)


@pytest.mark.parametrize(
    "value", [12.47, 12.469999, 12.470001, "12.47", " 12.470 ", Decimal("12.47")]
)
def test_a_price_is_the_tick_it_stands_for(value):
    assert read(table(close=value))["close"] == 124_700


@pytest.mark.parametrize("value", [12.475, 12.4699, 12.47001, "12.4x", "nan", "--"])
def test_a_price_off_every_tick_is_blamed(value):
    with pytest.raises(ConfigInvalid, match=r"DATA_BAD_ROW.*close") as caught:
        read(table(close=value))
    assert repr(value) in caught.value.message


@given(st.integers(1, 10_000_000))
def test_single_and_double_precision_give_back_every_price(cents):
    assert read(table(close=cents / 100))["close"] == cents * 100
    single = table().with_columns(pl.Series("close", [cents / 100], pl.Float32))
    if cents < 1_000_000:
        assert read(single)["close"] == cents * 100


@pytest.mark.parametrize(
    "value",
    [
        "2023-01-03",
        "20230103",
        "2023/01/03",
        "2023-01-03 00:00:00",
        20230103,
        date(2023, 1, 3),
        datetime(2023, 1, 3),  # noqa: DTZ001  # a file's own naive time
    ],
)
def test_days_in_any_usual_notation(value):
    assert read(table(date=value))["day"] == date(2023, 1, 3)


@pytest.mark.parametrize("value", ["2023-01-03 09:45:00", "3 January", 45])
def test_what_is_no_day_is_blamed(value):
    with pytest.raises(ConfigInvalid, match=r"DATA_BAD_ROW.*day"):
        read(table(date=value))


@pytest.mark.parametrize(
    ("value", "expected"), [("sh.600519", "600519.SH"), (1, "000001.SZ"), (600519, "600519.SH")]
)
def test_symbols_in_vendors_spellings(value, expected):
    assert read(table(symbol=value))["symbol"] == expected


def test_a_missing_symbol_is_refused():
    with pytest.raises(ConfigInvalid, match="without a symbol"):
        read(table().with_columns(pl.lit(None, pl.String).alias("symbol")))


@pytest.mark.parametrize("value", [True, 1, "1", "True", "是", "1.0"])
def test_flags_in_any_notation(value):
    assert read(table(is_st=value))["is_st"] is True
    # BaoStock's tradestatus is 1 where the share trades.
    assert read(table(tradestatus=value))["is_suspended"] is False


@pytest.mark.parametrize("value", [2, "maybe", None])
def test_a_flag_that_is_none_is_blamed(value):
    with pytest.raises(ConfigInvalid, match=r"DATA_BAD_ROW.*is_st"):
        read(table(is_st=value))


@pytest.mark.parametrize(
    ("name", "is_st"), [("*ST国华", True), ("ST华微", True), ("贵州茅台", False)]
)
def test_st_is_read_from_the_name_where_there_is_no_flag(name, is_st):
    assert read(table(name=name))["is_st"] is is_st


@pytest.mark.parametrize("value", [0.0, 99999.99, 100000.0, math.nan, None])
def test_vendors_words_for_no_limit_are_null(value):
    row = read(table().with_columns(pl.lit(value, pl.Float64).alias("up_limit")))
    assert row["limit_up"] is None


def test_figures_that_may_be_absent_are_null():
    row = read(table(换手率=math.nan, cash_per_share=None, share_factor=None, list_date=None))
    absent = ("turnover_rate", "cash_per_share", "share_factor", "list_date", "limit_up")
    assert {name: row[name] for name in absent} == dict.fromkeys(absent)


def test_turnover_is_a_fraction():
    assert read(table(turn=0.1837))["turnover_rate"] == pytest.approx(0.001837)
    given = read(table(turnover_rate=0.0018), units={"turnover_rate": "fraction"})
    assert given["turnover_rate"] == 0.0018


@pytest.mark.parametrize("value", [1000.5, "many", math.nan])
def test_a_volume_of_broken_shares_is_blamed(value):
    with pytest.raises(ConfigInvalid, match=r"DATA_BAD_ROW.*volume"):
        read(table(volume=value))


def test_a_column_of_another_kind_is_refused():
    with pytest.raises(ConfigInvalid, match=r"DATA_COLUMNS.*close"):
        read(table(close=[1.0]))


@pytest.mark.parametrize(("text", "factor"), [("1.3", "13/10"), ("13/10", "13/10"), ("1", "1")])
def test_share_factors_become_fractions(text, factor):
    assert read_factor(text) == factor
    row = read(table(cash_per_share=0.365, share_factor=text))
    assert (row["cash_per_share"], row["share_factor"]) == (3650, factor)
    assert row["is_ex_date"]


@pytest.mark.parametrize("text", ["0", "-1", "x", "1/0", "", "nan"])
def test_a_factor_that_is_none_is_blamed(text):
    assert read_factor(text) is None
    with pytest.raises(ConfigInvalid, match=r"DATA_BAD_ROW.*share_factor"):
        read(table(cash_per_share=0.1, share_factor=text))


@given(st.fractions(min_value=Fraction(1, 100), max_value=100, max_denominator=1000))
def test_a_factor_comes_back_as_the_fraction_it_is(value):
    assert read_factor(str(value)) == str(value)


def test_the_previous_close_serves_only_where_it_is_declared():
    raw = pl.concat([table(date="2023-01-03"), table(date="2023-01-04", close=10.0)])
    layout = find_layout(
        raw.drop("pre_close").columns, ColumnMapping(previous_close_as_pre_close=True), "batch"
    )
    frame = normalise(raw.drop("pre_close"), layout, "batch")
    # The first row only gives the second its reference price.
    assert frame.select("day", "pre_close").rows() == [(date(2023, 1, 4), 100_000)]
