"""Each fault of a vendor, end to end: what the caller gets, the breaker that follows, the row."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from caopan.adapters.postgres.connection import conninfo
from caopan.testing.gateway_process import RunningGateway, running_gateway
from caopan.testing.vendors.certificates import self_signed
from caopan.testing.vendors.misbehaving import Misbehaving, closed_port

WITHIN_S = 20
TIMEOUTS = {"connect_ms": 1_000, "first_token_ms": 400, "idle_ms": 400, "total_ms": 3_000}
CASES = {
    # fault: (as a stream, status, code, breaker, outcome)
    "ok": (False, 200, None, "closed", "ok"),
    "hang": (False, 504, "MODEL_TIMEOUT", "open", "failed"),
    "late_token:5000": (True, 504, "MODEL_TIMEOUT", "open", "failed"),
    "cut:5": (True, 200, "MODEL_UNAVAILABLE", "open", "truncated"),
    "stall:5": (True, 200, "MODEL_TIMEOUT", "open", "truncated"),
    "malformed:5": (True, 200, "MODEL_UNAVAILABLE", "open", "truncated"),
    "error_event:5": (True, 200, "MODEL_UNAVAILABLE", "open", "truncated"),
    "no_done:5": (True, 200, "MODEL_UNAVAILABLE", "open", "truncated"),
    "ok_error": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "wrong_type": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "nothing": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "truncated": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "blank": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "close": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "no_http": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "redirect:http://169.254.169.254/": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "gzip": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "500": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "401": (False, 502, "MODEL_AUTH", "open", "failed"),
    "402": (False, 502, "MODEL_BALANCE", "open", "failed"),
    "400": (False, 400, "MODEL_BAD_REQUEST", "closed", "failed"),
    "429:30": (False, 429, "MODEL_RATE_LIMIT", "closed", "failed"),
    "refused": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
    "tls": (False, 502, "MODEL_UNAVAILABLE", "open", "failed"),
}


def endpoint(fault: str, url: str, untrusted: str = "") -> dict[str, Any]:
    where = {"refused": f"http://127.0.0.1:{closed_port()}/v1", "tls": untrusted}
    return {
        "alias": alias(fault),
        "name": alias(fault),
        "provider": "openai_compatible",
        "model": fault,
        "endpoint_url": where.get(fault, url),
        "auth_type": "none",
        "private_address": True,
        "timeouts": TIMEOUTS,
        "retry": {"max_attempts": 1},
        "circuit_breaker": {"failures": 1, "open_ms": 60_000},
    }


def alias(fault: str) -> str:
    return fault.partition(":")[0]


def rows(url: str, wanted: str) -> list[tuple]:
    query = (
        "SELECT outcome, error_code, ended_at IS NOT NULL FROM llm_call"
        " WHERE alias = %s ORDER BY began_at, attempt"
    )
    with psycopg.connect(conninfo(url)) as link:
        return link.execute(query, [wanted]).fetchall()


def eventually(check) -> Any:
    ends = time.monotonic() + WITHIN_S
    while not (found := check()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def gateway(database_url, services, tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    with (
        Misbehaving().in_thread() as url,
        Misbehaving().in_thread(tls=self_signed(folder).server) as untrusted,
        running_gateway(
            folder / "home",
            database_url=database_url,
            redis_url=services.redis_url,
            document={"endpoints": [endpoint(fault, url, untrusted) for fault in CASES]},
        ) as one,
    ):
        yield one


def state(gateway: RunningGateway, name: str) -> str:
    _, told, _ = gateway.ask("/api/config/models/metrics")
    return next(part["state"] for part in told["endpoints"] if part["endpoint"] == name)


@pytest.mark.parametrize("fault", CASES)
def test_a_fault_is_told_counted_and_recorded(gateway, database_url, fault):
    stream, status, code, breaker, outcome = CASES[fault]
    # The database is shared with other tests, which may have asked for the same name.
    before = len(rows(database_url, alias(fault)))
    told, body, headers = gateway.chat(alias(fault), {"stream": stream})
    assert told == status, body
    recorded = code
    if outcome == "truncated":
        assert b'data: {"error"' in body
        assert b"[DONE]" not in body
    elif outcome == "ok":
        assert body["choices"][0]["finish_reason"] == "stop"
    elif status == 400:
        assert body["error"]["type"] == "invalid_request_error"
    else:
        assert body["error"]["code"] == code
        assert ("retry-after" in headers) == (status == 429)
    assert state(gateway, alias(fault)) == breaker

    def made() -> list[tuple]:
        return rows(database_url, alias(fault))[before:]

    eventually(lambda: all(row[2] for row in made() or [(0, 0, 0)]))
    assert made() == [(outcome, recorded, True)]


async def statuses(gateway: RunningGateway, calls: int = 20) -> set[int]:
    """Make some calls beside each other and return how they were answered."""
    asked = (asyncio.to_thread(gateway.chat, "ok") for _ in range(calls))
    return {status for status, _, _ in await asyncio.gather(*asked)}


async def in_time(check) -> None:
    """Wait beside the event loop, in which the lines run."""
    await asyncio.to_thread(eventually, check)


async def start(stack, tmp_path, **servers: Any) -> RunningGateway:
    url = stack.enter_context(Misbehaving().in_thread())
    document = {"endpoints": [endpoint("ok", url)], "budget": {"daily_cny": "1000"}}
    document["endpoints"][0]["prices"] = [{"input_mtok": "1", "output_mtok": "1"}]
    process = running_gateway(tmp_path / "home", document=document, **servers)
    # The lines run in this loop, so the process is waited for beside it.
    return await asyncio.to_thread(stack.enter_context, process)


def down(gateway: RunningGateway) -> set[str]:
    """Return what the gateway says is down; it is ready all the same."""
    status, told, _ = gateway.ask("/readyz")
    assert status == 200
    return {part["name"] for part in told["dependencies"] if part["status"] == "down"}


async def test_without_its_database_calls_go_on_and_nothing_of_them_is_lost(
    clean_database, redis_url, line, tmp_path
):
    cable = await line(clean_database)
    with ExitStack() as stack:
        one = await start(stack, tmp_path, database_url=cable.url, redis_url=redis_url)
        assert await statuses(one) == {200}
        await cable.cut()
        for _ in range(3):
            assert await statuses(one) == {200}
        await in_time(lambda: {"database", "audit"} <= down(one))
        await cable.mend()
        await in_time(lambda: len(rows(clean_database, "ok")) == 80)
        await in_time(lambda: down(one) == set())
    assert set(rows(clean_database, "ok")) == {("ok", None, True)}


async def test_without_valkey_calls_go_on_and_it_is_said(clean_database, redis_url, line, tmp_path):
    cable = await line(redis_url)
    with ExitStack() as stack:
        one = await start(stack, tmp_path, database_url=clean_database, redis_url=cable.url)
        assert await statuses(one) == {200}
        await cable.cut()
        assert await statuses(one) == {200}
        await in_time(lambda: down(one) == {"limits"})
        await cable.mend()
        await in_time(lambda: down(one) == set())
        assert await statuses(one) == {200}
        await in_time(lambda: len(rows(clean_database, "ok")) == 60)
