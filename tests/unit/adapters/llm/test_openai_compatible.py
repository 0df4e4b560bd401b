"""An OpenAI-compatible endpoint: what is asked, and what every kind of answer becomes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.llm.openai_compatible import OpenAICompatibleModel
from caopan.application.contracts.decision import REPLY_SCHEMA
from caopan.application.ports.model import ModelReply, ModelRequest, Unread
from caopan.application.ports.prompts import Message, Prompt
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.errors import CorruptState, Unavailable
from caopan.testing.samples import sample_id
from caopan.testing.sim_loop import simulate

KEY = "sk-a-very-secret-key"
BASE = "https://models.example/v1"
OBSERVATION = {"clock": {"trading_day": "2023-06-01"}, "universe": ["600001.SH"]}
BODY = canonical(OBSERVATION)
USAGE = {
    "prompt_tokens": 1_200,
    "completion_tokens": 80,
    "total_tokens": 1_280,
    "prompt_tokens_details": {"cached_tokens": 1_000},
    "completion_tokens_details": {"reasoning_tokens": 50},
}

PROMPT = Prompt(
    (Message("system", "You decide."), Message("user", "What now?")), "actor-1.0.0.en", "d" * 64, 9
)
NAMED: dict[str, Any] = {"prompt_version": PROMPT.version, "prompt_hash": "e" * 64}

Handler = Callable[[httpx2.Request], Any]


def completion(content: Any = '{"answer": 1}', **changes: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1_685_580_960,
        "model": "served-1",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": USAGE,
    } | changes


def request_of(deadline_ms: int = 5_000) -> ModelRequest:
    return ModelRequest(
        role="actor",
        decision_id=sample_id(1),
        trace_id=sample_id(2),
        observation=OBSERVATION,
        observation_hash=sha256_hex(BODY),
        observation_json=BODY.decode(),
        reply_schema=REPLY_SCHEMA,
        deadline_ms=deadline_ms,
        prompt=PROMPT,
    )


async def ask(
    handler: Handler,
    *,
    key: str | None = KEY,
    deadline_ms: int = 5_000,
    base: str = BASE,
    is_gateway: bool = False,
) -> ModelReply:
    ticks = iter(range(0, 10_000, 250))
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handler)) as client:
        model = OpenAICompatibleModel(
            base_url=base,
            model="asked-1",
            api_key=key,
            monotonic_ms=lambda: float(next(ticks)),
            http_client=client,
            is_gateway=is_gateway,
            **NAMED,
        )
        return await model.complete(request_of(deadline_ms))


def answering(body: Any, status: int = 200) -> Handler:
    def handler(_request: httpx2.Request) -> httpx2.Response:
        if isinstance(body, bytes):
            return httpx2.Response(status, content=body)
        return httpx2.Response(status, json=body)

    return handler


async def outage_of(handler: Handler, **how: Any) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await ask(handler, **how)
    told = [str(caught.value), repr(caught.value), caught.value.message, caught.value.remedy]
    assert not any(KEY in text for text in told)
    return caught.value


async def test_a_good_answer_is_kept_verbatim_with_all_that_is_known_of_the_call():
    text = ' ```json\n{"a": "操 \\u0000"}\n``` '
    reply = await ask(answering(completion(text)))
    assert reply.text == text
    assert (reply.endpoint, reply.provider) == (BASE, "openai_compatible")
    assert (reply.model_asked, reply.model_served) == ("asked-1", "served-1")
    assert reply.latency_ms == 250
    assert (reply.tokens_prompt, reply.tokens_completion) == (1_200, 80)
    assert (reply.tokens_cached, reply.tokens_reasoning) == (1_000, 50)
    assert reply.usage_raw == USAGE


async def test_what_is_sent():
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=completion())

    await ask(handler)
    (request,) = seen
    assert request.method == "POST"
    assert str(request.url) == f"{BASE}/chat/completions"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    body = json.loads(request.content)
    assert body["model"] == "asked-1"
    assert body["temperature"] == 0
    assert body["response_format"] == {"type": "json_object"}
    system, user = body["messages"]
    assert (system["role"], user["role"]) == ("system", "user")
    assert system["content"].startswith("You decide.")
    # The endpoint is asked for JSON, which vendors grant only if the word is there.
    assert "JSON" in system["content"]
    assert json.dumps(REPLY_SCHEMA["required"], separators=(",", ":")) in system["content"]
    assert user["content"] == "What now?"
    assert KEY not in request.content.decode()
    assert not any(name.startswith("x-caopan") for name in request.headers)


async def test_a_gateway_is_given_the_schema_apart_and_told_whose_call_it_is():
    seen: list[httpx2.Request] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        headers = {"x-caopan-endpoint": "deepseek-cn"}
        return httpx2.Response(200, json=completion(), headers=headers)

    reply = await ask(handler, is_gateway=True)
    (request,) = seen
    body = json.loads(request.content)
    assert body["messages"][0]["content"] == "You decide."
    assert body["response_format"]["json_schema"]["schema"] == REPLY_SCHEMA
    assert request.headers["x-caopan-decision"] == str(sample_id(1))
    assert request.headers["x-caopan-trace"] == str(sample_id(2))
    assert request.headers["x-caopan-prompt-version"] == PROMPT.version
    assert request.headers["x-deadline-ms"] == "5000"
    assert (reply.endpoint, reply.provider) == ("deepseek-cn", "gateway")


@pytest.mark.parametrize("status", [402, 429, 502, 503, 504])
async def test_a_gateways_reasons_are_kept_and_a_strangers_are_not(status):
    told = {"error": {"message": "the day's budget", "type": "x", "code": "BUDGET_EXCEEDED"}}
    ours = await outage_of(answering(told, status), is_gateway=True)
    assert ours.code == "BUDGET_EXCEEDED"
    theirs = await outage_of(answering(told, status))
    assert theirs.code in {"MODEL_RATE_LIMIT", "MODEL_UNAVAILABLE"}


async def test_an_earlier_answer_is_shown_again_with_what_is_wrong_with_it():
    seen: list[Any] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(json.loads(request.content)["messages"])
        return httpx2.Response(200, json=completion())

    errors = ("actions.0.qty: {x}", "actions.0.price: y")
    previous = (Unread("no {json}", ("reply: none",)), Unread('{"actions": []}', errors))
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(handler)) as client:
        model = OpenAICompatibleModel(
            base_url=BASE,
            model="m",
            api_key=KEY,
            monotonic_ms=lambda: 0.0,
            http_client=client,
            **NAMED,
        )
        reply = await model.complete(replace(request_of(), previous=previous))
    (messages,) = seen
    assert [one["role"] for one in messages] == [
        *("system", "user", "assistant", "user", "assistant", "user")
    ]
    assert messages[2]["content"] == "no {json}"
    assert messages[4]["content"] == '{"actions": []}'
    assert all(error in messages[5]["content"] for error in errors)
    assert "one JSON object" in messages[5]["content"]
    assert reply.request["messages"] == messages


async def test_the_record_of_the_request_is_what_was_sent_without_the_key():
    sent: list[Any] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content))
        return httpx2.Response(200, json=completion())

    reply = await ask(handler)
    assert reply.request["messages"] == sent[0]["messages"]
    assert KEY not in json.dumps(reply.request)


async def test_without_a_prompt_nothing_is_asked():
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(answering({}))) as client:
        model = OpenAICompatibleModel(
            base_url=BASE,
            model="m",
            api_key=KEY,
            monotonic_ms=lambda: 0.0,
            http_client=client,
            **NAMED,
        )
        with pytest.raises(CorruptState, match="PROMPT_MISSING"):
            await model.complete(replace(request_of(), prompt=None))
    assert model.is_language_model
    assert (model.prompt_version, model.prompt_hash) == tuple(NAMED.values())


async def test_a_server_without_keys_gets_a_placeholder():
    seen: list[str] = []

    def handler(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers["authorization"])
        return httpx2.Response(200, json=completion())

    await ask(handler, key=None)
    assert seen == ["Bearer none"]


ECHO = {"error": {"message": f"key {KEY} is not good", "type": "t", "code": "c"}}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "MODEL_AUTH"),
        (429, "MODEL_RATE_LIMIT"),
        (400, "MODEL_UNAVAILABLE"),
        (403, "MODEL_UNAVAILABLE"),
        (404, "MODEL_UNAVAILABLE"),
        (409, "MODEL_UNAVAILABLE"),
        (422, "MODEL_UNAVAILABLE"),
        (500, "MODEL_UNAVAILABLE"),
        (502, "MODEL_UNAVAILABLE"),
        (503, "MODEL_UNAVAILABLE"),
        (529, "MODEL_UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize("body", [ECHO, b"<html>oops</html>", b"", [KEY], f"{KEY} " * 400])
async def test_statuses(status, code, body):
    calls = 0
    answer = answering(body, status)

    def handler(request: httpx2.Request) -> httpx2.Response:
        nonlocal calls
        calls += 1
        return answer(request)

    outage = await outage_of(handler)
    assert outage.code == code
    assert BASE in outage.message
    assert len(outage.message) < 700
    # No retry of its own: the chain decides whether to ask again.
    assert calls == 1


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ConnectError("refused"),
        httpx2.ReadError("reset"),
        httpx2.RemoteProtocolError("nonsense"),
    ],
)
async def test_a_broken_connection(error):
    def handler(_request: httpx2.Request) -> httpx2.Response:
        raise error

    assert (await outage_of(handler)).code == "MODEL_UNAVAILABLE"


@pytest.mark.parametrize("error", [httpx2.ReadTimeout("slow"), httpx2.ConnectTimeout("slow")])
async def test_a_timeout_of_the_connection(error):
    def handler(_request: httpx2.Request) -> httpx2.Response:
        raise error

    assert (await outage_of(handler)).code == "MODEL_TIMEOUT"


def test_the_deadline_is_kept_in_virtual_time():
    async def slow(_request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(3_600)
        return httpx2.Response(200, json=completion())

    async def program() -> tuple[Unavailable, float]:
        loop = asyncio.get_running_loop()
        outage = await outage_of(slow, deadline_ms=180_000)
        return outage, loop.time()

    outage, elapsed = simulate(program())
    assert outage.code == "MODEL_TIMEOUT"
    assert "180000 ms" in outage.message
    assert elapsed == pytest.approx(180, abs=1)


def test_an_answer_just_before_the_deadline_counts():
    async def slow(_request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(179)
        return httpx2.Response(200, json=completion())

    assert simulate(ask(slow, deadline_ms=180_000)).text == '{"answer": 1}'


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><html><body>Welcome to nginx!</body></html>",
        b"",
        b"not json",
        b'{"choices": [',
        b"[" * 100_000,
        b"\xff\xfe\x00",
        {},
        [],
        None,
        "text",
        7,
        {"error": {"message": "a fault with status 200"}},
        completion(choices=[]),
        completion(choices=None),
        completion(choices="none"),
        completion(choices={"0": {}}),
        completion(choices=[None]),
        completion(choices=["text"]),
        completion(choices=[{}]),
        completion(choices=[{"index": 0, "message": None}]),
        completion(choices=[{"index": 0, "message": "text"}]),
        completion(choices=[{"index": 0, "text": "an old completion"}]),
        completion(7),
        completion({"a": 1}),
        completion(["a"]),
    ],
    ids=lambda body: repr(body)[:40],
)
async def test_an_answer_of_another_protocol(body):
    outage = await outage_of(answering(body))
    assert outage.code == "MODEL_UNAVAILABLE"
    assert BASE in outage.message


@pytest.mark.parametrize("content", [None, ""])
async def test_a_refusal_is_an_empty_answer(content):
    message = {"role": "assistant", "content": content, "refusal": "I will not."}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    assert (await ask(answering(completion(choices=choices)))).text == ""


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "many",
        {"prompt_tokens": -1, "completion_tokens": "80"},
        {"prompt_tokens": 10**30, "completion_tokens": 1.5},
        {"prompt_tokens": {"a": 1}, "completion_tokens_details": 7, "prompt_tokens_details": []},
        {"prompt_tokens": True, "prompt_tokens_details": {"cached_tokens": None}},
    ],
    ids=repr,
)
async def test_token_counts_that_are_none_are_left_out(usage):
    reply = await ask(answering(completion(usage=usage)))
    counts = (
        reply.tokens_prompt,
        reply.tokens_completion,
        reply.tokens_reasoning,
        reply.tokens_cached,
    )
    assert counts == (None, None, None, None)


async def test_token_counts_of_zero_are_counts():
    usage = {"prompt_tokens": 0, "completion_tokens": 0}
    reply = await ask(answering(completion(usage=usage)))
    assert (reply.tokens_prompt, reply.tokens_completion) == (0, 0)
    assert reply.tokens_cached is None


@pytest.mark.parametrize("served", [None, 7, ["a"], "a\0b"])
async def test_a_served_model_without_a_proper_name(served):
    reply = await ask(answering(completion(model=served)))
    assert isinstance(reply.model_served, str)
    assert "\0" not in reply.model_served


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "model", "index"]), inner
        )
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(json_values, json_values, json_values)
def test_any_json_is_an_answer_or_an_outage(body, choice, usage):
    async def program() -> None:
        shaped = completion(choices=[choice], usage=usage)
        for answer in (body, shaped):
            try:
                reply = await ask(answering(answer))
            except Unavailable:
                continue
            assert isinstance(reply.text, str)
            json.dumps(reply.usage_raw)

    simulate(program())
