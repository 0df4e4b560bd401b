"""Columns found by their names, by a mapping, or not at all."""

import pytest

from caopan.adapters.market_data.mapping import ColumnMapping, find_layout, read_mapping
from caopan.kernel.errors import ConfigInvalid

TUSHARE = [
    "ts_code",
    "trade_date",
    "open",
    "high",
    "low",
    "close",
    "pre_close",
    "change",
    "pct_chg",
    "vol",
    "amount",
]
AKSHARE = ["日期", "股票代码", "开盘", "收盘", "最高", "最低", "昨收", "成交量", "成交额", "换手率"]
BAOSTOCK = [
    "date",
    "code",
    "open",
    "high",
    "low",
    "close",
    "preclose",
    "volume",
    "amount",
    "adjustflag",
    "turn",
    "tradestatus",
    "isST",
]


@pytest.mark.parametrize(
    ("header", "volume", "amount"),
    [(TUSHARE, 100, 1000), (AKSHARE, 100, 1), (BAOSTOCK, 1, 1)],
)
def test_vendors_tables_are_known_with_their_units(header, volume, amount):
    layout = find_layout(header, ColumnMapping(), "file")
    assert {"symbol", "day", "open", "close", "pre_close", "volume", "amount"} <= set(
        layout.columns
    )
    assert (layout.volume_factor, layout.amount_factor) == (volume, amount)


def test_missing_columns_are_all_named():
    with pytest.raises(ConfigInvalid, match="no column for high, volume, pre_close") as caught:
        find_layout(["symbol", "date", "open", "low", "close"], ColumnMapping(), "file")
    assert caught.value.code == "DATA_COLUMNS"


def test_a_raw_previous_close_is_not_taken_for_the_reference_price():
    header = ["symbol", "date", "open", "high", "low", "close", "volume", "prev_close"]
    with pytest.raises(ConfigInvalid, match="pre_close") as caught:
        find_layout(header, ColumnMapping(), "file")
    assert "ex-right" in caught.value.remedy
    assert find_layout(header, ColumnMapping({"pre_close": "prev_close"}), "file")
    assert find_layout(header, ColumnMapping(previous_close_as_pre_close=True), "file")


def test_a_mapping_file_says_columns_units_and_assumptions(tmp_path):
    path = tmp_path / "mapping.toml"
    path.write_text(
        '[columns]\nday = "when"\n[units]\nvolume = "lot"\n'
        '[assume]\npre_close = "previous_close"\n',
        "utf-8",
    )
    mapping = read_mapping(path)
    assert mapping.columns == {"day": "when"}
    assert mapping.units == {"volume": "lot"}
    assert mapping.previous_close_as_pre_close


@pytest.mark.parametrize(
    "text",
    [
        '[columns]\nprice = "p"\n',
        "[columns]\nday = 3\n",
        '[units]\nvolume = "bushel"\n',
        '[units]\nday = "lot"\n',
        '[assume]\npre_close = "close"\n',
        '[assume]\nis_st = "no"\n',
        "[rows]\n",
        "columns = 3\n",
        "not toml",
    ],
)
def test_what_a_mapping_file_does_not_mean_is_refused(tmp_path, text):
    path = tmp_path / "mapping.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigInvalid, match="DATA_COLUMNS") as caught:
        read_mapping(path)
    assert caught.value.remedy


def test_a_mapping_to_a_column_that_is_not_there_is_refused():
    with pytest.raises(ConfigInvalid, match="'when'"):
        find_layout(TUSHARE, ColumnMapping({"day": "when"}), "file")
