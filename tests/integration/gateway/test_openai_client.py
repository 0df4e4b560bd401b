"""The unmodified OpenAI client against a real gateway in front of three kinds of vendor."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from caopan.bootstrap.gateway_stores import administration
from caopan.bootstrap.models_admin import KeyRequest
from caopan.settings import load_settings
from caopan.testing.gateway_process import RunningGateway, running_gateway
from caopan.testing.vendors import completions
from caopan.testing.vendors.dashscope import DashScope
from caopan.testing.vendors.deepseek import DeepSeek
from caopan.testing.vendors.misbehaving import Misbehaving
from caopan.testing.vendors.ollama import EMBEDDING, MODEL, Ollama
from caopan.testing.vendors.wire import Call, Vendor, Wire

NODE = Path(__file__).parent / "node"
HELLO: list[Any] = [{"role": "user", "content": "Say hello."}]
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"answer": {"type": "string"}},
            "required": ["answer"],
            "additionalProperties": False,
        },
    },
}
TOOL = {
    "type": "function",
    "function": {
        "name": "quote",
        "description": "A quote.",
        "parameters": {
            "type": "object",
            "properties": {"symbol": {"type": "string"}},
            "required": ["symbol"],
        },
    },
}


@dataclass
class Caller(Vendor):
    """A vendor that calls the first tool it is offered, and else repeats what a tool said."""

    async def answer(self, call: Call, wire: Wire) -> None:
        body = call.json
        usage = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}
        if body["messages"][-1]["role"] == "tool":
            said = {"content": body["messages"][-1]["content"]}
            await wire.whole(200, completions.whole(body, said, usage))
            return
        function = {"name": "quote", "arguments": '{"symbol": "600519.SH"}'}
        tool = {"id": "call_1", "type": "function", "function": function}
        if not body.get("stream"):
            said = {"content": None, "tool_calls": [tool]}
            await wire.whole(200, completions.whole(body, said, usage, finish="tool_calls"))
            return
        await wire.stream()
        name, arguments = function["name"], function["arguments"]
        first = {"index": 0, "id": "call_1", "type": "function"}
        await wire.event(
            completions.delta(
                body, {"tool_calls": [{**first, "function": {"name": name, "arguments": ""}}]}
            )
        )
        for piece in (arguments[:10], arguments[10:]):
            part = {"index": 0, "function": {"arguments": piece}}
            await wire.event(completions.delta(body, {"tool_calls": [part]}))
        await wire.event(completions.delta(body, {}, "tool_calls"))
        await wire.event(completions.usage_event(body, usage))
        await wire.event("[DONE]")
        await wire.end()


def part(alias: str, provider: str, model: str, url: str, **fields: Any) -> dict[str, Any]:
    plain = {"alias": alias, "provider": provider, "model": model, "endpoint_url": url}
    return {**plain, "private_address": True, "retry": {"max_attempts": 1}, **fields}


@pytest.fixture(scope="module")
def gateway(database_url, services, tmp_path_factory):
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(vendor.in_thread())
            for name, vendor in {
                "deepseek": DeepSeek(),
                "dashscope": DashScope(),
                "ollama": Ollama(),
                "tools": Caller(),
                "bad": Misbehaving(),
            }.items()
        }
        document = {
            "endpoints": [
                part(
                    "deepseek",
                    "deepseek",
                    "deepseek-v4-flash",
                    urls["deepseek"],
                    auth_secret_ref="env:DEEPSEEK_KEY",
                ),
                part(
                    "qwen",
                    "dashscope",
                    "qwen-plus",
                    urls["dashscope"],
                    auth_secret_ref="env:DASHSCOPE_KEY",
                ),
                part("local", "ollama", MODEL, urls["ollama"]),
                part("embed", "ollama", EMBEDDING, urls["ollama"]),
                part("tools", "openai_compatible", "m", urls["tools"], auth_type="none"),
                part(
                    "refused",
                    "deepseek",
                    "deepseek-v4-flash",
                    urls["deepseek"],
                    auth_secret_ref="env:WRONG_KEY",
                ),
                part("gone", "openai_compatible", "m", "http://127.0.0.1:9/v1", auth_type="none"),
                part(
                    "dear",
                    "openai_compatible",
                    "m",
                    urls["tools"],
                    auth_type="none",
                    prices=[{"input_mtok": "1000", "output_mtok": "1000"}],
                    budget={"daily_cny": "0.01"},
                ),
                part(
                    "slow",
                    "openai_compatible",
                    "m",
                    urls["tools"],
                    auth_type="none",
                    rate_limit={"rpm": 1},
                ),
            ]
        }
        environ = {
            "DEEPSEEK_KEY": DeepSeek().key,
            "DASHSCOPE_KEY": DashScope().key,
            "WRONG_KEY": "sk-wrong-00000000000000000000",
        }
        yield stack.enter_context(
            running_gateway(
                tmp_path_factory.mktemp("gateway"),
                database_url=database_url,
                redis_url=services.redis_url,
                document=document,
                environ=environ,
            )
        )


@pytest.fixture
def client(gateway: RunningGateway):
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.admin_key, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("alias", ["deepseek", "qwen", "local"])
def test_chat(client, alias):
    answer = client.chat.completions.create(model=alias, messages=HELLO)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("alias", ["deepseek", "qwen", "local"])
def test_streaming(client, alias):
    whole = client.chat.completions.create(model=alias, messages=HELLO)
    with client.chat.completions.create(model=alias, messages=HELLO, stream=True) as stream:
        words = [choice.delta.content or "" for chunk in stream for choice in chunk.choices]
    assert len(words) > 2
    assert "".join(words) == whole.choices[0].message.content


@pytest.mark.parametrize("alias", ["deepseek", "qwen", "local"])
def test_streaming_with_usage_at_its_end(client, alias):
    stream = client.chat.completions.create(
        model=alias, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens > 0


def test_thinking_comes_through(client):
    answer = client.chat.completions.create(model="deepseek", messages=HELLO)
    assert answer.choices[0].message.reasoning_content
    stream = client.chat.completions.create(model="deepseek", messages=HELLO, stream=True)
    thoughts = [
        getattr(choice.delta, "reasoning_content", None) or ""
        for chunk in stream
        for choice in chunk.choices
    ]
    assert "".join(thoughts) == answer.choices[0].message.reasoning_content


@pytest.mark.parametrize("alias", ["deepseek", "qwen", "local"])
def test_json_schema_whatever_the_vendor_can_do(client, alias):
    answer = client.chat.completions.create(
        model=alias, messages=HELLO, response_format=SCHEMA, seed=7
    )
    assert set(json.loads(answer.choices[0].message.content)) == {"answer"}


def test_tools_there_and_back(client):
    first = client.chat.completions.create(model="tools", messages=HELLO, tools=[TOOL])
    (call,) = first.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"symbol": "600519.SH"}
    assert first.choices[0].finish_reason == "tool_calls"
    result = {"role": "tool", "tool_call_id": call.id, "content": "1500"}
    second = client.chat.completions.create(
        model="tools",
        messages=[*HELLO, first.choices[0].message.to_dict(), result],
        tools=[TOOL],
    )
    assert second.choices[0].message.content == "1500"


def test_tools_in_a_stream(client):
    stream = client.chat.completions.create(
        model="tools", messages=HELLO, tools=[TOOL], stream=True
    )
    arguments = "".join(
        call.function.arguments or ""
        for chunk in stream
        for choice in chunk.choices
        for call in choice.delta.tool_calls or []
    )
    assert json.loads(arguments) == {"symbol": "600519.SH"}


def test_embeddings(client):
    answer = client.embeddings.create(model="embed", input=["one", "two"])
    assert [len(row.embedding) for row in answer.data] == [8, 8]


def test_models(client):
    listed = {model.id for model in client.models.list()}
    assert {"deepseek", "qwen", "local", "embed"} <= listed
    assert client.models.retrieve("qwen").id == "qwen"


def test_a_wrong_key_is_an_authentication_error(gateway):
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key="cpg-wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()
    assert caught.value.code == "invalid_api_key"


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_a_bad_request_is_one(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="qwen", messages=[])
    assert caught.value.param == "messages"


def test_a_key_may_use_its_own_aliases_alone(gateway, database_url, tmp_path):
    async def mint() -> str:
        settings = load_settings({"home": tmp_path}, environ={})
        async with administration(database_url, settings) as admin:
            return (await admin.mint(KeyRequest("narrow", ("qwen",)))).text.get_secret_value()

    key = asyncio.run(mint())
    # A running gateway learns of it by itself.
    while gateway.ask("/v1/models", key=key)[0] == 401:
        time.sleep(0.1)
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["qwen"]
        assert client.chat.completions.create(model="qwen", messages=HELLO).choices
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(model="deepseek", messages=HELLO)


def test_the_vendors_key_refused_is_our_fault_and_no_key_is_shown(client):
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="refused", messages=HELLO)
    assert caught.value.status_code == 502
    assert caught.value.code == "MODEL_AUTH"
    assert "sk-wrong" not in str(caught.value)


def test_a_vendor_that_is_gone_is_a_server_error(client):
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="gone", messages=HELLO)
    assert caught.value.status_code in {502, 503}


def test_a_budget_that_is_used_up_is_no_quota(client):
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model="dear", messages=HELLO, max_tokens=1_000_000)
    assert caught.value.code == "BUDGET_EXCEEDED"
    assert caught.value.type == "insufficient_quota"


def test_too_many_a_minute_are_told_when_to_come_back(client):
    client.chat.completions.create(model="slow", messages=HELLO)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(
            model="slow", messages=HELLO, extra_headers={"x-deadline-ms": "500"}
        )
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_the_clients_own_retries_do_not_multiply_what_the_gateway_has_tried(gateway):
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.admin_key, max_retries=5) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.chat.completions.create(model="gone", messages=HELLO)
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_unknown_fields_pass_both_ways(client):
    answer = client.chat.completions.create(
        model="deepseek", messages=HELLO, extra_body={"thinking": {"type": "disabled"}}
    )
    assert answer.system_fingerprint == "fp_fake"


def test_parsed_helpers_work(client):
    with client.chat.completions.stream(model="local", messages=HELLO) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "Hello there."


@pytest.fixture(scope="module")
def node(tmp_path_factory) -> Path:
    """A folder where node finds the openai package; the test is skipped where there is none."""
    if shutil.which("node") is None:
        pytest.skip("no node on this machine")
    if (NODE / "node_modules" / "openai").is_dir():
        return NODE
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "suite.mjs"):
        shutil.copy(NODE / name, folder)
    npm = shutil.which("npm")
    install = [npm or "", "ci", "--offline", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = npm and subprocess.run(install, cwd=folder, capture_output=True, check=False)
    if not done or done.returncode:
        pytest.skip(f"the openai package is not installed (npm ci in {NODE.name}) nor cached")
    return folder


def test_the_npm_client_finds_what_it_expects(gateway, node):
    done = subprocess.run(
        ["node", "suite.mjs", f"{gateway.url}/v1"],
        cwd=node,
        env={"PATH": os.environ["PATH"], "OPENAI_API_KEY": gateway.admin_key},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told = json.loads(done.stdout)
    assert told["chat"] == {"ok": "All is well."}
    assert told["streaming"]["ok"]["text"] == "All is well."
    assert told["streaming"]["ok"]["usage"]["total_tokens"] > 0
    assert told["tools"] == told["toolsStreamed"] == {"ok": {"symbol": "600519.SH"}}
    assert set(told["jsonSchema"]["ok"]) == {"answer"}
    assert told["embeddings"] == {"ok": 2}
    assert {"deepseek", "embed"} <= set(told["models"]["ok"])
    assert told["aborted"] == {"ok": "left"}
    errors = {
        name: (one["error"], one["status"], one["code"])
        for name, one in told.items()
        if "error" in one
    }
    assert errors == {
        "wrongKey": ("AuthenticationError", 401, "invalid_api_key"),
        "unknownModel": ("NotFoundError", 404, "model_not_found"),
        "badRequest": ("BadRequestError", 400, "invalid_value"),
        "vendorGone": ("InternalServerError", 502, "MODEL_UNAVAILABLE"),
        "noBudget": ("RateLimitError", 429, "BUDGET_EXCEEDED"),
    }
