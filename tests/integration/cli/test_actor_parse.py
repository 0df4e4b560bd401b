"""`caopan actor parse` as a person or a script meets it."""

import json
from copy import deepcopy
from datetime import date, time

import pytest

from caopan.application.file_fields import Node
from caopan.application.gate_file import _decision
from caopan.interfaces.cli.__main__ import main
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.clock import at_shanghai
from caopan.messages import catalogue

SYMBOL = "600519.SH"
OBSERVATION = {
    "observation_id": "x",
    "generated_at": "2026-11-20T10:00:00+08:00",
    "account": {"nav": "1000000.00", "cash": "500000.00"},
    "positions": [{"symbol": SYMBOL, "qty": 600, "sellable_qty": 500}],
    "features": {SYMBOL: {"last": "10.00", "ret_20d": 0.05}},
    "market_rules": {SYMBOL: {"limit_up": "11.00", "limit_down": "9.00"}},
    "open_orders": [{"order_id": "o-1", "symbol": SYMBOL, "qty": 500, "price": "9.90"}],
    "news": [{"id": "n-1", "title": "read me"}],
}
ORDER = {
    "type": "place_order",
    "symbol": SYMBOL,
    "side": "buy",
    "order_type": "limit",
    "price": "10.00",
    "qty": 1000,
    "exit_plan": {"stop_price": "9.50"},
    "intent": {"rationale": "强势", "confidence": 0.6, "evidence": [f"{SYMBOL}.ret_20d", "n-1"]},
}
DECISION = {
    "observation_ref": "x",
    "account_view": {"nav": "1000000.00", "cash": "500000.00"},
    "actions": [ORDER],
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    for name in ("CAOPAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "CAOPAN_DEBUG", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAOPAN_HOME", str(tmp_path / "home"))


@pytest.fixture
def parse(tmp_path, capsys):
    """Return parse(reply, *words, **observation): the exit code and what was told."""

    def _parse(reply, *words, **observation):
        text = reply if isinstance(reply, str | bytes) else json.dumps(reply, ensure_ascii=False)
        seen, said = tmp_path / "observation.json", tmp_path / "reply.txt"
        seen.write_text(json.dumps(deepcopy(OBSERVATION) | observation), encoding="utf-8")
        said.write_bytes(text.encode() if isinstance(text, str) else text)
        files = ("--observation", str(seen), "--reply", str(said))
        code = main(("actor", "parse", *files, *words))
        out = capsys.readouterr().out
        return code, json.loads(out) if "--json" in words else out

    return _parse


def with_order(**changes):
    return DECISION | {"actions": [ORDER | changes]}


def test_a_sound_reply_is_read_and_passes(parse):
    code, told = parse(DECISION, "--json")
    assert code == 0
    assert (told["pass"], told["outcome"]) == (True, "parsed")
    assert (told["fixes"], told["errors"], told["findings"]) == ([], [], [])
    assert told["checker"] == {
        "pass": True,
        "reasons": [],
        "conflicts": [],
        "observation_expired": False,
        "checked_at": "2026-11-20T02:00:00.000Z",
        "checker": "rule",
    }
    decision = told["decision"]
    assert decision["timestamp"] == "2026-11-20T02:00:00.000Z"
    assert decision["valid_until"] == "2026-11-20T02:10:00.000Z"
    assert decision["actions"][0]["exit_plan"] == {"stop_price": "9.50", "take_profit": []}


def test_every_fix_is_listed_and_the_decision_is_the_same(parse):
    plain = json.dumps(DECISION, ensure_ascii=False)
    dressed = plain.replace('"10.00"', "10.00").replace('"buy"', '"BUY"').replace("}]}", "}，]}")
    code, told = parse(f"<think>买多少</think>好的：\n```json\n{dressed}\n```", "--json")
    assert code == 0
    assert told["fixes"] == [
        *("code_fence", "full_width", "letter_case", "number_for_text", "prose", "thinking"),
        "trailing_comma",
    ]
    assert told["decision"] == parse(plain, "--json")[1]["decision"]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"", "no JSON object"),
        (b"\xff\xfe{}", "surrogate"),
        ("Hold everything.", "no JSON object"),
        (json.dumps(DECISION)[:-40], "cut off"),
        (json.dumps(with_order(qty="many")), "actions.0.qty"),
        (json.dumps(DECISION) + json.dumps(with_order(qty=5)), "two different"),
        ("x" * 5_000_000, "characters"),
    ],
)
def test_what_cannot_be_read_is_no_decision_and_no_error(parse, reply, said):
    code, told = parse(reply, "--json")
    assert code == 4
    assert (told["pass"], told["outcome"]) == (False, "MODEL_PARSE_FAIL")
    assert (told["decision"], told["checker"], told["fixes"]) == (None, None, [])
    assert said in " ".join(told["errors"])


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (DECISION | {"observation_ref": "y"}, "CHECKER_UNKNOWN_REF"),
        (DECISION | {"account_view": {"nav": "1", "cash": "500000"}}, "CHECKER_HALLUCINATION"),
        (with_order(symbol="000001.SZ", intent=None), "CHECKER_RANGE"),
        (with_order(exit_plan={"stop_price": "10"}), "CHECKER_RANGE"),
        (with_order(intent=ORDER["intent"] | {"evidence": ["n-9"]}), "CHECKER_UNKNOWN_REF"),
        (with_order(intent=ORDER["intent"] | {"evidence": ["last=12"]}), "CHECKER_HALLUCINATION"),
        (DECISION | {"actions": [ORDER, ORDER]}, "CHECKER_CONFLICT"),
    ],
)
def test_what_the_checker_refuses(parse, reply, code):
    exit_code, told = parse(reply, "--json")
    assert exit_code == 4
    assert told["decision"] is not None
    assert [one["code"] for one in told["checker"]["reasons"]] == [code]
    assert bool(told["checker"]["conflicts"]) == (code == "CHECKER_CONFLICT")


def test_a_sale_of_what_is_not_held_is_a_finding(parse):
    code, told = parse(with_order(side="sell", qty=700, exit_plan=None), "--json")
    assert code == 0
    assert [one["code"] for one in told["findings"]] == ["CHECKER_HALLUCINATION"]


def test_the_observation_is_named_by_its_hash_its_own_or_the_one_it_states(parse):
    named = sha256_hex(canonical(OBSERVATION))
    assert parse(DECISION | {"observation_ref": named}, "--json")[0] == 0
    stated = {"content_hash": "ab" * 32}
    assert parse(DECISION | {"observation_ref": "ab" * 32}, "--json", **stated)[0] == 0
    assert parse(DECISION | {"observation_ref": named}, "--json", **stated)[0] == 4


@pytest.mark.parametrize(
    ("at", "expired"), [("2026-11-20T10:03:00+08:00", False), ("2026-11-20T10:03:01+08:00", True)]
)
def test_it_judges_at_another_time(parse, at, expired):
    code, told = parse(DECISION, "--at", at, "--json")
    assert (code, told["checker"]["observation_expired"]) == (4 * expired, expired)
    code, _ = parse(DECISION, "--at", at, "--json", valid_ttl_ms=200_000)
    assert code == 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"account": {"cash": "1"}}, "account.nav"),
        ({"account": {"nav": "much", "cash": "1"}}, "account.nav"),
        ({"generated_at": "today"}, "generated_at"),
        ({"positions": [{}]}, "positions[0].symbol"),
        ({"positions": [{"symbol": SYMBOL, "qty": "6"}]}, "positions[0].qty"),
        ({"open_orders": [{"order_id": 5}]}, "open_orders[0].order_id"),
        ({"features": []}, "features"),
        ({"market_rules": {SYMBOL: {"limit_up": "x"}}}, "limit_up"),
        ({"news": {}}, "news"),
        ({"content_hash": 5}, "content_hash"),
    ],
)
def test_a_wrong_observation_names_the_field(parse, change, named):
    code, told = parse(DECISION, "--json", **change)
    assert code == 2
    assert told["error"]["code"] == "GATE_FILE_INVALID"
    assert named in told["error"]["message"]


def test_a_missing_file_is_named(tmp_path, capsys):
    seen = tmp_path / "o.json"
    seen.write_text(json.dumps(OBSERVATION), encoding="utf-8")
    missing = ("--observation", str(seen), "--reply", str(tmp_path / "none.txt"))
    assert main(("actor", "parse", *missing, "--json")) == 2
    assert "none.txt" in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_person_reads_it_in_their_language(parse, lang):
    code, told = parse(with_order(side="卖出", qty=700, exit_plan=None), "--lang", lang)
    assert code == 0
    texts = catalogue(lang)
    assert texts["actor.read"].format(actions=1) in told
    assert "place_order sell 600519.SH 700 10.00" in told
    assert texts["actor.fixes"].format(fixes="synonym") in told
    assert texts["actor.findings"] in told
    _, told = parse("\x1b[2Jno", "--lang", lang)
    assert texts["actor.unreadable"] in told
    assert "\x1b" not in told


def test_what_it_reads_is_a_decision_file_of_the_gate(parse):
    _, told = parse(DECISION, "--json")
    made = at_shanghai(date(2026, 11, 20), time(10))
    decision, _, _ = _decision(Node("d.json", "", told["decision"]), made)
    assert decision.actions[0].qty == 1_000
