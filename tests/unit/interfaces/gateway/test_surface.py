"""A call on the wire: who may make it, what comes back, and that leaving ends it."""

from __future__ import annotations

import asyncio

import pytest

from caopan.testing.gateway_doubles import Behaviour, answers, events, says, streams

FORBIDDEN_HEADERS = {"server", "set-cookie"}


async def test_a_whole_answer_comes_with_the_endpoints_bytes_and_our_headers(house):
    one = await house(answers("hello", vendor_field={"kept": 1}))
    answer = await one.chat(temperature=0, unknown_field=[1])
    assert answer.status == 200
    assert answer.json()["choices"][0]["message"]["content"] == "hello"
    assert answer.json()["vendor_field"] == {"kept": 1}
    assert answer.headers["x-caopan-endpoint"] == "first"
    assert answer.headers["x-caopan-call"]
    assert float(answer.headers["x-gw-overhead-ms"]) >= 0
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert b'"unknown_field":[1]' in one.upstream.sent[0].body


async def test_a_stream_comes_chunk_by_chunk_and_ends_with_done(house):
    one = await house(streams(events(["he", "llo"])))
    answer = await one.chat(stream=True)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "content-length" not in answer.headers
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert answer.is_whole


async def test_a_stream_that_breaks_ends_with_an_error_and_without_done(house):
    pieces = events(["he", "llo"])[:2]
    one = await house(streams(pieces))
    answer = await one.chat(stream=True)
    assert b'data: {"error":' in answer.body
    assert b"[DONE]" not in answer.body
    assert [row[1] for row in one.log.rows()] == ["truncated"]


@pytest.mark.parametrize(
    ("key", "header"),
    [(None, None), ("cpg-wrong", None), (None, "Basic abc"), (None, "Bearer"), (None, "")],
)
async def test_without_a_key_of_ours_nothing_is_read_and_nothing_sent(house, key, header):
    one = await house(answers())
    headers = {"authorization": header} if header is not None else {}
    answer = await one.ask("POST", "/v1/chat/completions", b"not json", key=key, headers=headers)
    assert answer.status == 401
    assert answer.error["code"] == "invalid_api_key"
    assert set(answer.error) >= {"message", "type", "param", "code"}
    assert one.upstream.sent == []


async def test_a_key_may_ask_for_its_own_aliases_alone(house):
    one = await house(answers(), second=(answers(),))
    key = await one.mint("narrow", "actor")
    assert (await one.chat("actor", key=key)).status == 200
    answer = await one.chat("own/er", key=key)
    assert (answer.status, answer.error["code"]) == (403, "model_not_allowed")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"[]", 400, None),
        (b'{"messages": []}', 400, "model"),
        (b'{"model": "actor"}', 400, "messages"),
        (b'{"model": "nobody", "messages": [{}]}', 404, "model"),
        (b'{"model": "actor", "messages": [{}], "stream": 1}', 400, "stream"),
        (b'{"model":"actor","messages":' + b"[" * 120 + b"]" * 120 + b"}", 400, None),
        (b"x" * 4_097, 413, None),
    ],
)
async def test_a_bad_request_is_told_in_openais_shape(house, body, status, param):
    one = await house(answers())
    answer = await one.ask("POST", "/v1/chat/completions", body)
    assert answer.status == status
    assert answer.error["param"] == param
    assert answer.error["type"] == "invalid_request_error"
    assert one.upstream.sent == []


async def test_another_host_is_refused_before_anything_is_looked_at(house):
    one = await house(answers())
    for path in ("/v1/chat/completions", "/v1/models", "/healthz", "/api/config/models"):
        answer = await one.ask("POST", path, b"{}", headers={"host": "evil.example"})
        assert (answer.status, answer.error["code"]) == (421, "host_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 404),
        ("POST", "/v1/completions", 404),
        ("GET", "/", 404),
        ("POST", "/healthz", 405),
        ("DELETE", "/v1/models", 405),
    ],
)
async def test_an_unknown_path_is_told_in_the_same_shape(house, method, path, status):
    one = await house(answers())
    answer = await one.ask(method, path, b"{}")
    assert answer.status == status
    assert answer.error["code"]


async def test_who_leaves_takes_a_whole_call_with_them(house):
    one = await house(Behaviour(headers_after_ms=30_000))
    answer = await one.chat(leaves_after=0.02)
    assert answer.status == 0
    assert one.upstream.open == 0
    assert [row[1] for row in one.log.rows()] == ["canceled"]
    assert one.limits.under_way == {}


async def test_who_leaves_takes_a_stream_with_them(house):
    pieces = events(["a"] * 500)
    slow = Behaviour(
        headers={"content-type": "text/event-stream"}, pieces=pieces, piece_after_ms=10
    )
    one = await house(slow)
    answer = await one.chat(stream=True, leaves_after=0.2)
    assert answer.status == 200
    assert not answer.is_whole
    assert one.upstream.open == 0
    assert [row[1] for row in one.log.rows()] == ["canceled"]
    assert one.limits.under_way == {}


async def test_a_fault_of_ours_is_an_error_without_details(house, monkeypatch, caplog):
    one = await house(answers())

    async def broken(call):
        raise KeyError("sk-canary in a traceback")

    monkeypatch.setattr(one.service.gateway, "complete", broken)
    answer = await one.chat()
    assert (answer.status, answer.error["code"]) == (500, "INTERNAL")
    assert b"canary" not in answer.body


async def test_an_endpoints_refusal_keeps_its_status(house):
    error = {"error": {"message": "bad tool", "type": "invalid_request_error", "code": None}}
    one = await house(says(400, error))
    answer = await one.chat()
    assert answer.status == 400
    assert "bad tool" in answer.error["message"]


async def test_embeddings_are_answered(house):
    body = {"object": "list", "data": [{"embedding": [0.1]}], "model": "m", "usage": {}}
    one = await house(says(200, body))
    answer = await one.ask("POST", "/v1/embeddings", {"model": "actor", "input": "text"})
    assert answer.status == 200
    assert answer.json()["data"][0]["embedding"] == [0.1]


async def test_calls_are_counted_by_configured_alias_alone(house):
    one = await house(answers())
    await one.chat()
    await one.chat("made-up-name")
    await one.chat(key="cpg-wrong")
    counted = {(alias, status): n for (alias, _, status), n in one.service.tallies.calls.items()}
    assert counted == {("actor", 200): 1, ("", 404): 1, ("", 401): 1}


async def test_many_calls_run_beside_each_other(house):
    one = await house(answers())
    found = await asyncio.gather(*(one.chat() for _ in range(50)))
    assert {answer.status for answer in found} == {200}
    assert len(one.log.rows()) == 50


async def test_no_answer_tells_what_serves_it(house):
    one = await house(answers())
    answer = await one.chat()
    assert not FORBIDDEN_HEADERS & answer.headers.keys()
