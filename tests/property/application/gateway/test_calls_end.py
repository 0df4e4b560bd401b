"""Whatever endpoints and callers do: everything begun ends once, in time, and by one model."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.gateway.calls import Call
from caopan.application.gateway.gateway import Streamed
from caopan.domain.gateway.endpoint import (
    BreakerSettings,
    Budget,
    Fallback,
    RateLimit,
    Retry,
    Timeouts,
)
from caopan.domain.gateway.outcome import FailureClass
from caopan.testing.gateway_doubles import Behaviour, answers, events, says, streams
from caopan.testing.gateway_rig import GatewayRig, a_route, a_snapshot, an_endpoint
from caopan.testing.sim_loop import simulate

NAMES = ("first", "second", "third")
MOST_ATTEMPTS = 3
TICK_S = 0.03
"""Our own rounding to milliseconds, and the time a connection is given to come to its end."""
TIMEOUTS = Timeouts(connect_ms=500, first_token_ms=3_000, idle_ms=2_000, total_ms=9_000)
JSON = {"response_format": {"type": "json_object"}}
FAILURES = (FailureClass.CONNECT, FailureClass.TLS, FailureClass.TIMEOUT, FailureClass.BROKEN)


def behaviours(name: str) -> st.SearchStrategy[Behaviour]:
    words = [f"{name} "] * 6
    whole = answers(f"{name} " * 6)
    stream = streams(events(words))
    plain = st.sampled_from(
        [
            whole,
            stream,
            streams([*events(words)[:4]]),
            streams([*events(words)[:4], b"data: {oops\n\n", *events(words)[4:]]),
            streams(events(words, usage=False)),
            answers(" "),
            says(500, {"error": {"message": "busy"}}),
            says(400, {"error": {"message": "bad"}}),
            says(401, {"error": {"message": "key"}}),
            says(429, {"error": {"message": "slow down"}}, {"retry-after": "2"}),
            says(429, {"error": {"message": "slow down"}}),
            Behaviour(200, {"content-type": "text/html"}, (b"<p>",)),
        ]
    )
    late = st.sampled_from([0, 0, 0, 100, 1_000, 2_500])
    place = st.integers(-1, 8)
    return st.one_of(
        st.builds(
            lambda one, first, pieces: replace(one, headers_after_ms=first, piece_after_ms=pieces),
            plain,
            late,
            late,
        ),
        st.builds(
            lambda one, at, how: replace(one, fails_at=at, fails=how),
            st.sampled_from([whole, stream]),
            place,
            st.sampled_from(FAILURES),
        ),
        st.builds(
            lambda one, at: replace(one, hangs_at=at), st.sampled_from([whole, stream]), place
        ),
    )


@st.composite
def worlds(draw):
    names = NAMES[: draw(st.integers(1, 3))]
    models = {name: draw(st.sampled_from(["model-a", "model-b"])) for name in names}
    fallback = draw(st.sampled_from(list(Fallback)))
    made = [
        an_endpoint(
            name,
            models[name],
            timeouts=TIMEOUTS,
            retry=Retry(MOST_ATTEMPTS, 200, 1_000),
            breaker=BreakerSettings(failures=draw(st.integers(1, 4)), open_ms=1_000),
            rate_limit=RateLimit(
                rpm=draw(st.sampled_from([None, 4])),
                concurrency=draw(st.sampled_from([None, 1])),
            ),
        )
        for name in names
    ]
    route = a_route(
        *names,
        fallback=fallback,
        budget=Budget(daily=draw(st.sampled_from([None, 10**7, 10**9]))),
        strict_audit=draw(st.booleans()),
    )
    scripts = {name: draw(st.lists(behaviours(name), min_size=1, max_size=4)) for name in names}
    return scripts, a_snapshot(*made, route=route), fallback, models


CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "stream": st.booleans(),
            "json": st.booleans(),
            "comes_ms": st.sampled_from([0, 0, 700, 2_000]),
            "deadline_ms": st.sampled_from([1, 500, 4_000, 15_000]),
            "leaves_ms": st.sampled_from([None, None, None, 0, 1, 900, 2_600]),
        }
    ),
    min_size=1,
    max_size=4,
)


async def one_call(made: GatewayRig, plan: dict) -> tuple[Call, bytes, float, object]:
    """Make a call, leave it if the plan says so; return (call, what came, seconds, status)."""
    await asyncio.sleep(plan["comes_ms"] / 1000)
    loop = asyncio.get_running_loop()
    body = {"max_tokens": 50, **(JSON if plan["json"] else {})}
    if plan["stream"]:
        body["stream"] = True
    call = made.call(headers={"x-deadline-ms": str(plan["deadline_ms"])}, **body)
    began, came, status = loop.time(), [], None

    async def ask():
        nonlocal status
        if not plan["stream"]:
            answer = await made.gateway.complete(call)
            status = answer.status
            came.append(answer.body)
            return
        async with made.gateway.stream(call) as found:
            if not isinstance(found, Streamed):
                status = found.status
                came.append(found.body)
                return
            status = 200
            async for chunk in found.chunks:
                came.append(chunk)  # noqa: PERF401 - what came before the caller left counts

    leaves = plan["leaves_ms"]
    try:
        async with asyncio.timeout(None if leaves is None else leaves / 1000):
            await ask()
    except TimeoutError:
        status = "left"
    return call, b"".join(came), loop.time() - began, status


async def run(world, plans, takes_ms):
    scripts, snapshot, fallback, models = world
    made = GatewayRig(scripts, snapshot, claim_takes_ms=takes_ms, durable_after_ms=takes_ms)
    found = await asyncio.gather(*(one_call(made, plan) for plan in plans))

    assert made.settled_all()
    endpoints = {(one.call_id, one.attempt): one.endpoint for one in made.log.begun}
    for (call, came, seconds, status), plan in zip(found, plans, strict=True):
        if status != "left":
            assert seconds <= plan["deadline_ms"] / 1000 + TICK_S
        asked = [endpoints[place] for place in sorted(endpoints) if place[0] == call.call_id]
        asked = [name for name in asked if name]
        assert len(asked) <= MOST_ATTEMPTS
        if fallback is Fallback.NONE:
            assert len(set(asked)) <= 1
        if fallback is Fallback.SAME_MODEL:
            assert len({models[name] for name in asked}) <= 1
        assert sum(came.count(name.encode()) > 0 for name in NAMES) <= 1 or b'"error"' in came
        check_answer(call, came, status, made)
    spent = [cost for _, _, cost in made.limits.settled]
    assert Counter(spent) == Counter(end.charged for end in made.log.ends if end.attempt)


def check_answer(call, came, status, made):
    """An answer is whole, or says that it is not."""
    mine = [end for end in made.log.ends if end.call_id == call.call_id]
    if status == 200 and call.stream:
        is_whole = came.endswith(b"data: [DONE]\n\n")
        assert is_whole != (b'data: {"error":' in came)
        assert came.count(b"[DONE]") <= 1
        said = b"".join(came.split(b'data: {"error":')[:1])
        assert sum(said.count(name.encode()) > 0 for name in NAMES) == 1
        if is_whole:
            assert mine[-1].outcome == "ok"
            assert any(came.count(f"{name} ".encode()) == 6 for name in NAMES)
    elif status == 200:
        content = orjson.loads(came)["choices"][0]["message"]["content"]
        assert content in {f"{name} " * 6 for name in NAMES}
        assert mine[-1].outcome == "ok"
    elif status != "left":
        assert orjson.loads(came)["error"]["message"]


@given(
    world=worlds(),
    plans=CALLS,
    takes_ms=st.sampled_from([0, 0, 300]),
    seed=st.integers(0, 3),
)
@settings(max_examples=150, deadline=None)
def test_everything_ends_once_in_time_and_by_one_model(world, plans, takes_ms, seed):
    simulate(run(world, plans, takes_ms), seed=seed)
