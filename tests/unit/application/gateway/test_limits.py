"""What a call may cost, how many may go at once, and what is told where no room is left."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from caopan.domain.gateway.endpoint import (
    CNY,
    Budget,
    RateLimit,
)
from caopan.testing.gateway_doubles import answers
from caopan.testing.gateway_rig import GatewayRig, a_route, a_snapshot, an_endpoint
from caopan.testing.sim_loop import simulate


def now() -> float:
    return asyncio.get_running_loop().time()


def test_an_endpoint_without_room_is_passed_over_and_waited_for_only_if_nobody_else_is_there():
    async def program(names):
        room = RateLimit(concurrency=1)
        made = GatewayRig(
            {name: [replace(answers(), headers_after_ms=1_000)] for name in names},
            a_snapshot(*(an_endpoint(name, rate_limit=room) for name in names)),
        )
        got = await asyncio.gather(*(made.complete() for _ in range(2)))
        assert {one.status for one in got} == {200}
        assert made.settled_all()
        return sorted(row[0] for row in made.log.rows()), now()

    asked, took = simulate(program("ab"))
    assert (asked, took) == (["a", "b"], 1.0)
    asked, took = simulate(program("a"))
    assert asked == ["a", "a"]
    assert 2.0 <= took < 2.5


def test_a_minutes_requests_are_waited_for_within_the_deadline_and_told_beyond_it():
    async def program(deadline_ms):
        made = GatewayRig(
            {"a": [answers()]}, a_snapshot(an_endpoint("a", rate_limit=RateLimit(rpm=1)))
        )
        await made.complete()
        got = await made.complete(made.call(headers={"x-deadline-ms": str(deadline_ms)}))
        return got, now()

    got, took = simulate(program(90_000))
    assert got.status == 200
    assert 60 <= took < 62
    got, took = simulate(program(5_000))
    assert (got.status, got.error["code"], took) == (429, "MODEL_RATE_LIMIT", 0)
    assert 60 <= int(got.headers["retry-after"]) <= 61


def test_a_budget_is_never_exceeded_and_says_so_as_openai_does():
    async def program():
        # 50 answer tokens at 8 CNY a million are 0.0004 CNY at their worst; 20 are used.
        route = a_route("a", budget=Budget(daily=CNY // 1_000))
        slow = replace(answers(), headers_after_ms=500)
        made = GatewayRig({"a": [slow]}, a_snapshot(an_endpoint("a"), route=route))
        got = await asyncio.gather(*(made.complete(max_tokens=50) for _ in range(9)))
        refused = [one for one in got if one.status == 429]
        assert 0 < len(refused) < 9
        assert {one.error["code"] for one in refused} == {"BUDGET_EXCEEDED"}
        assert {one.error["type"] for one in refused} == {"insufficient_quota"}
        assert all("x-should-retry" in one.headers for one in refused)
        spent = await made.limits.spent(["alias:actor"], "2026-11-23")
        assert 0 < spent["alias:actor"] == sum(made.costs()) <= CNY // 1_000
        assert sum(one.attempt == 0 for one in made.log.begun) == len(refused)
        assert made.settled_all()

    simulate(program())


def test_another_endpoints_own_budget_may_have_room():
    async def program():
        poor = an_endpoint("a", budget=Budget(daily=1))
        made = GatewayRig({"a": [answers()], "b": [answers()]}, a_snapshot(poor, an_endpoint("b")))
        got = await made.complete()
        assert got.headers["x-caopan-endpoint"] == "b"
        assert [row[0] for row in made.log.rows()] == ["b"]

    simulate(program())


def test_the_soft_share_of_a_budget_raises_an_alert_and_refuses_nothing():
    async def program():
        budget = Budget(daily=CNY, soft_share=0.000_1)
        made = GatewayRig(
            {"a": [answers()]}, a_snapshot(an_endpoint("a"), route=a_route("a", budget=budget))
        )
        got = [await made.complete(max_tokens=100) for _ in range(3)]
        assert {one.status for one in got} == {200}
        assert made.soft == ["alias:actor"]

    simulate(program())


def test_an_unknown_price_is_no_cost_and_is_refused_where_a_budget_must_hold_it():
    async def program(unknown, budget):
        one = an_endpoint("a", prices=(), unknown_price_mtok=unknown)
        route = a_route("a", budget=budget)
        made = GatewayRig({"a": [answers()]}, a_snapshot(one, route=route))
        got = await made.complete()
        spent = await made.limits.spent(["alias:actor"], "2026-11-23")
        return got, [end.cost for end in made.log.ends], spent["alias:actor"]

    got, costs, _ = simulate(program(None, Budget()))
    assert (got.status, costs) == (200, [None])
    got, costs, _ = simulate(program(None, Budget(daily=CNY)))
    assert (got.status, got.error["code"], costs) == (429, "PRICE_UNKNOWN", [0])
    got, costs, spent = simulate(program(10 * CNY, Budget(daily=CNY)))
    assert (got.status, costs, spent) == (200, [None], 120 * 10 * CNY // 1_000_000)
