"""The way of a call: who is asked, what it may cost and how long it may take, what is recorded."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import orjson
import pytest

from caopan.application.ports.gateway import Path
from caopan.domain.gateway.breaker import Phase
from caopan.domain.gateway.endpoint import (
    CNY,
    BreakerSettings,
    Fallback,
    RateLimit,
    Retry,
)
from caopan.domain.gateway.usage import Tokens
from caopan.testing.gateway_doubles import Behaviour, answers, events, says, streams
from caopan.testing.gateway_rig import CLIENT, GatewayRig, a_route, a_snapshot, an_endpoint
from caopan.testing.sim_loop import simulate

BUSY = says(500, {"error": {"message": "busy"}})


def now() -> float:
    return asyncio.get_running_loop().time()


# --- who is asked ---------------------------------------------------------------------------------


def test_another_model_answers_only_where_the_route_says_so():
    async def program(fallback):
        pair = (an_endpoint("a", "model-a"), an_endpoint("b", "model-b"))
        route = a_route("a", "b", fallback=fallback)
        made = GatewayRig({"a": [BUSY], "b": [answers()]}, a_snapshot(*pair, route=route))
        return await made.complete(), made.log.rows()

    got, rows = simulate(program(Fallback.SAME_MODEL))
    assert got.status == 502
    assert {row[0] for row in rows} == {"a"}
    assert "stand in" in str(got.error["endpoints"])
    got, rows = simulate(program(Fallback.LISTED))
    assert got.headers["x-caopan-endpoint"] == "b"
    got, rows = simulate(program(Fallback.NONE))
    assert {row[0] for row in rows} == {"a"}


def test_where_every_breaker_is_open_nobody_waits_and_each_reason_is_told():
    async def program():
        touchy = BreakerSettings(failures=1, error_rate=0.1)
        made = GatewayRig(
            {"a": [BUSY], "b": [BUSY]},
            a_snapshot(an_endpoint("a", breaker=touchy), an_endpoint("b", breaker=touchy)),
        )
        await made.complete()
        since, sent = now(), len(made.upstream.sent)
        got = await made.complete()
        assert now() == since
        assert len(made.upstream.sent) == sent
        assert got.status == 503
        assert got.error["code"] == "CIRCUIT_BREAKER_OPEN"
        assert {one["endpoint"]: one["code"] for one in got.error["endpoints"]} == {
            "a": "CIRCUIT_BREAKER_OPEN",
            "b": "CIRCUIT_BREAKER_OPEN",
        }
        last = made.log.begun[-1]
        assert (last.attempt, last.endpoint, made.log.ends[-1].outcome) == (0, "", "refused")
        assert made.settled_all()

    simulate(program())


def test_an_endpoint_that_flaps_is_probed_and_comes_back():
    async def program():
        settings = BreakerSettings(failures=2, open_ms=1_000, max_open_ms=4_000, successes=2)
        only = an_endpoint("a", breaker=settings, retry=Retry(max_attempts=1))
        made = GatewayRig({"a": [BUSY, BUSY, BUSY, answers()]}, a_snapshot(only))
        for _ in range(3):
            await made.complete()
        phases = [made.board.phase("a")]
        for _ in range(4):
            await asyncio.sleep(2.1)
            await made.complete()
            phases.append(made.board.phase("a"))
        assert phases == [Phase.OPEN, Phase.OPEN, Phase.HALF_OPEN, Phase.CLOSED, Phase.CLOSED]
        reasons = [move.reason.value for move in made.board.standing("a").moves]
        assert reasons == ["in_a_row", "time_passed", "probe_failed", "time_passed", "recovered"]
        assert made.settled_all()

    simulate(program())


def test_a_probe_that_finds_no_room_is_given_back():
    async def program():
        settings = BreakerSettings(failures=1, error_rate=0.1, open_ms=1_000, successes=1)
        only = an_endpoint(
            "a", breaker=settings, retry=Retry(max_attempts=1), rate_limit=RateLimit(rpm=1)
        )
        made = GatewayRig({"a": [BUSY, answers()]}, a_snapshot(only), claim_takes_ms=10)
        await made.complete()
        await asyncio.sleep(2)
        got = await made.complete(made.call(headers={"x-deadline-ms": "500"}))
        assert got.error["code"] == "MODEL_RATE_LIMIT"
        await asyncio.sleep(60)
        leaves = asyncio.wait_for(made.complete(), 0.005)
        with pytest.raises(TimeoutError):
            await leaves
        await asyncio.sleep(2)
        assert (await made.complete()).status == 200
        assert made.board.phase("a") is Phase.CLOSED
        assert made.settled_all()

    simulate(program())


def test_a_long_stream_that_began_at_once_is_not_slow():
    async def program(headers_after_ms):
        touchy = BreakerSettings(failures=2, slow_call_ms=2_000)
        slow = replace(
            streams(events(["x"] * 30)), headers_after_ms=headers_after_ms, piece_after_ms=100
        )
        made = GatewayRig({"a": [slow]}, a_snapshot(an_endpoint("a", breaker=touchy)))
        for _ in range(2):
            await made.stream()
        return made.board.standing("a")

    assert simulate(program(0)).phase is Phase.CLOSED
    assert simulate(program(2_000)).reason == "slow_calls"


def test_an_endpoint_switched_off_by_hand_is_not_asked_again_even_by_a_call_under_way():
    async def program():
        made = GatewayRig({"a": [BUSY, answers()]})
        begun = made.snapshot

        async def switch_off():
            await asyncio.sleep(0.001)
            off = {"a": replace(begun.endpoints["a"], enabled=False)}
            made.snapshot = replace(begun, version=2, endpoints=off)

        slow = [replace(BUSY, headers_after_ms=5), answers()]
        made = GatewayRig({"a": slow}, begun)
        got, _ = await asyncio.gather(made.complete(), switch_off())
        assert got.status == 502
        assert len(made.upstream.sent) == 1
        assert [one.config_version for one in made.log.begun] == [1]

    simulate(program())


def test_a_call_keeps_the_configuration_it_began_with():
    async def program():
        made = GatewayRig({"a": [replace(streams(events(["x"] * 9)), piece_after_ms=100)]})
        begun = made.snapshot
        async with made.reading(made.call(stream=True)) as chunks:
            made.snapshot = a_snapshot(an_endpoint("b"), version=2)
            body = b"".join([chunk async for chunk in chunks])
        assert body.endswith(b"data: [DONE]\n\n")
        assert made.log.begun[0].config_version == begun.version
        assert made.settled_all()

    simulate(program())


def test_one_decisions_calls_stay_on_one_endpoint():
    async def program():
        pair = a_route("a", "b", sticky=True)
        even = replace(pair, targets=tuple(replace(one, priority=0) for one in pair.targets))
        made = GatewayRig(
            {"a": [answers()], "b": [answers()]},
            a_snapshot(an_endpoint("a"), an_endpoint("b"), route=even),
        )
        asked = dict[str, set[str]]()
        for number in range(60):
            decision = str(UUID(int=number % 6))
            got = await made.complete(made.call(headers={"x-caopan-decision": decision}))
            asked.setdefault(decision, set()).add(got.headers["x-caopan-endpoint"])
        assert {len(one) for one in asked.values()} == {1}
        assert len(set.union(*asked.values())) == 2

    simulate(program())


# --- who may ask ----------------------------------------------------------------------------------


def test_a_key_opens_only_its_own_aliases():
    async def program():
        made = GatewayRig({"a": [answers()]})
        other = replace(CLIENT, aliases=("checker",))
        got = await made.complete(made.call(client=other))
        assert (got.status, made.upstream.sent, made.log.begun) == (403, [], [])
        got = await made.stream(made.call(client=replace(CLIENT, aliases=("actor",)), stream=True))
        assert got.status == 200
        got = await made.complete(made.call(model="nobody"))
        assert (got.status, got.error["code"]) == (404, "model_not_found")

    simulate(program())


def test_a_keys_own_rate_is_refused_at_once_with_the_time_to_wait():
    async def program():
        made = GatewayRig({"a": [BUSY, answers()], "b": [answers()]})
        client = replace(CLIENT, rpm=2)
        found = [(await made.complete(made.call(client=client))).status for _ in range(3)]
        assert found == [200, 200, 429]
        got = await made.complete(made.call(client=client))
        assert got.error["code"] == "rate_limit_exceeded"
        assert 60 <= int(got.headers["retry-after"]) <= 61
        assert "x-should-retry" not in got.headers
        assert now() == 0
        assert made.settled_all()

    simulate(program())


# --- time, leaving, the record --------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after_ms", [1, 250, 1_250])
def test_a_caller_who_leaves_takes_the_call_along(stream, after_ms):
    async def program():
        pieces = events(["word "] * 50)
        slow = replace(streams(pieces), headers_after_ms=200, piece_after_ms=100)
        if not stream:
            slow = replace(answers(), headers_after_ms=5_000)
        made = GatewayRig({"a": [slow], "b": [answers()]})

        async def ask():
            await (made.stream() if stream else made.complete())

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ask(), after_ms / 1000)
        assert made.upstream.open == 0
        assert made.log.rows() == [("a", "canceled", None)]
        end = made.log.ends[0]
        assert end.tokens.estimated
        (prompt, completion), cost = made.tokens()[0], made.costs()[0]
        assert prompt > 0
        assert made.limits.settled[0][2] == cost > 0
        assert (completion > 0) is (stream and after_ms == 1_250)
        assert made.board.phase("a") is Phase.CLOSED
        assert made.settled_all()

    simulate(program())


def test_a_caller_who_stops_reading_takes_the_call_along():
    async def program():
        made = GatewayRig({"a": [streams(events(["word "] * 50))]})
        async with made.reading(made.call(stream=True)) as chunks:
            await anext(chunks)
        assert made.log.rows() == [("a", "canceled", None)]
        assert made.settled_all()

    simulate(program())


def test_a_caller_who_hangs_up_on_reading_the_end_has_had_the_answer():
    async def program():
        made = GatewayRig({"a": [streams(events(["word"]))]})
        async with made.reading(made.call(stream=True)) as chunks:
            async for chunk in chunks:
                if chunk.endswith(b"[DONE]\n\n"):
                    break
        assert made.log.rows() == [("a", "ok", None)]
        assert made.settled_all()

    simulate(program())


def test_a_reader_too_slow_for_its_deadline_gets_no_end():
    async def program():
        made = GatewayRig({"a": [streams(events(["word"] * 9))]})
        call, body = made.call(stream=True, headers={"x-deadline-ms": "5000"}), b""
        async with made.reading(call) as chunks:
            async for chunk in chunks:
                body += chunk
                await asyncio.sleep(2)
        assert b"[DONE]" not in body
        assert orjson.loads(body.split(b"data: ")[-1])["error"]["code"] == "MODEL_TIMEOUT"
        assert made.log.rows() == [("a", "truncated", "MODEL_TIMEOUT")]

    simulate(program())


def test_the_deadline_ends_a_call_wherever_it_is():
    async def program(behaviour, claim_takes_ms=0):
        made = GatewayRig({"a": [behaviour]}, claim_takes_ms=claim_takes_ms)
        got = await made.complete(made.call(headers={"x-deadline-ms": "2000"}))
        assert made.settled_all()
        return got.status, got.error["code"], now(), made.log.rows()

    hangs = Behaviour(hangs_at=-1)
    assert simulate(program(hangs)) == (
        504,
        "MODEL_TIMEOUT",
        2.0,
        [("a", "failed", "MODEL_TIMEOUT")],
    )
    status, code, took, rows = simulate(program(answers(), claim_takes_ms=9_000))
    assert (status, code, took) == (504, "MODEL_TIMEOUT", 2.0)
    assert rows == [("", "refused", "MODEL_TIMEOUT")]


def test_a_hasty_caller_shuts_no_endpoint_off_and_one_that_never_answers_is():
    async def program(deadline_ms, slow_call_ms):
        touchy = BreakerSettings(failures=2, slow_call_ms=slow_call_ms)
        one = an_endpoint("a", breaker=touchy)
        made = GatewayRig({"a": [Behaviour(hangs_at=-1)]}, a_snapshot(one))
        headers = {"x-deadline-ms": str(deadline_ms)}
        for _ in range(3):
            await made.complete(made.call(headers=headers))
        async with made.gateway.stream(made.call(headers=headers, stream=True)):
            pass
        return made.board.phase("a"), [row[2] for row in made.log.rows()]

    phase, codes = simulate(program(40, 5_000))
    assert (phase, codes) == (Phase.CLOSED, ["MODEL_TIMEOUT"] * 4)
    phase, _ = simulate(program(9_000, 5_000))
    assert phase is Phase.OPEN


def test_no_attempt_is_begun_that_the_deadline_would_cut_off():
    async def program():
        slow = replace(answers(), headers_after_ms=3_000)
        made = GatewayRig({"a": [BUSY], "b": [slow]})
        for _ in range(3):
            await made.complete()
        sent = len(made.upstream.sent)
        got = await made.complete(made.call(headers={"x-deadline-ms": "2000"}))
        assert got.status == 502
        assert len(made.upstream.sent) == sent + 1

    simulate(program())


def test_an_answer_waits_for_its_record_where_the_route_is_strict():
    async def program(is_cut_off, stream):
        route = a_route("a", strict_audit=True)
        script = [streams(events(["x"])) if stream else answers()]
        made = GatewayRig(
            {"a": script}, a_snapshot(an_endpoint("a"), route=route), durable_after_ms=70
        )
        made.log.is_cut_off = is_cut_off
        got = await (made.stream() if stream else made.complete())
        assert now() >= 0.07
        assert [row[1] for row in made.log.rows()] == ["ok"]
        assert made.settled_all()
        return got

    assert simulate(program(is_cut_off=False, stream=False)).status == 200
    got = simulate(program(is_cut_off=True, stream=False))
    assert (got.status, got.error["code"]) == (503, "AUDIT_UNAVAILABLE")
    assert simulate(program(is_cut_off=False, stream=True)).events[-1] == "[DONE]"
    last = simulate(program(is_cut_off=True, stream=True)).events[-1]
    assert last["error"]["code"] == "AUDIT_UNAVAILABLE"


def test_what_cannot_be_recorded_is_not_sent():
    async def program():
        made = GatewayRig({"a": [answers()]})
        made.log.is_full = True
        got = await made.complete()
        assert (got.status, got.error["code"]) == (503, "AUDIT_UNAVAILABLE")
        assert made.upstream.sent == []
        assert made.settled_all()

    simulate(program())


def test_a_row_tells_the_whole_call():
    async def program():
        made = GatewayRig({"a": [replace(answers(), headers_after_ms=40)]})
        headers = {
            "x-caopan-decision": "decision-7",
            "x-caopan-trace": "trace-7",
            "x-caopan-role": "checker",
            "x-caopan-prompt-version": "actor-1.0.0",
        }
        call = made.call(headers=headers)
        got = await made.complete(call)
        began, end = made.log.begun[0], made.log.ends[0]
        assert got.headers["x-caopan-call"] == str(call.call_id)
        assert (began.decision_id, began.trace_id, began.role) == (
            "decision-7",
            "trace-7",
            "checker",
        )
        assert (began.client, began.alias, began.endpoint) == ("client-1", "actor", "a")
        assert (began.model_asked, end.model_served) == ("model-a", "model-served")
        assert len(began.prompt_hash) == 64
        assert orjson.loads(began.request)["model"] == "model-a"
        assert end.response == got.body
        assert (end.latency_ms, end.overhead_ms) == (40, 0)
        assert (end.cost, end.charged) == (36_000, 36_000)
        assert end.price_version

    simulate(program())


def test_only_our_own_time_is_overhead():
    async def program():
        slow = [replace(BUSY, headers_after_ms=700), replace(answers(), headers_after_ms=300)]
        made = GatewayRig({"a": slow}, claim_takes_ms=20)
        got = await made.complete()
        assert float(got.headers["x-gw-overhead-ms"]) == pytest.approx(40)
        assert [end.overhead_ms for end in made.log.ends] == [pytest.approx(20)] * 2

    simulate(program())


def test_embeddings_take_the_same_way():
    async def program():
        body = {
            "object": "list",
            "data": [{"embedding": [0.1]}],
            "usage": {"prompt_tokens": 500_000},
        }
        made = GatewayRig({"a": [BUSY, says(200, body)], "b": [says(200, body)]})
        got = await made.complete(made.call(path=Path.EMBEDDINGS))
        assert got.json == body
        assert got.headers["x-caopan-endpoint"] == "b"
        assert made.upstream.sent[-1].path is Path.EMBEDDINGS
        assert made.log.ends[-1].tokens == Tokens(500_000, 0)
        assert made.log.ends[-1].cost == CNY
        assert made.settled_all()

    simulate(program())
