"""What an endpoint's answer means."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from caopan.application.gateway.reading import (
    Failure,
    asked_to_wait,
    quality_of,
    read_answer,
    reading_of,
    redacted,
)
from caopan.application.ports.gateway import Path
from caopan.domain.gateway.outcome import CONSEQUENCES, FailureClass
from caopan.domain.gateway.profile import ErrorSign
from caopan.testing.gateway_doubles import completion
from caopan.testing.gateway_rig import PROFILE, START

JSON = {"content-type": "application/json; charset=utf-8"}


def read(status, body, headers=JSON, profile=PROFILE, path=Path.CHAT):
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_answer(status, headers, raw, profile, path)


def kind(*args, **kwargs):
    found = read(*args, **kwargs)
    assert isinstance(found, Failure)
    return found.failure


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (400, FailureClass.CALLER),
        (404, FailureClass.CALLER),
        (413, FailureClass.CALLER),
        (422, FailureClass.CALLER),
        (418, FailureClass.CALLER),
        (401, FailureClass.AUTH),
        (403, FailureClass.AUTH),
        (402, FailureClass.BALANCE),
        (408, FailureClass.TIMEOUT),
        (429, FailureClass.RATE_LIMIT),
        (500, FailureClass.SERVER),
        (503, FailureClass.SERVER),
        (529, FailureClass.SERVER),
        (302, FailureClass.GARBAGE),
        (204, FailureClass.SERVER),
    ],
)
def test_a_status_alone(status, failure):
    for body in (b"", b"<html>", b'{"error":{"message":"x"}}', b'{"error":"x"}', b"[1]"):
        assert kind(status, body) is failure


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Busy", "type": "x"}},
        {"error": "Busy"},
        {"code": "Throttling", "message": "Busy"},
        {"object": "error", "message": "Busy", "code": 500},
        {"detail": "Busy"},
        {"error": {"message": "Busy"}, "choices": []},
        {"error": {"message": "Busy"}, **completion()},
    ],
)
def test_an_error_is_one_whatever_the_status_says(body):
    for status in (200, 500):
        found = read(status, body)
        assert isinstance(found, Failure)
        assert (found.failure, found.message, found.status) == (FailureClass.SERVER, "Busy", status)


def test_the_vendors_signs_go_first():
    signs = (
        ErrorSign(FailureClass.BALANCE, status=429, code="Arrearage"),
        ErrorSign(FailureClass.CONTENT_FILTER, text="inappropriate"),
        ErrorSign(FailureClass.SERVER, status=400, text="try later"),
    )
    profile = replace(PROFILE, errors=signs)

    def told(status, **error):
        return kind(status, {"error": {"message": "m", **error}}, profile=profile)

    assert told(429, code="Arrearage") is FailureClass.BALANCE
    assert told(429, type="Arrearage") is FailureClass.BALANCE
    assert told(429) is FailureClass.RATE_LIMIT
    assert told(400, message="Inappropriate Content") is FailureClass.CONTENT_FILTER
    assert told(200, message="Inappropriate") is FailureClass.CONTENT_FILTER
    assert told(400, message="Try later") is FailureClass.SERVER
    assert told(422, message="Try later") is FailureClass.CALLER


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        (b"{", FailureClass.GARBAGE),
        (b"[]", FailureClass.GARBAGE),
        ({}, FailureClass.GARBAGE),
        ({"choices": None}, FailureClass.GARBAGE),
        ({"choices": ["x"]}, FailureClass.GARBAGE),
        ({"choices": [{}]}, FailureClass.BLANK),
        (completion("\u3000\n"), FailureClass.BLANK),
        (
            {"choices": [{"message": {"content": "", "reasoning_content": "hm"}}]},
            FailureClass.BLANK,
        ),
    ],
)
def test_200_with_nothing_in_it(body, failure):
    assert kind(200, body) is failure


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": "x"}},
        {"message": {"content": [{"type": "text"}]}},
        {"message": {"content": None, "tool_calls": [{}]}},
        {"message": {"refusal": "no"}},
        {"message": {"content": ""}, "finish_reason": "length"},
        {"message": {"content": None}, "finish_reason": "content_filter"},
    ],
)
def test_200_with_something_in_it(choice):
    body = {"choices": [{"message": {"content": ""}}, choice]}
    assert read(200, body) == body


def test_the_content_type_has_to_be_json_where_there_is_one():
    assert kind(200, completion(), {"content-type": "text/html"}) is FailureClass.GARBAGE
    assert read(200, completion(), {}) == completion()
    assert read(200, completion(), {"content-type": "application/problem+json"}) == completion()


def test_embeddings_have_data():
    assert kind(200, {"data": []}, path=Path.EMBEDDINGS) is FailureClass.GARBAGE
    assert read(200, {"data": [1]}, path=Path.EMBEDDINGS) == {"data": [1]}


def test_every_class_of_failure_has_an_answer_for_the_caller():
    for failure in FailureClass:
        told = Failure(failure, "why", retry_after_ms=1_000).refusal()
        assert told.status == CONSEQUENCES[failure].status
        assert told.message == "why"


def test_a_context_too_long_is_told_as_openai_tells_it():
    body = {"error": {"message": "m", "code": "context_length_exceeded", "param": "messages"}}
    found = read(400, body)
    assert isinstance(found, Failure)
    refused = found.refusal()
    assert (refused.code, refused.param, refused.status) == (
        "context_length_exceeded",
        "messages",
        400,
    )
    assert found.code == "MODEL_CONTEXT_LENGTH"


def test_how_long_to_wait():
    limited = Failure(FailureClass.RATE_LIMIT, "m")
    later = (START + timedelta(seconds=9)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    waits = {
        None: asked_to_wait(limited, {}, START),
        1_500: asked_to_wait(limited, {"retry-after": "1.5"}, START),
        20: asked_to_wait(limited, {"retry-after-ms": "20", "retry-after": "9"}, START),
        9_000: asked_to_wait(limited, {"retry-after": later}, START),
    }
    assert {wait: found.retry_after_ms for wait, found in waits.items()} == {
        wait: wait for wait in waits
    }


def test_what_looks_like_a_key_is_not_told():
    for key in ("sk-abcdefgh12345", "Bearer abc.def", "cpg-0123456789ab", "AIzaSyA-0123456789"):
        assert redacted(f"Incorrect key {key} here") != f"Incorrect key {key} here"
        assert key.removeprefix("Bearer ") not in redacted(f"key {key}!")
    assert redacted("a\n b\x00c") == "a b?c"
    assert len(redacted("x" * 9_999)) == 500


def test_what_an_answer_says_of_itself():
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    found = reading_of(completion("x", usage=usage), PROFILE, wants_json=False)
    assert (found.model_served, found.usage_raw) == ("model-served", usage)
    assert found.tokens is not None
    assert (found.tokens.prompt, found.tokens.completion, found.tokens.cached) == (9, 5, 4)
    assert reading_of(completion("x", usage=None), PROFILE, wants_json=False).tokens is None
    assert reading_of(completion("x", usage={"cost": 1}), PROFILE, wants_json=False).tokens is None


def test_quality():
    def said(content, **fields):
        return [{"message": {"content": content, **fields}}]

    assert quality_of(said('{"a":1}'), wants_json=True) is None
    assert quality_of(said('```json\n{"a":1}\n```'), wants_json=True) == "invalid_json"
    assert quality_of(said("words"), wants_json=False) is None
    assert quality_of(said("", tool_calls=[{}]), wants_json=True) is None
    assert quality_of(said(None, refusal="no"), wants_json=True) is None
    assert quality_of(said(" "), wants_json=False) == "blank"
    assert quality_of([*said("[1]"), *said("x")], wants_json=True) == "invalid_json"
