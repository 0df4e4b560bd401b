"""The gateway's doubles are as strict as what they stand for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from caopan.application.ports.gateway import (
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


def test_a_claim_settles_once_and_who_leaves_has_taken_nothing():
    async def program():
        limits = MemoryLimits(lambda: START, takes_ms=100)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(limits.claim(a_claim(1)), 0.05)
        assert (limits.claims, limits.under_way) == ([], {})
        granted = await limits.claim(a_claim(1))
        assert isinstance(granted, Granted)
        assert isinstance(await limits.claim(a_claim(2, cost=61)), Refused)
        limits.settle(granted, 10, 5)
        assert await limits.spent(["all"], "2026-11-23") == {"all": 5}
        assert limits.settled == [(granted.claim, 10, 5)]
        with pytest.raises(KeyError):
            limits.settle(granted, 10, 5)

    simulate(program())


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
