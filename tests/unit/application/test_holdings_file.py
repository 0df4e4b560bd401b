"""The file of an existing account: what is taken, and that every mistake is named at once."""

from __future__ import annotations

import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.application.holdings_file import HeldLot, merged, read_holdings
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units

JUNE = date(2025, 6, 3)


def lots(body: str | bytes, cash: int | None = 0) -> tuple[HeldLot, ...]:
    given_body = body if isinstance(body, bytes) else body.encode()
    return read_holdings("file", given_body, cash).lots


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("separator", [",", "\t"])
def test_what_a_brokers_client_exports(encoding, separator):
    rows = [
        ["证券代码", "证券名称", "股票余额", "成本价", "买入日期"],
        ['="600519.SH"', "贵州茅台", "100.00", "1,500.123", "20250603"],
        ["000001.SZ", "平安银行", "37", "0", ""],
    ]
    quoted = [[f'"{cell}"' if "," in cell else cell for cell in row] for row in rows]
    body = "\r\n".join(separator.join(row) for row in quoted).encode(encoding)
    file = read_holdings("持仓.csv", body, units(5))
    assert file.left_out == ("证券名称",)
    assert file.lots == (
        HeldLot("line 2", "600519.SH", 100, units("150012.3"), JUNE),
        HeldLot("line 3", "000001.SZ", 37, 0, None),
    )


def test_json_tells_its_own_cash_and_either_cost():
    held = [
        {"symbol": "600519.SH", "qty": 100, "cost": "150000", "bought_on": "2025-06-03"},
        {"symbol": "600519.SH", "qty": "5", "cost_price": 2.5},
    ]
    file = read_holdings("f", json.dumps({"cash": "12.50", "holdings": held}).encode(), None)
    assert file.cash == units("12.50")
    assert [(lot.qty, lot.cost) for lot in file.lots] == [(100, units(150_000)), (5, units("12.5"))]


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("60051,1,1,", "symbol"),
        ("510300.SH,1,1,", "symbol"),
        ("600519.SH,-1,1,", "qty: '-1' is not above 0"),
        ("600519.SH,0,1,", "qty"),
        ("600519.SH,1.5,1,", "whole number"),
        ("600519.SH,１,1,", "qty"),
        ("600519.SH,1e3,1,", "qty"),
        ("600519.SH,,1,", "qty: is missing"),
        ("600519.SH,1,-1,", "cost_price: '-1' is below 0"),
        ("600519.SH,1,nan,", "cost_price"),
        ("600519.SH,1,,", "give either cost"),
        ("600519.SH,1,1,03/06/2025", "bought_on"),
        ("600519.SH,1,1,2025-02-30", "bought_on"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(row, told):
    # A good row before it is not taken either.
    body = f"symbol,qty,cost_price,bought_on\n000001.SZ,1,1,2025-06-03\n{row}\n"
    with pytest.raises(ConfigInvalid, match="line 3") as refused:
        lots(body)
    assert told in refused.value.message


def test_all_mistakes_are_told_at_once():
    body = "symbol,qty,cost\nXX,0,-1\nYY,0,-1\n"
    with pytest.raises(ConfigInvalid, match="6 mistake") as refused:
        lots(body)
    assert "line 2" in refused.value.message
    assert "line 3" in refused.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b"a,b\n1,2\n",
        b"symbol,qty,qty,cost\n",
        b'symbol,qty,cost\n"600519.SH,1,2\n',
        b"symbol,qty,cost\n600519.SH,1,2,3\n",
        b"{",
        b"[]",
        b'{"cash": 1, "holdings": {}}',
        b'{"cash": 1, "holdings": [], "more": 1}',
        b'{"cash": 1, "holdings": [{"symbol": "600519.SH", "qty": 1, "qty": 2, "cost": 1}]}',
        b'{"cash": true, "holdings": []}',
        b'{"cash": "1.00001", "holdings": []}',
        b"\xff\xff\x00",
    ],
)
def test_what_is_no_such_file_is_refused(body):
    with pytest.raises(ConfigInvalid):
        lots(body, None if body[:1] in b"{[" else 0)


def test_cash_is_told_exactly_once():
    with pytest.raises(ConfigInvalid, match="--cash"):
        lots('{"cash": "1", "holdings": []}', 5)
    with pytest.raises(ConfigInvalid, match="cash is missing"):
        lots("symbol,qty,cost\n", None)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_break_it(body):
    for head in (b"", b"symbol,qty,cost\n", b'{"cash": 1, "holdings": ['):
        try:
            found = read_holdings("f", head + body, 0)
        except ConfigInvalid:
            continue
        assert all(lot.qty > 0 and lot.cost >= 0 for lot in found.lots)


_ROW = st.tuples(
    st.sampled_from(["A", "B"]),
    st.dates(JUNE, date(2025, 6, 5)),
    st.integers(1, 9),
    st.integers(0, 9),
)


@given(st.lists(_ROW))
def test_adding_rows_up_loses_nothing(rows):
    found = merged(rows)
    assert len({row[:2] for row in found}) == len(found)
    assert sum(row[2] for row in found) == sum(row[2] for row in rows)
    assert sum(row[3] for row in found) == sum(row[3] for row in rows)
