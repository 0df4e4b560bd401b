"""What every way to an endpoint owes the gateway, whatever stands behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace

import pytest

from caopan.adapters.llm.builtin_endpoint import BuiltinEndpoint
from caopan.adapters.llm.faulty_endpoint import FaultyEndpoint
from caopan.adapters.llm.profiles import load_profiles
from caopan.adapters.llm.recordings import FileRecording, RecordingFile, recording_line
from caopan.adapters.llm.replay_endpoint import ReplayEndpoint
from caopan.adapters.llm.upstream import HttpUpstream
from caopan.application.gateway.calls import prompt_hash
from caopan.application.gateway.reading import Failure, read_answer
from caopan.application.gateway.streaming import assembled
from caopan.application.ports.gateway import Path, Upstream, UpstreamFailed, UpstreamRequest
from caopan.domain.gateway.endpoint import AuthType, Endpoint, EndpointKind
from caopan.domain.gateway.outcome import FailureClass
from caopan.settings import Secret
from caopan.testing.vendors.dashscope import DashScope
from caopan.testing.vendors.deepseek import DeepSeek
from caopan.testing.vendors.misbehaving import Misbehaving
from caopan.testing.vendors.ollama import Ollama
from caopan.testing.vendors.wire import Vendor

PROFILES = load_profiles()
OBSERVATION = {
    "account": {"nav": "1000.00", "cash": "1000.00", "available_cash": "1000.00"},
    "positions": [],
    "universe": [],
    "features": {},
    "market_rules": {},
}
MESSAGES = [{"role": "user", "content": f"Answer as json:\n{json.dumps(OBSERVATION)}"}]
RECORDED = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "recorded"},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()


@dataclass(frozen=True)
class Way:
    """An open upstream and an endpoint behind it that is well."""

    upstream: Upstream
    endpoint: Endpoint
    unknown: Endpoint | None = None
    """One whose model nobody knows there."""
    hanging: Endpoint | None = None
    """One that says nothing."""
    stalling: Endpoint | None = None
    """One that says a little, and then nothing more."""
    breaking: Endpoint | None = None
    """One that breaks off."""


Opened = Callable[[object], AbstractAsyncContextManager[Way]]


def over_http(vendor: Callable[[], Vendor], provider: str, model: str) -> Opened:
    @asynccontextmanager
    async def opened(_folder) -> AsyncIterator[Way]:
        running = vendor()
        async with (
            running.open() as url,
            HttpUpstream(secret=lambda _: Secret(running.key), profiles=PROFILES) as upstream,
        ):
            auth = AuthType.BEARER if running.key else AuthType.NONE
            place = Endpoint(
                "e",
                provider,
                model,
                url=url,
                auth=auth,
                secret_ref="env:K" if running.key else None,
                private_address=True,
            )
            way = Way(upstream, place, unknown=replace(place, model="nobody-knows"))
            if isinstance(running, Misbehaving):
                way = Way(
                    upstream,
                    place,
                    hanging=replace(place, model="hang"),
                    stalling=replace(place, model="stall:2"),
                    breaking=replace(place, model="cut:2"),
                )
            yield way

    return opened


@asynccontextmanager
async def builtin(_folder) -> AsyncIterator[Way]:
    place = Endpoint("e", "builtin", "builtin/momentum", kind=EndpointKind.BUILTIN)
    yield Way(BuiltinEndpoint(), place, unknown=replace(place, model="builtin/none"))


@asynccontextmanager
async def replay(folder) -> AsyncIterator[Way]:
    digest = prompt_hash({"messages": MESSAGES})
    path = folder / "calls.jsonl"
    path.write_bytes(recording_line(FileRecording(digest, "m", stream=False, response=RECORDED)))
    place = Endpoint("e", "replay", "m", kind=EndpointKind.REPLAY)
    upstream = ReplayEndpoint(RecordingFile(path), PROFILES["replay"])
    yield Way(upstream, place, unknown=replace(place, model="other"))


@asynccontextmanager
async def faulty(_folder) -> AsyncIterator[Way]:
    place = Endpoint("e", "faulty", "m", kind=EndpointKind.FAULTY)

    def drill(**params) -> Endpoint:
        return replace(place, default_params=params)

    yield Way(
        FaultyEndpoint(),
        place,
        unknown=drill(fault="unheard-of"),
        hanging=drill(fault="latency", latency_ms=60_000),
        stalling=drill(fault="stall", after_tokens=2),
        breaking=drill(fault="truncate", after_tokens=2),
    )


WAYS: dict[str, Opened] = {
    "deepseek": over_http(DeepSeek, "deepseek", "deepseek-v4-flash"),
    "dashscope": over_http(DashScope, "dashscope", "qwen-plus"),
    "ollama": over_http(Ollama, "ollama", "qwen3:8b"),
    "misbehaving": over_http(Misbehaving, "openai_compatible", "ok"),
    "builtin": builtin,
    "replay": replay,
    "faulty": faulty,
}


@pytest.fixture(params=WAYS)
async def way(request, tmp_path):
    async with WAYS[request.param](tmp_path) as opened:
        yield opened


picky = pytest.mark.parametrize("way", sorted(WAYS.keys() - {"misbehaving"}), indirect=True)
"""They know which models they have."""
troubled = pytest.mark.parametrize("way", ["misbehaving", "faulty"], indirect=True)
"""They can be made to fail."""


def request_to(endpoint: Endpoint, *, stream: bool = False, **bounds) -> UpstreamRequest:
    body: dict[str, object] = {"model": endpoint.model, "messages": MESSAGES}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    asked = UpstreamRequest(
        endpoint, Path.CHAT, json.dumps(body).encode(), {}, 2_000, 5_000, 5_000, 10_000
    )
    return replace(asked, **bounds)


async def ask(upstream: Upstream, asked: UpstreamRequest):
    async with upstream.send(asked) as answer:
        status, headers = answer.status, dict(answer.headers)
        return status, headers, b"".join([chunk async for chunk in answer.chunks()])


async def failure(upstream: Upstream, asked: UpstreamRequest) -> FailureClass:
    with pytest.raises(UpstreamFailed) as caught:
        await ask(upstream, asked)
    assert caught.value.detail
    return caught.value.failure


async def test_a_whole_answer_is_a_completion_with_its_usage(way):
    status, headers, body = await ask(way.upstream, request_to(way.endpoint))
    profile = PROFILES[way.endpoint.provider]
    parsed = read_answer(status, headers, body, profile, Path.CHAT)
    assert not isinstance(parsed, Failure)
    assert parsed["choices"][0]["message"]["content"]
    assert parsed["usage"]["prompt_tokens"] > 0


async def test_header_names_are_in_lower_case(way):
    _, headers, _ = await ask(way.upstream, request_to(way.endpoint))
    assert all(name == name.lower() for name in headers)
    assert "json" in headers["content-type"]


async def test_a_stream_spells_the_same_answer_and_says_when_it_is_done(way):
    _, _, whole = await ask(way.upstream, request_to(way.endpoint))
    status, headers, stream = await ask(way.upstream, request_to(way.endpoint, stream=True))
    assert status == 200
    assert "event-stream" in headers["content-type"]
    assert stream.endswith(b"data: [DONE]\n\n")
    spelled = assembled(stream, PROFILES[way.endpoint.provider]).completion()
    said = json.loads(whole)["choices"][0]["message"]["content"]
    assert spelled["choices"][0]["message"]["content"] == said
    assert spelled["choices"][0]["finish_reason"] == "stop"
    assert spelled["usage"]["completion_tokens"] > 0


async def test_the_same_question_gets_the_same_answer_and_the_request_is_left_alone(way):
    asked = request_to(way.endpoint)
    first = await ask(way.upstream, asked)
    assert await ask(way.upstream, asked) == first


@picky
async def test_a_model_nobody_knows_is_a_refusal_not_an_invention(way):
    status, headers, body = await ask(way.upstream, request_to(way.unknown))
    told = read_answer(status, headers, body, PROFILES[way.endpoint.provider], Path.CHAT)
    assert isinstance(told, Failure)
    assert told.failure is FailureClass.CALLER
    assert told.message


async def test_it_may_be_left_before_it_is_read(way):
    for _ in range(3):
        async with way.upstream.send(request_to(way.endpoint, stream=True)) as answer:
            assert answer.status == 200
    status, _, _ = await ask(way.upstream, request_to(way.endpoint))
    assert status == 200


async def test_it_may_be_cancelled(way):
    endpoint = way.hanging or way.endpoint
    task = asyncio.ensure_future(ask(way.upstream, request_to(endpoint)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    status, _, _ = await ask(way.upstream, request_to(way.endpoint))
    assert status == 200


async def test_many_may_be_asked_at_once(way):
    asked = request_to(way.endpoint)
    found = await asyncio.gather(*(ask(way.upstream, asked) for _ in range(20)))
    assert {status for status, _, _ in found} == {200}
    assert len({body for _, _, body in found}) == 1


@troubled
async def test_silence_ends_with_the_bound_on_the_first_byte(way):
    asked = request_to(way.hanging, first_byte_ms=60)
    assert await failure(way.upstream, asked) is FailureClass.TIMEOUT


@troubled
async def test_a_pause_ends_with_the_bound_on_pauses(way):
    asked = request_to(way.stalling, stream=True, idle_ms=60)
    assert await failure(way.upstream, asked) is FailureClass.TIMEOUT


@troubled
async def test_everything_ends_with_the_bound_on_the_whole(way):
    asked = request_to(way.stalling, stream=True, total_ms=60)
    assert await failure(way.upstream, asked) is FailureClass.TIMEOUT


@troubled
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_breaks_off_is_broken_never_short(way, stream):
    asked = request_to(way.breaking, stream=stream)
    assert await failure(way.upstream, asked) is FailureClass.BROKEN
