"""Limits shared by several gateways: never exceeded, or by a known share where Valkey goes away."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from redis import Redis

from caopan.adapters.redis.limits import RedisLimits, SharePolicy
from caopan.application.ports.gateway import Bound, Claim, Granted, Refused
from caopan.domain.gateway.endpoint import RateLimit
from caopan.kernel.errors import Unavailable
from caopan.testing.gateway_samples import AT, DAY, sample_claim

POLICY = SharePolicy(
    retry_s=0.01, beat_s=0.02, grace_ms=200, slow_ms=10_000, rebuild_ms=10_000, start_s=30
)
"""Patient with Valkey, so that a busy machine is not taken for a Valkey that is gone."""


class Spent:
    """What a database knows: process -> scope -> charged; may be away."""

    def __init__(self, known: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self.known: dict[str, Mapping[str, int]] = dict(known or {})
        self.is_away = False
        self.asked: list[tuple[str, bool]] = []

    async def __call__(self, day: str, under_way: bool) -> Mapping[str, Mapping[str, int]]:
        self.asked.append((day, under_way))
        if self.is_away:
            raise Unavailable("DB_UNREACHABLE", "away")
        return self.known


@asynccontextmanager
async def gateway(url: str, process: str, spent=None, *, policy=POLICY, now=lambda: AT):
    limits = RedisLimits(url, process, spent or Spent(), now=now, policy=policy)
    async with limits.running():
        yield limits


async def take(limits: RedisLimits, claim: Claim) -> Granted:
    answer = await limits.claim(claim)
    assert isinstance(answer, Granted), answer
    return answer


async def until(limits: RedisLimits, spent: dict[str, int]) -> None:
    """Wait until another process's settlements have arrived."""
    async with asyncio.timeout(60):
        while await limits.spent(list(spent), DAY) != spent:  # noqa: ASYNC110 - no event of ours
            await asyncio.sleep(0.01)


async def left_of(limits: RedisLimits, nth: int, budget: dict[str, int]) -> int:
    """Return how much may still be claimed, by trying."""
    low, high = 0, max(budget.values()) + 1
    while high - low > 1:
        middle, nth = (low + high) // 2, nth + 1
        answer = await limits.claim(sample_claim(nth, cost=middle, budgets=budget))
        if isinstance(answer, Granted):
            limits.settle(answer, 0, 0)
            low = middle
        else:
            high = middle
    return low


# --- one budget, several gateways ---------------------------------------------------------------

RACER = """
import asyncio, json, random, sys
from caopan.adapters.redis.limits import RedisLimits, SharePolicy
from caopan.application.ports.gateway import Granted
from caopan.testing.gateway_samples import AT, DAY, sample_claim

url, process, limit, calls, base = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
draw = random.Random(process)

async def nothing(day, under_way):
    return {}

async def main():
    policy = SharePolicy(retry_s=0.01, beat_s=0.02, grace_ms=300, slow_ms=10_000)
    limits = RedisLimits(url, process, nothing, now=lambda: AT, policy=policy)
    spent = highest = granted = 0
    async def worker(number):
        nonlocal spent, highest, granted
        for nth in range(calls):
            cost = draw.randrange(1, 400)
            claim = sample_claim(base + number * calls + nth, cost=cost, budgets={"all": limit})
            answer = await limits.claim(claim)
            if isinstance(answer, Granted):
                granted += 1
                await asyncio.sleep(draw.choice([0, 0.001, 0.004]))
                used = draw.randrange(cost + 1)
                spent += used
                limits.settle(answer, 0, used)
            else:
                highest = max(highest, answer.used)
                await asyncio.sleep(0.002)
    async with limits.running():
        print("ready", flush=True)
        sys.stdin.readline()
        async with asyncio.TaskGroup() as tasks:
            for number in range(32):
                tasks.create_task(worker(number))
        while not limits.is_shared:
            await asyncio.sleep(0.01)
        seen = await limits.spent(["all"], DAY)
    print(json.dumps([spent, highest, granted, seen["all"]]), flush=True)

asyncio.run(main())
"""


class Racers:
    """Two gateway processes of 32 tasks each that claim what they can of one budget."""

    def __init__(self, url: str, limit: int, calls: int) -> None:
        words = [sys.executable, "-c", RACER, url]
        self._children = [
            subprocess.Popen(
                [*words, f"gw-{nth}", str(limit), str(calls), str(nth * 1_000_000)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for nth in range(2)
        ]

    def go(self) -> None:
        for child in self._children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
        for child in self._children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()

    def results(self) -> list[tuple[int, int, int, int]]:
        told = [child.communicate(timeout=120)[0] for child in self._children]
        return [tuple(json.loads(line)) for line in told]


def wait_for_half(url: str, limit: int) -> None:
    """Return once half of the budget is claimed and spent."""
    with Redis.from_url(url, decode_responses=True) as link:
        while int(str(link.hget(f"caopan:gateway:money:{DAY}", "all") or 0)) < limit // 2:
            time.sleep(0.001)


@pytest.mark.slow
async def test_two_processes_race_one_budget_and_never_exceed_it(redis_url):
    limit = 60_000
    racers = Racers(redis_url, limit, 60)
    await asyncio.to_thread(racers.go)
    results = await asyncio.to_thread(racers.results)
    spent = sum(one[0] for one in results)
    assert spent <= limit
    assert max(one[1] for one in results) <= limit
    # They did race for the last of it, and everything was settled.
    assert spent > limit - 400
    assert all(granted > 50 for _, _, granted, _ in results)
    async with gateway(redis_url, "later") as limits:
        assert await limits.spent(["all"], DAY) == {"all": spent}


@pytest.mark.slow
async def test_valkey_killed_in_the_middle_of_a_race_costs_no_more_than_the_share(own_valkey):
    limit = 60_000
    racers = Racers(own_valkey.url, limit, 200)
    await asyncio.to_thread(racers.go)
    await asyncio.to_thread(wait_for_half, own_valkey.url, limit)
    own_valkey.kill()
    await asyncio.sleep(0.1)
    own_valkey.start()
    results = await asyncio.to_thread(racers.results)
    spent = sum(one[0] for one in results)
    share = limit * SharePolicy().budget_pct // 100
    assert limit // 2 < spent <= limit + 2 * share
    # The new counters hold what both have spent.
    async with gateway(own_valkey.url, "later") as limits:
        assert await limits.spent(["all"], DAY) == {"all": spent}


# --- alone and back -------------------------------------------------------------------------------


async def test_alone_a_process_uses_its_share_of_what_was_left_and_hands_it_in(
    redis_url, line, eventually
):
    wire = await line(redis_url)
    budget = {"all": 1_000, "alias:main": 100_000}
    async with gateway(wire.url, "gw-1") as one, gateway(redis_url, "gw-2") as two:
        held = await take(one, sample_claim(1, cost=400, budgets=budget))
        await wire.cut()
        await eventually(lambda: not one.is_shared)
        # 5 % of 1,000 is what it may use by itself; settling what it held gives it that back.
        answer = await one.claim(sample_claim(2, cost=51, budgets=budget))
        assert answer == Refused(Bound.BUDGET, "all", 1_000, 400, None)
        await take(one, sample_claim(3, cost=50, budgets=budget))
        assert isinstance(await one.claim(sample_claim(4, cost=1, budgets=budget)), Refused)
        one.settle(held, 0, 150)
        await take(one, sample_claim(5, cost=250, budgets=budget))
        assert isinstance(await one.claim(sample_claim(6, cost=1, budgets=budget)), Refused)
        assert await one.spent(["all"], DAY) == {"all": 450}
        # The other one goes on as before, and does not know of it yet.
        await take(two, sample_claim(7, cost=500, budgets=budget))
        assert await two.spent(["all"], DAY) == {"all": 900}
        await wire.mend()
        await eventually(lambda: one.is_shared)
        for limits in (one, two):
            assert await limits.spent(["all", "alias:main"], DAY) == {
                "all": 950,
                "alias:main": 950,
            }
        assert await left_of(two, 100, budget) == 50


async def test_a_share_is_not_given_anew_while_valkey_stays_away(redis_url, line, eventually):
    wire = await line(redis_url)
    budget = {"all": 1_000}
    async with gateway(wire.url, "gw-1") as limits:
        await wire.cut()
        await eventually(lambda: not limits.is_shared)
        granted = 0
        for nth in range(200):
            answer = await limits.claim(sample_claim(nth, cost=10, budgets=budget))
            granted += isinstance(answer, Granted)
            if nth % 20 == 0:
                # Many tries to come back fail meanwhile.
                await asyncio.sleep(0.02)
        assert granted == 5


async def test_what_was_nearly_used_up_leaves_no_share(redis_url, line, eventually):
    wire = await line(redis_url)
    budget = {"all": 1_000}
    async with gateway(wire.url, "gw-1") as one, gateway(redis_url, "gw-2") as two:
        await take(two, sample_claim(1, cost=990, budgets=budget))
        assert isinstance(await one.claim(sample_claim(2, cost=11, budgets=budget)), Refused)
        await wire.cut()
        await eventually(lambda: not one.is_shared)
        assert isinstance(await one.claim(sample_claim(3, cost=11, budgets=budget)), Refused)
        await take(one, sample_claim(4, cost=10, budgets=budget))


async def test_who_starts_alone_goes_by_what_the_database_knows(line, redis_url, eventually):
    wire = await line(redis_url)
    await wire.cut()
    budget = {"all": 1_000}
    spent = Spent({"gw-old": {"all": 600}, "gw-other": {"all": 395}})
    async with gateway(wire.url, "gw-1", spent) as limits:
        assert await limits.spent(["all"], DAY) == {"all": 995}
        assert isinstance(await limits.claim(sample_claim(1, cost=6, budgets=budget)), Refused)
        await take(limits, sample_claim(2, cost=5, budgets=budget))
        # Of its own the database may know, too: it counts once.
        spent.known["gw-1"] = {"all": 5}
        await wire.mend()
        await eventually(lambda: limits.is_shared)
        assert await limits.spent(["all"], DAY) == {"all": 1_000}


async def test_alone_a_rate_is_divided_by_the_processes_last_seen(redis_url, line, eventually):
    wire = await line(redis_url)
    limit = RateLimit(rpm=9, concurrency=5)
    async with gateway(wire.url, "gw-1") as one, gateway(redis_url, "gw-2") as two:
        await eventually(lambda: (one.processes, two.processes) == (2, 2))
        await take(one, sample_claim(1, limit=limit))
        await wire.cut()
        await eventually(lambda: not one.is_shared)
        # Its half of nine a minute is four, of which one is used; of five at a time it is two.
        await take(one, sample_claim(2, limit=limit))
        answer = await one.claim(sample_claim(3, limit=limit))
        assert isinstance(answer, Refused)
        assert (answer.bound, answer.limit) == (Bound.CONCURRENCY, 5)
        for nth in (4, 5):
            one.settle(await take(one, sample_claim(nth, limit=RateLimit(rpm=9))), 0, 0)
        answer = await one.claim(sample_claim(6, limit=RateLimit(rpm=9)))
        assert isinstance(answer, Refused)
        assert (answer.bound, answer.limit) == (Bound.RPM, 9)
        await wire.mend()
        await eventually(lambda: one.is_shared)
        # Four of nine requests and two of five calls are this one's, as the other sees it.
        for nth in range(10, 13):
            await take(two, sample_claim(nth, limit=limit))
        answer = await two.claim(sample_claim(13, limit=limit))
        assert isinstance(answer, Refused)
        assert answer.bound is Bound.CONCURRENCY
        for nth in range(14, 16):
            await take(two, sample_claim(nth, limit=RateLimit(rpm=9)))
        answer = await two.claim(sample_claim(16, limit=RateLimit(rpm=9)))
        assert isinstance(answer, Refused)
        assert (answer.bound, answer.used) == (Bound.RPM, 9)


async def test_what_was_settled_while_alone_is_no_longer_under_way(redis_url, line, eventually):
    wire = await line(redis_url)
    limit = RateLimit(concurrency=1)
    async with gateway(wire.url, "gw-1") as one, gateway(redis_url, "gw-2") as two:
        held = await take(one, sample_claim(1, limit=limit))
        await wire.cut()
        await eventually(lambda: not one.is_shared)
        one.settle(held, 0, 0)
        assert isinstance(await two.claim(sample_claim(2, limit=limit)), Refused)
        await wire.mend()
        await eventually(lambda: one.is_shared)
        await take(two, sample_claim(3, limit=limit))


async def test_nobody_waits_for_a_valkey_that_does_not_answer(redis_url, line, eventually):
    wire = await line(redis_url)
    budget = {"all": 1_000}
    policy = SharePolicy(retry_s=0.01, beat_s=60, slow_ms=50)
    async with gateway(wire.url, "gw-1", policy=policy) as limits:
        await take(limits, sample_claim(1, cost=10, budgets=budget))
        wire.hang()
        # Granted by the process itself: Valkey has not read a word of it.
        answers = await asyncio.gather(
            *(limits.claim(sample_claim(nth, cost=10, budgets=budget)) for nth in range(2, 12))
        )
        assert sum(isinstance(one, Granted) for one in answers) == 5
        assert not limits.is_shared
        wire.flow()
        await eventually(lambda: limits.is_shared)
        # It read them all in the end; what counts is what the process took.
        assert await limits.spent(["all"], DAY) == {"all": 60}
        assert await left_of(limits, 100, budget) == 940


# --- counters lost --------------------------------------------------------------------------------


async def test_lost_counters_are_built_from_the_database_and_the_living(redis_url, eventually):
    budget, limit = {"all": 1_000}, RateLimit(concurrency=3)
    spent = Spent({"gw-old": {"all": 200, "alias:x": 5}})
    async with gateway(redis_url, "gw-1", spent) as one, gateway(redis_url, "gw-2", spent) as two:
        await eventually(lambda: (one.processes, two.processes) == (2, 2))
        assert await one.spent(["all"], DAY) == {"all": 200}
        done = await take(one, sample_claim(1, cost=300, budgets=budget, limit=limit))
        one.settle(done, 0, 100)
        held = await take(one, sample_claim(2, cost=50, budgets=budget, limit=limit))
        await take(two, sample_claim(3, cost=30, budgets=budget, limit=limit))
        # The database has part of it: one's row that ended, and one that is under way.
        spent.known["gw-1"] = {"all": 150}
        with Redis.from_url(redis_url) as link:
            link.flushdb()
        await eventually(lambda: not one.is_shared)
        await eventually(lambda: one.is_shared and two.is_shared)
        assert (DAY, True) in spent.asked
        for limits in (one, two):
            assert await limits.spent(["all", "alias:x"], DAY) == {"all": 380, "alias:x": 5}
        one.settle(held, 0, 20)
        await until(two, {"all": 350})
        assert await left_of(two, 100, budget) == 650
        await take(two, sample_claim(4, limit=limit))
        await take(two, sample_claim(5, limit=limit))
        assert isinstance(await two.claim(sample_claim(6, limit=limit)), Refused)


async def test_a_claim_that_finds_the_counters_lost_is_judged_by_those_rebuilt(redis_url):
    spent = Spent({"gw-old": {"all": 600}})
    async with gateway(redis_url, "gw-1", spent, policy=POLICY) as limits:
        for nth in range(20):
            with Redis.from_url(redis_url) as link:
                link.flushdb()
            budget = {"all": 1_000 + nth}
            assert isinstance(
                await limits.claim(sample_claim(nth, cost=500, budgets=budget)), Refused
            )
        await take(limits, sample_claim(100, cost=400, budgets={"all": 1_000}))
        assert await limits.spent(["all"], DAY) == {"all": 1_000}


async def test_without_counters_and_without_database_only_the_share_is_given(redis_url, eventually):
    spent, budget = Spent(), {"all": 1_000}
    spent.is_away = True
    policy = SharePolicy(retry_s=0.01, beat_s=0.02, start_s=0.1)
    async with gateway(redis_url, "gw-1", spent, policy=policy) as limits:
        assert not limits.is_shared
        assert isinstance(await limits.claim(sample_claim(1, cost=51, budgets=budget)), Refused)
        await take(limits, sample_claim(2, cost=50, budgets=budget))
        spent.known = {"gw-old": {"all": 600}}
        spent.is_away = False
        await eventually(lambda: limits.is_shared)
        assert await limits.spent(["all"], DAY) == {"all": 650}


async def test_a_new_day_needs_no_database(redis_url):
    spent, instant = Spent({"gw-old": {"all": 900}}), AT
    budget = {"all": 1_000}

    def now() -> datetime:
        return instant

    async with gateway(redis_url, "gw-1", spent, now=now) as limits:
        await take(limits, sample_claim(1, cost=100, budgets=budget))
        spent.is_away = True
        instant = AT + timedelta(days=1)
        await take(limits, sample_claim(2, cost=1_000, budgets=budget, at=instant))
        assert limits.is_shared
        assert await limits.spent(["all"], "2026-11-21") == {"all": 1_000}
        assert await limits.spent(["all"], DAY) == {"all": 1_000}


async def test_a_budget_set_at_noon_counts_the_morning(redis_url):
    spent, noon = Spent(), {"all": 1_000, "alias:main": 200}
    async with gateway(redis_url, "gw-1", spent) as one, gateway(redis_url, "gw-2", spent) as two:
        await take(one, sample_claim(1, cost=5, budgets={"all": 1_000}))
        await take(two, sample_claim(2, cost=1, budgets={"all": 1_000}))
        spent.known = {
            "gw-old": {"alias:main": 100, "all": 70},
            "gw-1": {"alias:main": 20},
            "gw-2": {"alias:main": 3, "all": 1},
        }
        for nth, limits in enumerate((one, two)):
            await take(limits, sample_claim(10 + nth, cost=1, budgets=noon))
        async with asyncio.timeout(60):
            while (used := await one.spent(list(noon), DAY))["alias:main"] < 123:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        # What is claimed while the morning is counted may be taken for a part of it.
        assert used["all"] == 78
        assert used["alias:main"] <= 125


async def test_a_new_budget_is_counted_once_the_database_is_back(redis_url):
    spent = Spent({"gw-old": {"client:desk": 40}})
    policy = replace(POLICY, ask_s=0.01)
    async with gateway(redis_url, "gw-1", spent, policy=policy) as limits:
        spent.is_away = True
        spent.known = {"gw-old": {"client:desk": 90}}
        await take(limits, sample_claim(1, cost=1, budgets={"client:desk": 100}))
        spent.is_away = False
        await until(limits, {"client:desk": 91})
        assert isinstance(
            await limits.claim(sample_claim(2, cost=10, budgets={"client:desk": 100})), Refused
        )


async def test_an_emptied_cache_of_scripts_is_no_absence(redis_url):
    async with gateway(redis_url, "gw-1") as limits:
        for nth in range(5):
            with Redis.from_url(redis_url) as link:
                link.script_flush()
            await take(limits, sample_claim(nth, cost=10, budgets={"all": 1_000}))
        assert limits.is_shared
        assert await limits.spent(["all"], DAY) == {"all": 50}


async def test_who_goes_away_while_asking_takes_nothing(redis_url):
    budget, limit = {"all": 1_000}, RateLimit(concurrency=4)
    draw = random.Random(1)  # noqa: S311 - when they go
    async with gateway(redis_url, "gw-1") as limits:

        async def ask(nth: int) -> None:
            claim = sample_claim(nth, cost=10, budgets=budget, limit=limit)
            answer = await limits.claim(claim)
            if isinstance(answer, Granted):
                limits.settle(answer, 0, 0)

        for nth in range(300):
            asking = asyncio.ensure_future(ask(nth))
            await asyncio.sleep(draw.choice([0, 0, 0.0002, 0.001]))
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        held = [await take(limits, sample_claim(1_000 + nth, limit=limit)) for nth in range(4)]
        assert len(held) == 4
        assert await limits.spent(["all"], DAY) == {"all": 0}


async def test_a_process_that_died_holds_its_calls_only_so_long_and_its_money_for_the_day(
    redis_url, eventually
):
    budget, limit = {"all": 1_000}, RateLimit(concurrency=1)
    async with gateway(redis_url, "gw-1") as one, gateway(redis_url, "gw-2") as two:
        await take(one, sample_claim(1, cost=10, budgets=budget, limit=limit, expires_ms=300))
        claims = (sample_claim(nth, limit=limit) for nth in range(10, 10_000))
        async with asyncio.timeout(60):
            while isinstance(await two.claim(next(claims)), Refused):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.02)
        assert await two.spent(["all"], DAY) == {"all": 10}
