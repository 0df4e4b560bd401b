"""Each vendor's documented quirks, as its fake shows them and its profile reads them."""

from __future__ import annotations

import json

import pytest

from caopan.adapters.llm.profiles import load_profiles
from caopan.adapters.llm.upstream import HttpUpstream
from caopan.application.gateway.reading import Failure, read_answer
from caopan.application.gateway.streaming import assembled
from caopan.application.ports.gateway import Path, UpstreamRequest
from caopan.domain.gateway.endpoint import AuthType, Endpoint
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.usage import read_usage
from caopan.settings import Secret
from caopan.testing.vendors.dashscope import MOST_INPUT, DashScope, Throttle
from caopan.testing.vendors.deepseek import DeepSeek
from caopan.testing.vendors.misbehaving import Misbehaving
from caopan.testing.vendors.ollama import Ollama
from caopan.testing.vendors.wire import Vendor

PROFILES = load_profiles()
HI = [{"role": "user", "content": "hi"}]
JSON_HI = [{"role": "user", "content": "hi, as json"}]
OBJECT = {"type": "json_object"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FLASH, PLUS, QWEN = "deepseek-v4-flash", "qwen-plus", "qwen3:8b"
PROVIDERS: dict[type[Vendor], str] = {
    DeepSeek: "deepseek",
    DashScope: "dashscope",
    Ollama: "ollama",
    Misbehaving: "openai_compatible",
}


async def ask(vendor: Vendor, model: str, **body):
    wanted: str = body.pop("key", vendor.key)
    path: Path = body.pop("path", Path.CHAT)
    asked = {"model": model, "messages": HI, **body}
    async with (
        vendor.open() as url,
        HttpUpstream(secret=lambda _: Secret(wanted), profiles=PROFILES) as upstream,
    ):
        auth = AuthType.BEARER if wanted else AuthType.NONE
        place = Endpoint(
            "e",
            PROVIDERS[type(vendor)],
            model,
            url=url,
            auth=auth,
            secret_ref="env:K",
            private_address=True,
        )
        request = UpstreamRequest(
            place, path, json.dumps(asked).encode(), {}, 2_000, 5_000, 5_000, 9_000
        )
        async with upstream.send(request) as answer:
            data = b"".join([chunk async for chunk in answer.chunks()])
            return answer.status, dict(answer.headers), data


async def read(vendor: Vendor, model: str, **more):
    status, headers, data = await ask(vendor, model, **more)
    profile = PROFILES[PROVIDERS[type(vendor)]]
    return read_answer(status, headers, data, profile, more.get("path", Path.CHAT))


REFUSALS = {
    "deepseek: wrong key": (DeepSeek(), FLASH, {"key": "sk-wrong"}, FailureClass.AUTH),
    "deepseek: empty purse": (DeepSeek(balance=False), FLASH, {}, FailureClass.BALANCE),
    "deepseek: too many": (DeepSeek(concurrent=0), FLASH, {}, FailureClass.RATE_LIMIT),
    "deepseek: no such model": (DeepSeek(), "gpt-9", {}, FailureClass.CALLER),
    "deepseek: a schema": (DeepSeek(), FLASH, {"response_format": SCHEMA}, FailureClass.CALLER),
    "deepseek: JSON unsaid": (DeepSeek(), FLASH, {"response_format": OBJECT}, FailureClass.CALLER),
    "deepseek: a forced tool while thinking": (
        DeepSeek(),
        FLASH,
        {"tools": [TOOL], "tool_choice": "required"},
        FailureClass.CALLER,
    ),
    "deepseek: a tool turn without its thoughts": (
        DeepSeek(),
        FLASH,
        {"messages": [*HI, {"role": "assistant", "tool_calls": [{"id": "1"}]}]},
        FailureClass.CALLER,
    ),
    "deepseek: blanks": (
        DeepSeek(blanks=1),
        FLASH,
        {"response_format": OBJECT, "messages": JSON_HI},
        FailureClass.BLANK,
    ),
    "dashscope: wrong key": (DashScope(), PLUS, {"key": "sk-wrong"}, FailureClass.AUTH),
    "dashscope: arrears": (DashScope(good_standing=False), PLUS, {}, FailureClass.BALANCE),
    "dashscope: inspection": (DashScope(harmless=False), PLUS, {}, FailureClass.CONTENT_FILTER),
    "dashscope: no such model": (DashScope(), "qwen-none", {}, FailureClass.CALLER),
    "dashscope: too long": (
        DashScope(),
        PLUS,
        {"messages": [{"role": "user", "content": "a " * (MOST_INPUT + 1)}]},
        FailureClass.CONTEXT_LENGTH,
    ),
    "dashscope: JSON unsaid": (DashScope(), PLUS, {"response_format": OBJECT}, FailureClass.CALLER),
    "dashscope: JSON while thinking": (
        DashScope(),
        PLUS,
        {"response_format": OBJECT, "messages": JSON_HI, "enable_thinking": True},
        FailureClass.CALLER,
    ),
    "dashscope: a schema elsewhere": (
        DashScope(),
        "qwen3-coder-plus",
        {"response_format": SCHEMA},
        FailureClass.CALLER,
    ),
    "dashscope: a forced tool": (
        DashScope(),
        PLUS,
        {"tools": [TOOL], "tool_choice": "required"},
        FailureClass.CALLER,
    ),
    "ollama: not pulled": (Ollama(), "llama9", {}, FailureClass.CALLER),
    "misbehaving: 200 with an error": (Misbehaving(), "ok_error", {}, FailureClass.SERVER),
    "misbehaving: a web page": (Misbehaving(), "wrong_type", {}, FailureClass.GARBAGE),
    "misbehaving: no body": (Misbehaving(), "nothing", {}, FailureClass.GARBAGE),
    "misbehaving: half a JSON": (Misbehaving(), "truncated", {}, FailureClass.GARBAGE),
    "misbehaving: blanks": (Misbehaving(), "blank", {}, FailureClass.BLANK),
    "misbehaving: 402": (Misbehaving(), "402", {}, FailureClass.BALANCE),
    "misbehaving: 503": (Misbehaving(), "503", {}, FailureClass.SERVER),
    **{
        f"dashscope: throttled by {throttle.name}": (
            DashScope(throttle=throttle),
            PLUS,
            {},
            FailureClass.RATE_LIMIT,
        )
        for throttle in Throttle
    },
}


@pytest.mark.parametrize(
    ("vendor", "model", "body", "failure"), REFUSALS.values(), ids=list(REFUSALS)
)
async def test_what_a_vendor_refuses_is_known_for_what_it_is(vendor, model, body, failure):
    told = await read(vendor, model, **body)
    assert isinstance(told, Failure)
    assert told.failure is failure
    assert vendor.key == "" or vendor.key not in told.message


async def good(vendor: Vendor, model: str, **more):
    parsed = await read(vendor, model, **more)
    assert not isinstance(parsed, Failure)
    tokens = read_usage(parsed["usage"], PROFILES[PROVIDERS[type(vendor)]])
    assert tokens is not None
    return parsed["choices"][0]["message"], tokens


async def test_deepseek_thinks_unless_told_not_to_and_tells_cached_tokens_its_own_way():
    message, tokens = await good(DeepSeek(cached=1), FLASH)
    assert message["reasoning_content"]
    assert tokens.reasoning
    assert tokens.cached == 1
    message, tokens = await good(DeepSeek(), FLASH, thinking={"type": "disabled"})
    assert "reasoning_content" not in message
    assert tokens.reasoning == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_deepseek_keeps_the_line_alive_while_it_waits(stream):
    vendor = DeepSeek(waits_s=0.05, beat_s=0.01)
    _, _, data = await ask(vendor, FLASH, stream=stream, stream_options={"include_usage": True})
    if stream:
        assert data.startswith(b": keep-alive\n\n: keep-alive\n\n")
        spelled = assembled(data, PROFILES["deepseek"]).completion()
    else:
        assert data.startswith(b"\n\n")
        spelled = json.loads(data)
    assert spelled["choices"][0]["message"]["content"] == "All is well."
    assert spelled["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    ("vendor", "model"), [(DeepSeek(), FLASH), (DashScope(), PLUS), (Ollama(), QWEN)]
)
async def test_a_stream_tells_its_usage_only_when_it_is_asked(vendor, model):
    profile = PROFILES[PROVIDERS[type(vendor)]]
    for wanted in (False, True):
        options = {"stream_options": {"include_usage": True}} if wanted else {}
        _, _, data = await ask(vendor, model, stream=True, **options)
        assert ("usage" in assembled(data, profile).completion()) is wanted


async def test_dashscope_takes_a_schema_and_json_on_the_models_it_lists():
    for wanted, messages in ((SCHEMA, HI), (OBJECT, JSON_HI)):
        message, _ = await good(DashScope(), PLUS, response_format=wanted, messages=messages)
        assert json.loads(message["content"])


async def test_dashscope_thinks_only_when_told_to():
    message, tokens = await good(DashScope(), PLUS, enable_thinking=True)
    assert message["reasoning_content"]
    assert tokens.reasoning
    message, _ = await good(DashScope(), PLUS)
    assert "reasoning_content" not in message


async def test_ollama_wants_no_key_loads_first_and_reasons_by_another_name():
    vendor = Ollama(loads_s=0.05)
    message, _ = await good(vendor, QWEN, response_format=SCHEMA)
    assert json.loads(message["content"])
    assert message["reasoning"]
    assert vendor.loads_s == 0
    assert "authorization" not in vendor.calls[0].headers


@pytest.mark.parametrize(
    ("vendor", "model"),
    [(DashScope(), "text-embedding-v4"), (Ollama(), "nomic-embed-text:latest")],
)
async def test_embeddings(vendor, model):
    parsed = await read(vendor, model, path=Path.EMBEDDINGS, input=["a", "b"])
    assert not isinstance(parsed, Failure)
    assert len(parsed["data"]) == 2


async def test_it_recovers_and_flaps_by_the_count_of_calls():
    vendor = Misbehaving()
    assert [(await ask(vendor, "recover:2"))[0] for _ in range(4)] == [500, 500, 200, 200]
    assert [(await ask(vendor, "flap:2"))[0] for _ in range(6)] == [200, 200, 503, 503, 200, 200]
    vendor.instead = "429:3"
    status, headers, _ = await ask(vendor, "ok")
    assert (status, headers["retry-after"]) == (429, "3")


def test_a_fake_serves_beside_a_thread_and_as_a_process():
    import subprocess
    import sys

    with Ollama().in_thread() as url:
        assert QWEN in models_at(url)
    command = [sys.executable, "-m", "caopan.testing.vendors", "ollama"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert QWEN in models_at(process.stdout.readline().strip())
        finally:
            process.terminate()


def models_at(url: str) -> str:
    from http.client import HTTPConnection

    host, _, path = url.removeprefix("http://").partition("/")
    link = HTTPConnection(host)
    try:
        link.request("GET", f"/{path}/models")
        return link.getresponse().read().decode()
    finally:
        link.close()
