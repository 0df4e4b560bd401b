"""How a call is read, and what a refusal looks like to an OpenAI client."""

from __future__ import annotations

from uuid import UUID

import orjson
import pytest

from caopan.application.gateway.calls import CallRefused, prompt_hash, read_call
from caopan.application.ports.gateway import Path
from caopan.testing.gateway_rig import CLIENT

BODY = {"model": "actor", "messages": [{"role": "user", "content": "x"}]}


def read(body, headers=None, path=Path.CHAT):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_call(
        raw, headers or {}, client=CLIENT, path=path, call_id=UUID(int=7), received_ms=5.0
    )


def test_a_plain_call_and_its_defaults():
    call = read({**BODY, "unknown": [1]})
    assert (call.alias, call.stream, call.deadline_ms, call.role) == ("actor", False, None, "other")
    assert call.body["unknown"] == [1]
    assert call.trace_id == UUID(int=7).hex
    assert (call.decision_id, call.wants_json, call.choices) == (None, False, 1)
    assert read({**BODY, "stream": None}).stream is False
    bounded = read({**BODY, "n": 128, "max_tokens": 10_000_000, "max_completion_tokens": None})
    assert bounded.choices == 128


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{", None),
        (b"[]", None),
        ({"messages": BODY["messages"]}, "model"),
        ({**BODY, "model": 3}, "model"),
        ({**BODY, "model": ""}, "model"),
        ({"model": "actor"}, "messages"),
        ({**BODY, "messages": []}, "messages"),
        ({**BODY, "messages": "x"}, "messages"),
        ({**BODY, "messages": [{}, "x"]}, "messages[1]"),
        ({**BODY, "stream": "yes"}, "stream"),
        ({**BODY, "max_tokens": 10_000_001}, "max_tokens"),
        ({**BODY, "max_tokens": "100000"}, "max_tokens"),
        ({**BODY, "max_tokens": -1}, "max_tokens"),
        ({**BODY, "max_tokens": True}, "max_tokens"),
        ({**BODY, "max_completion_tokens": 1e5}, "max_completion_tokens"),
        ({**BODY, "n": 5.0}, "n"),
        ({**BODY, "n": 1_000_000_000}, "n"),
        ({**BODY, "n": 0}, "n"),
    ],
)
def test_what_cannot_be_read_is_named(body, param):
    with pytest.raises(CallRefused) as caught:
        read(body)
    assert caught.value.status == 400
    assert caught.value.param == param


def test_embeddings_want_an_input_and_no_stream():
    assert read({"model": "e", "input": ["a"]}, path=Path.EMBEDDINGS).path is Path.EMBEDDINGS
    for body in ({"model": "e"}, {"model": "e", "input": "a", "stream": True}):
        with pytest.raises(CallRefused):
            read(body, path=Path.EMBEDDINGS)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("x-deadline-ms", "1500", ["0", "-1", "1.5", "x", "٣", "86400001", "9" * 400, ""]),
        ("x-caopan-role", "checker", ["admin", "Actor"]),
        ("x-caopan-decision", "d-1", ["a b", "é", "a\x00", "x" * 129]),
        ("x-caopan-trace", "t-1", ["x" * 129]),
        ("x-caopan-prompt-version", "actor-1.0.0", ["x\n"]),
    ],
)
def test_headers_are_read_whole_or_refused(name, good, bad):
    assert read(BODY, {name: good}) != read(BODY)
    for text in bad:
        with pytest.raises(CallRefused) as caught:
            read(BODY, {name: text})
        assert caught.value.param == name


def test_what_a_sticky_route_goes_by():
    assert read(BODY).sticky_key is None
    assert read({**BODY, "user": "u"}).sticky_key == "u"
    assert read({**BODY, "user": "u"}, {"x-caopan-decision": "d"}).sticky_key == "d"


def test_the_hash_is_of_what_is_asked_however_its_keys_are_written():
    one = {"messages": [{"role": "user", "content": "买入"}], "temperature": 1}
    other = {"messages": [{"content": "买入", "role": "user"}]}
    assert prompt_hash(one) == prompt_hash(other)
    assert prompt_hash(one) != prompt_hash({"messages": [{"role": "user", "content": "卖出"}]})
    assert prompt_hash({"input": "a"}) != prompt_hash({"input": "b"})


def test_a_refusal_is_openais_error_and_keeps_its_sdk_from_trying_again():
    refused = CallRefused(
        503, "CODE", "why", kind="server_error", endpoints=[{"endpoint": "a", "code": "X"}]
    )
    answer = refused.answer({"x-caopan-call": "7"})
    assert orjson.loads(answer.body) == {
        "error": {
            "message": "why",
            "type": "server_error",
            "param": None,
            "code": "CODE",
            "endpoints": [{"endpoint": "a", "code": "X"}],
        }
    }
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["x-caopan-call"] == "7"
    waits = CallRefused(429, "C", "why", retry_after_ms=1_001).answer()
    assert waits.headers["retry-after"] == "2"
    assert "x-should-retry" not in waits.headers
