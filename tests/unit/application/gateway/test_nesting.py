"""JSON that nests deeper than can be written again is told apart, whatever it is made of."""

from __future__ import annotations

import orjson
import pytest

from caopan.application.gateway.adapting import Adapted
from caopan.application.gateway.nesting import MOST_DEPTH, bounded_json, nests_deeper
from caopan.application.gateway.reading import Failure, read_answer
from caopan.application.gateway.streaming import Relay, assembled
from caopan.application.ports.gateway import Path
from caopan.domain.gateway.outcome import FailureClass
from caopan.testing.gateway_rig import PROFILE

MESSAGE = '{"choices":[{"index":0,"delta":{"content":"x"},"message":{"content":"x"}}],%s}'
ADAPTED = Adapted(b"", (), streams=True)
DEEP = (MESSAGE % f'"usage":{{"prompt_tokens":1,"d":{"[" * 300}{"]" * 300}}}').encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_the_bound_is_exact_for_lists_and_objects(opening, closing):
    for depth, is_deeper in ((MOST_DEPTH, False), (MOST_DEPTH + 1, True)):
        inner = "[]" if opening == "[" else "{}"
        raw = (opening * (depth - 1) + inner + closing * (depth - 1)).encode()
        assert nests_deeper(raw, orjson.loads(raw)) is is_deeper
    wide = b"[" + b",".join([b"[]"] * 1000) + b"]"
    assert bounded_json(wide) == [[]] * 1000


@pytest.mark.parametrize("raw", [b"{", b"", b"[" * 101 + b"]" * 101, b"[" * 9999])
def test_what_is_no_json_or_too_deep_is_a_value_error(raw):
    with pytest.raises(ValueError, match=r".+"):
        bounded_json(raw)


def test_an_answer_too_deep_to_be_recorded_is_garbage():
    found = read_answer(200, {}, DEEP, PROFILE, Path.CHAT)
    assert isinstance(found, Failure)
    assert found.failure is FailureClass.GARBAGE


def test_a_streams_event_too_deep_to_be_recorded_counts_for_nothing():
    event = b"data: " + DEEP + b"\n\n"
    first = Relay(PROFILE, ADAPTED)
    first.feed(event)
    assert first.failure is not None
    begun = Relay(PROFILE, ADAPTED)
    begun.feed(b"data: " + (MESSAGE % '"a":1').encode() + b"\n\n")
    begun.feed(event)
    assert begun.has_begun
    assert begun.reading(wants_json=False).usage_raw is None
    assert assembled(event, PROFILE).choices() == []
