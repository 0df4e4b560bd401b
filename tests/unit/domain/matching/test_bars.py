"""Bars come in whole or are refused by row and field."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.bars import check_bar, check_quote, read_bars
from caopan.domain.matching.terms import Bar, DayQuote, Listing, SecurityTerms
from caopan.kernel.errors import ConfigInvalid

DAY = date(2024, 1, 2)


def row(number=0, **changes):
    start = 34_200_000 + number * 60_000
    plain = {
        "start_ms": start,
        "end_ms": start + 60_000,
        "open": 10.0,
        "high": 10.2,
        "low": 9.9,
        "close": 10.1,
        "volume": 1000,
        "amount": 10_050.0,
    }
    return {**plain, **changes}


def test_plain_rows_become_integers():
    bars = read_bars([row(), row(1, open="10.01", amount=None)], "600001.SH", DAY)
    assert bars[0] == Bar(34_200_000, 34_260_000, 100_000, 102_000, 99_000, 101_000, 1000)
    assert bars[1].open == 100_100


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"open": float("nan")}, "open"),
        ({"open": None}, "open"),
        ({"close": float("inf")}, "close"),
        ({"close": "ten"}, "close"),
        ({"high": 9.8}, "high"),
        ({"low": 10.05}, "open"),
        ({"low": 0}, "low"),
        ({"close": 10.3}, "close"),
        ({"volume": -1}, "volume"),
        ({"volume": Decimal("NaN")}, "volume"),
        ({"volume": 1.5}, "volume"),
        ({"volume": True}, "volume"),
        ({"start_ms": 34_200_000, "end_ms": 34_230_000}, "start_ms"),
        ({"end_ms": 1}, "start_ms"),
        ({"amount": 100.5}, "amount"),
        ({"amount": 1_005_000.0}, "amount"),
        ({"amount": -5}, "amount"),
    ],
)
def test_a_bad_field_is_named_with_its_row(changes, field):
    with pytest.raises(ConfigInvalid) as refused:
        read_bars([row(), row(1, **changes)], "600001.SH", DAY)
    assert refused.value.code == "BARS_INVALID"
    assert "600001.SH 2024-01-02 row 1" in refused.value.message
    assert f"field {field}" in refused.value.message


def test_a_missing_field_is_named():
    short = row()
    del short["low"]
    with pytest.raises(ConfigInvalid, match="row 0, field low: None missing"):
        read_bars([short], "600001.SH", DAY)


@pytest.mark.parametrize(
    ("quote", "field"),
    [
        (DayQuote("600001.SH", 0, None, None), "pre_close"),
        (DayQuote("600001.SH", -1, None, None), "pre_close"),
        (DayQuote("600001.SH", 100, 90, 110), "limit_up"),
    ],
)
def test_a_day_without_its_quote_is_refused(quote, field):
    with pytest.raises(ConfigInvalid, match=f"600001.SH 2024-01-02, field {field}"):
        check_quote(quote, DAY)


def test_no_bar_trades_outside_the_limits():
    listing = Listing(
        SecurityTerms("600001.SH", Exchange.SH, Board.MAIN, 100, 100, 100, 100, 10**6, 10**6)
    )
    listing.limit_up, listing.limit_down = 101_900, 99_000
    bar = read_bars([row()], "600001.SH", DAY)[0]
    with pytest.raises(ConfigInvalid, match="field high: 102000 above limit_up 101900"):
        check_bar("600001.SH", DAY, bar, listing)
    # A day without trade may show a price of before its ex-date.
    check_bar("600001.SH", DAY, bar._replace(volume=0), listing)
    listing.limit_up, listing.limit_down = 102_000, 99_100
    with pytest.raises(ConfigInvalid, match="field low: 99000 below limit_down 99100"):
        check_bar("600001.SH", DAY, bar, listing)
