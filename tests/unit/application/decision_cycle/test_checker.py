"""The rule checker: every reason not to trust a decision, and the edge of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from caopan.application.decision_cycle.checker import check
from caopan.application.decision_cycle.observe import TTL_MS, Observation
from caopan.domain.decision.shapes import Action, ActionType, Decision, Entry, ExitPlan, Intent
from caopan.domain.orders.order import OrderType, Side
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.money import units
from caopan.testing.samples import NOW, sample_id

MINE, OTHER, OPEN = "600001.SH", "000002.SZ", "o-1"
VALUES: dict[str, Any] = {
    "observation_id": str(sample_id(3)),
    "account": {"nav": "1000000.00", "cash": "400000.00"},
    "features": {MINE: {"ret_20d": 0.1, "last": "10.00"}, OTHER: {}},
    "market_rules": {MINE: {}, OTHER: {}},
    "open_orders": [{"order_id": OPEN, "filled_qty": 0}],
    "news": [{"id": "n-1", "title": "read me"}],
}
BODY = canonical(VALUES)
SEEN = Observation(sample_id(3), VALUES, BODY, sha256_hex(BODY))
NO_OP = Action(0, ActionType.NO_OP)
BUY = Action(
    index=0,
    type=ActionType.PLACE_ORDER,
    symbol=MINE,
    side=Side.BUY,
    order_type=OrderType.LIMIT,
    price=units(10),
    qty=100,
    exit_plan=ExitPlan(units(9)),
    intent=Intent("because", 0.5, (f"{MINE}.ret_20d",)),
)


def decision(*actions: Action, **changes: Any) -> Decision:
    numbered = tuple(replace(action, index=index) for index, action in enumerate(actions))
    made = Decision(
        decision_id=sample_id(1),
        observation_ref=SEEN.content_hash,
        nav=units(1_000_000),
        cash=units(400_000),
        actions=numbered,
        made_at=NOW,
        valid_until=NOW + timedelta(minutes=4),
    )
    return replace(made, **changes)


def reasons(made: Decision, *, after_ms: float = 0) -> list[tuple[str, int | None]]:
    result = check(made, SEEN, NOW, NOW + timedelta(milliseconds=after_ms))
    assert result.passed == (not result.reasons)
    assert result.checker == "rule"
    assert all(reason.detail for reason in result.reasons)
    return [(reason.code, reason.action_index) for reason in result.reasons]


def test_a_sound_decision_passes():
    assert reasons(decision(BUY)) == []
    assert reasons(decision(NO_OP)) == []
    sale = replace(BUY, symbol=OTHER, side=Side.SELL, exit_plan=None, intent=None)
    assert reasons(decision(BUY, sale)) == []


@pytest.mark.parametrize(
    ("after_ms", "expired"), [(0, False), (TTL_MS, False), (TTL_MS + 0.001, True)]
)
def test_an_observation_lives_for_its_time(after_ms, expired):
    result = check(decision(BUY), SEEN, NOW, NOW + timedelta(milliseconds=after_ms))
    assert result.observation_expired == expired
    assert [r.code for r in result.reasons] == (["OBS_EXPIRED"] if expired else [])
    assert result.checked_at == NOW + timedelta(milliseconds=after_ms)


def test_the_reason_names_the_age_in_milliseconds():
    late = NOW + timedelta(milliseconds=TTL_MS + 1)
    (reason,) = check(decision(BUY), SEEN, NOW, late).reasons
    assert (reason.limit, reason.actual) == ("180000 ms", "180001 ms")


@pytest.mark.parametrize("named", ["", "0" * 64, SEEN.content_hash[:-1], SEEN.content_hash + " "])
def test_another_observation(named):
    assert reasons(decision(BUY, observation_ref=named)) == [("CHECKER_UNKNOWN_REF", None)]


@pytest.mark.parametrize(
    ("nav", "cash", "codes"),
    [
        ("1005000.00", "402000.00", 0),
        ("995000.00", "398000.00", 0),
        ("1005000.01", "400000.00", 1),
        ("994999.99", "400000.00", 1),
        ("1000000.00", "402000.01", 1),
        ("1000000.00", "-400000.00", 1),
        ("0.00", "0.00", 2),
    ],
)
def test_an_invented_account(nav, cash, codes):
    made = decision(BUY, nav=units(nav), cash=units(cash))
    assert reasons(made) == [("CHECKER_HALLUCINATION", None)] * codes


def test_an_empty_account_can_be_stated():
    empty = {**VALUES, "account": {"nav": "0.00", "cash": "0.00"}}
    seen = replace(SEEN, values=empty)
    assert check(decision(NO_OP, nav=0, cash=0), seen, NOW, NOW).passed
    assert not check(decision(NO_OP, nav=1, cash=0), seen, NOW, NOW).passed


TARGET = Action(0, ActionType.SET_TARGET, symbol=MINE, target_weight="0.1")


def test_a_target_is_a_share_of_the_account():
    for weight in ("0", "0.1", "1", "1.0"):
        assert reasons(decision(replace(TARGET, target_weight=weight))) == []
    for weight in (None, "", "-0.1", "1.0001", "NaN", "sNaN", "Infinity", "a tenth"):
        wrong = decision(replace(TARGET, target_weight=weight))
        assert reasons(wrong) == [("CHECKER_RANGE", 0)]


@pytest.mark.parametrize(
    "entry",
    [Entry(tranches=("0.5", "0.5")), Entry(cancel_at=NOW + timedelta(minutes=1))],
)
def test_what_is_not_supported_yet_is_said(entry):
    (reason,) = check(decision(replace(TARGET, entry=entry)), SEEN, NOW, NOW).reasons
    assert (reason.code, reason.action_index) == ("CHECKER_SCHEMA_FAIL", 0)
    assert "not supported yet" in reason.detail


def test_a_target_may_be_reached_in_one_part_within_a_price():
    whole = Entry(max_price=units(11), max_chase_bps=20, tranches=("1",))
    assert reasons(decision(replace(TARGET, entry=whole))) == []


@pytest.mark.parametrize(
    ("weight", "most", "plan", "count"),
    [
        # The last price is 10.
        ("0.1", None, ExitPlan(units("9.99")), 0),
        ("0.1", None, ExitPlan(units(10)), 1),
        ("0.1", "12", ExitPlan(units("9.99"), ((units("10.01"), "1"),)), 0),
        ("0.1", "12", ExitPlan(units(11), ((units(10), "1"),)), 2),
        ("0.1", "9", ExitPlan(units(9), ((units("9.01"), "1"),)), 1),
        ("0.1", "9", ExitPlan(units("8.99"), ((units("9.01"), "1"),)), 0),
        # A position that is left is left, whatever plan goes with it.
        ("0", None, ExitPlan(units(11)), 0),
    ],
)
def test_a_targets_exit_plan_lies_around_the_price_it_is_reached_at(weight, most, plan, count):
    entry = None if most is None else Entry(max_price=units(most))
    target = replace(TARGET, target_weight=weight, entry=entry, exit_plan=plan)
    assert reasons(decision(target)) == [("CHECKER_RANGE", 0)] * count


@pytest.mark.parametrize("last", [None, "ten", 10.0, {}])
def test_a_price_that_nobody_knows_refuses_nothing(last):
    seen = replace(SEEN, values={**VALUES, "features": {MINE: {"last": last}}})
    target = replace(TARGET, exit_plan=ExitPlan(units(9)))
    assert check(decision(target), seen, NOW, NOW).passed


def test_a_symbol_has_one_target_and_a_target_waits_for_nothing():
    other = replace(TARGET, symbol=OTHER)
    assert reasons(decision(TARGET, other)) == []
    assert reasons(decision(TARGET, TARGET)) == [("CHECKER_CONFLICT", 1)]
    waits = replace(other, depends_on=0)
    assert ("CHECKER_UNKNOWN_REF", 1) in reasons(decision(TARGET, waits))
    order = replace(BUY, symbol=OTHER, intent=None, depends_on=0)
    assert reasons(decision(TARGET, order)) == [("CHECKER_UNKNOWN_REF", 1)]


@pytest.mark.parametrize("kind", [ActionType.MODIFY_ORDER, ActionType.CANCEL_ORDER])
def test_a_change_names_an_open_order_of_the_observation(kind):
    change = Action(0, kind, target_order_id=OPEN, price=units(9))
    assert reasons(decision(change)) == []
    for target in ("o-2", "", None):
        stranger = replace(change, target_order_id=target)
        assert reasons(decision(stranger)) == [("CHECKER_UNKNOWN_REF", 0)]


def test_an_order_is_changed_once_by_a_decision():
    cancel = Action(0, ActionType.CANCEL_ORDER, target_order_id=OPEN)
    modify = replace(cancel, type=ActionType.MODIFY_ORDER, price=units(9))
    for first, second in ((cancel, cancel), (cancel, modify), (modify, modify)):
        assert reasons(decision(first, second)) == [("CHECKER_CONFLICT", 1)]


def test_an_order_may_wait_for_an_earlier_one():
    waits = replace(BUY, symbol=OTHER, intent=None, depends_on=0)
    assert reasons(decision(BUY, waits)) == []


@pytest.mark.parametrize("needed", [1, 2, 99])
def test_what_comes_later_or_never_cannot_be_waited_for(needed):
    waits = replace(BUY, symbol=OTHER, intent=None, depends_on=needed)
    assert ("CHECKER_UNKNOWN_REF", 1) in reasons(decision(BUY, waits))


def test_only_orders_are_waited_for_and_only_orders_wait():
    waits = replace(BUY, depends_on=0)
    assert reasons(decision(NO_OP, waits)) == [("CHECKER_UNKNOWN_REF", 1)]
    other = replace(NO_OP, depends_on=0)
    assert reasons(decision(BUY, other)) == [("CHECKER_UNKNOWN_REF", 1)]


def test_a_market_order_has_no_price_to_be_out_of_range():
    assert reasons(decision(replace(BUY, order_type=None, price=None))) == []


@pytest.mark.parametrize("symbol", ["600999.SH", "600001.SZ", None])
def test_a_symbol_outside_the_universe(symbol):
    stranger = replace(BUY, symbol=symbol, intent=None)
    assert reasons(decision(stranger)) == [("CHECKER_RANGE", 0)]


@pytest.mark.parametrize(
    ("plan", "count"),
    [
        (ExitPlan(units("9.99")), 0),
        (ExitPlan(units(10)), 1),
        (ExitPlan(units(11)), 1),
        (ExitPlan(units(9), ((units("10.01"), "0.5"),)), 0),
        (ExitPlan(units(9), ((units(10), "0.5"), (units(11), "0.5"))), 1),
        (ExitPlan(units(12), ((units(8), "0.5"), (units(9), "0.5"))), 3),
        (None, 0),
    ],
)
def test_an_exit_plan_lies_around_the_price(plan, count):
    assert reasons(decision(replace(BUY, exit_plan=plan))) == [("CHECKER_RANGE", 0)] * count
    sale = replace(BUY, side=Side.SELL, exit_plan=plan)
    assert reasons(decision(sale)) == []


@pytest.mark.parametrize(
    ("cited", "known"),
    [
        (f"{MINE}.ret_20d", True),
        (f"{MINE}.last", True),
        ("n-1", True),
        (f"{MINE}.ret_99d", False),
        (f"{OTHER}.ret_20d", False),
        ("600999.SH.ret_20d", False),
        ("ret_20d", True),
        ("ret_99d", False),
        (MINE, False),
        ("n-2", False),
        ("", False),
        (".", False),
    ],
)
def test_cited_evidence_is_in_the_observation(cited, known):
    action = replace(BUY, intent=Intent("because", 0.5, (cited,)))
    result = check(decision(action), SEEN, NOW, NOW)
    assert result.passed == known
    if not known:
        assert [(r.code, r.actual) for r in result.reasons] == [("CHECKER_UNKNOWN_REF", cited)]


def test_an_observation_is_named_by_its_hash_or_its_id():
    assert reasons(decision(BUY, observation_ref=str(SEEN.observation_id))) == []


def test_an_exit_plan_sells_at_its_stop_at_least():
    plan = ExitPlan(units(9), min_price=units("9.01"))
    assert reasons(decision(replace(BUY, exit_plan=plan))) == [("CHECKER_RANGE", 0)]
    assert reasons(decision(replace(BUY, exit_plan=replace(plan, min_price=units(9))))) == []


def test_a_target_and_an_order_of_one_symbol_contradict_each_other():
    assert reasons(decision(BUY, TARGET)) == [("CHECKER_CONFLICT", 1)]
    assert reasons(decision(TARGET, replace(BUY, side=Side.SELL))) == [("CHECKER_CONFLICT", 1)]


def test_each_bad_citation_is_named():
    action = replace(BUY, intent=Intent("because", 0.5, ("a", f"{MINE}.last", "b")))
    assert reasons(decision(action)) == [("CHECKER_UNKNOWN_REF", 0)] * 2


@pytest.mark.parametrize(
    ("actions", "conflicts"),
    [
        ((BUY, replace(BUY, symbol=OTHER, intent=None)), []),
        ((BUY, BUY), [("CHECKER_CONFLICT", 1)]),
        ((BUY, NO_OP, replace(BUY, side=Side.SELL)), [("CHECKER_CONFLICT", 2)]),
        ((BUY, BUY, BUY), [("CHECKER_CONFLICT", 2)]),
        ((NO_OP, NO_OP), []),
    ],
)
def test_actions_that_contradict_each_other(actions, conflicts):
    assert reasons(decision(*actions)) == conflicts


def test_a_conflict_says_which():
    both = decision(BUY, replace(BUY, side=Side.SELL))
    twice = decision(BUY, BUY)
    assert f"both buys and sells {MINE}" in check(both, SEEN, NOW, NOW).reasons[0].detail
    assert f"orders twice {MINE}" in check(twice, SEEN, NOW, NOW).reasons[0].detail


def test_every_reason_is_reported_at_once():
    made = decision(
        replace(BUY, depends_on=1, symbol="600999.SH", exit_plan=ExitPlan(units(10))),
        Action(0, ActionType.CANCEL_ORDER, target_order_id="o-2"),
        replace(NO_OP, type=ActionType.SET_TARGET),
        observation_ref="x",
        nav=0,
    )
    assert reasons(made, after_ms=TTL_MS + 1) == [
        ("OBS_EXPIRED", None),
        ("CHECKER_UNKNOWN_REF", None),
        ("CHECKER_HALLUCINATION", None),
        ("CHECKER_UNKNOWN_REF", 0),
        ("CHECKER_RANGE", 0),
        ("CHECKER_RANGE", 0),
        ("CHECKER_UNKNOWN_REF", 1),
        ("CHECKER_RANGE", 2),
        ("CHECKER_RANGE", 2),
        ("CHECKER_UNKNOWN_REF", 0),
    ]
