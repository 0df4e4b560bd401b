"""Limits and budgets: a claim is granted whole or refused whole, and the books always add up.

One process alone in memory, and the same over Valkey; the differential test at the end plays one
random history to both and wants the same answers, word for word.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import pytest

from caopan.adapters.redis.limits import RedisLimits, SharePolicy
from caopan.adapters.redis.local_limits import LocalLimits
from caopan.application.ports.gateway import Bound, Claim, Granted, Refused, SharedLimits
from caopan.domain.gateway.endpoint import RateLimit
from caopan.testing.gateway_samples import AT, DAY, sample_claim

START_MS = 1_795_000_000_250
PATIENT = SharePolicy(slow_ms=30_000, rebuild_ms=30_000, start_s=30)
"""A busy machine is not taken for a Valkey that is gone."""


class Clock:
    """Milliseconds that pass only when told."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms


async def nothing_spent(_day: str, _under_way: bool) -> dict[str, dict[str, int]]:
    return {}


@asynccontextmanager
async def over_valkey(url: str, clock: Clock, process: str = "gw-1") -> AsyncGenerator[RedisLimits]:
    limits = RedisLimits(
        url, process, nothing_spent, now=lambda: AT, policy=PATIENT, server_now_ms=clock
    )
    async with limits.running():
        assert limits.is_shared
        yield limits


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["alone", "valkey"])
async def limits(request, clock) -> AsyncGenerator[SharedLimits]:
    if request.param == "alone":
        yield LocalLimits(lambda: AT, clock)
        return
    async with over_valkey(request.getfixturevalue("redis_url"), clock) as shared:
        yield shared


async def granted(limits: SharedLimits, claim: Claim) -> Granted:
    answer = await limits.claim(claim)
    assert isinstance(answer, Granted), answer
    return answer


async def refused(limits: SharedLimits, claim: Claim) -> Refused:
    answer = await limits.claim(claim)
    assert isinstance(answer, Refused), answer
    return answer


async def test_an_unbounded_claim_is_granted(limits):
    answer = await granted(limits, sample_claim(1, tokens=5, cost=7))
    assert answer.soft_reached == ()
    limits.settle(answer, 3, 4)


# --- budgets --------------------------------------------------------------------------------------


async def test_a_budget_holds_what_is_claimed_and_then_what_was_spent(limits):
    budget = {"all": 100}
    first = await granted(limits, sample_claim(1, cost=60, budgets=budget))
    answer = await refused(limits, sample_claim(2, cost=41, budgets=budget))
    assert answer == Refused(Bound.BUDGET, "all", 100, 60, None)
    limits.settle(first, 0, 10)
    assert await limits.spent(["all", "alias:none"], DAY) == {"all": 10, "alias:none": 0}
    await granted(limits, sample_claim(3, cost=90, budgets=budget))
    assert await limits.spent(["all"], DAY) == {"all": 100}


async def test_the_budget_without_room_is_named_and_no_other_is_touched(limits):
    budgets = {"all": 1_000, "alias:main": 500, "client:desk": 20}
    answer = await refused(limits, sample_claim(1, cost=21, budgets=budgets))
    assert (answer.bound, answer.scope, answer.limit) == (Bound.BUDGET, "client:desk", 20)
    assert set((await limits.spent(list(budgets), DAY)).values()) == {0}


async def test_a_settlement_counts_once(limits):
    answer = await granted(limits, sample_claim(1, cost=60, budgets={"all": 100}))
    for cost in (50, 10, 0):
        limits.settle(answer, 0, cost)
    assert await limits.spent(["all"], DAY) == {"all": 50}


async def test_more_may_be_spent_than_was_claimed_and_nothing_fits_then(limits):
    answer = await granted(limits, sample_claim(1, cost=60, budgets={"all": 100}))
    limits.settle(answer, 0, 130)
    assert await limits.spent(["all"], DAY) == {"all": 130}
    assert (await refused(limits, sample_claim(2, cost=1, budgets={"all": 100}))).used == 130
    # What costs nothing needs no room.
    await granted(limits, sample_claim(3, cost=0, budgets={"all": 100}))


async def test_an_alert_is_due_when_the_soft_bound_is_reached_and_only_then(limits):
    budget = {"all": 100, "client:desk": 1_000}
    assert (await granted(limits, sample_claim(1, cost=79, budgets=budget))).soft_reached == ()
    assert (await granted(limits, sample_claim(2, cost=1, budgets=budget))).soft_reached == ("all",)
    assert (await granted(limits, sample_claim(3, cost=20, budgets=budget))).soft_reached == ()


async def test_a_day_is_a_beijing_day(limits):
    evening = AT.replace(hour=15, minute=59)
    budget = {"all": 100}
    await granted(limits, sample_claim(1, cost=100, budgets=budget, at=evening))
    await refused(limits, sample_claim(2, cost=1, budgets=budget, at=evening))
    morning = evening + timedelta(minutes=1)
    last = await granted(limits, sample_claim(3, cost=100, budgets=budget, at=morning))
    limits.settle(last, 0, 30)
    assert await limits.spent(["all"], DAY) == {"all": 100}
    assert await limits.spent(["all"], "2026-11-21") == {"all": 30}


async def test_large_sums_are_exact(limits):
    most = 80_000_000 * 10**8
    budget = {"all": most}
    await granted(limits, sample_claim(1, cost=most - 1, budgets=budget))
    await refused(limits, sample_claim(2, cost=2, budgets=budget))
    await granted(limits, sample_claim(3, cost=1, budgets=budget))
    assert await limits.spent(["all"], DAY) == {"all": most}


# --- rates ----------------------------------------------------------------------------------------


async def test_no_sixty_seconds_hold_more_requests_than_allowed(limits, clock):
    limit, taken, seed = RateLimit(rpm=7), list[int](), random.Random(5)  # noqa: S311 - a seeded history
    for nth in range(400):
        clock.ms += seed.choice([1, 40, 900, 3_000, 20_000])
        if isinstance(await limits.claim(sample_claim(nth, limit=limit)), Granted):
            taken.append(clock.ms)
    assert len(taken) > 100
    for nth, at in enumerate(taken):
        assert sum(at <= other < at + 60_000 for other in taken[nth:]) <= 7


async def test_the_wait_that_is_told_is_enough_and_no_more_than_a_minute(limits, clock):
    limit = RateLimit(rpm=2)
    await granted(limits, sample_claim(1, limit=limit))
    clock.ms += 7_300
    await granted(limits, sample_claim(2, limit=limit))
    answer = await refused(limits, sample_claim(3, limit=limit))
    assert (answer.bound, answer.scope, answer.limit, answer.used) == (
        Bound.RPM,
        "deepseek",
        2,
        2,
    )
    assert answer.retry_after_ms is not None
    clock.ms += answer.retry_after_ms - 1
    await refused(limits, sample_claim(4, limit=limit))
    clock.ms += 1
    await granted(limits, sample_claim(5, limit=limit))
    assert answer.retry_after_ms <= 61_000


async def test_tokens_are_claimed_at_most_and_settled_as_used(limits, clock):
    limit = RateLimit(tpm=1_000)
    first = await granted(limits, sample_claim(1, limit=limit, tokens=900))
    answer = await refused(limits, sample_claim(2, limit=limit, tokens=101))
    assert (answer.bound, answer.used) == (Bound.TPM, 900)
    limits.settle(first, 200, 0)
    await granted(limits, sample_claim(3, limit=limit, tokens=800))
    await refused(limits, sample_claim(4, limit=limit, tokens=1))
    clock.ms += 61_000
    await granted(limits, sample_claim(5, limit=limit, tokens=1_000))


async def test_what_can_never_fit_is_told_no_time(limits):
    never = await refused(limits, sample_claim(1, limit=RateLimit(tpm=100), tokens=101))
    assert never.retry_after_ms is None
    none_at_all = await refused(limits, sample_claim(2, limit=RateLimit(rpm=0)))
    assert none_at_all.retry_after_ms is None
    assert (await refused(limits, sample_claim(3, limit=RateLimit(concurrency=0)))).used == 0


async def test_a_late_settlement_does_not_touch_the_minute_that_is_now(limits, clock):
    limit = RateLimit(tpm=1_000)
    first = await granted(limits, sample_claim(1, limit=limit, tokens=900))
    clock.ms += 120_000
    await granted(limits, sample_claim(2, limit=limit, tokens=1_000))
    limits.settle(first, 0, 0)
    assert (await refused(limits, sample_claim(3, limit=limit, tokens=1))).used == 1_000


async def test_a_callers_own_bound_is_its_own(limits):
    for nth in range(3):
        await granted(limits, sample_claim(nth, client_rpm=("desk", 3)))
    answer = await refused(limits, sample_claim(3, client_rpm=("desk", 3), endpoint="other"))
    assert (answer.bound, answer.scope, answer.limit) == (Bound.CLIENT_RPM, "desk", 3)
    await granted(limits, sample_claim(4, client_rpm=("research", 3)))


async def test_endpoints_are_counted_apart(limits):
    limit = RateLimit(rpm=1, concurrency=1)
    await granted(limits, sample_claim(1, limit=limit))
    await granted(limits, sample_claim(2, limit=limit, endpoint="qwen"))


# --- calls under way ------------------------------------------------------------------------------


async def test_a_call_under_way_counts_until_it_is_settled(limits):
    limit = RateLimit(concurrency=2)
    first = await granted(limits, sample_claim(1, limit=limit))
    await granted(limits, sample_claim(2, limit=limit))
    answer = await refused(limits, sample_claim(3, limit=limit))
    assert answer == Refused(Bound.CONCURRENCY, "deepseek", 2, 2, None)
    limits.settle(first, 0, 0)
    await granted(limits, sample_claim(4, limit=limit))


async def test_a_claim_nobody_settles_is_under_way_only_so_long_and_its_money_stays(limits, clock):
    limit, budget = RateLimit(concurrency=1), {"all": 100}
    claim = sample_claim(1, limit=limit, cost=60, budgets=budget, expires_ms=5_000)
    lost = await granted(limits, claim)
    clock.ms += 4_999
    await refused(limits, sample_claim(2, limit=limit))
    clock.ms += 1
    await granted(limits, sample_claim(3, limit=limit))
    assert await limits.spent(["all"], DAY) == {"all": 60}
    limits.settle(lost, 0, 5)
    assert await limits.spent(["all"], DAY) == {"all": 5}


# --- all or nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("short", ["rpm", "tpm", "concurrency", "budget", "client_rpm"])
async def test_a_refusal_takes_nothing_of_anything(limits, clock, short):
    full = {"rpm": 0, "tpm": 0, "concurrency": 0}
    roomy = {"rpm": 10, "tpm": 10, "concurrency": 10}
    limit = RateLimit(**{name: (full if name == short else roomy)[name] for name in roomy})
    for nth in range(20):
        answer = await refused(
            limits,
            sample_claim(
                nth,
                limit=limit,
                tokens=1,
                cost=1,
                budgets={"all": 0 if short == "budget" else 10, "alias:main": 10},
                client_rpm=("desk", 0 if short == "client_rpm" else 10),
            ),
        )
        assert answer.bound.value == short
    clock.ms += 500
    for nth in range(20, 30):
        await granted(
            limits,
            sample_claim(
                nth,
                limit=RateLimit(**roomy),
                tokens=1,
                cost=1,
                budgets={"all": 10, "alias:main": 10},
                client_rpm=("desk", 10),
            ),
        )


@pytest.mark.parametrize("seed", range(6))
async def test_shared_or_alone_every_answer_is_the_same(redis_url, clock, seed):
    draw = random.Random(seed)  # noqa: S311 - a seeded history
    alone = LocalLimits(lambda: AT, clock)
    under_way: dict[UUID, tuple[Granted, Granted]] = {}
    async with over_valkey(redis_url, clock) as shared:
        for nth in range(300):
            clock.ms += draw.choice([0, 0, 3, 250, 1_000, 9_000, 200_000 if nth % 50 == 0 else 1])
            if under_way and draw.random() < 0.4:
                one, other = under_way.pop(draw.choice(list(under_way)))
                tokens, cost = draw.randrange(60), draw.randrange(80)
                alone.settle(one, tokens, cost)
                shared.settle(other, tokens, cost)
                continue
            scopes = draw.sample(["all", "alias:a", "client:desk", "decision:1"], draw.randrange(4))
            claim = sample_claim(
                nth,
                limit=RateLimit(
                    draw.choice([None, 5, 9]), draw.choice([None, 300]), draw.choice([None, 4])
                ),
                tokens=draw.randrange(60),
                cost=draw.randrange(60),
                budgets={scope: draw.choice([500, 900]) for scope in scopes},
                client_rpm=draw.choice([None, ("desk", 20)]),
                endpoint=draw.choice(["deepseek", "qwen"]),
                at=AT + timedelta(hours=draw.choice([0, 14])),
                expires_ms=draw.choice([2_000, 600_000]),
            )
            answers = await alone.claim(claim), await shared.claim(claim)
            assert answers[0] == answers[1], (nth, claim)
            if isinstance(answers[0], Granted) and isinstance(answers[1], Granted):
                under_way[claim.claim_id] = answers[0], answers[1]
        for day in (DAY, "2026-11-21"):
            scopes = ["all", "alias:a", "client:desk", "decision:1"]
            assert await shared.spent(scopes, day) == await alone.spent(scopes, day)
