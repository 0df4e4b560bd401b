"""`caopan rules` and `caopan fees` as a person or a script meets them."""

import json

import pytest

from caopan.interfaces.cli.__main__ import main
from caopan.messages import LANGUAGES

COLUMNS = (
    "case_id,category,board,exchange,state,date,time,instrument,pre_close,side,order_type,price,"
    "qty,context,expected,exp_up,exp_down,exp_value,reason,confidence,source"
)
RIGHT = "A,price_limit,main,SSE,normal,2026-11-20,,stock,7.77,,,,,,LIMITS,8.55,6.99,,,V,"


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    for name in ("CAOPAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "CAOPAN_DEBUG", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAOPAN_HOME", str(tmp_path / "home"))


def run(capsys, *words):
    code = main(words)
    told = capsys.readouterr()
    return code, told.out, told.err


def run_json(capsys, *words):
    code, out, _ = run(capsys, *words, "--json")
    return code, json.loads(out)


def cases(tmp_path, *rows):
    path = tmp_path / "cases.csv"
    path.write_text("\n".join([COLUMNS, *rows]) + "\n", encoding="utf-8")
    return str(path)


def test_show_gives_each_rule_with_its_source(capsys):
    code, told = run_json(
        capsys, "rules", "show", "600519.SH", "--date", "2026-11-20", "--pre-close", "1500"
    )
    assert code == 0
    assert all(row["source"] and row["confidence"] for row in told["rules"])
    limits = {row["state"]: row for row in told["rules"] if row["rule"] == "price_limit"}
    assert (limits["normal"]["limit_up"], limits["normal"]["limit_down"]) == ("1650.00", "1350.00")
    assert limits["st"]["effective_from"] == "2026-07-06"
    assert limits["listing_window"]["up"] is None
    kinds = [row["order_type"] for row in told["rules"] if row["rule"] == "order_type"]
    assert "after_hours_fixed" in kinds
    assert told["phases"][1] == {
        "phase": "open_auction",
        "start": "09:15",
        "end": "09:20",
        "limit": "accepted",
        "market": "refused",
        "after_hours_fixed": "refused",
        "cancel": "accepted",
    }
    assert told["unknown"] == []


def test_show_follows_the_date(capsys):
    _, told = run_json(capsys, "rules", "show", "600519.SH", "--date", "2018-01-05")
    rules = {row["rule"]: row for row in told["rules"]}
    assert rules["stamp_duty_sell"]["rate"] == "0.1%"
    assert rules["price_cage"]["share"] is None
    assert rules["hours"]["closing_auction"] is False
    assert "after_hours" not in rules
    # How main-board shares were halted then is not told by any source here.
    assert [row["rule"] for row in told["unknown"]] == ["temporary_halt"]


def test_show_lists_what_is_unknown_of_a_bond(capsys):
    _, told = run_json(capsys, "rules", "show", "113050.SH", "--date", "2026-11-20")
    rules = {row["rule"]: row for row in told["rules"]}
    assert rules["tick"]["tick_size"] == "0.001"
    assert rules["settlement"]["holding_days"] == 0
    assert {row["rule"] for row in told["unknown"]} >= {"price_cage", "handling_fee"}


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize(
    "words",
    [
        ("600519.SH",),
        ("430047.BJ", "--date", "2023-01-03", "--pre-close", "8"),
        ("510300.SH", "--board", "etf", "--kind", "bond"),
        ("123120.SZ",),
        ("600519.SH", "--date", "2000-01-04"),
    ],
)
def test_show_speaks_both_languages_for_every_kind(capsys, lang, words):
    code, out, _ = run(capsys, "rules", "show", *words, "--lang", lang)
    assert code == 0
    assert words[0] in out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("show", "510300.SH"), "SECURITY_KIND"),
        (("show", "510300.SH", "--board", "moon"), "SECURITY_KIND"),
        (("show", "600519.SH", "--kind", "gold"), "SECURITY_KIND"),
        (("show", "000300.SH"), "SYMBOL_INVALID"),
        (("show", "600519.SH", "--pre-close", "-1"), "PRICE_INVALID"),
        (("check", "absent.csv"), "CASES_UNREADABLE"),
    ],
)
def test_wrong_words_are_refused_with_a_code(capsys, words, code):
    exit_code, told = run_json(capsys, "rules", *words)
    assert (exit_code, told["error"]["code"]) == (2, code)


def test_check_passes_on_cases_that_hold(capsys, tmp_path):
    code, told = run_json(capsys, "rules", "check", cases(tmp_path, RIGHT))
    assert code == 0
    assert (told["total"], told["passed"], told["cases"]) == (1, 1, [])


@pytest.mark.parametrize(("confidence", "exit_code"), [("V2", 1), ("U", 0)])
def test_check_names_each_case_that_does_not_hold(capsys, tmp_path, confidence, exit_code):
    wrong = RIGHT.replace("8.55", "8.54").replace(",V,", f",{confidence},")
    path = cases(tmp_path, RIGHT, wrong)
    code, told = run_json(capsys, "rules", "check", path)
    assert code == exit_code
    [case] = told["cases"]
    assert case["differs"] == [{"field": "exp_up", "expected": "8.54", "found": "8.55"}]
    assert told["by_category"]["price_limit"]["passed"] == 1
    for lang in LANGUAGES:
        again, out, _ = run(capsys, "rules", "check", path, "--lang", lang)
        assert again == exit_code
        assert "8.54" in out


def test_a_verified_case_that_cannot_be_read_is_no_pass(capsys, tmp_path):
    code, told = run_json(capsys, "rules", "check", cases(tmp_path, RIGHT.replace("main", "moon")))
    assert code == 1
    assert told["unreadable"] == 1
    assert told["cases"][0]["unreadable"] == "board"


def test_fees_tell_every_component_and_its_source(capsys):
    words = ("fees", "600519.SH", "buy", "1500.00", "200", "--date", "2026-11-20")
    code, told = run_json(capsys, *words)
    assert code == 0
    assert (told["commission"], told["stamp_duty"], told["transfer_fee"]) == (
        "75.00",
        "0.00",
        "3.00",
    )
    assert told["net"] == "300078.00"
    assert told["contained"] == {"handling_fee": "10.23", "regulatory_fee": "6.00"}
    assert told["sources"]["transfer_fee"]["effective_from"] == "2022-04-29"


def test_fees_of_a_sale_by_a_fund_and_by_own_terms(capsys):
    _, fund = run_json(capsys, "fees", "510300.SH", "sell", "3.512", "10000")
    assert (fund["total"], fund["net"], fund["contained"]) == ("8.78", "35111.22", None)
    terms = ("--rate", "0.0001", "--min", "0", "--date", "2023-08-25")
    _, own = run_json(capsys, "fees", "600519.SH", "sell", "10.00", "1000", *terms)
    assert (own["commission"], own["stamp_duty"]) == ("1.00", "10.00")
    for lang in LANGUAGES:
        code, out, _ = run(capsys, "fees", "510300.SH", "sell", "3.512", "10000", "--lang", lang)
        assert code == 0
        assert "35111.22" in out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("600519.SH", "hold", "10", "100"), "USAGE"),
        (("600519.SH", "buy", "0", "100"), "PRICE_INVALID"),
        (("600519.SH", "buy", "ten", "100"), "MONEY_INVALID"),
        (("600519.SH", "buy", "10", "0"), "USAGE"),
        (("600519.SH", "buy", "10", "100", "--rate", "0.004"), "FEES_INVALID"),
        (("600519.SH", "buy", "10", "100", "--rate", "0.00001"), "FEES_INVALID"),
    ],
)
def test_fees_refuse_what_makes_no_order(capsys, words, code):
    exit_code, told = run_json(capsys, "fees", *words)
    assert (exit_code, told["error"]["code"]) == (2, code)


def test_fees_of_a_day_without_a_known_rate_are_refused(capsys):
    words = ("fees", "600519.SH", "buy", "10", "100", "--date", "2010-06-01")
    code, told = run_json(capsys, *words)
    assert (code, told["error"]["code"]) == (4, "RISK_RULES_UNKNOWN")


def test_show_knows_the_last_day_there_is(capsys):
    code, told = run_json(capsys, "rules", "show", "600519.SH", "--date", "9999-12-31")
    assert code == 0
    assert (told["phases"][0]["start"], told["phases"][-1]["end"]) == ("00:00", "00:00")
