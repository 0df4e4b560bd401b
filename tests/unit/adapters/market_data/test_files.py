"""Files and folders of bars: read whichever way they come, or refused in plain words."""

import polars as pl
import pytest

from caopan.adapters.market_data.files import load_files
from caopan.adapters.market_data.frame import checksum
from caopan.adapters.market_data.mapping import ColumnMapping
from caopan.kernel.errors import ConfigInvalid


@pytest.fixture
def plain(bars, tmp_path, calendar):
    bars.write_parquet(tmp_path / "plain.parquet")
    return load_files(tmp_path / "plain.parquet", calendar)[0]


def test_parquet_and_csv_in_any_encoding_give_the_same_rows(bars, plain, tmp_path, calendar):
    text = bars.rename({"symbol": "代码", "date": "日期"}).write_csv()
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        path = tmp_path / f"{encoding}.csv"
        path.write_bytes(text.encode(encoding))
        frame, label = load_files(path, calendar)
        assert label == path.name
        assert checksum(frame) == checksum(plain)


def test_a_folder_of_one_file_per_share(bars, plain, tmp_path, calendar):
    folder = tmp_path / "bars"
    folder.mkdir()
    for (symbol,), part in bars.group_by("symbol"):
        part.drop("symbol").write_csv(folder / f"{symbol}.csv")
    frame, label = load_files(folder, calendar)
    assert frame.equals(plain)
    assert label == "bars (2 files)"


def test_files_of_a_folder_that_are_no_bars_are_left_out_by_name(bars, plain, tmp_path, calendar):
    folder = tmp_path / "mixed"
    folder.mkdir()
    bars.write_parquet(folder / "bars.parquet")
    pl.DataFrame({"title": ["news"]}).write_csv(folder / "news.csv")
    bars.with_columns(pl.lit("qfq").alias("adjusted")).write_parquet(folder / "adjusted.parquet")
    bars.with_columns(pl.lit("000300.SH").alias("symbol")).write_parquet(folder / "index.parquet")
    frame, label = load_files(folder, calendar)
    assert frame.equals(plain)
    for name in ("news.csv", "adjusted.parquet", "index.parquet"):
        assert name in label


def test_a_bad_row_in_one_file_of_a_folder_refuses_all(bars, spoil, tmp_path, calendar):
    bars.head(4).write_parquet(tmp_path / "good.parquet")
    spoil("volume", -1, row=5).tail(4).write_parquet(tmp_path / "bad.parquet")
    with pytest.raises(ConfigInvalid, match=r"DATA_BAD_ROW.*300750.SZ"):
        load_files(tmp_path, calendar)


def test_the_same_rows_in_two_files_are_duplicates(bars, tmp_path, calendar):
    bars.write_parquet(tmp_path / "one.parquet")
    bars.head(1).write_parquet(tmp_path / "two.parquet")
    with pytest.raises(ConfigInvalid, match=r"DATA_BAD_ROW.*twice"):
        load_files(tmp_path, calendar)


def test_a_mapping_beside_the_files_is_used_unless_one_is_given(bars, plain, tmp_path, calendar):
    folder = tmp_path / "mapped"
    folder.mkdir()
    bars.rename({"date": "when"}).with_columns(pl.col("volume") / 100).write_parquet(
        folder / "bars.parquet"
    )
    said = '[columns]\nday = "when"\n[units]\nvolume = "lot"\n'
    (folder / "mapping.toml").write_text(said, "utf-8")
    assert load_files(folder / "bars.parquet", calendar)[0].equals(plain)
    assert load_files(folder, calendar)[0].equals(plain)
    with pytest.raises(ConfigInvalid, match="DATA_COLUMNS"):
        load_files(folder / "bars.parquet", calendar, ColumnMapping())


def test_a_person_is_told_where_no_column_tells_of_st(bars, tmp_path, calendar):
    bars.drop("is_st").write_parquet(tmp_path / "bars.parquet")
    frame, label = load_files(tmp_path / "bars.parquet", calendar)
    assert "none taken for ST" in label
    assert not frame["is_st"].any()


def actions(**columns):
    row = {
        "symbol": "600519.SH",
        "ex_date": "2023-01-04",
        "cash_per_share": 0.3,
        "share_factor": 1.5,
    }
    return pl.DataFrame({name: [value] for name, value in {**row, **columns}.items()})


def test_corporate_actions_of_a_folder_join_their_ex_dates(bars, tmp_path, calendar):
    bars.write_parquet(tmp_path / "bars.parquet")
    actions().write_csv(tmp_path / "corporate_actions.csv")
    frame, _ = load_files(tmp_path, calendar)
    found = frame.filter(pl.col("share_factor").is_not_null()).rows(named=True)
    assert [(row["symbol"], str(row["day"])) for row in found] == [("600519.SH", "2023-01-04")]
    assert (found[0]["cash_per_share"], found[0]["share_factor"]) == (3000, "3/2")
    assert found[0]["is_ex_date"]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"ex_date": "2023-01-05 "}, None),
        ({"ex_date": "soon"}, "unreadable"),
        ({"cash_per_share": -0.1}, "negative"),
        ({"share_factor": 0.0}, "unreadable"),
        ({"symbol": "000001.SZ"}, None),
    ],
)
def test_corporate_actions_that_cannot_be_are_refused(bars, tmp_path, calendar, columns, says):
    bars.write_parquet(tmp_path / "bars.parquet")
    actions(**columns).write_csv(tmp_path / "actions.csv")
    if says is None:
        assert load_files(tmp_path, calendar)[0].height == bars.height
    else:
        with pytest.raises(ConfigInvalid, match=rf"DATA_BAD_ROW.*{says}"):
            load_files(tmp_path, calendar)


def test_an_ex_date_without_a_bar_is_refused(bars, tmp_path, calendar):
    first = pl.col("symbol") == "600519.SH"
    bars.filter(~(first & (pl.col("date") == "2023-01-04"))).write_parquet(
        tmp_path / "bars.parquet"
    )
    actions().write_csv(tmp_path / "actions.csv")
    with pytest.raises(ConfigInvalid, match="without a bar"):
        load_files(tmp_path, calendar)


def test_what_is_not_there_or_not_readable_is_refused(tmp_path, calendar):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "headers.csv").write_text("symbol,date,open,high,low,close,volume,amount\n")
    (tmp_path / "nothing.csv").write_text("")
    (tmp_path / "bars.xlsx").write_bytes(b"")
    for name, code in (
        ("nowhere.parquet", "DATA_FILE"),
        ("empty", "DATA_FILE"),
        ("broken.parquet", "DATA_FILE"),
        ("bars.xlsx", "DATA_FILE"),
        ("nothing.csv", "DATA_FILE"),
        ("headers.csv", "DATA_EMPTY"),
    ):
        with pytest.raises(ConfigInvalid) as caught:
            load_files(tmp_path / name, calendar)
        assert caught.value.code == code, name
        assert caught.value.remedy, name


def test_adjusted_prices_are_refused_before_all_else(bars, tmp_path, calendar):
    path = tmp_path / "bars.parquet"
    bars.drop("pre_close", "amount").with_columns(pl.lit("qfq").alias("adjusted")).write_parquet(
        path
    )
    with pytest.raises(ConfigInvalid, match=r"DATA_ADJUSTED.*nobody traded"):
        load_files(path, calendar)


def test_a_file_without_symbols_needs_a_name_that_is_one(bars, tmp_path, calendar):
    bars.head(4).drop("symbol").write_csv(tmp_path / "moutai.csv")
    with pytest.raises(ConfigInvalid, match=r"DATA_COLUMNS.*name is no symbol"):
        load_files(tmp_path / "moutai.csv", calendar)
