"""The reply of a model: what is read from it, and what every malformed one is told."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from caopan.application.contracts.decision import REPLY_SCHEMA, parse_reply
from caopan.domain.decision.shapes import (
    Action,
    ActionType,
    Comparison,
    Decision,
    Entry,
    ExitPlan,
    Intent,
    Invalidation,
    SecurityEvent,
    StopBasis,
)
from caopan.domain.orders.order import OrderType, Side
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units
from caopan.testing.samples import NOW, sample_id

UNTIL = NOW + timedelta(minutes=10)
HASH = "ab" * 32

ORDER: dict[str, Any] = {
    "type": "place_order",
    "symbol": "600519.SH",
    "side": "buy",
    "order_type": "limit",
    "price": "1688.88",
    "qty": 200,
    "tif": "day",
    "exit_plan": {
        "stop_price": "1600.5",
        "take_profit": [
            {"price": "1800", "fraction": "0.5"},
            {"price": "1900.0001", "fraction": "1"},
        ],
        "time_stop_days": 40,
    },
    "intent": {
        "rationale": "白酒 leads",
        "confidence": 0.7,
        "evidence": ["600519.SH.ret_20d"],
    },
}
REPLY: dict[str, Any] = {
    "observation_ref": HASH,
    "account_view": {"nav": "1000000.00", "cash": "250000.5"},
    "global_intent": {"risk_posture": "cautious", "max_new_cash": "100000"},
    "notes": "one buy",
    "actions": [ORDER, {"type": "no_op"}],
}


def parse(text: str) -> tuple[Decision, tuple[str, ...]]:
    return parse_reply(text, decision_id=sample_id(1), made_at=NOW, valid_until=UNTIL)


def refusal(text: str) -> str:
    """Return what a reply that cannot be read is told."""
    with pytest.raises(ConfigInvalid) as caught:
        parse(text)
    assert caught.value.code == "MODEL_PARSE_FAIL"
    assert caught.value.remedy
    return caught.value.message


def changed(path: str, value: Any) -> str:
    """Return the reply with the value at a dotted path set, or removed by `...`."""
    reply = copy.deepcopy(REPLY)
    *way, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place: Any = reply
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(reply, ensure_ascii=False)


def test_a_whole_reply_is_read_exactly():
    decision, fixes = parse(json.dumps(REPLY, ensure_ascii=False))
    assert fixes == ()
    assert decision == Decision(
        decision_id=sample_id(1),
        observation_ref=HASH,
        nav=units(1_000_000),
        cash=units("250000.5"),
        actions=(
            Action(
                index=0,
                type=ActionType.PLACE_ORDER,
                symbol="600519.SH",
                side=Side.BUY,
                order_type=OrderType.LIMIT,
                price=units("1688.88"),
                qty=200,
                exit_plan=ExitPlan(
                    stop_price=units("1600.5"),
                    take_profit=((units(1_800), "0.5"), (units("1900.0001"), "1")),
                    time_stop_days=40,
                ),
                intent=Intent("白酒 leads", 0.7, ("600519.SH.ret_20d",)),
            ),
            Action(index=1, type=ActionType.NO_OP),
        ),
        made_at=NOW,
        valid_until=UNTIL,
        notes="one buy",
        asked_posture="cautious",
        max_new_cash=units(100_000),
    )


@pytest.mark.parametrize(
    "fence",
    [
        "```json\n{}\n```",
        "```\n{}\n```",
        "  \n```json  \n{}\n```\n",
        "```json\r\n{}\r\n```",
        "```json\n\n{}\n\n```",
    ],
)
def test_a_code_fence_is_taken_off_and_said(fence):
    body = json.dumps(REPLY)
    decision, fixes = parse(fence.replace("{}", body))
    assert fixes == ("code_fence",)
    assert decision == parse(body)[0]


def test_a_fence_inside_a_text_is_no_fence():
    decision, fixes = parse(changed("notes", "```json\n{}\n```"))
    assert fixes == ()
    assert decision.notes == "```json\n{}\n```"


MALFORMED = [
    # path, value, field named, what is said of it
    ("surprise", 1, "surprise", "Extra inputs"),
    ("decision_id", str(sample_id(9)), "decision_id", "Extra inputs"),
    ("actions.0.decision_id", "x", "actions.0.decision_id", "Extra inputs"),
    ("actions.0.valid_until", "2099-01-01", "actions.0.valid_until", "leave it out"),
    ("actions.0.exit_plan.trail", 1, "actions.0.exit_plan.trail", "Extra inputs"),
    ("account_view.equity", "1", "account_view.equity", "Extra inputs"),
    ("Notes", "x", "Notes", "Extra inputs"),
    ("observation_ref", ..., "observation_ref", "content_hash"),
    ("observation_ref", 7, "observation_ref", "string"),
    ("observation_ref", "x" * 65, "observation_ref", "at most 64"),
    ("account_view", ..., "account_view", "required"),
    ("account_view.nav", "1e6", "account_view.nav", "1000000.00"),
    ("account_view.nav", "1,000", "account_view.nav", "pattern"),
    ("account_view.cash", "NaN", "account_view.cash", '"NaN"'),
    ("account_view.cash", True, "account_view.cash", "not true"),
    ("actions", [], "actions", "at least 1"),
    ("actions", {}, "actions", "array"),
    ("actions", [{"type": "no_op"}] * 41, "actions", "at most 40"),
    ("actions.1", 5, "actions.1", "object"),
    ("actions.1.type", "buy_everything", "actions.1.type", "no_op"),
    ("actions.1.type", ..., "actions.1.type", "required"),
    ("actions.0.symbol", "600519", "actions.0.symbol", "600519.SH"),
    ("actions.0.symbol", "SH600519", "actions.0.symbol", "pattern"),
    ("actions.0.side", "long", "actions.0.side", "'buy' or 'sell', not \"long\""),
    ("actions.0.price", "1688.888888", "actions.0.price", "four decimals"),
    ("actions.0.price", 10.12345, "actions.0.price", "four decimals"),
    ("actions.0.price", "-1", "actions.0.price", "pattern"),
    ("actions.0.price", "0.00", "actions.0.price", "greater than 0"),
    ("actions.0.price", "", "actions.0.price", 'not ""'),
    ("actions.0.price", "10.5元", "actions.0.price", "pattern"),
    ("actions.0.price", "1,688", "actions.0.price", "pattern"),
    ("actions.0.price", "12345678", "actions.0.price", "pattern"),
    ("actions.0.qty", 0, "actions.0.qty", "greater than or equal to 1"),
    ("actions.0.qty", -100, "actions.0.qty", "greater than or equal to 1"),
    ("actions.0.qty", 100.5, "actions.0.qty", "not 100.5"),
    ("actions.0.qty", True, "actions.0.qty", "not true"),
    ("actions.0.qty", "100股", "actions.0.qty", "whole number"),
    ("actions.0.qty", "0100", "actions.0.qty", "whole number"),
    ("actions.0.qty", 10**30, "actions.0.qty", "less than or equal"),
    ("actions.0.tif", "gtc", "actions.0.tif", "day"),
    ("actions.0.tif", "ioc", "actions.0", "good for the day"),
    ("actions.0.depends_on", -1, "actions.0.depends_on", "greater than or equal"),
    ("actions.0.depends_on", 40, "actions.0.depends_on", "less than or equal to 39"),
    ("actions.0.exit_plan", [], "actions.0.exit_plan", "object"),
    ("actions.0.exit_plan.stop_price", ..., "actions.0.exit_plan.stop_price", "required"),
    ("actions.0.exit_plan.stop_price", "0", "exit_plan.stop_price", "greater than 0"),
    ("actions.0.exit_plan.stop_basis", "open", "exit_plan.stop_basis", "'last' or 'close'"),
    ("actions.0.exit_plan.trail_pct", "0", "exit_plan.trail_pct", "greater than 0"),
    ("actions.0.exit_plan.trail_pct", "1", "exit_plan.trail_pct", "less than 1"),
    ("actions.0.exit_plan.trail_pct", "8", "exit_plan.trail_pct", "from 0 to 1"),
    ("actions.0.exit_plan.time_stop_days", 0, "exit_plan.time_stop_days", "equal to 1"),
    ("actions.0.exit_plan.on_event", ["dividend"], "exit_plan.on_event.0", "ex_date"),
    ("actions.0.exit_plan.invalidation", [{}], "invalidation.0.feature", "required"),
    (
        "actions.0.exit_plan.invalidation",
        [{"feature": "limit_state", "op": "lt", "value": "sealed_up"}],
        "invalidation.0",
        "eq or ne, not lt",
    ),
    ("actions.0.exit_plan.min_price", -1, "exit_plan.min_price", "pattern"),
    ("actions.0.exit_plan.take_profit.0.fraction", "1.5", "take_profit.0.fraction", "pattern"),
    ("actions.0.exit_plan.take_profit.0.fraction", "0", "take_profit.0.fraction", "greater"),
    ("actions.0.intent.confidence", 1.01, "actions.0.intent.confidence", "less than or equal"),
    ("actions.0.intent.confidence", -0.1, "actions.0.intent.confidence", "greater than or equal"),
    ("actions.0.intent.confidence", True, "actions.0.intent.confidence", "number"),
    ("actions.0.intent.confidence", "sure", "actions.0.intent.confidence", "number"),
    ("actions.0.intent.confidence", "70%", "actions.0.intent.confidence", "number"),
    ("actions.0.intent.rationale", "x" * 241, "actions.0.intent.rationale", "at most 240"),
    ("actions.0.intent.rationale", 5, "actions.0.intent.rationale", "string"),
    ("actions.0.intent.evidence", "ret_20d", "actions.0.intent.evidence", "array"),
    ("actions.0.intent.evidence.0", 3, "actions.0.intent.evidence.0", "string"),
    ("global_intent.risk_posture", "reckless", "global_intent.risk_posture", "cautious"),
    ("notes", "x" * 501, "notes", "at most 500"),
    ("notes", 1, "notes", "string"),
    ("actions.0.target_weight", "0.1", "actions.0", "takes no target_weight"),
    ("actions.0.target_order_id", "o-1", "actions.0", "takes no target_order_id"),
    ("actions.1.side", "buy", "actions.1", "no_op takes no side"),
]


@pytest.mark.parametrize(
    ("path", "value", "field", "said"), MALFORMED, ids=lambda part: repr(part)[:40]
)
def test_a_malformed_field_is_named(path, value, field, said):
    message = refusal(changed(path, value))
    assert field in message
    assert said.lower() in message.lower()


@pytest.mark.parametrize("missing", ["symbol", "side", "order_type", "qty", "price"])
@pytest.mark.parametrize("how", [..., None])
def test_a_place_order_without_a_part_names_it(missing, how):
    message = refusal(changed(f"actions.0.{missing}", how))
    assert message.startswith("actions.0: ")
    assert f"place_order needs {missing}" in message


def test_a_market_order_carries_no_price():
    assert "market order has no price" in refusal(changed("actions.0.order_type", "market"))
    reply = json.loads(changed("actions.0.order_type", "market"))
    del reply["actions"][0]["price"]
    action = parse(json.dumps(reply))[0].actions[0]
    assert action.price is None
    assert action.order_type is OrderType.MARKET_BEST5_CANCEL


@pytest.mark.parametrize("confidence", ["NaN", "Infinity", "-Infinity", '"nan"', '"inf"', "1e999"])
def test_a_confidence_is_a_finite_number(confidence):
    text = json.dumps(REPLY).replace('"confidence": 0.7', f'"confidence": {confidence}')
    assert confidence.strip('"') in refusal(text) or "confidence" in refusal(text)


@pytest.mark.parametrize(
    ("written", "read"), [("0", 0.0), ("1", 1.0), ('"0.25"', 0.25), ("1e-05", 1e-05)]
)
def test_a_confidence_may_be_written_as_whole_number_or_text(written, read):
    text = json.dumps(REPLY).replace('"confidence": 0.7', f'"confidence": {written}')
    intent = parse(text)[0].actions[0].intent
    assert intent is not None
    assert intent.confidence == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "I would buy 600519.SH.",
        "null",
        "true",
        "7",
        '"text"',
        "[]",
        "{}",
        "{",
        json.dumps(REPLY)[:-2],
        json.dumps(REPLY)[:200],
        json.dumps(REPLY).replace('"', "'"),
        json.dumps([REPLY]),
        json.dumps(json.dumps(REPLY)),
        "```yaml\nactions: []\n```",
        "\ud800",
        json.dumps(REPLY, ensure_ascii=False).replace("one buy", "\udfff"),
        json.dumps(REPLY).replace("one buy", "\\ud800"),
        "<html><body>502 Bad Gateway</body></html>",
    ],
    ids=lambda text: repr(text)[:30],
)
def test_what_is_no_decision_is_refused(text):
    assert refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 1_000_000,
        "```" + "\n" * 1_000_000 + "x",
        "```json" + " \n" * 500_000 + "```x",
        "[" * 1_000_000,
        '{"a":' * 200_000,
        json.dumps(REPLY | {"actions": [1] * 300_000}),
        json.dumps(REPLY | {"k" * 500_000: 1, "notes": "n" * 500_000}),
        json.dumps(REPLY | {f"k{number}": 1 for number in range(50_000)}),
        "9" * 1_000_000,
    ],
    ids=["letters", "lines", "fence", "arrays", "objects", "actions", "key", "keys", "digits"],
)
def test_a_megabyte_of_garbage_is_refused_briefly(text):
    assert len(refusal(text)) < 4_000


def test_nothing_in_a_reply_sets_ids_or_times():
    decision, _ = parse(json.dumps(REPLY))
    assert (decision.decision_id, decision.made_at, decision.valid_until) == (
        sample_id(1),
        NOW,
        UNTIL,
    )
    names = set(json.dumps(REPLY_SCHEMA).split('"'))
    ours = ("decision_id", "trace_id", "order_id", "client_order_id", "account_id")
    times = ("timestamp", "valid_until", "made_at")
    assert not names & {*ours, *times}


WHOLE = {
    "type": "set_target",
    "symbol": "600519.SH",
    "target_weight": "0.0800",
    "entry": {
        "max_price": "1700",
        "max_chase_bps": 30,
        "tranches": ["0.5", "0.50"],
        "cancel_at": "2026-11-20T14:50:00+08:00",
    },
    "exit_plan": {
        "stop_price": "1600",
        "stop_basis": "close",
        "trail_pct": "0.08",
        "invalidation": [
            {"feature": "ret_20d", "op": "lt", "value": -0.05},
            {"feature": "limit_state", "op": "eq", "value": "sealed_down"},
        ],
        "on_event": ["earnings", "halt"],
        "min_price": "1500",
    },
}


def test_a_target_is_read_whole():
    action = parse(json.dumps(REPLY | {"actions": [WHOLE]}))[0].actions[0]
    assert action == Action(
        index=0,
        type=ActionType.SET_TARGET,
        symbol="600519.SH",
        target_weight="0.08",
        entry=Entry(
            max_price=units(1_700),
            max_chase_bps=30,
            tranches=("0.5", "0.5"),
            cancel_at=datetime(2026, 11, 20, 6, 50, tzinfo=UTC),
        ),
        exit_plan=ExitPlan(
            stop_price=units(1_600),
            stop_basis=StopBasis.CLOSE,
            trail_pct="0.08",
            invalidation=(
                Invalidation("ret_20d", Comparison.LT, "-0.05"),
                Invalidation("limit_state", Comparison.EQ, "sealed_down"),
            ),
            on_event=(SecurityEvent.EARNINGS, SecurityEvent.HALT),
            min_price=units(1_500),
        ),
    )


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("entry.tranches", ["0.5", "0.4"], "sum to 0.9"),
        ("entry.tranches", ["0", "1"], "greater than 0"),
        ("entry.cancel_at", "14:50", "a time with its zone"),
        ("entry.cancel_at", "0001-01-01T00:00:00+08:00", "a time with its zone"),
        ("entry.cancel_at", "2026-11-20T14:50:00", "a time with its zone"),
        ("entry.max_chase_bps", 1_001, "less than or equal"),
        ("entry.limit", 1, "Extra inputs"),
        ("target_weight", "1.01", "from 0 to 1"),
        ("target_weight", ..., "set_target needs target_weight"),
        ("qty", 100, "set_target takes no qty"),
        ("price", "10", "set_target takes no price"),
    ],
)
def test_a_targets_bounds(path, value, said):
    reply = copy.deepcopy(REPLY | {"actions": [WHOLE]})
    *way, last = path.split(".")
    place = reply["actions"][0]
    for step in way:
        place = place[step]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    assert said in refusal(json.dumps(reply))


@pytest.mark.parametrize(
    ("tif", "read"),
    [
        (None, OrderType.MARKET_BEST5_CANCEL),
        ("day", OrderType.MARKET_BEST5_CANCEL),
        ("ioc", OrderType.MARKET_IOC),
        ("fok", OrderType.MARKET_FOK),
    ],
)
def test_a_market_order_is_of_the_type_its_tif_says(tif, read):
    order = {k: v for k, v in ORDER.items() if k != "price"} | {"order_type": "market", "tif": tif}
    action = parse(json.dumps(REPLY | {"actions": [order]}))[0].actions[0]
    assert action.order_type is read


@pytest.mark.parametrize("kind", ["modify_order", "cancel_order"])
def test_a_change_names_its_order(kind):
    change = {"type": kind, "target_order_id": "o-1", "price": "10", "symbol": "600519.SH"}
    action = parse(json.dumps(REPLY | {"actions": [change]}))[0].actions[0]
    assert (action.target_order_id, action.price) == ("o-1", units(10))
    del change["target_order_id"]
    assert f"{kind} needs target_order_id" in refusal(json.dumps(REPLY | {"actions": [change]}))
    bare = {"type": kind, "target_order_id": "o-1"}
    if kind == "modify_order":
        assert "a new price or qty" in refusal(json.dumps(REPLY | {"actions": [bare]}))
    else:
        assert parse(json.dumps(REPLY | {"actions": [bare]}))[1] == ()


def test_null_is_what_was_left_out():
    absent = {"notes": None, "global_intent": None}
    order = ORDER | {"target_weight": None, "entry": None, "depends_on": None}
    order["exit_plan"] = {"stop_price": "1600", "take_profit": None, "trail_pct": None}
    order["intent"] = {"rationale": "x", "confidence": 1, "evidence": None}
    decision, fixes = parse(json.dumps(REPLY | absent | {"actions": [order]}))
    assert fixes == ("null_for_absent",)
    assert decision.notes == ""
    assert decision.actions[0].intent == Intent("x", 1.0, ())


def test_what_is_wrong_is_told_in_bounds_and_in_the_open():
    hostile = {f"\u202e{'x' * 1_000}{n}\n": 1 for n in range(50)}
    message = refusal(json.dumps(REPLY | hostile))
    assert len(message) < 4_000
    assert "and 40 more" in message
    assert message.isprintable()
    message = refusal(changed("actions.0.side", "\x1b[2J" + "y" * 5_000))
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(
    ("path", "value", "fix"),
    [
        ("actions.0.price", 1688.88, "number_for_text"),
        ("actions.0.price", "１６８８．８８", "full_width"),
        ("actions.0.price", "1,688.88", "thousands_separator"),
        ("actions.0.price", " 1688.88 ", "spaces"),
        ("actions.0.price", "1688.880000", "trailing_zeros"),
        ("actions.0.qty", "200", "text_for_number"),
        ("actions.0.qty", 200.0, "trailing_zeros"),
        ("actions.0.qty", "２００", "full_width"),
        ("actions.0.symbol", "600519.sh", "letter_case"),
        ("actions.0.symbol", "６００５１９．ＳＨ", "full_width"),
        ("actions.0.side", "BUY", "letter_case"),
        ("actions.0.side", "买入", "synonym"),
        ("actions.0.order_type", "限价", "synonym"),
        ("actions.0.intent.confidence", "0.7", "text_for_number"),
        ("actions.0.exit_plan.take_profit.0.fraction", 0.5, "number_for_text"),
        ("account_view.nav", "1,000,000.00", "thousands_separator"),
        ("account_view.nav", 1_000_000, "number_for_text"),
        ("observation_ref", f"{HASH}\u200b", "invisible_characters"),
        ("actions.0.intent.evidence.0", "６００５１９.SH.ret_20d", "full_width"),
    ],
)
def test_another_way_to_write_a_value_is_the_same_value_and_said(path, value, fix):
    decision, fixes = parse(changed(path, value))
    assert decision == parse(json.dumps(REPLY))[0]
    assert fix in fixes


def test_free_text_stays_to_the_letter():
    said = "　１２３，：“BUY” \u200b 10.50 "
    decision, fixes = parse(changed("actions.0.intent.rationale", said))
    intent = decision.actions[0].intent
    assert intent is not None
    assert (intent.rationale, fixes) == (said, ())
