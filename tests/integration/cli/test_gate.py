"""`caopan gate check` and `caopan risk` as a person or a script meets them."""

import json
from copy import deepcopy

import pytest

from caopan.interfaces.cli.__main__ import main

SYMBOL = "600519.SH"
RULES = {
    "tick_size": "0.01",
    "lot_size": 100,
    "min_buy_qty": 100,
    "qty_step": 100,
    "limit_up": "11.00",
    "limit_down": "9.00",
    "t_plus_one": True,
    "trading_status": "normal",
    "max_order_qty": 1_000_000,
}
OBSERVATION = {
    "observation_id": "x",
    "generated_at": "2026-11-20T10:00:00+08:00",
    "clock": {"trading_day": "2026-11-20", "phase": "continuous_am"},
    "universe": [SYMBOL],
    "features": {
        SYMBOL: {
            "last": "10.00",
            "bid1": "9.99",
            "ask1": "10.00",
            "as_of": "2026-11-20T09:59:59+08:00",
            "vol_20d": 0.02,
            "risk_flags": [],
        }
    },
    "market_rules": {SYMBOL: RULES},
}
DECISION = {
    "observation_ref": "x",
    "account_view": {"nav": "1000000.00", "cash": "500000.00"},
    "actions": [
        {
            "type": "place_order",
            "symbol": SYMBOL,
            "side": "buy",
            "order_type": "limit",
            "price": "10.00",
            "qty": 1000,
            "exit_plan": {"stop_price": "9.50"},
        }
    ],
}
ACCOUNT = {
    "account": {
        "account_id": "a",
        "venue": "sandbox",
        "nav": "1000000.00",
        "cash": "500000.00",
        "available_cash": "500000.00",
        "nav_day_open": "1000000.00",
        "nav_peak": "1000000.00",
        "risk_posture": "normal",
    },
    "positions": [
        {
            "symbol": SYMBOL,
            "qty": 6000,
            "sellable_qty": 5000,
            "market_value": "60000.00",
            "lots": [{"qty": 6000, "bought_on": "2026-11-19"}],
        }
    ],
    "open_orders": [],
    "today": {"orders": 0, "cancels": 0},
}
OPEN = {
    "order_id": "o1",
    "symbol": SYMBOL,
    "side": "buy",
    "order_type": "limit",
    "price": "9.90",
    "qty": 1000,
    "filled_qty": 0,
    "placed_at": "2026-11-20T09:40:00+08:00",
}
FILES = {"observation": OBSERVATION, "decision": DECISION, "account": ACCOUNT, "policy": {}}


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    for name in ("CAOPAN_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "CAOPAN_DEBUG", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CAOPAN_HOME", str(tmp_path / "home"))


@pytest.fixture
def check(tmp_path, capsys):
    """Return check(changes, *words): the exit code and the JSON answer."""

    def _check(changes=None, *words):
        found = []
        for name, original in FILES.items():
            body = deepcopy(original)
            for path, value in (changes or {}).items():
                first, *rest = path.split("/")
                if first != name:
                    continue
                part = body
                for step in rest[:-1]:
                    part = part[int(step) if isinstance(part, list) else step]
                last = rest[-1] if rest else None
                if last is None:
                    continue
                if value is None and isinstance(part, dict):
                    part.pop(last, None)
                else:
                    part[int(last) if isinstance(part, list) else last] = value
            body = (changes or {}).get(name, body)
            file = tmp_path / f"{name}.json"
            file.write_text(body if isinstance(body, str) else json.dumps(body), encoding="utf-8")
            found += [f"--{name}", str(file)]
        code = main(("gate", "check", *found, *words, "--json"))
        return code, json.loads(capsys.readouterr().out)

    return _check


def codes(told):
    return [{reason["code"] for reason in one["reasons"]} for one in told["verdicts"]]


def test_a_sound_decision_passes(check):
    code, told = check()
    assert (code, told["pass"]) == (0, True), told
    assert told["verdicts"] == [{"action_index": 0, "pass": True, "reasons": []}]
    assert told["corrections"] == []
    assert told["evaluated_at"] == "2026-11-20T02:00:00.000Z"
    assert told["policy_version"]
    assert "marina-rules" in told["rules_citation"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"decision/actions/0/price": "12.00"}, {"RISK_PRICE_BAND", "RISK_PRICE_CAGE"}),
        ({"decision/actions/0/price": "10.25"}, {"RISK_PRICE_CAGE"}),
        ({"decision/actions/0/qty": 150}, {"RISK_LOT_SIZE"}),
        ({"decision/actions/0/qty": 10_000}, {"RISK_POSITION_CAP"}),
        ({"decision/actions/0/side": "sell", "decision/actions/0/qty": 5_100}, {"RISK_TPLUS1"}),
        ({"decision/actions/0/exit_plan": None}, {"RISK_NO_EXIT_PLAN"}),
        ({"decision/actions/0/symbol": "600001.SH"}, {"RISK_RULES_UNKNOWN", "RISK_SESSION"}),
        ({"account/account/available_cash": "10004.99"}, {"RISK_INSUFFICIENT_CASH"}),
        ({"account/account/risk_posture": "flat_only"}, {"RISK_POSTURE"}),
        ({"account/account/risk_posture": "kill_switch"}, {"RISK_KILL_SWITCH"}),
        ({"account/account/kill_level": 1}, {"RISK_KILL_SWITCH"}),
        ({"account/open_orders": [OPEN]}, {"RISK_DUPLICATE"}),
        ({"account/open_orders": [{**OPEN, "side": "sell"}]}, {"RISK_SELF_TRADE"}),
        ({"account/account/nav_day_open": "1100000.00"}, {"RISK_LOSS_HALT"}),
        ({"account/account/venue": "broker"}, {"RISK_NOT_REPORTED", "RISK_STALE_ACCOUNT"}),
        ({"observation/features/600519.SH/as_of": "2026-11-20T09:59:00+08:00"},
         {"RISK_STALE_PRICE"}),
        ({"observation/features/600519.SH/risk_flags": ["st"]}, {"RISK_ST"}),
        ({"observation/market_rules/600519.SH/qty_step": 1}, {"RISK_RULES_UNKNOWN"}),
        ({"observation/market_rules/600519.SH/limit_up": None}, {"RISK_RULES_UNKNOWN"}),
        ({"observation/market_rules/600519.SH/trading_status": "suspended"}, {"RISK_SUSPENDED"}),
        ({"decision/valid_until": "2026-11-20T09:59:59+08:00"}, {"RISK_EXPIRED"}),
        ({"decision/global_intent": {"risk_posture": "flat_only"}}, {"RISK_POSTURE"}),
        ({"decision/global_intent": {"max_new_cash": "5000"}}, {"RISK_INSUFFICIENT_CASH"}),
        ({"policy": {"lists": {"whitelist": []}}}, {"RISK_BLACKLIST"}),
        ({"policy": {"limits": {"daily_net_buy_cap": "100000"}}}, {"RISK_NET_BUY_CAP"}),
        ({"policy": {"limits": {"vol_impact_cap_bps": 50}}}, {"RISK_IMPACT"}),
        ({"policy": {"posture": {"schedule": [
            {"from": "09:30", "to": "11:30", "posture": "flat_only"}]}}}, {"RISK_POSTURE"}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_code(check, changes, expected):
    code, told = check(changes)
    assert code == 4
    assert expected <= codes(told)[0], told
    assert all("detail" in reason for reason in told["verdicts"][0]["reasons"])


def target(weight, **changes):
    plan = {"exit_plan": {"stop_price": "9.50"}}
    return {"type": "set_target", "symbol": SYMBOL, "target_weight": weight, **plan, **changes}


@pytest.mark.parametrize(
    ("weight", "order"),
    [
        # 6,000 shares at 10.00 are held, six percent of the account; 5,000 may be sold today.
        ("0.08", {"side": "buy", "qty": 2_000, "price": "10.05"}),
        ("0", {"side": "sell", "qty": 5_000, "price": "9.95"}),
    ],
)
def test_a_target_is_judged_by_the_orders_it_leads_to(check, weight, order):
    code, told = check({"decision/actions": [target(weight)]})
    assert (code, codes(told)) == (0, [set()])
    assert told["planned"] == {
        "left": [],
        "orders": [{"action_index": 0, "symbol": SYMBOL, **order}],
    }


def test_what_rests_counts_for_a_target_as_if_it_had_traded(check):
    _, told = check({"decision/actions": [target("0.08")], "account/open_orders": [OPEN]})
    assert [order["qty"] for order in told["planned"]["orders"]] == [1_000]
    _, told = check(
        {"decision/actions": [target("0")], "account/open_orders": [{**OPEN, "side": "sell"}]}
    )
    assert [order["qty"] for order in told["planned"]["orders"]] == [5_000]


@pytest.mark.parametrize(
    ("action", "why", "expected"),
    [
        (target("0.06"), "at_target", set()),
        (target("0.0605"), "below_one_lot", set()),
        (target("0.05", symbol="600001.SH"), "no_price", {"RISK_RULES_UNKNOWN"}),
    ],
)
def test_a_target_without_an_order_says_why(check, action, why, expected):
    code, told = check({"decision/actions": [action]})
    assert (code, codes(told)) == (4 if expected else 0, [expected])
    assert [one["why"] for one in told["planned"]["left"]] == [why]


def test_a_target_beyond_a_cap_is_refused_as_an_order_would_be(check):
    code, told = check({"decision/actions": [target("0.5")]})
    assert code == 4
    assert "RISK_POSITION_CAP" in codes(told)[0]


def test_nothing_is_planned_without_a_target(check):
    assert "planned" not in check()[1]


def test_another_time_may_be_judged(check):
    code, told = check({}, "--at", "2026-11-20T12:00:00+08:00")
    assert code == 4
    assert "RISK_SESSION" in codes(told)[0]
    assert told["evaluated_at"] == "2026-11-20T04:00:00.000Z"


def test_what_would_pass_is_suggested_and_does(check):
    code, told = check({"decision/actions/0/qty": 10_050, "decision/actions/0/price": "10.30"})
    assert code == 4
    (mended,) = told["corrections"]
    # The quote is 10.00, the drift 150 bps; 60,000 of the 120,000 of the symbol are held.
    assert mended == {"action_index": 0, "qty": 5_900, "price": "10.15"}
    again = {f"decision/actions/0/{name}": mended[name] for name in ("qty", "price")}
    assert check(again)[0] == 0


def test_actions_are_judged_in_turn(check):
    place = DECISION["actions"][0]
    actions = [
        {"type": "cancel_order", "target_order_id": "o1"},
        {"type": "modify_order", "target_order_id": "unknown", "qty": 100},
        {"type": "modify_order", "target_order_id": "o1", "price": "9.95"},
        {**place, "depends_on": 1},
        {"type": "no_op"},
        {**place, "side": "sell", "price": "10.10"},
    ]
    code, told = check({"decision/actions": actions, "account/open_orders": [OPEN]})
    assert code == 4
    found = codes(told)
    assert found == [set(), {"CHECKER_UNKNOWN_REF"}, set(), {"RISK_DEPENDENCY"}, set(), set()], told
    every = {"decision/actions": actions, "account/open_orders": [OPEN]}
    code, told = check({**every, "policy": {"all_or_none": True}})
    assert all(codes(told))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"account/account/nav": None}, ("account.json", "account.nav", "missing")),
        ({"account/account/nav": "a lot"}, ("account.json", "account.nav", "a lot")),
        ({"account/account/available_cash": True}, ("account.available_cash", "True")),
        ({"account/account/navv": "1"}, ("account.navv",)),
        ({"account/positions/0/sellable_qty": 7_000}, ("positions[0].sellable_qty", "7000")),
        ({"account/open_orders": [{**OPEN, "side": "hold"}]}, ("open_orders[0].side", "hold")),
        ({"account/today": None}, ("today",)),
        ({"observation/generated_at": "2026-11-20T10:00:00"}, ("generated_at", "2026-11-20T10")),
        ({"observation/clock/phase": "closed"}, ("observation.json", "clock.phase", "closed")),
        ({"observation/market_rules": None}, ("market_rules",)),
        ({"decision/actions/0/qty": 0}, ("decision.json", "qty")),
        ({"decision/actions/0/colour": "red"}, ("decision.json", "colour")),
        ({"policy": {"limits": {"symbol_nav_cap": 12}}}, ("policy.json", "symbol_nav_cap", "12")),
        ({"policy": {"limits": {"gross": "1"}}}, ("policy.json", "limits.gross")),
        ({"policy": {"limits": {"single_order_cap": "2e5x"}}}, ("single_order_cap", "2e5x")),
        ({"policy": {"limits": {"max_positions": None}, "st_policy": "maybe"}}, ("policy.json",)),
        ({"policy": []}, ("policy.json",)),
        ({"policy": "{"}, ("policy.json",)),
        ({"policy": '{"lists": {}, "lists": {}}'}, ("policy.json", "lists")),
        ({"observation": "[" * 100_000}, ("observation.json",)),
        ({"account": "NaN"}, ("account.json",)),
    ],
)
def test_a_malformed_file_is_refused_with_its_place(check, changes, words):
    code, told = check(changes)
    assert code == 2, told
    assert told["error"]["remedy"]
    for word in words:
        assert word in told["error"]["message"], told


def test_a_missing_file_is_named(capsys, tmp_path):
    gone = str(tmp_path / "gone.json")
    words = [word for name in FILES for word in (f"--{name}", gone)]
    assert main(("gate", "check", *words, "--json")) == 2
    assert "gone.json" in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_person_is_told_in_words(tmp_path, capsys, lang):
    found = []
    for name, body in FILES.items():
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(body if name != "policy" else {"lists": {"whitelist": []}}))
        found += [f"--{name}", str(file)]
    assert main(("gate", "check", *found, "--lang", lang)) == 4
    told = capsys.readouterr().out
    assert "RISK_BLACKLIST" in told
    assert ("白名单" in told) == (lang == "zh")


def test_the_rulebook_is_listed_with_its_limits(capsys, tmp_path):
    file = tmp_path / "policy.json"
    file.write_text('{"limits": {"cancel_ratio": "0.4"}}')
    assert main(("risk", "rules", "--policy", str(file), "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    by_code = {code: rule for rule in told["rules"] for code in rule["codes"]}
    assert len(by_code) == 40
    assert by_code["RISK_CANCEL_RATIO"]["parameters"]["cancel_ratio"] == "0.4"
    assert by_code["RISK_TICK"]["exchange"] is True
    assert told["policy_file"] == str(file)
    assert main(("risk", "rules", "--lang", "zh")) == 0
    shown = capsys.readouterr().out
    assert "RISK_CHURN" in shown
    assert "内置" in shown


def test_the_rules_are_shown_with_the_policy_of_the_desks(tmp_path, capsys):
    home = tmp_path / "home"
    home.mkdir()
    (home / "risk.json").write_text('{"limits": {"cancel_ratio": "0.4"}}', encoding="utf-8")
    assert main(("risk", "rules", "--json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["policy_file"] == str(home / "risk.json")
    (rule,) = [rule for rule in told["rules"] if "RISK_CANCEL_RATIO" in rule["codes"]]
    assert rule["parameters"]["cancel_ratio"] == "0.4"
    (home / "risk.json").write_text('{"limits": {"cancel_ratio": 2}}', encoding="utf-8")
    assert main(("risk", "rules", "--json")) == 2
    assert "limits.cancel_ratio" in capsys.readouterr().out
    days = ("--start", "2023-01-03", "--end", "2023-01-04", "--policy", str(home / "risk.json"))
    assert main(("replay", "--data", str(tmp_path), *days, "--json")) == 2
    assert "limits.cancel_ratio" in capsys.readouterr().out
