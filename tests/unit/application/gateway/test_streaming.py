"""What a relay holds back, and when it lets go."""

from __future__ import annotations

import pytest

from caopan.application.gateway.adapting import Adapted
from caopan.application.gateway.streaming import Relay
from caopan.domain.gateway.outcome import FailureClass
from caopan.testing.gateway_doubles import DONE, event
from caopan.testing.gateway_rig import PROFILE

ROLE = event({"role": "assistant", "content": ""})


def relay() -> Relay:
    return Relay(PROFILE, Adapted(b"", (), streams=True))


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"reasoning_content": "x"},
        {"reasoning": "x"},
        {"tool_calls": [{"index": 0}]},
        {"refusal": "no"},
        {"function_call": {"name": "f"}},
    ],
)
def test_an_answer_begins_with_words_thoughts_or_a_call(delta):
    made = relay()
    assert made.feed(ROLE + event({"content": " \n"}) + event({"reasoning_content": None})) == b""
    assert not made.has_begun
    found = made.feed(event(delta))
    assert made.has_begun
    assert found.startswith(ROLE)
    assert found.endswith(event(delta))
    assert made.feed(event({"content": ""})) == event({"content": ""})


def test_an_answer_without_a_word_that_ran_into_its_bound_is_let_through():
    made = relay()
    end = event({}, finish_reason="length")
    assert made.feed(ROLE + end) == b""
    assert made.feed(DONE) == ROLE + end
    assert made.has_ended
    made = relay()
    assert made.feed(ROLE + end) == b""
    assert made.close() == ROLE + end
    assert made.has_ended


def test_an_event_that_never_ends_is_not_waited_for():
    made = relay()
    made.feed(event({"content": "x"}))
    for _ in range(17):
        made.feed(b"data: " + b"x" * 65_536)
    assert made.failure is not None
    assert made.failure.failure is FailureClass.GARBAGE


def test_some_choices_are_still_open_where_it_ends():
    made = relay()
    made.feed(event({"content": "x"}, finish_reason="stop"))
    made.feed(event({"content": "y"}).replace(b'"index":0', b'"index":1'))
    assert made.close() == b""
    assert made.failure is not None
    assert made.failure.failure is FailureClass.BROKEN
