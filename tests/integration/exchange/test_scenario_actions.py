"""Corporate actions of a scenario: what each does to cash and positions, and how it is refused."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.application.exchange.scenario import read_scenario, run_scenario
from caopan.kernel.errors import ConfigInvalid

A, B = "600001.SH", "600002.SH"
DAYS = ("2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05")
LATE = "2024-01-08"


def rows(days, price="10") -> list[list[object]]:
    return [[day, price, price, price, price, 1_000_000, "11", "9"] for day in days]


def scenario(action: Mapping[str, object], *orders: tuple[str, str, str, int]) -> dict[str, Any]:
    """1,000 of A bought on the first day for 10,000 yuan; no fees; then the action, and orders."""
    return {
        "account": {"cash": "13000.00"},
        "fees": {
            "commission_rate": "0",
            "commission_min": "0",
            "stamp_duty_sell": "0",
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
            {"symbol": symbol, "board": "main", "list_date": "2000-01-04"} for symbol in (A, B)
        ],
        "bars": {A: rows(DAYS), B: [[LATE, "8", "8", "8", "8", 1_000_000, "9", "7"]]},
        "corporate_actions": [{"symbol": A, "ex_date": DAYS[2], **action}],
        "orders": [
            {"n": n, "at": at, "symbol": who, "side": side, "qty": qty, "type": "market"}
            for n, (at, who, side, qty) in enumerate([(DAYS[0], A, "buy", 1000), *orders])
        ],
    }


def days_of(document) -> list[tuple[object, dict[str, dict[str, int]]]]:
    answers = run_scenario(read_scenario(copy.deepcopy(document))).answers
    return [(day["cash"], day["positions"]) for day in answers["days"]]


def said(document) -> list[tuple[object, ...]]:
    answers = run_scenario(read_scenario(copy.deepcopy(document))).answers
    return [(one["kind"], one["qty"], one["outcome"]) for one in answers["actions"]]


def held(qty, sellable=None, symbol=A):
    return {symbol: {"qty": qty, "sellable": qty if sellable is None else sellable}}


def test_bonus_shares_are_held_from_the_ex_date_and_sold_from_the_listing_date():
    action = {"cash_per_share": "0.10", "share_factor": "1.5", "listing_date": DAYS[3]}
    document = scenario(action, (DAYS[2], A, "sell", 1500), (DAYS[3], A, "sell", 1500))
    assert days_of(document)[1:] == [
        (3000, held(1000)),
        (3100, held(1500, 1000)),
        (18100, {}),
        (18100, {}),
    ]
    # Without a listing date they are sellable on the ex-date itself.
    del document["corporate_actions"][0]["listing_date"]
    assert days_of(document)[2] == (18100, {})
    assert "actions" not in run_scenario(read_scenario(document)).answers


def test_rights_are_paid_where_taken_up_and_lapse_where_not():
    action = {"kind": "rights", "rights_per_share": "0.3", "rights_price": "6.00", "take_up": True}
    document = scenario(action)
    # 300 at 6.00; sellable the day after, like a purchase.
    assert days_of(document)[2:4] == [(1200, held(1300, 1000)), (1200, held(1300))]
    assert said(document) == [("rights", 300, "taken_up")]
    document["corporate_actions"][0]["listing_date"] = LATE
    assert days_of(document)[3:] == [(1200, held(1300, 1000)), (1200, held(1300))]
    document["corporate_actions"][0]["take_up"] = False
    assert days_of(document)[2] == (3000, held(1000))
    assert said(document) == [("rights", 300, "lapsed")]
    document["corporate_actions"][0] |= {"take_up": True, "rights_price": "10.01"}
    assert said(document) == [("rights", 300, "lapsed_for_want_of_cash")]
    document["orders"] = []
    assert said(document) == [("rights", 0, "nothing_held")]


def test_rights_fall_to_the_shares_held_before_that_days_bonus():
    document = scenario({"cash_per_share": "0", "share_factor": "1.5"})
    document["corporate_actions"].append(
        {
            "kind": "rights",
            "symbol": A,
            "ex_date": DAYS[2],
            "rights_per_share": "0.3",
            "rights_price": "6",
            "take_up": True,
        }
    )
    assert days_of(document)[2] == (1200, held(1800, 1500))


@pytest.mark.parametrize(("factor", "qty"), [("10", 10_000), ("0.1", 100), ("0.0005", 0)])
def test_a_split_changes_shares_and_nothing_else(factor, qty):
    document = scenario({"kind": "split", "share_factor": factor})
    assert days_of(document)[2] == (3000, held(qty) if qty else {})
    assert said(document) == [("split", 1000, "done")]


def test_a_new_code_goes_on_trading():
    action = {"kind": "code_change", "ex_date": LATE, "new_symbol": B}
    document = scenario(action, (LATE, B, "sell", 400))
    assert days_of(document)[3:] == [(3000, held(1000)), (6200, held(600, symbol=B))]
    assert said(document) == [("code_change", 1000, "done")]


def test_a_delisted_holding_is_gone():
    document = scenario({"kind": "delisting", "ex_date": LATE})
    assert days_of(document)[3:] == [(3000, held(1000)), (3000, {})]
    assert said(document) == [("delisting", 1000, "done")]


def test_actions_run_with_dividend_tax_too():
    document = scenario({"kind": "code_change", "ex_date": LATE, "new_symbol": B})
    document["corporate_actions"].insert(
        0,
        {
            "symbol": A,
            "ex_date": DAYS[2],
            "cash_per_share": "0.50",
            "share_factor": 1,
            "pay_date": LATE,
        },
    )
    document["matching"]["dividend_tax"] = True
    document["orders"].append(
        {"n": 9, "at": LATE, "symbol": B, "side": "sell", "qty": 1000, "type": "market"}
    )
    answers = run_scenario(read_scenario(document), load_rules().dividend_tax).answers
    # 3,000 + 500 + 8,000, less 20 % of the 500 earned under the old code.
    assert [day["cash"] for day in answers["days"]][-2:] == [3000, 11400]


@pytest.mark.parametrize(
    ("action", "named"),
    [
        ({"kind": "merger"}, ".kind"),
        ({"kind": 3}, ".kind"),
        ({"kind": "split"}, ".share_factor"),
        ({"kind": "split", "share_factor": "2", "cash_per_share": "1"}, ".cash_per_share"),
        ({"kind": "split", "share_factor": "0"}, ".share_factor"),
        ({"cash_per_share": "1", "share_factor": 2, "new_symbol": B}, ".new_symbol"),
        ({"cash_per_share": "1", "share_factor": 2, "listing_date": DAYS[1]}, ".listing_date"),
        ({"cash_per_share": "1", "share_factor": 1, "listing_date": DAYS[3]}, ".listing_date"),
        ({"cash_per_share": "1", "share_factor": 2, "listing_date": "soon"}, ".listing_date"),
        ({"kind": "rights", "rights_price": "6", "take_up": True}, ".rights_per_share"),
        (
            {"kind": "rights", "rights_per_share": "0", "rights_price": "6", "take_up": True},
            ".rights_per_share",
        ),
        (
            {"kind": "rights", "rights_per_share": "0.3", "rights_price": "0", "take_up": True},
            ".rights_price",
        ),
        (
            {"kind": "rights", "rights_per_share": "0.3", "rights_price": "6", "take_up": "yes"},
            ".take_up",
        ),
        ({"kind": "rights", "rights_per_share": "0.3", "rights_price": "6"}, ".take_up"),
        ({"kind": "code_change"}, ".new_symbol"),
        ({"kind": "code_change", "new_symbol": "600009.SH"}, ".new_symbol"),
        ({"kind": "code_change", "new_symbol": A, "ex_date": LATE}, ".new_symbol"),
        ({"kind": "code_change", "new_symbol": B}, ".ex_date"),
        ({"kind": "delisting"}, ".ex_date"),
    ],
)
def test_an_action_that_is_wrong_is_refused_by_field(action, named):
    with pytest.raises(ConfigInvalid) as refused:
        read_scenario(scenario(action))
    assert refused.value.code == "SCENARIO_INVALID"
    assert f"corporate_actions[0]{named}" in refused.value.message
