"""What every source behind the MarketData port owes, real panel and test double alike."""

import re
from datetime import date, datetime, time, timedelta

import polars as pl
import pytest

from caopan.adapters.calendar.xshg import load_calendar
from caopan.adapters.market_data.files import load_files
from caopan.adapters.market_data.mapping import ColumnMapping
from caopan.adapters.market_data.panel import build_panel
from caopan.adapters.market_data.synthetic import generate, label
from caopan.adapters.rules.book import load_rules
from caopan.application.ports.market_data import MarketData
from caopan.kernel.canonical import canonical
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import CorruptState, Denied
from caopan.testing.market import TableMarket, flat_bar

END = date(2024, 6, 28)
SECOND = timedelta(seconds=1)


def synthetic_frame():
    return generate(3, load_calendar(), END, 90, 24, rules=load_rules().market)


def from_synthetic(_folder) -> MarketData:
    return build_panel(
        synthetic_frame(),
        label=label(3),
        synthetic=True,
        calendar=load_calendar(),
        rules=load_rules().market,
    )


def from_files(folder) -> MarketData:
    """The same market, written as a vendor would write it and read back."""
    yuan = [pl.col(name) / 10_000 for name in ("open", "high", "low", "close", "pre_close")]
    synthetic_frame().with_columns(
        *yuan,
        pl.col("amount") / 10_000,
        pl.col("cash_per_share") / 10_000,
        pl.col("day").dt.strftime("%Y%m%d"),
    ).write_csv(folder / "bars.csv")
    mapping = ColumnMapping(units={"turnover_rate": "fraction"})
    frame, name = load_files(folder / "bars.csv", load_calendar(), mapping)
    return build_panel(
        frame, label=name, synthetic=False, calendar=load_calendar(), rules=load_rules().market
    )


def from_table(_folder) -> MarketData:
    sessions = load_calendar().between(date(2024, 2, 19), END)
    bars = [
        flat_bar(symbol, day, "10.00")
        for number, day in enumerate(sessions)
        for symbol in ("600519.SH", "000001.SZ")
        if symbol == "600519.SH" or number > 3
    ]
    return TableMarket(sessions, bars)


@pytest.fixture(scope="module", params=[from_synthetic, from_files, from_table])
def market(request, tmp_path_factory) -> MarketData:
    return request.param(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def days(market):
    return market.sessions(market.info.first_day, market.info.last_day)


def opening(day):
    return at_shanghai(day, time(9, 0))


def closing(day):
    return at_shanghai(day, time(15, 0))


def test_info_describes_the_data(market, days):
    info = market.info
    assert info.label
    assert info.calendar
    assert info.rules_citation
    assert re.fullmatch(r"[0-9a-f]{64}", info.checksum)
    assert list(info.symbols) == sorted(set(info.symbols))
    assert info.rows == sum(len(market.references(day, closing(day))) for day in days)
    assert (days[0], days[-1]) == (info.first_day, info.last_day)


def test_sessions_ascend_within_the_bounds(market, days):
    assert list(days) == sorted(set(days))
    assert market.sessions(days[3], days[5]) == tuple(days[3:6])


@pytest.mark.parametrize("read", ["references", "features", "market"])
def test_what_is_known_before_the_open_is_known_from_ten_to_nine(market, days, read):
    day, known = days[70], at_shanghai(days[70], time(8, 50))
    with pytest.raises(CorruptState) as caught:
        getattr(market, read)(day, known - SECOND)
    assert caught.value.code == "LOOK_AHEAD"
    assert getattr(market, read)(day, known) == getattr(market, read)(day, closing(day))


def test_bars_and_closes_are_known_from_three_o_clock(market, days):
    day, symbol = days[70], market.info.symbols[0]
    for ask in (
        lambda now: market.bar(symbol, day, now),
        lambda now: market.closes(day, now),
    ):
        with pytest.raises(CorruptState) as caught:
            ask(closing(day) - SECOND)
        assert caught.value.code == "LOOK_AHEAD"
        assert ask(closing(day)) is not None


def test_an_instant_in_another_zone_is_the_same_instant(market, days):
    day = days[70]
    elsewhere = closing(day).astimezone(datetime.fromisoformat("2024-01-01T00:00-05:00").tzinfo)
    assert market.closes(day, elsewhere) == market.closes(day, closing(day))


def test_each_reference_has_its_bar_and_features_and_no_other(market, days):
    for day in days[::7]:
        references = market.references(day, opening(day))
        assert set(market.features(day, opening(day))) <= set(references)
        for symbol in market.info.symbols:
            bar = market.bar(symbol, day, closing(day))
            assert (bar is not None) == (symbol in references)
            if bar is None:
                continue
            reference = references[symbol]
            assert (bar.symbol, bar.day) == (reference.symbol, reference.day) == (symbol, day)
            assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
            assert (bar.limit_up, bar.limit_down) == (reference.limit_up, reference.limit_down)
            if reference.limit_up is not None:
                assert reference.limit_down <= reference.pre_close <= reference.limit_up


def test_features_are_values_that_the_ledger_can_carry(market, days):
    for day in days[::9]:
        for features in market.features(day, opening(day)).values():
            assert canonical(dict(features))
            assert None not in features.values()
            assert isinstance(features["last"], str)
        assert canonical(dict(market.market(day, opening(day))))


def test_closes_are_the_latest_bars(market, days):
    latest = {}
    for day in days:
        for symbol in market.references(day, closing(day)):
            latest[symbol] = market.bar(symbol, day, closing(day)).close
        assert market.closes(day, closing(day)) == latest
    # Asked again out of order, it says the same.
    assert market.closes(days[0], closing(days[0])).keys() <= latest.keys()
    assert market.closes(days[-1], closing(days[-1])) == latest


def test_a_day_without_bars_has_none(market, days):
    sunday = days[70] + timedelta(days=6 - days[70].weekday())
    assert market.references(sunday, closing(sunday)) == {}
    assert market.features(sunday, closing(sunday)) == {}
    assert market.bar(market.info.symbols[0], sunday, closing(sunday)) is None


def test_years_the_calendar_does_not_know_are_refused(market):
    if isinstance(market, TableMarket):
        pytest.skip("the double has no calendar behind its sessions")
    with pytest.raises(Denied, match="DATA_CALENDAR"):
        market.sessions(END, date(2040, 1, 1))


def test_a_file_of_the_same_rows_is_the_same_data(tmp_path):
    assert from_files(tmp_path).info.checksum == from_synthetic(tmp_path).info.checksum
