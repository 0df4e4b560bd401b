"""Reading replies: whatever a model sends is read exactly or refused with one code."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

from hypothesis import example, given, settings
from hypothesis import strategies as st

from caopan.application.contracts.decision import parse_reply
from caopan.domain.decision.shapes import Decision
from caopan.kernel.errors import ConfigInvalid
from caopan.testing.samples import NOW, sample_id

QUICK = settings(deadline=None, max_examples=150)
FIELDS = [
    *("observation_ref", "account_view", "nav", "cash", "actions", "type", "symbol", "side"),
    *("order_type", "price", "qty", "exit_plan", "stop_price", "intent", "confidence", "notes"),
]
WORDS = [*("place_order", "no_op", "buy", "limit", "600519.SH", "10.00", "NaN", "1e5", "")]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
anything = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=12,
)
prices = st.builds(
    "{}{}".format,
    st.integers(1, 9_999_999),
    st.sampled_from(["", ".1", ".25", ".125", ".0001", ".9999"]),
)


def parse(text: str) -> Decision | None:
    try:
        found, _ = parse_reply(text, decision_id=sample_id(1), made_at=NOW, valid_until=NOW)
    except ConfigInvalid as fault:
        refusal = fault
    else:
        return found
    assert refusal.code == "MODEL_PARSE_FAIL"
    assert refusal.message
    return None


@QUICK
@given(st.text() | st.text('{}[]",:`\\jsonactie0159.-\n ', max_size=40))
@example("```json\n\n```")
@example("```\n```")
@example("\x00")
def test_any_text_is_read_or_refused(text):
    parse(text)


@QUICK
@given(st.binary(), st.sampled_from(["latin-1", "utf-16-le"]))
def test_any_bytes_taken_for_text_are_read_or_refused(data, encoding):
    parse(data.decode(encoding, "surrogatepass" if encoding == "latin-1" else "replace"))
    parse(data.decode("utf-8", "surrogateescape"))


@QUICK
@given(anything)
def test_any_json_is_read_or_refused(value):
    parse(json.dumps(value))


@settings(QUICK, max_examples=60)
@given(
    st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, anything)), max_size=3),
    anything,
)
def test_any_actions_are_read_or_refused(actions, notes):
    view = {"nav": "1", "cash": "1"}
    reply = {"observation_ref": "x", "account_view": view, "actions": actions, "notes": notes}
    parse(json.dumps(reply))


@QUICK
@given(prices, st.integers(1, 10_000_000), prices, st.integers(0, 10**15 - 1))
def test_numbers_stay_exact(price, qty, stop, cash):
    reply = {
        "observation_ref": "x",
        "account_view": {"nav": f"-{cash}.0001", "cash": f"{cash}.9999"},
        "actions": [
            {
                "type": "place_order",
                "symbol": "600519.SH",
                "side": "sell",
                "order_type": "limit",
                "price": price,
                "qty": qty,
                "exit_plan": {"stop_price": stop},
            }
        ],
    }
    decision = parse(json.dumps(reply))
    assert decision is not None
    action = decision.actions[0]
    assert action.price == Decimal(price) * 10_000
    assert action.qty == qty
    assert action.exit_plan is not None
    assert action.exit_plan.stop_price == Decimal(stop) * 10_000
    assert decision.cash == cash * 10_000 + 9_999
    assert decision.nav == -(cash * 10_000 + 1)


@QUICK
@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=500))
def test_notes_come_through_as_they_are(notes):
    reply = {
        "observation_ref": "x",
        "account_view": {"nav": "1", "cash": "1"},
        "actions": [{"type": "no_op"}],
        "notes": notes,
    }
    decision = parse(json.dumps(reply))
    assert decision is not None
    assert decision.notes == notes
    assert decision.valid_until - decision.made_at == timedelta(0)
