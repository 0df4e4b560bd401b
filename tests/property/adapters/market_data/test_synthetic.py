"""The synthetic market obeys the rules it is judged by, whatever its seed."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.calendar.xshg import load_calendar
from caopan.adapters.market_data.frame import validate
from caopan.adapters.market_data.panel import build_panel
from caopan.adapters.market_data.synthetic import ORIGIN, generate, label, symbol_of
from caopan.adapters.rules.book import load_rules
from caopan.domain.market.symbols import parse_symbol
from caopan.kernel.errors import ConfigInvalid, Denied

CALENDAR, RULES = load_calendar(), load_rules().market
ENDS = CALENDAR.between(date(2021, 2, 1), date(2026, 12, 31))


def market(seed, end, days, symbols):
    return generate(seed, CALENDAR, end, days, symbols, rules=RULES)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**9), st.sampled_from(ENDS[::50]), st.integers(2, 60))
def test_any_seed_gives_a_market_that_stands_and_keeps_its_limits(seed, end, symbols):
    days = min(250, len(CALENDAR.between(ORIGIN, end)))
    frame = validate(market(seed, end, days, symbols), CALENDAR)
    panel = build_panel(frame, label=label(seed), synthetic=True, calendar=CALENDAR, rules=RULES)
    assert panel.audit() == ()
    assert panel.info.last_day == end
    assert panel.info.first_day == CALENDAR.offset(end, 1 - days)


def test_the_same_seed_is_the_same_market_and_another_is_not():
    one = market(7, date(2024, 6, 28), 60, 10)
    assert one.equals(market(7, date(2024, 6, 28), 60, 10))
    assert not one.equals(market(8, date(2024, 6, 28), 60, 10))


def test_more_days_symbols_or_a_later_end_leave_the_history_as_it_was():
    small = market(7, date(2023, 6, 30), 60, 6)
    large = market(7, date(2024, 9, 30), 500, 20)
    kept = large.join(small.select("symbol", "day"), on=["symbol", "day"], how="semi")
    assert kept.equals(small)


def test_it_has_what_a_market_has():
    frame = market(7, date(2026, 6, 30), 700, 60)
    moving = frame.filter(~pl.col("is_suspended")).with_columns(
        (pl.col("close") / pl.col("pre_close") - 1).alias("ret")
    )
    panel = build_panel(frame, label="", synthetic=True, calendar=CALENDAR, rules=RULES)
    states = [
        row["limit_state"]
        for day in CALENDAR.between(date(2025, 1, 1), date(2026, 6, 30))
        for row in panel._feature_rows(day).values()
        if "limit_state" in row
    ]
    assert {"none", "sealed_up", "sealed_down", "reopened"} <= set(states)
    assert 0.001 < states.count("sealed_up") / len(states) < 0.02
    spread, tails = moving.select(pl.col("ret").std(), kurtosis=pl.col("ret").kurtosis()).row(0)
    assert 0.015 < spread < 0.035
    # Fat tails, and calm and stormy days that come in runs.
    assert tails > 3
    lagged = moving.with_columns(
        pl.col("ret").abs().alias("size"), pl.col("ret").abs().shift(1).over("symbol").alias("was")
    ).drop_nulls("was")
    assert lagged.select(pl.corr("size", "was")).item() > 0.08
    assert moving.select(pl.corr("turnover_rate", pl.col("ret").abs())).item() > 0.2
    assert frame["is_suspended"].sum() > 50
    assert frame["is_st"].sum() > 50
    assert frame["share_factor"].n_unique() > 2
    assert frame.filter(pl.col("list_date") == pl.col("day")).height >= 1


def test_halts_last_several_days_and_stand_still():
    frame = market(7, date(2026, 6, 30), 700, 60)
    halted = frame.filter("is_suspended")
    assert (halted["high"] == halted["low"]).all()
    assert (halted["volume"] == 0).all()
    run = frame.with_columns(pl.col("is_suspended").rle_id().over("symbol").alias("run"))
    lengths = run.filter("is_suspended").group_by("symbol", "run").len()
    assert lengths.filter(pl.col("len") > 10).is_empty()
    assert lengths.filter(pl.col("len") >= 2).height > lengths.height / 2


def test_codes_are_a_shares_that_no_exchange_has_given_out():
    symbols = [symbol_of(number) for number in range(1000)]
    assert len(set(symbols)) == 1000
    assert {parse_symbol(symbol).board for symbol in symbols} == {"main", "chinext", "star"}
    assert all(symbol.startswith(("609", "009", "309", "6895", "6896")) for symbol in symbols)


@pytest.mark.parametrize(("days", "symbols"), [(0, 10), (10, 0), (10, 1001), (3000, 10)])
def test_what_it_cannot_make_is_refused(days, symbols):
    with pytest.raises(ConfigInvalid, match="SYNTHETIC_RANGE"):
        market(1, date(2024, 6, 28), days, symbols)


def test_an_end_beyond_the_calendar_is_refused():
    with pytest.raises(Denied, match="DATA_CALENDAR"):
        market(1, date(2027, 6, 28), 10, 10)
