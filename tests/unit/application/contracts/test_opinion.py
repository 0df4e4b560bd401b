"""A model checker may only add reasons; what it cannot say clearly counts against the proposal."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.application.contracts.opinion import read_opinion

REASON = {"code": "CHECKER_HALLUCINATION", "action_index": 0, "detail": "no such dividend"}


def opinion(verdict, *reasons):
    return json.dumps({"verdict": verdict, "reasons": list(reasons)})


@pytest.mark.parametrize("dress", ["{}", "```json\n{}\n```", "Here it is: {}\nDone."])
def test_a_pass_has_no_reasons_whatever_surrounds_it(dress):
    assert read_opinion(dress.replace("{}", opinion("pass"))) == ()


def test_its_reasons_are_taken_as_they_are():
    (reason,) = read_opinion(opinion("refuse", REASON))
    assert (reason.code, reason.action_index, reason.detail) == tuple(REASON.values())


def test_a_reason_weighs_more_than_a_pass():
    assert read_opinion(opinion("pass", REASON))[0].code == "CHECKER_HALLUCINATION"


def test_a_refusal_without_a_reason_is_one():
    assert read_opinion(opinion("refuse"))[0].code == "CHECKER_CONFLICT"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pass",
        "{",
        '{"verdict": "pass"}',
        '{"verdict": "approved", "reasons": []}',
        '{"verdict": "refuse", "verdict": "pass", "reasons": []}',
        opinion("pass", {**REASON, "code": "RISK_TPLUS1"}),
        opinion("pass") + opinion("pass"),
        opinion("refuse", REASON) + " I mean " + opinion("pass"),
        "[" * 100_000,
        '{"a":' * 5_000,
        " " * 50_000 + opinion("pass"),
        opinion("pass")[:-1] + ', "limits": {"single_order_cap": "1e9"}}',
    ],
)
def test_what_is_not_clear_is_a_refusal(text):
    (reason,) = read_opinion(text)
    assert reason.code == "CHECKER_SCHEMA_FAIL"


@given(st.text(max_size=200))
def test_no_text_but_a_clear_pass_is_one(text):
    assert read_opinion(text)
