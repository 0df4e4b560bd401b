"""`caopan exchange run`: whole scenarios, answers in one shape, bad input refused by name."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from pathlib import Path

import pytest

from caopan.application.exchange.scenario import read_scenario, run_scenario
from caopan.interfaces.cli.__main__ import main
from caopan.kernel.errors import ConfigInvalid

ORACLE = Path(__file__).parents[4] / "shared" / "oracle"
SCENARIOS = sorted(ORACLE.glob("scenario-*.json"))
FEN = 0.01

SMALL = {
    "account": {"cash": "100000.00"},
    "fees": {
        "commission_rate": "0.00025",
        "commission_min": "5.00",
        "stamp_duty_sell": "0.0005",
        "transfer_fee": "0",
    },
    "matching": {
        "fill": "bar_close",
        "volume_share": "0.25",
        "market_order_freeze": "close",
        "price_cage": False,
        "dividend_tax": False,
    },
    "securities": [
        {"symbol": "600001.SH", "board": "main", "list_date": "2000-01-04"},
        {"symbol": "688001.SH", "board": "star", "list_date": "2000-01-04"},
    ],
    "bars": {
        "600001.SH": [
            ["2024-01-02", "10", "10", "10", "10", 4000, "11", "9"],
            ["2024-01-03", "10.5", "10.5", "10.5", "10.5", 4000, "11", "9"],
            ["2024-01-04", "9", "9", "9", "9", 4000, "11", "9"],
            ["2024-01-05", "5.5", "5.5", "5.5", "5.5", 8000, "6", "5"],
        ],
        "688001.SH": [["2024-01-02", "20", "20", "20", "20", 0, "24", "16"]],
    },
    "corporate_actions": [
        {
            "symbol": "600001.SH",
            "ex_date": "2024-01-05",
            "cash_per_share": "0.10",
            "share_factor": "1.5",
        }
    ],
    "orders": [],
}


def order(n, day, side, qty, price=None, symbol="600001.SH"):
    kind = "market" if price is None else "limit"
    return {
        "at": day,
        "symbol": symbol,
        "side": side,
        "qty": qty,
        "type": kind,
        "price": price,
        "n": n,
    }


def answers(*orders):
    document = copy.deepcopy(SMALL)
    document["orders"] = list(orders)
    return run_scenario(read_scenario(document)).answers


def filled(*orders) -> list[int]:
    return [row["filled"] for row in answers(*orders)["orders"]]


@pytest.mark.skipif(not SCENARIOS, reason=f"no scenarios in {ORACLE}")
@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_the_independent_engine_agrees(path):
    expected = json.loads(
        path.with_name(path.name.replace("scenario", "expected")).read_text("utf-8")
    )
    ours = run_scenario(
        read_scenario(json.loads(path.read_text("utf-8"), parse_float=Decimal))
    ).answers
    assert ours["orders"] == expected["orders"]
    exact = ("n", "date", "symbol", "side", "qty", "price")
    key = lambda fill: (fill["date"], fill["n"])  # noqa: E731 - used twice below
    pairs = zip(sorted(ours["fills"], key=key), sorted(expected["fills"], key=key), strict=True)
    for mine, theirs in pairs:
        assert [mine[name] for name in exact] == [theirs[name] for name in exact]
        assert mine["commission"] == pytest.approx(theirs["commission"], abs=0.005)
        assert mine["stamp_duty"] == pytest.approx(theirs["stamp_duty"], abs=0.005)
    for mine, theirs in zip(ours["days"], expected["days"], strict=True):
        so_far = sum(fill["date"] <= mine["date"] for fill in expected["fills"])
        assert mine["date"] == theirs["date"]
        assert mine["positions"] == theirs["positions"]
        assert mine["cash"] == pytest.approx(theirs["cash"], abs=FEN * so_far + 1e-9)


def test_bought_shares_settle_overnight_and_grow_on_the_ex_date():
    found = answers(order(0, "2024-01-02", "buy", 300, "10.5"), order(1, "2024-01-02", "sell", 100))
    assert [row["filled"] for row in found["orders"]] == [300, 0]
    held = [day["positions"]["600001.SH"] for day in found["days"]]
    assert held == [
        {"qty": 300, "sellable": 0},
        {"qty": 300, "sellable": 300},
        {"qty": 300, "sellable": 300},
        {"qty": 450, "sellable": 450},
    ]
    # 300 at 10.00 and 5.00 commission; 0.10 a share on the old holding.
    assert [day["cash"] for day in found["days"]] == [96995, 96995, 96995, 97025]


@pytest.mark.parametrize(("bonus", "cash"), [("0", "99487.76"), ("0.5", "99457.76")])
def test_the_command_taxes_dividends_where_the_scenario_says_so(tmp_path, capsys, bonus, cash):
    """300 bought at 10.00, 0.10 and half a share each, all 450 sold at 5.50 three days later.

    Without tax 99,493.76 remain: 96,995.00, 30.00, and 2,475.00 less 5.00 and 1.24 of stamp duty.
    20 % of the 30.00 is 6.00; of 150 bonus shares at par of 1 yuan, 30.00 more.
    """
    document = copy.deepcopy(SMALL)
    document["matching"]["dividend_tax"] = True
    document["corporate_actions"][0]["bonus"] = bonus
    document["orders"] = [
        order(0, "2024-01-02", "buy", 300, "10"),
        order(1, "2024-01-05", "sell", 450, "5.5"),
    ]
    source, out = tmp_path / "scenario.json", tmp_path / "answers.json"
    source.write_text(json.dumps(document), "utf-8")
    assert main(["exchange", "run", str(source), str(out), "--json"]) == 0
    capsys.readouterr()
    last = json.loads(out.read_text("utf-8"))["days"][-1]
    assert (last["positions"], f"{last['cash']:.2f}") == ({}, cash)


def test_a_dividend_with_a_pay_date_comes_that_day():
    document = copy.deepcopy(SMALL)
    document["corporate_actions"][0] |= {"ex_date": "2024-01-03", "pay_date": "2024-01-05"}
    document["orders"] = [order(0, "2024-01-02", "buy", 300, "10")]
    days = run_scenario(read_scenario(document)).answers["days"]
    assert [day["cash"] for day in days] == [96995, 96995, 96995, 97025]
    assert [day["positions"]["600001.SH"]["qty"] for day in days] == [300, 450, 450, 450]


def test_capacity_is_shared_by_both_sides_in_whole_lots():
    bought = order(0, "2024-01-02", "buy", 800, "10")
    sold, more = order(1, "2024-01-03", "sell", 800), order(2, "2024-01-03", "buy", 500, "11")
    assert filled(bought, sold, more) == [800, 800, 200]


def test_cash_of_a_resting_buy_is_not_free():
    resting = order(0, "2024-01-02", "buy", 9000, "9.5")
    assert filled(resting, order(1, "2024-01-02", "buy", 1000)) == [0, 1000]
    # 95,023.75 rest, so 2,505 more would be too much after 1,000 + fees have gone.
    resting = order(0, "2024-01-02", "buy", 9900, "9.99")
    assert filled(resting, order(1, "2024-01-02", "buy", 200)) == [0, 0]


def test_limit_down_holds_a_sale_back():
    bought = order(0, "2024-01-02", "buy", 300, "10")
    resting, market = order(1, "2024-01-04", "sell", 100, "9"), order(2, "2024-01-04", "sell", 100)
    assert filled(bought, resting, market) == [300, 0, 0]


def test_star_orders_begin_at_200_and_a_day_without_volume_fills_nothing():
    low = order(0, "2024-01-02", "buy", 199, "20", "688001.SH")
    rests = order(1, "2024-01-02", "buy", 200, "20", "688001.SH")
    assert filled(low, rests, order(2, "2024-01-02", "buy", 200, None, "688001.SH")) == [0, 0, 0]


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("account", "cash"), "much", "cash"),
        (("account", "cash"), "-1", "cash"),
        (("fees", "commission_rate"), "NaN", "fees.commission_rate"),
        (("fees", "rounding"), "up", "fees.rounding"),
        (("matching", "price_cage"), True, "matching.price_cage"),
        (("matching", "dividend_tax"), "yes", "matching.dividend_tax"),
        (("matching", "dividend_tax"), True, "no rates of dividend tax"),
        (("matching", "volume_share"), "0", "matching.volume_share"),
        (("matching", "market_order_freeze"), "none", "matching.market_order_freeze"),
        (("securities", 0, "board"), "moon", "securities[0].board"),
        (("bars", "600001.SH", 1, 0), "2024-01-02", "bars.600001.SH[1].date"),
        (("bars", "600001.SH", 1, 2), "10.4", "bars.600001.SH[1].high"),
        (("bars", "600001.SH", 1, 3), "10.6", "bars.600001.SH[1].low"),
        (("bars", "600001.SH", 1, 4), Decimal("NaN"), "bars.600001.SH[1], field close"),
        (("bars", "600001.SH", 1, 5), -1, "bars.600001.SH[1], field volume"),
        (("bars", "600001.SH", 1), ["2024-01-03"], "bars.600001.SH[1]"),
        (("bars", "000001.SZ"), [], "bars.000001.SZ"),
        (("corporate_actions", 0, "share_factor"), "0", "corporate_actions[0].share_factor"),
        (("corporate_actions", 0, "bonus"), "0.6", "corporate_actions[0].bonus"),
        (("corporate_actions", 0, "pay_date"), "2024-01-04", "corporate_actions[0].pay_date"),
        (("corporate_actions", 0, "symbol"), "600009.SH", "corporate_actions[0].symbol"),
        (("orders", 0, "symbol"), "600009.SH", "orders[0].symbol"),
        (("orders", 0, "side"), "hold", "orders[0].side"),
        (("orders", 0, "type"), "stop", "orders[0].type"),
        (("orders", 0, "qty"), 1.5, "orders[0], field qty"),
        (("orders", 0, "price"), None, "orders[0], field price"),
        (("orders", 0, "at"), "soon", "orders[0].at"),
    ],
)
def test_what_is_wrong_is_named(path, value, named):
    document = copy.deepcopy(SMALL)
    document["orders"] = [order(0, "2024-01-02", "buy", 100, "10")]
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ConfigInvalid) as refused:
        run_scenario(read_scenario(document))
    assert named in refused.value.message
    assert refused.value.code in {"SCENARIO_INVALID", "BARS_INVALID"}


@pytest.mark.parametrize("name", ["account", "fees", "matching", "securities", "bars", "orders"])
def test_a_missing_part_is_named(name):
    document = {key: value for key, value in SMALL.items() if key != name}
    with pytest.raises(ConfigInvalid, match=f"scenario.{name}: missing"):
        read_scenario(document)


def test_the_command_writes_the_answers_whole(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("CAOPAN_HOME", str(tmp_path / "home"))
    document = {**SMALL, "orders": [order(0, "2024-01-02", "buy", 100, "10")]}
    source, out = tmp_path / "scenario.json", tmp_path / "answers.json"
    source.write_text(json.dumps(document), "utf-8")
    assert main(["exchange", "run", str(source), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["filled"] == 1
    assert json.loads(out.read_text("utf-8")) == answers(document["orders"][0])
    source.write_text('{"account": {"cash": NaN}}', "utf-8")
    assert main(["exchange", "run", str(source), str(tmp_path / "none.json")]) == 2
    assert "NaN" in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()
