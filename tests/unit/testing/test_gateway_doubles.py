"""The gateway's doubles are as strict as what they stand for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from caopan.application.ports.gateway import (
    Bound,
    BudgetClaim,
    Claim,
    Granted,
    Path,
    Refused,
    UpstreamFailed,
    UpstreamRequest,
)
from caopan.domain.gateway.endpoint import RateLimit
from caopan.domain.gateway.outcome import FailureClass
from caopan.testing.gateway_doubles import (
    Behaviour,
    MemoryBus,
    MemoryLimits,
    ScriptedUpstream,
    answers,
    streams,
)
from caopan.testing.gateway_rig import START, an_endpoint
from caopan.testing.sim_loop import simulate

BUDGET = BudgetClaim("all", 100, 50)


def a_claim(number: int, **fields: object) -> Claim:
    plain = Claim(UUID(int=number), "a", RateLimit(), 10, 40, (BUDGET,), at=START)
    return replace(plain, **fields)


async def test_money_is_claimed_whole_or_not_and_settled_once():
    limits = MemoryLimits(lambda: START)
    first = await limits.claim(a_claim(1))
    second = await limits.claim(a_claim(2))
    assert isinstance(first, Granted)
    assert isinstance(second, Granted)
    assert (first.soft_reached, second.soft_reached) == ((), ("all",))
    refused = await limits.claim(a_claim(3))
    assert refused == Refused(Bound.BUDGET, "all", 100, 80, None)
    limits.settle(first, 10, 5)
    assert await limits.spent(["all", "other"], "2026-11-23") == {"all": 45, "other": 0}
    assert isinstance(await limits.claim(a_claim(3)), Granted)
    with pytest.raises(KeyError):
        limits.settle(first, 10, 5)
    tomorrow = a_claim(4, at=START + timedelta(hours=15))
    assert isinstance(await limits.claim(tomorrow), Granted)


async def test_each_bound_refuses_by_itself():
    limit = RateLimit(rpm=2, tpm=25, concurrency=None)
    limits = MemoryLimits(lambda: START)
    free = {"budgets": (), "limit": limit}
    granted = await limits.claim(a_claim(1, **free))
    assert isinstance(granted, Granted)
    found = await limits.claim(a_claim(2, tokens=16, **free))
    assert isinstance(found, Refused)
    assert (found.bound, found.used) == (Bound.TPM, 10)
    assert isinstance(await limits.claim(a_claim(2, **free)), Granted)
    found = await limits.claim(a_claim(3, **free))
    assert isinstance(found, Refused)
    assert (found.bound, found.retry_after_ms) == (Bound.RPM, 60_000)
    later = a_claim(3, at=START + timedelta(minutes=1), **free)
    assert isinstance(await limits.claim(later), Granted)
    busy = a_claim(4, budgets=(), limit=RateLimit(concurrency=3))
    found = await limits.claim(busy)
    assert isinstance(found, Refused)
    assert found.bound is Bound.CONCURRENCY
    limits.settle(granted, 0, 0)
    assert isinstance(await limits.claim(busy), Granted)
    mine = {"budgets": (), "endpoint": "b", "client_rpm": ("me", 1)}
    assert isinstance(await limits.claim(a_claim(5, **mine)), Granted)
    found = await limits.claim(a_claim(6, **mine))
    assert isinstance(found, Refused)
    assert found.bound is Bound.CLIENT_RPM


def a_request(**fields: int) -> UpstreamRequest:
    bounds = {"connect_ms": 500, "first_byte_ms": 1_000, "idle_ms": 2_000, "total_ms": 5_000}
    return UpstreamRequest(an_endpoint("a"), Path.CHAT, b"{}", {}, **{**bounds, **fields})


@pytest.mark.parametrize(
    ("behaviour", "took", "came"),
    [
        (Behaviour(hangs_at=-1), 1.0, 0),
        (replace(answers(), headers_after_ms=1_500), 1.0, 0),
        (replace(streams([b"a", b"b"]), hangs_at=1), 2.0, 1),
        (replace(streams([b"a"] * 9), piece_after_ms=900), 5.0, 5),
        (replace(streams([b"a", b"b"]), fails=FailureClass.BROKEN, fails_at=1), 0.0, 1),
    ],
)
def test_an_upstream_keeps_the_bounds_of_its_request(behaviour, took, came):
    async def program():
        upstream, found = ScriptedUpstream({"a": [behaviour]}), []

        async def read():
            async with upstream.send(a_request()) as answer:
                async for piece in answer.chunks():
                    found.append(piece)  # noqa: PERF401 - what came before it failed counts

        with pytest.raises(UpstreamFailed):
            await read()
        assert (asyncio.get_running_loop().time(), len(found), upstream.open) == (took, came, 0)

    simulate(program())


def test_news_reach_every_other_process_and_none_when_cut():
    async def program():
        one = MemoryBus()
        two, three = one.joined(), one.joined()
        two.publish("kind", {"x": [1]})
        assert await anext(one.news()) == ("kind", {"x": [1]})
        assert await anext(three.news()) == ("kind", {"x": [1]})
        three.is_cut = True
        one.publish("kind", {})
        assert await anext(two.news()) == ("kind", {})
        three.is_cut = False
        two.publish("other", {})
        assert (await anext(three.news()))[0] == "other"
        assert await one.take_token("t", 1_000)
        assert not await two.take_token("t", 1_000)
        await asyncio.sleep(1)
        assert await two.take_token("t", 1_000)

    simulate(program())
