"""Bars in bulk: whole or not at all, once, and back without a change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import polars as pl
import psycopg
import pytest

from caopan.adapters.market_data import frame as market_data
from caopan.adapters.postgres.bars import SCHEMA, import_bars, load_bars
from caopan.kernel.errors import ConfigInvalid, CorruptState, Unavailable

DAYS = [date(2022, 12, 28) + timedelta(days=n) for n in range(8)]


def bars(**changes: object) -> pl.DataFrame:
    rows = [
        {
            "symbol": symbol,
            "day": day,
            "open": 123_400,
            "high": 123_500 + number,
            "low": 1,
            "close": 123_401,
            "pre_close": 99_999_999_900,
            "volume": 9_007_199_254_740_993,
            "amount": None if number % 2 else 1_111_141_111_111_111,
            "limit_up": None if number % 3 else 130_000,
            "limit_down": None if number % 3 else 110_000,
            "is_suspended": False,
            "is_st": bool(number % 2),
            "is_ex_date": number == 3,
            "list_date": None if number else date(1999, 11, 10),
            "cash_per_share": 2_500 if number == 3 else None,
            "share_factor": "13/10" if number == 3 else None,
            "turnover_rate": None if number == 1 else 0.1 + number / 3e9,
            **changes,
        }
        for symbol in ("600000.SH", "000001.SZ")
        for number, day in enumerate(DAYS)
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def put(url: str, frame: pl.DataFrame, checksum: str = "a" * 64) -> int:
    return import_bars(
        url, label="a test", source="file", checksum=checksum, synthetic=True, frame=frame
    )


def test_the_columns_are_those_of_the_market_data_room():
    assert SCHEMA == market_data.SCHEMA


def test_what_comes_back_equals_what_was_given(clean_database, owner):
    frame = bars()
    number = put(clean_database, frame)
    assert load_bars(clean_database, number).equals(frame.sort("symbol", "day"))
    spread = owner.execute(
        "SELECT DISTINCT tableoid::regclass::text FROM bar ORDER BY 1"
    ).fetchall()
    assert spread == [("bar_p202212",), ("bar_p202301",)]
    kept = owner.execute("SELECT open, row_count, first_day, last_day, synthetic FROM dataset, bar")
    assert [str(value) for value in kept.fetchone() or ()] == [
        "12.3400",
        "16",
        "2022-12-28",
        "2023-01-04",
        "True",
    ]


def test_the_same_checksum_changes_nothing(clean_database, owner):
    with ThreadPoolExecutor(4) as pool:
        numbers = set(pool.map(lambda _: put(clean_database, bars()), range(4)))
    assert len(numbers) == 1
    assert {put(clean_database, bars())} == numbers
    assert owner.execute("SELECT count(*) FROM bar").fetchone() == (16,)
    assert put(clean_database, bars(), "b" * 64) not in numbers


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("prices", {"high": 1}),
        ("prices", {"low": 0}),
        ("symbol", {"symbol": "600000"}),
        ("volume", {"is_suspended": True}),
        ("amount", {"amount": -1}),
        ("share_factor", {"share_factor": "1.3"}),
    ],
)
def test_one_bad_row_and_nothing_is_stored(clean_database, owner, rule, change):
    frame = pl.concat([bars(), bars(**change).tail(1)])
    with pytest.raises(CorruptState, match=f"CHECK_VIOLATION.* ck_bar_{rule}"):
        put(clean_database, frame)
    for table in ("bar", "dataset"):
        assert owner.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608


def test_a_frame_of_another_shape_is_refused(clean_database):
    for frame in (bars().drop("is_st"), bars().with_columns(pl.col("open") * 1.0), bars().clear()):
        with pytest.raises(ConfigInvalid, match="DATA_COLUMNS"):
            put(clean_database, frame)


def test_bars_need_their_data_set(owner, clean_database):
    put(clean_database, bars())
    with pytest.raises(psycopg.errors.ForeignKeyViolation, match="999"):
        owner.execute("INSERT INTO bar SELECT 999, symbol, day, open, high, low, close, pre_close,"
                      " volume, amount, limit_up, limit_down, is_suspended, is_st, is_ex_date"
                      " FROM bar")  # fmt: skip
    with pytest.raises(ConfigInvalid, match="DATASET_UNKNOWN"):
        load_bars(clean_database, 999)


def test_a_database_out_of_reach_is_named(clean_database):
    far = clean_database.replace("127.0.0.1", "host.invalid")
    with pytest.raises(Unavailable, match=r"DB_UNREACHABLE.*host\.invalid"):
        put(far, bars())
