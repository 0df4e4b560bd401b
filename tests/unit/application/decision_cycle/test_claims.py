"""What a decision says of the world: compared, recorded, and refused where it is invented."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from caopan.application.decision_cycle.checker import check
from caopan.application.decision_cycle.observe import Observation
from caopan.domain.decision.shapes import (
    Action,
    ActionType,
    CheckerResult,
    Comparison,
    Decision,
    ExitPlan,
    Intent,
    Invalidation,
)
from caopan.domain.orders.order import OrderType, Side
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.money import units
from caopan.testing.samples import NOW, sample_id

MINE, OTHER = "600001.SH", "000002.SZ"
VALUES: dict[str, Any] = {
    "account": {"nav": "1000000.00", "cash": "400000.00", "available_cash": "300000.00"},
    "market": {"breadth": 0.61},
    "positions": [{"symbol": MINE, "qty": 600, "sellable_qty": 100, "avg_price": "9.50"}],
    "features": {
        MINE: {"ret_20d": 0.0523, "last": "10.00", "limit_state": "none", "halted": False},
        OTHER: {"last": "20.00"},
    },
    "fundamentals": {MINE: {"pe_ttm": 12.5}},
    "market_rules": {
        MINE: {"limit_up": "11.00", "limit_down": "9.00", "tick_size": "0.01"},
        OTHER: {"limit_up": None, "limit_down": None},
    },
    "open_orders": [
        {
            "order_id": "o-1",
            "symbol": MINE,
            "side": "buy",
            "order_type": "limit",
            "qty": 500,
            "filled_qty": 200,
            "price": "9.90",
        }
    ],
    "events": {MINE: [{"type": "earnings", "date": "2023-06-05"}, {"id": "e-7", "type": "halt"}]},
    "news": [{"id": "n-1", "title": "read me"}],
}
BODY = canonical(VALUES)
SEEN = Observation(sample_id(3), VALUES, BODY, sha256_hex(BODY))
BUY = Action(
    index=0,
    type=ActionType.PLACE_ORDER,
    symbol=MINE,
    side=Side.BUY,
    order_type=OrderType.LIMIT,
    price=units(10),
    qty=100,
    exit_plan=ExitPlan(units(9)),
)
SELL = replace(BUY, side=Side.SELL, exit_plan=None)
CANCEL = Action(0, ActionType.CANCEL_ORDER, target_order_id="o-1")


def checked(*actions: Action, **changes: Any) -> CheckerResult:
    made = Decision(
        decision_id=sample_id(1),
        observation_ref=SEEN.content_hash,
        nav=units(1_000_000),
        cash=units(400_000),
        actions=tuple(replace(action, index=index) for index, action in enumerate(actions)),
        made_at=NOW,
        valid_until=NOW + timedelta(minutes=4),
    )
    return check(replace(made, **changes), SEEN, NOW, NOW)


def citing(*evidence: str, action: Action = BUY) -> CheckerResult:
    return checked(replace(action, intent=Intent("because", 0.5, evidence)))


def codes(result: CheckerResult) -> list[tuple[str, int | None]]:
    return [(one.code, one.action_index) for one in result.reasons]


def found(result: CheckerResult) -> list[tuple[str, int | None]]:
    """Return what is recorded of a decision that passes."""
    assert result.passed, result.reasons
    return [(one.code, one.action_index) for one in result.findings]


def test_an_honest_decision_has_neither_reasons_nor_findings():
    assert found(checked(BUY)) == []
    assert found(checked(SELL)) == []


# --- evidence ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cited",
    [
        *(f"{MINE}.ret_20d", "ret_20d", f"features.{MINE}.ret_20d", "features.ret_20d"),
        *(f"{MINE}.pe_ttm", f"fundamentals.{MINE}.pe_ttm", f"{OTHER}.last", f"{MINE}.limit_up"),
        *(f"{MINE}.earnings", f"events.{MINE}.earnings", "earnings", "e-7", "n-1"),
        *("account.nav", "market.breadth", f"{MINE}.qty", f"positions.{MINE}.avg_price"),
    ],
)
def test_what_the_observation_has_may_be_cited(cited):
    assert found(citing(cited)) == []


@pytest.mark.parametrize(
    "cited",
    [
        *("", ".", "=", "=1", MINE, f"{MINE}.", ".last", f"{OTHER}.ret_20d", "600999.SH.last"),
        *("n-2", "news.n-1", "account.password", "clock.phase", "features", f"{MINE}.unlock"),
        *("market", "events", f"{OTHER}.qty", "account", "n-1=5", "ret_99d=0.1", "１"),
    ],
)
def test_what_it_does_not_have_may_not(cited):
    assert codes(citing(cited)) == [("CHECKER_UNKNOWN_REF", 0)]


@pytest.mark.parametrize("action", [CANCEL, Action(0, ActionType.NO_OP, symbol=MINE)])
def test_every_action_cites_what_exists(action):
    assert found(citing("n-1", action=action)) == []
    assert codes(citing("n-2", action=action)) == [("CHECKER_UNKNOWN_REF", 0)]


@pytest.mark.parametrize(
    ("cited", "verdict"),
    [
        (f"{MINE}.last=10.00", "true"),
        (f"{MINE}.last = 10", "true"),
        (f"{MINE}.last=10.05", "recorded"),
        (f"{MINE}.last=9.95", "recorded"),
        (f"{MINE}.last=10.06", "refused"),
        (f"{MINE}.last=20.00", "refused"),
        (f"{OTHER}.last=20", "true"),
        ("ret_20d=0.0523", "true"),
        ("ret_20d=0.052", "true"),
        ("ret_20d=0.05", "true"),
        ("ret_20d=0.06", "refused"),
        ("ret_20d=5.23", "refused"),
        ("ret_20d=-0.0523", "refused"),
        (f"{MINE}.qty=600", "true"),
        (f"{MINE}.qty=700", "refused"),
        (f"{MINE}.limit_state=none", "true"),
        (f"{MINE}.limit_state=sealed_up", "refused"),
        (f"{MINE}.halted=False", "true"),
        (f"{MINE}.halted=0", "refused"),
        ("earnings=2023-06-05", "true"),
        ("earnings=2023-06-06", "refused"),
        (f"{MINE}.last=", "refused"),
        (f"{MINE}.last=NaN", "refused"),
        (f"{MINE}.last=1e1", "refused"),
        (f"{MINE}.last=" + "9" * 60, "refused"),
        (f"{MINE}.last=１０", "refused"),
    ],
)
def test_a_stated_value_is_the_observations(cited, verdict):
    result = citing(cited)
    if verdict == "refused":
        assert codes(result) == [("CHECKER_HALLUCINATION", 0)]
        assert result.reasons[0].limit
    else:
        assert found(result) == [("CHECKER_HALLUCINATION", 0)] * (verdict == "recorded")


# --- the account ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nav", "cash", "recorded"),
    [("1000000.00", "400000.00", 0), ("1000000.01", "400000.00", 1), ("1004999", "399000", 2)],
)
def test_a_balance_a_little_off_is_recorded(nav, cash, recorded):
    result = checked(BUY, nav=units(nav), cash=units(cash))
    assert found(result) == [("CHECKER_HALLUCINATION", None)] * recorded


def test_a_balance_far_off_is_refused_and_not_recorded_twice():
    result = checked(BUY, nav=units(2_000_000))
    assert codes(result) == [("CHECKER_HALLUCINATION", None)]
    assert result.findings == ()


# --- orders: the gate refuses, the checker records --------------------------------------------


@pytest.mark.parametrize(
    ("symbol", "qty", "recorded"), [(MINE, 600, 0), (MINE, 601, 1), (OTHER, 100, 1)]
)
def test_a_sale_of_what_is_not_held_is_recorded(symbol, qty, recorded):
    sale = replace(SELL, symbol=symbol, qty=qty)
    assert found(checked(sale)) == [("CHECKER_HALLUCINATION", 0)] * recorded


@pytest.mark.parametrize(
    ("price", "recorded"), [("11.00", 0), ("11.01", 1), ("9.00", 0), ("8.99", 1)]
)
def test_a_price_that_the_day_cannot_have_is_recorded(price, recorded):
    result = checked(replace(SELL, price=units(price)))
    assert found(result) == [("CHECKER_HALLUCINATION", 0)] * recorded


def test_where_no_limit_applies_any_price_can_be():
    order = replace(BUY, symbol=OTHER, price=units(900), exit_plan=None)
    assert found(checked(order)) == []


def test_buys_beyond_the_cash_are_recorded():
    assert found(checked(replace(BUY, qty=30_000))) == []
    assert found(checked(replace(BUY, qty=30_100))) == [("CHECKER_RANGE", None)]
    both = (replace(BUY, qty=20_000), replace(BUY, symbol=OTHER, qty=10_100, exit_plan=None))
    assert found(checked(*both)) == [("CHECKER_RANGE", None)]


# --- changes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, False),
        ({"symbol": MINE, "qty": 500, "price": units("9.90")}, False),
        ({"qty": 300}, False),
        ({"qty": 100}, True),
        ({"price": units("9.91")}, True),
        ({"symbol": OTHER}, True),
        ({"side": Side.BUY, "order_type": OrderType.LIMIT}, False),
        ({"side": Side.SELL}, True),
        ({"order_type": OrderType.MARKET_BEST5_CANCEL}, True),
    ],
)
def test_a_cancel_is_of_the_order_it_describes(changes, refused):
    result = checked(replace(CANCEL, **changes))
    assert codes(result) == [("CHECKER_HALLUCINATION", 0)] * refused


def test_a_change_states_what_is_new_but_names_its_own_symbol():
    change = replace(CANCEL, type=ActionType.MODIFY_ORDER, qty=100, price=units("9.80"))
    assert found(checked(change)) == []
    assert codes(checked(replace(change, symbol=OTHER))) == [("CHECKER_HALLUCINATION", 0)]


# --- exit plans -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feature", "known"),
    [("ret_20d", True), (f"{MINE}.ret_20d", True), ("ret_99d", False), (f"{OTHER}.last", False)],
)
def test_an_exit_plan_watches_features_of_its_symbol(feature, known):
    plan = ExitPlan(units(9), invalidation=(Invalidation(feature, Comparison.LT, "0"),))
    result = checked(replace(BUY, exit_plan=plan))
    assert codes(result) == ([] if known else [("CHECKER_UNKNOWN_REF", 0)])


def test_targets_beyond_the_whole_account_are_recorded():
    target = Action(0, ActionType.SET_TARGET, MINE, target_weight="0.6")
    other = replace(target, symbol=OTHER, target_weight="0.4")
    assert found(checked(target, other)) == []
    beyond = checked(target, replace(other, target_weight="0.4001"))
    assert found(beyond) == [("CHECKER_RANGE", None)]
    assert (beyond.findings[0].limit, beyond.findings[0].actual) == ("1", "1.0001")
