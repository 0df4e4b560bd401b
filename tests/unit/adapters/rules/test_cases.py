"""Answers to rule cases, by the product's own rules; and the survey's cases where they are."""

import dataclasses
import os
from datetime import date, timedelta
from pathlib import Path

import pytest

from caopan.adapters.calendar.xshg import load_calendar
from caopan.adapters.rules.book import load_rules
from caopan.adapters.rules.case_file import (
    ASKED,
    COLUMNS,
    Case,
    Context,
    Expectation,
    UnreadableError,
    read_cases,
)
from caopan.adapters.rules.case_orders import Rules
from caopan.adapters.rules.cases import Verdict, answer, check_cases, tally
from caopan.domain.market.calendar import TradingCalendar

ROOT = Path(__file__).parents[4]
DATA = Path(os.environ.get("CAOPAN_REAL_DATA", ROOT.parent / "shared" / "data"))
SURVEY = DATA.parent / "spec" / "rules-cases.csv"
DAY = date(2026, 11, 20)
BEGIN, END = date(2015, 1, 1), date(2026, 12, 31)
SESSIONS = tuple(
    day
    for day in (BEGIN + timedelta(days=n) for n in range((END - BEGIN).days + 1))
    if day.weekday() < 5 and day != date(2026, 10, 1)
)
RULES = Rules(load_rules(), TradingCalendar("sample", BEGIN, END, SESSIONS))
USUAL = {
    "board": "main",
    "exchange": "SSE",
    "state": "normal",
    "date": DAY.isoformat(),
    "time": "10:00:00",
    "instrument": "stock",
    "pre_close": "10.00",
    "order_type": "LIMIT",
}


def case(category, **cells):
    row = dict.fromkeys(ASKED, "") | USUAL | cells
    return Case("X", category, row, Context(row["context"]))


def ask(category, **cells):
    found = answer(case(category, **cells), RULES)
    return found.outcome, found.value


def order(side, price, qty="100", **cells):
    return {"side": side, "price": price, "qty": qty, **cells}


CHINEXT = {"board": "chinext", "exchange": "SZSE"}
SHENZHEN = {"exchange": "SZSE"}
FUND = {"board": "etf", "instrument": "etf"}
NEW = {"state": "new_listing_day1"}
HALTED = {"state": "temp_halt"}


@pytest.mark.parametrize(
    ("cells", "outcome", "up", "down"),
    [
        ({"state": "ST", "date": "2026-07-03"}, "LIMITS", "10.50", "9.50"),
        ({"state": "*ST", "date": "2026-07-06"}, "LIMITS", "11.00", "9.00"),
        ({"state": "new_listing_day5"}, "NO_LIMIT", "", ""),
        # Listed under the old rule the day before: it has its limit on the second day.
        ({"state": "new_listing_day2", "date": "2023-04-10"}, "LIMITS", "11.00", "9.00"),
        ({**NEW, "date": "2023-04-07", "context": "issue_price=5"}, "LIMITS", "7.20", "3.20"),
        ({"state": "relisting_day1"}, "NO_LIMIT", "", ""),
        (
            {"board": "convertible", "date": "2022-07-29", "pre_close": "130"},
            "NO_LIMIT",
            "",
            "",
        ),
        ({"board": "convertible", **NEW, "pre_close": "100"}, "LIMITS", "157.30", "56.70"),
        # The board opened in 2019.
        ({"board": "star", "date": "2016-06-01"}, "REFUSED:RISK_RULES_UNKNOWN", "", ""),
    ],
)
def test_limits(cells, outcome, up, down):
    found = answer(case("price_limit", **cells), RULES)
    assert (found.outcome, found.up, found.down) == (outcome, up, down)


@pytest.mark.parametrize(
    ("cells", "outcome"),
    [
        (order("BUY", "10.005"), "REJECT:TICK"),
        (order("SELL", "11.01"), "REJECT:ABOVE_LIMIT_UP"),
        # Shenzhen's opening auction keeps what is bid beyond nine times the issue price.
        (order("BUY", "90.01", time="09:16:00", **SHENZHEN, **NEW), "HOLD"),
        (order("BUY", "90.00", time="09:16:00", **SHENZHEN, **NEW), "ACCEPT"),
        (order("BUY", "90.01", time="09:16:00", **NEW), "REJECT:ABOVE_LIMIT_UP"),
    ],
)
def test_prices_of_orders(cells, outcome):
    assert ask("price_limit", **cells)[0] == outcome


@pytest.mark.parametrize(
    ("cells", "outcome", "bound"),
    [
        (order("BUY", "10.21", context="base=10.00"), "REJECT:CAGE", "10.20"),
        (order("BUY", "10.30", context="ask1=10.10; bid1=10.00"), "ACCEPT", "10.30"),
        (order("SELL", "9.79", context="bid1=10.00; ask1=10.10"), "REJECT:CAGE", "9.80"),
        # The limit cuts the cage.
        (order("BUY", "11.00", context="base=10.95"), "ACCEPT", "11.00"),
        (order("BUY", "11.01", context="base=10.95"), "REJECT:ABOVE_LIMIT_UP", "11.00"),
        (order("BUY", "10.30", context="base=10", date="2022-06-01", **CHINEXT), "HOLD", "10.20"),
        (order("BUY", "10.30", context="base=10", **HALTED), "ACCEPT", ""),
        (order("BUY", "10.30", context="base=10; phase=close_call"), "ACCEPT", ""),
        (order("BUY", "10.30", context="base=10", **FUND), "ACCEPT", ""),
        (
            order("BUY", "10.30", context="base=10", order_type="MARKET_BEST5_CANCEL"),
            "ACCEPT",
            "",
        ),
    ],
)
def test_cage(cells, outcome, bound):
    assert ask("price_cage", **cells) == (outcome, bound)


@pytest.mark.parametrize(
    ("cells", "outcome"),
    [
        (order("SELL", "10", "30", context="available=250"), "REJECT:ODD_LOT_SPLIT"),
        (order("SELL", "10", "150", context="available=500", board="star"), "REJECT:LOT"),
        (order("BUY", "10", "60000", board="star"), "ACCEPT"),
        (
            order("BUY", "10", "60000", board="star", order_type="MARKET_OWN_BEST"),
            "REJECT:MAX_QTY",
        ),
        (
            order("BUY", "10", "900000", board="star", order_type="AFTER_HOURS_FIXED"),
            "ACCEPT",
        ),
        (
            order("BUY", "10", "100", state="ST", context="st_bought_today=500000"),
            "REJECT:ST_DAILY_BUY_CAP",
        ),
        (order("BUY", "120", "15", board="convertible"), "REJECT:LOT"),
    ],
)
def test_quantity(cells, outcome):
    assert ask("quantity", **cells)[0] == outcome


@pytest.mark.parametrize(
    ("cells", "outcome"),
    [
        (order("BUY", "10", time="09:27:00"), "REJECT:PHASE"),
        (order("BUY", "10", time="09:27:00", **SHENZHEN), "QUEUE"),
        (order("BUY", "10", time="09:27:00", context="action=CANCEL", **SHENZHEN), "QUEUE"),
        (order("BUY", "10", time="14:58:00", context="action=CANCEL", **FUND), "REJECT:NO_CANCEL"),
        (
            order("BUY", "10", time="14:58:00", date="2026-07-03", context="action=CANCEL", **FUND),
            "ACCEPT",
        ),
        (order("BUY", "10", time="15:01:00", context="action=CANCEL"), "REJECT:PHASE"),
        (order("BUY", "10", context="action=CANCEL", **HALTED), "ACCEPT"),
        (order("BUY", "10", **HALTED), "ACCEPT"),
        (order("BUY", "10", order_type="MARKET_FOK", **HALTED, **SHENZHEN), "REJECT:ORDER_TYPE"),
        (order("BUY", "10", order_type="MARKET_FOK"), "REJECT:ORDER_TYPE"),
        (order("BUY", "10", order_type="MARKET_BEST5_LIMIT", **SHENZHEN), "REJECT:ORDER_TYPE"),
        (order("BUY", "10", order_type="MARKET_FOK", **NEW, **SHENZHEN), "REJECT:ORDER_TYPE"),
        (
            order("BUY", "10", order_type="MARKET_OWN_BEST", context="protect_price=none"),
            "REJECT:ORDER_TYPE",
        ),
        (
            order("BUY", "10", order_type="MARKET_OWN_BEST", context="protect_price=11.01"),
            "REJECT:ABOVE_LIMIT_UP",
        ),
        (order("BUY", "10", order_type="MARKET_FOK", time="15:10:00", **SHENZHEN), "REJECT:PHASE"),
        (
            order("BUY", "10", order_type="AFTER_HOURS_FIXED", date="2026-07-03"),
            "REJECT:ORDER_TYPE",
        ),
        (
            order("BUY", "10", order_type="AFTER_HOURS_FIXED", date="2026-07-03", time="15:10:00"),
            "REJECT:PHASE",
        ),
        (order("BUY", "10", date="2026-11-21"), "REJECT:NON_TRADING_DAY"),
        (order("BUY", "10", state="suspended"), "REJECT:SUSPENDED"),
    ],
)
def test_phases_and_types(cells, outcome):
    assert ask("phase_ordertype", **cells)[0] == outcome


@pytest.mark.parametrize(
    ("cells", "outcome", "until"),
    [
        ({"context": "open=20; last=26", **NEW}, "HALT_10MIN", "10:10:00"),
        ({"context": "open=20; last=27; halt30_done", **NEW}, "NO_HALT", ""),
        ({"context": "open=20; last=32; halt30_done=true", **NEW}, "HALT_10MIN", "10:10:00"),
        ({"context": "open=20; last=14; halt30_up_done", **NEW}, "HALT_10MIN", "10:10:00"),
        (
            {"context": "open=20; last=26", "time": "14:55:00", **NEW},
            "HALT_UNTIL_1457",
            "14:57:00",
        ),
        ({"context": "open=20; last=26", "time": "14:58:00", **NEW}, "NO_HALT", ""),
        ({"context": "open=20; last=26"}, "NO_HALT", ""),
    ],
)
def test_halts(cells, outcome, until):
    assert ask("phase_ordertype", **cells) == (outcome, until)


@pytest.mark.parametrize(
    ("cells", "outcome"),
    [
        (
            order("SELL", "10", "300", context="yesterday=300; frozen=100"),
            "REJECT:INSUFFICIENT_POSITION",
        ),
        (order("SELL", "10", "400", context="yesterday=300; bought_today=500"), "REJECT:T1"),
        (order("SELL", "10", "100", context="bought_today=100; etf_kind=gold", **FUND), "ACCEPT"),
        (
            order("SELL", "10", "100", context="bought_today=100", **FUND),
            "REFUSED:RISK_RULES_UNKNOWN",
        ),
        (order("BUY", "10", "1000", context="cash_available=10005.10"), "ACCEPT"),
        (order("BUY", "10", "1000", context="cash_available=10005.09"), "REJECT:INSUFFICIENT_CASH"),
        (
            order("BUY", "10", "1000", context="cash_start=100; sold_today_net=9905.10"),
            "ACCEPT",
        ),
        (
            order("BUY", "10", "1000", context="cash_available=11005.11; order_type=MARKET -> up"),
            "ACCEPT",
        ),
        (
            order("BUY", "", "1000", order_type="MARKET_IOC", context="cash_available=11005.10"),
            "REJECT:INSUFFICIENT_CASH",
        ),
        # A fund costs no transfer fee.
        (order("BUY", "10", "1000", context="cash_available=10005", **FUND), "ACCEPT"),
    ],
)
def test_positions_and_cash(cells, outcome):
    assert ask("t1_cash", **cells)[0] == outcome


@pytest.mark.parametrize(
    ("cells", "outcome", "value"),
    [
        (
            order("SELL", "20.00", "1000", context="rate=0.00025; min=0"),
            "commission=5.00; stamp=10.00; transfer=0.20",
            "15.20",
        ),
        (
            order("ROUNDTRIP", "10.00→10.10", "1000", context="rate=0.00025; min=5"),
            "buy_fee=5.10; sell_fee=10.15",
            "84.75",
        ),
        (order("BUY", "10", "1000", context="commission_rate=0.31%"), "REJECT:CONFIG", ""),
        (order("BUY", "10", "1000", context="rate=0.00001"), "REJECT:CONFIG", ""),
        (
            order("BUY", "10", "10000", context="statutory", board="bse", exchange="BSE"),
            "handling=12.50; regulatory=2.00",
            "14.50",
        ),
    ],
)
def test_fees(cells, outcome, value):
    assert ask("fee", **cells) == (outcome, value)


@pytest.mark.parametrize(
    ("context", "outcome", "value"),
    [
        ("cash/share=1.00; bonus_ratio=0; rights=0@0", "EX_REF", "9.00"),
        ("bonus_ratio=1", "EX_REF", "5.00"),
        ("gross_dividend=100; holding=30天; account=individual", "DIV_TAX", "20.00"),
        ("gross_dividend=100; holding=2个月; account=individual", "DIV_TAX", "10.00"),
        ("gross_dividend=100; holding=366天; account=individual", "DIV_TAX", "0.00"),
    ],
)
def test_corporate_actions(context, outcome, value):
    assert ask("corporate_action", state="ex_date", context=context) == (outcome, value)


@pytest.mark.parametrize(
    ("context", "outcome"),
    [
        ("orders_1s=150; cancels_1s=150", "HFT"),
        ("orders_day=19999", "NOT_HFT"),
        ("broker_report_confirmed=true", "ACCEPT"),
        ("broker_report_confirmed=false", "REJECT:NOT_REPORTED"),
        ("own_open_buy=10.00; sell_price=10.00", "REJECT:SELF_TRADE"),
        ("self_trade=9; day_volume=100", "ACCEPT"),
        ("price_3min_change=-4%; own_share=30%", "WARN:PULL_UP"),
        ("price_3min_change=3.9%", "ACCEPT"),
        ("phase=open_auction; dev=5%; cancelled=50%", "WARN:SPOOF_OPEN"),
        ("dev=5%; cancelled=49%", "ACCEPT"),
        ("local_limits: 10th order in 1s", "ACCEPT"),
        ("local_limits: 2001st order in the day", "REJECT:KILL_SWITCH"),
        ("local_limits: cancel ratio 51%", "REJECT:KILL_SWITCH"),
    ],
)
def test_programme_trading(context, outcome):
    assert ask("program_trading", board="all", exchange="ALL", context=context)[0] == outcome


@pytest.mark.parametrize(
    ("cells", "outcome", "value"),
    [
        (
            {"context": "asks=[10.00x100]; BUY 10.00x300"},
            "PARTIAL_REST",
            "10.00x100; rest BUY 10.00x200",
        ),
        (
            {"context": "bids=[B 10x100 @10:00:02, A 10x100 @10:00:01]; SELL 10x150"},
            "FIFO",
            "A:100,B:50",
        ),
        (
            {"context": "asks 3 levels 10.00..10.02 each 100; BUY MARKET_IOC 400"},
            "CANCEL_REST",
            "10.00x100+10.01x100+10.02x100; filled 300; cancelled 100",
        ),
        ({"context": "asks total 100 (all levels); BUY MARKET_FOK 100"}, "TRADE", "10.00x100"),
        (
            {**order("BUY", "", "100"), "order_type": "MARKET_OWN_BEST", "context": "bid1=9.99"},
            "REST_AS_LIMIT",
            "rest BUY 9.99x100",
        ),
        (
            {"time": "09:25:00", "context": "BUY 10.06x1000; SELL 10.00x1000"},
            "AUCTION",
            "price=10.03; volume=1000",
        ),
        (
            {"time": "09:25:00", "context": "buys: 5@limit_up; sells: 5@limit_down, 3@12"},
            "AUCTION",
            "price=10.00; volume=5",
        ),
        ({"time": "15:00:00", "context": "BUY 9.99x100; SELL 10.00x100"}, "NO_TRADE", ""),
        (
            {"time": "9:25", "context": "buys=[10.02x100, 10.01x200]; SELL 10x150, 10.01x150"},
            "AUCTION",
            "price=10.01; volume=300",
        ),
        (
            {"context": "asks=[10.00x100]; BUY 300 MARKET_BEST5_CANCEL"},
            "CANCEL_REST",
            "10.00x100; filled 100; cancelled 200",
        ),
    ],
)
def test_matching(cells, outcome, value):
    assert ask("matching", **cells) == (outcome, value)


@pytest.mark.parametrize(
    ("category", "cells", "field"),
    [
        ("quantity", order("BUY", "NaN"), "price"),
        ("quantity", order("BUY", "-5"), "price"),
        ("quantity", order("SELL", "10", "150"), "context.available"),
        ("fee", order("BUY", "10", context="commission=free"), "context.commission"),
        ("matching", {"context": "asks=[10.00x500]; BUY 300"}, "context"),
        (
            "corporate_action",
            {"context": "gross_dividend=5; holding=99999999天; account=individual"},
            "context.holding",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_field(category, cells, field):
    with pytest.raises(UnreadableError) as caught:
        ask(category, **cells)
    assert caught.value.field == field


def test_a_case_holds_nothing_of_what_is_expected():
    fields = {field.name for field in dataclasses.fields(Case)}
    assert fields.isdisjoint({field.name for field in dataclasses.fields(Expectation)})
    assert set(ASKED).isdisjoint({"expected", "exp_up", "exp_down", "exp_value", "reason"})


def file_of(tmp_path, *rows):
    path = tmp_path / "cases.csv"
    lines = [",".join(COLUMNS)]
    lines += [",".join((dict.fromkeys(COLUMNS, "") | USUAL | row).values()) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_difference_fails_only_where_the_case_is_verified(tmp_path):
    wrong = {"category": "price_limit", "expected": "LIMITS", "exp_up": "11.01"}
    path = file_of(
        tmp_path,
        {"case_id": "1", "confidence": "V2", **wrong},
        {"case_id": "2", "confidence": "U", **wrong},
        {"case_id": "3", "confidence": "V", **wrong, "exp_up": "11"},
        {"case_id": "4", "confidence": "V", **wrong, "pre_close": "dear"},
        {"case_id": "5", "confidence": "V", "category": "weather"},
        {"case_id": "6", "confidence": "M", "category": "t1_cash", "side": "SELL"},
    )
    found = {one.case.case_id: one for one in check_cases(path, RULES.calendar)}
    assert {key: one.verdict for key, one in found.items()} == {
        "1": Verdict.FAILED,
        "2": Verdict.DIFFERS,
        "3": Verdict.PASSED,
        "4": Verdict.FAILED,
        "5": Verdict.FAILED,
        "6": Verdict.DIFFERS,
    }
    assert found["1"].differs == (("exp_up", "11.01", "11.00"),)
    assert [found[key].unreadable for key in "456"] == ["pre_close", "category", "context"]
    counts = tally(list(found.values()), lambda one: one.wanted.confidence)
    assert counts["V"] == {"passed": 1, "failed": 2, "differs": 0}


needs_survey = pytest.mark.skipif(not SURVEY.is_file(), reason=f"no cases at {SURVEY}")


def test_cases_worked_out_by_hand_rule_by_rule_and_date_by_date_come_out_as_they_say():
    checked = check_cases(Path(__file__).with_name("cases_by_hand.csv"), load_calendar())
    assert len(checked) > 500
    assert [
        (one.case.case_id, one.differs, one.unreadable)
        for one in checked
        if one.verdict is not Verdict.PASSED
    ] == []


@needs_survey
def test_every_case_of_the_survey_is_answered_as_it_says():
    rows = check_cases(SURVEY, RULES.calendar)
    apart = [
        (one.case.case_id, one.differs, one.reason)
        for one in rows
        if one.verdict is not Verdict.PASSED
    ]
    assert apart == []
    assert len(rows) > 100


@needs_survey
def test_a_wrong_figure_in_the_survey_would_be_seen():
    seen = 0
    for asked, wanted in read_cases(SURVEY):
        found = answer(asked, RULES)
        for column in ("up", "down", "value"):
            if column == "value" and asked.category == "matching":
                continue
            figure = getattr(wanted, column)
            if figure.replace(".", "").isdigit():
                assert float(getattr(found, column)) != float(figure) + 0.01
                seen += 1
    assert seen > 60
