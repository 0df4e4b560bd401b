"""Damaged scenarios through the command: exit 2, the place named, no answers, no traceback."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.exchange.scenario import read_scenario, run_scenario
from caopan.interfaces.cli.__main__ import main
from caopan.kernel.errors import ConfigInvalid

DAY = "2024-01-02"
SYMBOL = "600001.SH"
GOOD = {
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
    "securities": [{"symbol": SYMBOL, "board": "main", "list_date": "2000-01-04"}],
    "bars": {
        SYMBOL: [
            [DAY, 10, 10, 10, 10, 4000, 11, 9],
            ["2024-01-03", 10.5, 10.5, 10.5, 10.5, 4000, 11, 9],
        ]
    },
    "corporate_actions": [
        {"symbol": SYMBOL, "ex_date": "2024-01-03", "cash_per_share": "0.10", "share_factor": 1.5}
    ],
    "orders": [
        {"n": 0, "at": DAY, "symbol": SYMBOL, "side": "buy", "qty": 100, "type": "market"},
        {
            "n": 1,
            "at": DAY,
            "symbol": SYMBOL,
            "side": "sell",
            "qty": 100,
            "type": "limit",
            "price": "10",
        },
    ],
}
BAR = ("bars", SYMBOL, 1)
GONE = object()

MUTATIONS = [
    ((), [], "scenario"),
    (("account",), None, "account"),
    (("account", "cash"), float("nan"), "NaN"),
    (("account", "cash"), "NaN", "cash"),
    (("account", "cash"), "1e400", "cash"),
    (("account", "cash"), "0.00001", "cash"),
    (("account", "cash"), GONE, "cash"),
    (("account", "cash"), True, "cash"),
    (("fees", "commission_rate"), "-1", "fees.commission_rate"),
    (("fees", "stamp_duty_sell"), "2", "fees.stamp_duty_sell"),
    (("fees", "commission_min"), [], "commission_min"),
    (("fees", "stamp_duty_sell"), GONE, "fees.stamp_duty_sell"),
    (("fees", "rounding"), [], "fees.rounding"),
    (("matching", "fill"), "wish", "matching.fill"),
    (("matching", "fill"), ["bar_close"], "matching.fill"),
    (("matching", "volume_share"), "1.5", "matching.volume_share"),
    (("matching", "volume_share"), {}, "matching.volume_share"),
    (("matching", "market_order_freeze"), {}, "matching.market_order_freeze"),
    (("matching", "dividend_tax"), GONE, "matching.dividend_tax"),
    (("securities", 0), "x", "securities[0]"),
    (("securities", 0, "symbol"), "600001", "securities[0].symbol"),
    (("securities", 0, "symbol"), {}, "securities[0].symbol"),
    (("securities", 0, "board"), ["main"], "securities[0].board"),
    (("securities",), [], "unknown symbol"),
    (("bars",), [], "bars"),
    (("bars", SYMBOL), {}, f"bars.{SYMBOL}"),
    (("bars", "600002.SH"), [], "bars.600002.SH"),
    (BAR, None, f"bars.{SYMBOL}"),
    (BAR, [DAY, 10, 10, 10, 10, 4000, 11], f"bars.{SYMBOL}[1]: 7 values"),
    ((*BAR, 0), DAY, f"bars.{SYMBOL}[1].date"),
    ((*BAR, 0), "2024-01-01", f"bars.{SYMBOL}[1].date"),
    ((*BAR, 0), 20240103.5, f"bars.{SYMBOL}[1].date"),
    ((*BAR, 1), -10.5, f"bars.{SYMBOL}[1], field open"),
    ((*BAR, 1), "10.50001", f"bars.{SYMBOL}[1], field open"),
    ((*BAR, 2), 10, f"bars.{SYMBOL}[1].high"),
    ((*BAR, 3), 0, f"bars.{SYMBOL}[1].low"),
    ((*BAR, 4), "NaN", f"bars.{SYMBOL}[1], field close"),
    ((*BAR, 4), None, f"bars.{SYMBOL}[1], field close"),
    ((*BAR, 4), float("inf"), "Infinity"),
    ((*BAR, 5), -1, f"bars.{SYMBOL}[1], field volume"),
    ((*BAR, 5), 0.5, f"bars.{SYMBOL}[1], field volume"),
    ((*BAR, 5), "4000", f"bars.{SYMBOL}[1], field volume"),
    ((*BAR, 6), None, f"bars.{SYMBOL}[1].limit_up"),
    ((*BAR, 7), None, f"bars.{SYMBOL}[1].limit_down"),
    ((*BAR, 7), 12, f"bars.{SYMBOL}[1].limit_down"),
    ((*BAR, 6), 10, f"bars.{SYMBOL}[1].high"),
    # Prices in fen beside limits in yuan.
    (BAR, ["2024-01-03", 1050, 1050, 1050, 1050, 4000, 11, 9], f"bars.{SYMBOL}[1].high"),
    (("corporate_actions",), None, "scenario.corporate_actions"),
    (("corporate_actions", 0), 1, "corporate_actions[0]"),
    (("corporate_actions", 0, "cash_per_share"), GONE, "corporate_actions[0]"),
    (("corporate_actions", 0, "share_factor"), "1/0", "corporate_actions[0].share_factor"),
    (("corporate_actions", 0, "kind"), {}, "corporate_actions[0].kind"),
    (("orders", 0, "n"), GONE, "orders[0]"),
    (("orders", 1, "n"), 0, "orders[1].n"),
    (("orders", 0, "n"), "zero", "orders[0], field n"),
    (("orders", 0, "qty"), float("nan"), "NaN"),
    (("orders", 0, "qty"), -100, "orders[0], field qty"),
    (("orders", 0, "at"), None, "orders[0].at"),
    (("orders", 0, "side"), ["buy"], "orders[0].side"),
    (("orders", 0, "type"), {}, "orders[0].type"),
    (("orders", 1, "price"), "ten", "orders[1], field price"),
    (("orders", 0, "price"), "10", "orders[0].price"),
    (("orders", 0, "symbol"), "600002.SH", "orders[0].symbol"),
]


def damaged(path, value):
    if not path:
        return value
    document = copy.deepcopy(GOOD)
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    if value is GONE:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return document


def as_read(document):
    """Return a document as the command reads it: decimals exact."""
    return json.loads(json.dumps(document), parse_float=Decimal)


def test_the_scenario_itself_is_sound(tmp_path, capsys):
    (tmp_path / "in.json").write_text(json.dumps(GOOD), "utf-8")
    assert main(["exchange", "run", str(tmp_path / "in.json"), str(tmp_path / "out.json")]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(("path", "value", "named"), MUTATIONS)
def test_the_command_names_the_place_and_writes_nothing(tmp_path, capsys, path, value, named):
    source, out = tmp_path / "in.json", tmp_path / "out.json"
    source.write_text(json.dumps(damaged(path, value)), "utf-8")
    assert main(["exchange", "run", str(source), str(out), "--json"]) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    told = json.loads(said.err) if said.err.lstrip().startswith("{") else said.err
    assert named in str(told).replace("\\n", " ")
    assert not out.exists()


def test_orders_of_no_shares_are_refused_by_the_exchange_not_by_the_reader():
    answers = run_scenario(read_scenario(as_read(damaged(("orders", 0, "qty"), 0)))).answers
    assert answers["orders"][0]["outcome"] == "not_filled"


json_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.decimals(allow_nan=True),
    st.text(max_size=8),
    st.sampled_from(["1e9", "-0", "1/3", "١٢", "2024-02-30", "600001.SH", [], {}, [[]], [{}]]),
)


@settings(deadline=None, max_examples=400)
@given(draw=st.randoms(use_true_random=False), value=json_values)
def test_any_damage_is_either_harmless_or_refused_by_name(draw, value):
    """One place of the scenario becomes anything at all."""
    document = as_read(GOOD)
    inner: Any = document
    while True:
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        key = draw.choice(keys)
        below = inner[key]
        if not below or not isinstance(below, dict | list) or draw.random() < 0.1:
            break
        inner = below
    inner[key] = value
    try:
        run_scenario(read_scenario(document))
    except ConfigInvalid as error:
        refused = error
    else:
        return
    assert refused.code in {"SCENARIO_INVALID", "BARS_INVALID"}
