"""What keeping the record and sharing the limits costs a call of the model gateway.

The record: microseconds of `began` and `ended` on the caller's path, rows a second that reach the
database, the wait of a strict audit. The limits: one claim alone and many at once, over Valkey with
every bound set and four budgets. The history: what its queries take over as many rows as stated.
"""

from __future__ import annotations

import asyncio
import shutil
import time  # noqa: TID251 - it measures the machine's own time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import uvloop

from caopan.adapters.call_log.spool import SpoolCallLog
from caopan.adapters.embedded.services import Services, services
from caopan.adapters.postgres import schema
from caopan.adapters.postgres.call_history import PostgresCallHistory
from caopan.adapters.postgres.call_rows import PostgresCallRows
from caopan.adapters.redis.limits import RedisLimits
from caopan.application.ports.gateway import AttemptBegan, AttemptEnded, Claim, Granted
from caopan.application.ports.model_calls import CallFilter, CostBy, KeptAttempt
from caopan.domain.gateway.budget import beijing_day
from caopan.domain.gateway.endpoint import RateLimit
from caopan.settings import Settings
from caopan.testing.gateway_samples import sample_began, sample_claim, sample_ended

CALLS, PACED, ROWS, ALONE, TOGETHER, AT_ONCE = 10_000, 4_000, 100_000, 3_000, 30_000, 64
REQUEST: Final = b'{"messages": [{"content": "%s"}]}' % (b"what to buy, and why? " * 80)
RESPONSE: Final = b'{"choices": [{"content": "%s"}]}' % (b"nothing today, because " * 100)
AT: Final = datetime(2026, 11, 20, 3, tzinfo=UTC)


def run(settings: Settings) -> dict[str, Any]:
    """Return the figures of record, limits and history."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with services(settings) as servers:
        schema.upgrade(servers.database_url)
        return {
            "record": uvloop.run(_record(settings, servers)),
            "limits": uvloop.run(_limits(servers)),
            "history": uvloop.run(_history(servers)),
        }


# --- the record -----------------------------------------------------------------------------------


async def _record(settings: Settings, servers: Services) -> dict[str, Any]:
    sink, spool = PostgresCallRows(servers.database_url), settings.home / "spool"
    log = SpoolCallLog(spool, "bench", sink, lambda: datetime.now(UTC))  # noqa: TID251 - real time
    async with log.running():
        await _said(log, _calls(100, 1_000_000))
        pairs = _calls(PACED, 0)
        quiet = await _said(log, pairs, rest_s=0.001)
        pairs = _calls(CALLS, PACED)
        began = time.perf_counter()
        busy = await _said(log, pairs)
        said = time.perf_counter() - began
        await log.durable(pairs[-1][0].call_id)
        stored = time.perf_counter() - began
        strict = [await _strict(log, pair) for pair in _calls(50, PACED + CALLS)]
    sink.close()
    shutil.rmtree(spool, ignore_errors=True)
    return {
        "bytes_per_call": len(REQUEST) + len(RESPONSE),
        "at_1000_calls_a_second": quiet,
        "as_fast_as_it_goes": busy,
        "calls_per_s_said": round(CALLS / said),
        "rows_per_s_stored": round(CALLS / stored),
        "strict_audit_ms": _figures(strict, 1e3),
    }


def _calls(count: int, first: int) -> list[tuple[AttemptBegan, AttemptEnded]]:
    begun = [sample_began(first + nth, at=AT, request=REQUEST) for nth in range(count)]
    return [(began, sample_ended(began, response=RESPONSE)) for began in begun]


async def _said(
    log: SpoolCallLog, pairs: list[tuple[AttemptBegan, AttemptEnded]], rest_s: float = 0
) -> dict[str, Any]:
    begins, ends = list[float](), list[float]()
    for nth, (began, ended) in enumerate(pairs):
        first = time.perf_counter()
        log.began(began)
        second = time.perf_counter()
        log.ended(ended)
        ends.append(time.perf_counter() - second)
        begins.append(second - first)
        if rest_s or nth % 20 == 0:
            await asyncio.sleep(rest_s)
    return {"began_us": _figures(begins, 1e6), "ended_us": _figures(ends, 1e6)}


async def _strict(log: SpoolCallLog, pair: tuple[AttemptBegan, AttemptEnded]) -> float:
    first = time.perf_counter()
    log.began(pair[0])
    log.ended(pair[1])
    await log.durable(pair[0].call_id)
    return time.perf_counter() - first


# --- the limits -----------------------------------------------------------------------------------


async def _nothing_spent(_day: str, _under_way: bool) -> Mapping[str, Mapping[str, int]]:  # noqa: FBT001 - the port's
    return {}


def _claim(nth: int, *, bounded: bool) -> Claim:
    if not bounded:
        return sample_claim(nth, cost=100, budgets={"all": 10**15, "alias:main": 10**15})
    return sample_claim(
        nth,
        limit=RateLimit(10**7, 10**10, 10**5),
        tokens=500,
        cost=100,
        budgets=dict.fromkeys(("all", "alias:main", "endpoint:deepseek", "client:desk"), 10**15),
        client_rpm=("desk", 10**7),
    )


async def _limits(servers: Services) -> dict[str, Any]:
    limits = RedisLimits(servers.redis_url, "bench", _nothing_spent, now=lambda: AT)
    async with limits.running():
        told = {
            "alone_two_budgets_us": await _alone(limits, 0, bounded=False),
            "alone_every_bound_us": await _alone(limits, ALONE, bounded=True),
        }
        numbers = iter(range(2 * ALONE, 2 * ALONE + TOGETHER))
        waits: list[float] = []

        async def caller() -> None:
            waits.extend([await _claimed(limits, _claim(nth, bounded=True)) for nth in numbers])

        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(caller())
        elapsed = time.perf_counter() - began
        assert limits.is_shared
    return {
        **told,
        "claims_settled_per_s_at_64": round(TOGETHER / elapsed),
        "at_64_ms": _figures(waits, 1e3),
    }


async def _alone(limits: RedisLimits, first: int, *, bounded: bool) -> dict[str, Any]:
    claims = [_claim(first + nth, bounded=bounded) for nth in range(ALONE)]
    return _figures([await _claimed(limits, claim) for claim in claims], 1e6)


async def _claimed(limits: RedisLimits, claim: Claim) -> float:
    began = time.perf_counter()
    answer = await limits.claim(claim)
    elapsed = time.perf_counter() - began
    assert isinstance(answer, Granted), answer
    limits.settle(answer, 300, 50)
    return elapsed


# --- the history ----------------------------------------------------------------------------------


async def _history(servers: Services) -> dict[str, Any]:
    sink = PostgresCallRows(servers.database_url)
    for first in range(0, ROWS, 1_000):
        sink.write([_kept(1_000_000 + first + nth) for nth in range(1_000)])
    sink.close()
    history = PostgresCallHistory(servers.database_url)
    day, since, until = beijing_day(AT), AT - timedelta(hours=1), AT + timedelta(hours=1)
    queries: dict[str, Callable[[], Awaitable[object]]] = {
        "spent_of_day": lambda: history.spent_of(day, under_way=True),
        "endpoint_metrics": lambda: history.endpoint_metrics(since, until),
        "costs_by_alias": lambda: history.costs(since, until, CostBy.ALIAS),
        "first_page": lambda: history.page(CallFilter(), 50),
        "recorded_answer": lambda: history.recorded(f"{1_000_007:064x}"),
    }
    told = {f"{name}_ms": await _median(query) for name, query in queries.items()}
    await history.close()
    return {"rows_of_the_day": ROWS, **told}


def _kept(nth: int) -> KeptAttempt:
    began = sample_began(nth, at=AT + timedelta(microseconds=nth), decision_id=f"d-{nth // 50}")
    ended = sample_ended(began)
    return KeptAttempt(began.call_id, began.attempt, began.at, "bench", began, ended)


async def _median(query: Callable[[], Awaitable[object]]) -> float:
    elapsed: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        await query()
        elapsed.append(time.perf_counter() - began)
    return round(sorted(elapsed)[2] * 1e3, 2)


def _figures(elapsed: list[float], unit: float) -> dict[str, float]:
    ordered = sorted(elapsed)
    at = min(len(ordered) - 1, int(len(ordered) * 0.99))
    return {
        "p50": round(ordered[len(ordered) // 2] * unit, 2),
        "p99": round(ordered[at] * unit, 2),
        "max": round(ordered[-1] * unit, 2),
    }
