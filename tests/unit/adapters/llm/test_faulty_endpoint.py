"""A drill meets the fault it names, and the same one again."""

from __future__ import annotations

import asyncio
import json

import pytest

from caopan.adapters.llm.faulty_endpoint import FAULTS, FaultyEndpoint
from caopan.application.ports.gateway import Path, UpstreamFailed, UpstreamRequest
from caopan.domain.gateway.endpoint import Endpoint, EndpointKind
from caopan.domain.gateway.outcome import FailureClass

BODY = {"model": "drill", "messages": [{"role": "user", "content": "hi"}]}


def request(
    *, stream: bool = False, bounds: tuple[int, int, int] = (5_000, 5_000, 9_000), **params
):
    endpoint = Endpoint("e", "faulty", "m", kind=EndpointKind.FAULTY, default_params=params)
    body = json.dumps({**BODY, "stream": stream}).encode()
    return UpstreamRequest(endpoint, Path.CHAT, body, {}, 1_000, *bounds)


async def ask(asked: UpstreamRequest, upstream: FaultyEndpoint | None = None):
    async with (upstream or FaultyEndpoint()).send(asked) as answer:
        body = b"".join([chunk async for chunk in answer.chunks()])
        return answer.status, answer.headers, body


async def failure(asked: UpstreamRequest) -> UpstreamFailed:
    with pytest.raises(UpstreamFailed) as caught:
        await ask(asked)
    return caught.value


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_goes_wrong_unasked(stream):
    status, headers, body = await ask(request(stream=stream))
    assert status == 200
    assert ("event-stream" in headers["content-type"]) is stream
    assert body.endswith(b"[DONE]\n\n") is stream


async def test_each_refusal_is_what_it_says():
    status, headers, _ = await ask(request(fault="rate_limit", retry_after_s=7))
    assert (status, headers["retry-after"]) == (429, "7")
    status, headers, _ = await ask(request(fault="rate_limit"))
    assert (status, "retry-after" in headers) == (429, False)
    assert (await ask(request(fault="error")))[0] == 500
    assert (await ask(request(fault="error", status=503)))[0] == 503
    status, _, body = await ask(request(fault="ok_error"))
    assert (status, "error" in json.loads(body)) == (200, True)


async def test_bodies_that_no_one_can_use():
    _, _, body = await ask(request(fault="garbage"))
    assert body.startswith(b"<html>")
    _, _, body = await ask(request(fault="blank"))
    assert not json.loads(body)["choices"][0]["message"]["content"].strip()


@pytest.mark.parametrize("stream", [False, True])
async def test_it_breaks_off_where_it_is_told(stream):
    asked = request(fault="truncate", after_tokens=5, stream=stream)
    got = []

    async def read() -> None:
        async with FaultyEndpoint().send(asked) as answer:
            async for chunk in answer.chunks():
                got.append(chunk)  # noqa: PERF401 - what came before it broke is what counts

    with pytest.raises(UpstreamFailed) as caught:
        await read()
    assert caught.value.failure is FailureClass.BROKEN
    assert len(got) == (5 if stream else 1)


async def test_what_takes_too_long_ends_with_the_bound():
    late = request(fault="latency", latency_ms=5_000, bounds=(30, 9_000, 9_000))
    assert (await failure(late)).failure is FailureClass.TIMEOUT
    stalled = request(fault="stall", after_tokens=2, stream=True, bounds=(9_000, 30, 9_000))
    assert (await failure(stalled)).failure is FailureClass.TIMEOUT
    dripping = request(fault="drip", latency_ms=10, stream=True, bounds=(9_000, 9_000, 60))
    assert (await failure(dripping)).failure is FailureClass.TIMEOUT
    assert (await failure(request(fault="refuse"))).failure is FailureClass.CONNECT


@pytest.mark.parametrize("stream", [False, True])
async def test_a_slow_drip_comes_whole(stream):
    _, _, slow = await ask(request(fault="drip", latency_ms=0, text="a b c", stream=stream))
    if stream:
        assert slow.count(b'"content"') == 3
        assert b'"usage"' in slow
    else:
        assert json.loads(slow)["choices"][0]["message"]["content"] == "a b c"


async def test_a_share_of_the_requests_meets_it_and_the_seed_says_which():
    def statuses(seed: int):
        asked = request(fault="error", rate=0.5, seed=seed)
        upstream = FaultyEndpoint()
        return [ask(asked, upstream) for _ in range(40)]

    first, again, other = [[(await one)[0] for one in statuses(seed)] for seed in (1, 1, 2)]
    assert first == again != other
    assert 5 < first.count(500) < 35


async def test_an_unknown_fault_is_the_requests_own():
    status, _, body = await ask(request(fault="explode"))
    assert status == 400
    assert "truncate" in json.loads(body)["error"]["message"]


def test_the_table_of_faults_is_whole():
    from caopan.adapters.llm import faulty_endpoint

    assert faulty_endpoint.__doc__ is not None
    assert all(f"| `{fault}` |" in faulty_endpoint.__doc__ for fault in FAULTS)


async def test_leaving_early_stops_it():
    asked = request(fault="stall", after_tokens=1, stream=True)
    async with asyncio.timeout(5), FaultyEndpoint().send(asked) as answer:
        async for _ in answer.chunks():
            break
