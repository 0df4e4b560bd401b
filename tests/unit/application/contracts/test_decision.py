"""The reply of a model: what is read from it, and what every malformed one is told."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest

from caopan.application.contracts.decision import REPLY_SCHEMA, parse_reply
from caopan.domain.decision.shapes import Action, ActionType, Decision, ExitPlan, Intent
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
    ("actions.0.valid_until", "2099-01-01", "actions.0.valid_until", "Extra inputs"),
    ("actions.0.exit_plan.trail", 1, "actions.0.exit_plan.trail", "Extra inputs"),
    ("account_view.equity", "1", "account_view.equity", "Extra inputs"),
    ("observation_ref", ..., "observation_ref", "required"),
    ("observation_ref", 7, "observation_ref", "string"),
    ("observation_ref", "x" * 65, "observation_ref", "at most 64"),
    ("account_view", ..., "account_view", "required"),
    ("account_view.nav", 1_000_000, "account_view.nav", "string"),
    ("account_view.nav", "1e6", "account_view.nav", "pattern"),
    ("account_view.cash", "NaN", "account_view.cash", "pattern"),
    ("actions", [], "actions", "at least 1"),
    ("actions", {}, "actions", "array"),
    ("actions", [{"type": "no_op"}] * 41, "actions", "at most 40"),
    ("actions.1", 5, "actions.1", "object"),
    ("actions.1.type", "buy_everything", "actions.1.type", "no_op"),
    ("actions.1.type", ..., "actions.1.type", "required"),
    ("actions.0.symbol", "600519", "actions.0.symbol", "pattern"),
    ("actions.0.symbol", "６00519.SH", "actions.0.symbol", "pattern"),
    ("actions.0.symbol", "600519.SH\n", "actions.0.symbol", "pattern"),
    ("actions.0.side", "BUY", "actions.0.side", "buy"),
    ("actions.0.price", 1688.88, "actions.0.price", "string"),
    ("actions.0.price", "1688.888888", "actions.0.price", "pattern"),
    ("actions.0.price", "-1", "actions.0.price", "pattern"),
    ("actions.0.price", "１688.88", "actions.0.price", "pattern"),
    ("actions.0.price", "1688.88 ", "actions.0.price", "pattern"),
    ("actions.0.price", "", "actions.0.price", "pattern"),
    ("actions.0.price", "12345678", "actions.0.price", "pattern"),
    ("actions.0.qty", 0, "actions.0.qty", "greater than 0"),
    ("actions.0.qty", -100, "actions.0.qty", "greater than 0"),
    ("actions.0.qty", 100.0, "actions.0.qty", "integer"),
    ("actions.0.qty", 100.5, "actions.0.qty", "integer"),
    ("actions.0.qty", True, "actions.0.qty", "integer"),
    ("actions.0.qty", "100", "actions.0.qty", "integer"),
    ("actions.0.qty", 10**30, "actions.0.qty", "less than or equal"),
    ("actions.0.tif", "gtc", "actions.0.tif", "day"),
    ("actions.0.depends_on", -1, "actions.0.depends_on", "greater than or equal"),
    ("actions.0.exit_plan", [], "actions.0.exit_plan", "object"),
    ("actions.0.exit_plan.stop_price", ..., "actions.0.exit_plan.stop_price", "required"),
    ("actions.0.exit_plan.time_stop_days", 0, "actions.0.exit_plan.time_stop_days", "equal to 1"),
    ("actions.0.exit_plan.take_profit.0.fraction", "1.5", "take_profit.0.fraction", "pattern"),
    ("actions.0.exit_plan.take_profit.0.fraction", 0.5, "take_profit.0.fraction", "string"),
    ("actions.0.intent.confidence", 1.01, "actions.0.intent.confidence", "less than or equal"),
    ("actions.0.intent.confidence", -0.1, "actions.0.intent.confidence", "greater than or equal"),
    ("actions.0.intent.confidence", True, "actions.0.intent.confidence", "number"),
    ("actions.0.intent.confidence", "sure", "actions.0.intent.confidence", "number"),
    ("actions.0.intent.rationale", "x" * 241, "actions.0.intent.rationale", "at most 240"),
    ("actions.0.intent.evidence", "ret_20d", "actions.0.intent.evidence", "array"),
    ("actions.0.intent.evidence.0", 3, "actions.0.intent.evidence.0", "string"),
    ("global_intent.risk_posture", "reckless", "global_intent.risk_posture", "cautious"),
    ("notes", "x" * 501, "notes", "at most 500"),
    ("notes", None, "notes", "string"),
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


@pytest.mark.parametrize("confidence", ["NaN", "Infinity", "-Infinity", '"nan"', '"inf"'])
def test_a_confidence_is_a_finite_number(confidence):
    text = json.dumps(REPLY).replace('"confidence": 0.7', f'"confidence": {confidence}')
    assert "actions.0.intent.confidence" in refusal(text)


@pytest.mark.parametrize(("written", "read"), [("0", 0.0), ("1", 1.0), ('"0.25"', 0.25)])
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
        "Here is my answer:\n" + json.dumps(REPLY),
        json.dumps(REPLY) + "\nLet me know!",
        "null",
        "true",
        "7",
        '"text"',
        "[]",
        "{}",
        "{",
        json.dumps(REPLY)[:-1],
        json.dumps(REPLY)[:200],
        json.dumps(REPLY).replace('"', "'"),
        json.dumps([REPLY]),
        json.dumps(json.dumps(REPLY)),
        "```json\n" + json.dumps(REPLY),
        "```yaml\nactions: []\n```",
        "\ufeff" + json.dumps(REPLY),
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


def test_the_schema_given_to_models_forbids_what_the_parser_refuses():
    assert REPLY_SCHEMA["additionalProperties"] is False
    for definition in REPLY_SCHEMA["$defs"].values():
        assert definition["additionalProperties"] is False
    assert set(REPLY_SCHEMA["required"]) == {"observation_ref", "account_view", "actions"}
