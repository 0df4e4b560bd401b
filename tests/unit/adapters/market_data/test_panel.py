"""The panel's answers, worked out by hand on small markets."""

from datetime import date, time, timedelta
from fractions import Fraction

import polars as pl
import pytest

from caopan.adapters.market_data.frame import SCHEMA, validate
from caopan.adapters.market_data.panel import build_panel
from caopan.adapters.rules.book import load_rules
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.reference import CorporateAction, TradingStatus
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import yuan

RULES = load_rules().market


def flags(features):
    """Return the risk flags of one symbol's features."""
    found = features["risk_flags"]
    assert isinstance(found, list)
    return found


def weekdays(first, count):
    days = (first + timedelta(days=n) for n in range(2 * count + 7))
    return [day for day in days if day.weekday() < 5][:count]


FIRST = date(2023, 5, 1)
DAYS = weekdays(FIRST, 300)
CALENDAR = TradingCalendar("weekdays of a test", date(2023, 4, 1), DAYS[-1], tuple(DAYS))


def row(symbol, number, close, **changes):
    """Return a bar whose open, high and low are its close, unless told otherwise."""
    made = {
        "symbol": symbol,
        "day": DAYS[number],
        "open": close,
        "high": close,
        "low": close,
        "close": close,
        "pre_close": close,
        "volume": 1000,
        "amount": close * 1000,
        "is_suspended": False,
        "is_st": False,
        "is_ex_date": False,
        **changes,
    }
    return {name: made.get(name) for name in SCHEMA}


def panel(*rows):
    frame = pl.DataFrame(rows, schema=SCHEMA)
    return build_panel(
        validate(frame, CALENDAR), label="hand", synthetic=True, calendar=CALENDAR, rules=RULES
    )


def before(number):
    return DAYS[number], at_shanghai(DAYS[number], time(9, 0))


def after(number):
    return DAYS[number], at_shanghai(DAYS[number], time(15, 0))


def test_references_carry_the_rules_of_board_and_day():
    market = panel(
        row("600519.SH", 0, 100_000),
        row("300750.SZ", 0, 100_000),
        row("688981.SH", 0, 100_000, is_st=True),
        row("920047.BJ", 0, 33_300),
    )
    found = market.references(*before(0))
    assert [(r.limit_up, r.limit_down) for r in found.values()] == [
        (120_000, 80_000),
        (110_000, 90_000),
        (120_000, 80_000),
        (43_200, 23_400),
    ]
    star = found["688981.SH"]
    assert (star.min_buy_qty, star.qty_step, star.max_limit_qty) == (200, 1, 100_000)
    assert (star.tick_size, star.is_st, star.t_plus_one) == (100, True, True)
    assert all(r.limits_known and not r.problems for r in found.values())


def test_a_symbol_without_a_row_is_absent_and_a_suspended_one_says_so():
    market = panel(
        row("600519.SH", 0, 100_000),
        row("600519.SH", 1, 100_000, is_suspended=True, volume=0, amount=0),
        row("000001.SZ", 0, 100_000),
    )
    found = market.references(*before(1))
    assert set(found) == {"600519.SH"}
    assert found["600519.SH"].trading_status is TradingStatus.SUSPENDED
    assert "suspended" in flags(market.features(*before(1))["600519.SH"])


def test_a_day_without_data_has_no_references():
    market = panel(row("600519.SH", 0, 100_000))
    assert market.references(*before(5)) == {}
    assert market.features(*before(5)) == {}
    assert market.bar("600519.SH", *after(5)) is None
    assert market.closes(*after(5)) == {"600519.SH": 100_000}


def test_vendors_limits_must_agree_with_ours():
    market = panel(
        row("600519.SH", 0, 100_000, limit_up=110_000, limit_down=90_000),
        row("000001.SZ", 0, 100_000, limit_up=105_000, limit_down=95_000),
    )
    found = market.references(*before(0))
    assert found["600519.SH"].problems == ()
    assert found["000001.SZ"].problems == ("DATA_RULES_MISMATCH",)
    assert [(f.symbol, f.code) for f in market.audit()] == [("000001.SZ", "DATA_RULES_MISMATCH")]


def test_a_bar_outside_its_limits_shows_only_after_the_fact():
    market = panel(row("600519.SH", 0, 120_000, pre_close=100_000))
    assert market.references(*before(0))["600519.SH"].problems == ()
    assert "outside its limits" in market.audit()[0].detail


def test_a_gap_to_the_reference_price_is_a_dividend_unless_the_data_says_more():
    market = panel(
        row("600519.SH", 0, 100_000),
        row("600519.SH", 1, 97_000, is_ex_date=True),
        row("000001.SZ", 0, 100_000),
        row("000001.SZ", 1, 66_000, is_ex_date=True, cash_per_share=1000, share_factor="3/2"),
    )
    found = market.references(*before(1))
    assert found["600519.SH"].action == CorporateAction(3000, Fraction(1), estimated=True)
    assert found["000001.SZ"].action == CorporateAction(1000, Fraction(3, 2), estimated=False)
    assert "ex_date" in flags(market.features(*before(1))["600519.SH"])
    # An ex-date is no fall.
    assert market.features(*before(2)) == {}
    assert market.market(*before(2))["decliners"] == 0


@pytest.mark.parametrize("missing", [1, 2])
def test_a_gap_that_no_dividend_explains_forbids_the_day(missing):
    rise = panel(row("600519.SH", 0, 100_000), row("600519.SH", 1, 103_000))
    hole = panel(row("600519.SH", 0, 100_000), row("600519.SH", 1 + missing, 97_000))
    for market, number in ((rise, 1), (hole, 1 + missing)):
        found = market.references(*before(number))["600519.SH"]
        assert found.action is None
        assert found.problems == ("DATA_RULES_MISMATCH",)
        assert any(finding.day == DAYS[number] for finding in market.audit())


def test_a_listing_is_known_inferred_or_long_past():
    old = [row("000001.SZ", n, 100_000) for n in range(20)]
    told = [row("600519.SH", n, 100_000, list_date=DAYS[3]) for n in range(3, 20)]
    late = [row("300750.SZ", n, 100_000) for n in range(12, 20)]
    market = panel(*old, *told, *late)
    found = market.references(*before(14))
    assert found["000001.SZ"].listing_day_index is None
    assert found["600519.SH"].listing_day_index == 12
    assert found["300750.SZ"].listing_day_index == 3
    # ChiNext: no limit in the first five days, known to be none.
    assert (found["300750.SZ"].limit_up, found["300750.SZ"].limits_known) == (None, True)
    assert market.references(*before(17))["300750.SZ"].limit_up == 120_000
    assert [f.symbol for f in market.audit() if f.code == "INFERRED_LISTING"] == ["300750.SZ"]
    assert "newly_listed" in flags(market.features(*before(14))["600519.SH"])


def test_bars_that_begin_where_a_vendor_gives_no_limit_begin_with_the_listing():
    old = [row("000001.SZ", n, 100_000, limit_up=110_000, limit_down=90_000) for n in range(5)]
    new = [
        row("600519.SH", 2, 100_000),
        row("600519.SH", 3, 100_000, limit_up=110_000, limit_down=90_000),
    ]
    assert panel(*old, *new).references(*before(3))["600519.SH"].listing_day_index == 2
    told = [{**made, "limit_up": 110_000, "limit_down": 90_000} for made in new]
    assert panel(*old, *told).references(*before(3))["600519.SH"].listing_day_index is None


def test_a_selection_of_symbols_keeps_the_beginning_of_its_data():
    late = [row("300750.SZ", n, 100_000) for n in range(12, 20)]
    frame = validate(pl.DataFrame(late, schema=SCHEMA), CALENDAR)
    parts = {"label": "part", "synthetic": True, "calendar": CALENDAR, "rules": RULES}
    told = build_panel(frame, **parts, begins=DAYS[0]).references(*before(12))["300750.SZ"]
    alone = build_panel(frame, **parts).references(*before(12))["300750.SZ"]
    assert (told.listing_day_index, told.limit_up) == (1, None)
    assert (alone.listing_day_index, alone.limit_up) == (None, 120_000)


def test_a_share_back_after_half_a_year_is_not_traded_that_day():
    away = [row("600519.SH", 0, 100_000), row("600519.SH", 130, 100_000)]
    market = panel(*away, row("600519.SH", 131, 100_000))
    back = market.references(*before(130))["600519.SH"]
    assert (back.limits_known, back.problems) == (False, ("DATA_RULES_MISMATCH",))
    assert market.references(*before(131))["600519.SH"].limits_known


def test_days_the_rules_do_not_cover_are_known_to_be_unknown():
    old = date(2019, 7, 19)
    calendar = TradingCalendar("old", date(2019, 7, 1), old, (date(2019, 7, 18), old))
    made = [{**row("688981.SH", 0, 100_000), "day": day} for day in calendar.sessions]
    frame = pl.DataFrame(made, schema=SCHEMA)
    market = build_panel(frame, label="old", synthetic=True, calendar=calendar, rules=RULES)
    found = market.references(old, at_shanghai(old, time(9, 0)))["688981.SH"]
    assert not found.limits_known
    assert found.max_limit_qty == 0


def rising(symbol, count, step=1.01, start=100_000):
    """Return bars that rise by `step` a session, on ticks."""
    made, close = [], start
    for number in range(count):
        pre_close, close = close, round(close * step / 100) * 100
        made.append(row(symbol, number, close, pre_close=pre_close, turnover_rate=0.01))
    return made


def test_features_rest_on_the_sessions_before():
    bars = rising("600519.SH", 70)
    market = panel(*bars, *rising("000001.SZ", 70, step=1.0))
    day, now = before(65)
    found = market.features(day, now)["600519.SH"]
    assert found["as_of"] == DAYS[64].isoformat()
    assert found["last"] == yuan(bars[64]["close"])
    assert found["ret_1d"] == pytest.approx(0.01, abs=5e-4)
    assert found["ret_20d"] == pytest.approx(1.01**20 - 1, abs=2e-3)
    assert found["ret_60d"] == pytest.approx(1.01**60 - 1, abs=5e-3)
    assert found["vol_20d"] == pytest.approx(0.0, abs=5e-4)
    assert found["vol_ratio_5d"] == 1.0
    assert found["turnover_rate"] == 0.01
    assert found["ma20_gap"] == pytest.approx(0.1, abs=0.01)
    assert (found["liq_rank"], market.features(day, now)["000001.SZ"]["liq_rank"]) == (1.0, 0.0)
    assert (found["limit_state"], found["consecutive_limit_days"]) == ("none", 0)
    early = market.features(*before(3))["600519.SH"]
    assert {"ret_5d", "ret_20d", "vol_20d", "beta", "ma20_gap"}.isdisjoint(early)
    assert "ret_1d" not in market.features(*before(0))["600519.SH"]


def test_returns_chain_over_ex_dates():
    made = [row("600519.SH", n, 100_000) for n in range(3)]
    made += [row("600519.SH", n, 50_000, is_ex_date=n == 3) for n in range(3, 8)]
    assert panel(*made).features(*before(7))["600519.SH"]["ret_5d"] == 0.0


def test_limit_states_of_the_last_session():
    def day(number, high, low, close, pre_close):
        return row("600519.SH", number, close, high=high, low=low, open=low, pre_close=pre_close)

    market = panel(
        day(0, 110_000, 100_000, 110_000, 100_000),
        day(1, 121_000, 115_000, 121_000, 110_000),
        day(2, 133_100, 120_000, 125_000, 121_000),
        day(3, 126_000, 112_500, 115_000, 125_000),
        day(4, 104_000, 103_500, 103_500, 115_000),
        day(5, 103_500, 102_000, 102_500, 103_500),
        day(6, 103_500, 102_000, 102_500, 102_500),
    )
    found = [market.features(*before(n))["600519.SH"] for n in range(1, 7)]
    assert [(f["limit_state"], f["consecutive_limit_days"]) for f in found] == [
        ("sealed_up", 1),
        ("sealed_up", 2),
        ("reopened", 0),
        ("touched", 0),
        ("sealed_down", 1),
        ("none", 0),
    ]
    assert "near_limit" in flags(found[0])
    assert "near_limit" not in flags(found[5])


def test_a_suspension_neither_counts_nor_hides_the_last_session():
    made = rising("600519.SH", 3)
    close = made[-1]["close"]
    still = {"is_suspended": True, "volume": 0, "amount": 0, "pre_close": close}
    made += [row("600519.SH", n, close, **still) for n in (3, 4)]
    made.append(row("600519.SH", 5, close, pre_close=close))
    found = panel(*made).features(*before(5))["600519.SH"]
    assert found["as_of"] == DAYS[2].isoformat()
    assert found["ret_1d"] == pytest.approx(0.01, abs=5e-4)


def test_breadth_is_of_the_session_before():
    market = panel(
        row("600519.SH", 0, 110_000, open=100_000, low=100_000, pre_close=100_000),
        row("000001.SZ", 0, 95_000, high=100_000, open=100_000, pre_close=100_000),
        row("300750.SZ", 0, 100_000),
        row("600519.SH", 1, 110_000),
    )
    found = market.market(*before(1))
    assert found["advancers"] == found["decliners"] == found["unchanged"] == 1
    assert (found["limit_up_count"], found["limit_down_count"]) == (1, 0)
    assert found["broken_board_rate"] == 0.0
    assert found["turnover_yuan"] == 30_500
    assert found["mean_return"] == pytest.approx(0.05 / 3, abs=1e-6)
    # Nothing is known of the market before the first day, and no rate is made of nothing.
    assert market.market(*before(0)) == {}
    assert "broken_board_rate" not in market.market(*before(2))


def test_bars_and_closes_in_any_order_of_asking():
    market = panel(*rising("600519.SH", 5), *rising("000001.SZ", 2))
    closes = [market.closes(*after(n)) for n in (4, 0, 2, 1, 3)]
    assert closes[0]["000001.SZ"] == closes[3]["000001.SZ"] == closes[2]["000001.SZ"]
    assert [found["600519.SH"] for found in closes] == [
        105_000,
        101_000,
        103_000,
        102_000,
        104_000,
    ]
    bar = market.bar("600519.SH", *after(1))
    assert bar is not None
    assert (bar.close, bar.volume, bar.limit_up) == (102_000, 1000, 111_100)
    assert market.bar("600000.SH", *after(1)) is None


def test_info_tells_what_the_data_set_is():
    info = panel(*rising("600519.SH", 3)).info
    assert (info.first_day, info.last_day, info.rows) == (DAYS[0], DAYS[2], 3)
    assert (info.symbols, info.calendar) == (("600519.SH",), CALENDAR.name)
    assert info.rules_citation == RULES.citation
