"""Every fault of an endpoint: what the caller got, which rows exist, what its breaker did."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest

from caopan.domain.gateway.breaker import Phase
from caopan.domain.gateway.endpoint import BreakerSettings, Retry, Timeouts
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.token_estimate import estimate_tokens
from caopan.testing.gateway_doubles import (
    DONE,
    USAGE,
    Behaviour,
    answers,
    completion,
    event,
    events,
    says,
    streams,
)
from caopan.testing.gateway_rig import GatewayRig, a_snapshot, an_endpoint
from caopan.testing.sim_loop import simulate

WORDS = [f" w{number}" for number in range(60)]
SHORT = Timeouts(connect_ms=1_000, first_token_ms=10_000, idle_ms=8_000, total_ms=60_000)
TOUCHY = BreakerSettings(failures=1, error_rate=0.1)
HTML = Behaviour(headers={"content-type": "text/html"}, pieces=(b"<html>busy</html>",))


def error(message: str = "no", **fields: object) -> dict[str, object]:
    return {"error": {"message": message, "type": None, "param": None, "code": None, **fields}}


@dataclass(frozen=True)
class Fault:
    """One fault of the first of two endpoints of one model; the second is well."""

    behaviour: Behaviour
    code: str
    """In the row of the first attempt."""
    phase: Phase = Phase.OPEN
    """Of a breaker that opens at the first failure that counts."""


WHOLE = {
    "refused connection": Fault(Behaviour(fails=FailureClass.CONNECT), "MODEL_UNAVAILABLE"),
    "TLS": Fault(Behaviour(fails=FailureClass.TLS), "MODEL_UNAVAILABLE"),
    "hangs before headers": Fault(Behaviour(hangs_at=-1), "MODEL_TIMEOUT"),
    "body stalls": Fault(
        replace(answers(), pieces=(b'{"choices": [', b"]}"), hangs_at=1), "MODEL_TIMEOUT"
    ),
    "body breaks off": Fault(
        replace(answers(), pieces=(b'{"choices": [',), fails=FailureClass.BROKEN, fails_at=1),
        "MODEL_UNAVAILABLE",
    ),
    "truncated JSON": Fault(Behaviour(pieces=(b'{"choices": [{"mess',)), "MODEL_UNAVAILABLE"),
    "wrong content type": Fault(HTML, "MODEL_UNAVAILABLE"),
    "200 with an error": Fault(says(200, error("overloaded")), "MODEL_UNAVAILABLE"),
    "no choices": Fault(answers(choices=[]), "MODEL_UNAVAILABLE"),
    "blank": Fault(answers(""), "MODEL_UNAVAILABLE"),
    "only spaces": Fault(answers("  \n "), "MODEL_UNAVAILABLE"),
    "500": Fault(says(500, error()), "MODEL_UNAVAILABLE"),
    "503 without JSON": Fault(Behaviour(503, {}, (b"Service Unavailable",)), "MODEL_UNAVAILABLE"),
    "redirect": Fault(Behaviour(302, {"location": "/x"}), "MODEL_UNAVAILABLE"),
    "429 with Retry-After": Fault(
        says(429, error(), {"retry-after": "20"}), "MODEL_RATE_LIMIT", Phase.CLOSED
    ),
    "429 without": Fault(says(429, error()), "MODEL_RATE_LIMIT", Phase.CLOSED),
    "401": Fault(says(401, error()), "MODEL_AUTH"),
    "402": Fault(says(402, error()), "MODEL_BALANCE"),
    "quota used up": Fault(says(429, error(code="insufficient_quota")), "MODEL_BALANCE"),
}
BEGUN = events(WORDS)
STREAMED = {
    "refused connection": WHOLE["refused connection"],
    "hangs before headers": WHOLE["hangs before headers"],
    "slow first token": Fault(replace(streams(BEGUN), hangs_at=1), "MODEL_TIMEOUT"),
    "keep-alives and no token": Fault(
        replace(streams([b": keep-alive\n\n"] * 99), piece_after_ms=500), "MODEL_TIMEOUT"
    ),
    "error event first": Fault(
        streams([b'data: {"error":{"message":"x"}}\n\n']), "MODEL_UNAVAILABLE"
    ),
    "named error event first": Fault(
        streams([b'event: error\ndata: {"message":"x","code":"Busy"}\n\n']), "MODEL_UNAVAILABLE"
    ),
    "malformed event first": Fault(streams([b"data: {oops\n\n"]), "MODEL_UNAVAILABLE"),
    "blank": Fault(streams(events(["  ", "\n"])), "MODEL_UNAVAILABLE"),
    "only [DONE]": Fault(streams([DONE]), "MODEL_UNAVAILABLE"),
    "nothing": Fault(streams([]), "MODEL_UNAVAILABLE"),
    "ends before a word": Fault(streams(BEGUN[:1]), "MODEL_UNAVAILABLE"),
    "200 with an error": WHOLE["200 with an error"],
    "wrong content type": WHOLE["wrong content type"],
    "500": WHOLE["500"],
    "401": WHOLE["401"],
    "429 with Retry-After": WHOLE["429 with Retry-After"],
}


def rig(fault: Behaviour, good: Behaviour) -> GatewayRig:
    first = an_endpoint("first", timeouts=SHORT, breaker=TOUCHY)
    return GatewayRig(
        {"first": [fault], "second": [good]}, a_snapshot(first, an_endpoint("second"))
    )


def ends(made: GatewayRig, fault: Fault) -> None:
    assert made.log.rows() == [("first", "failed", fault.code), ("second", "ok", None)]
    assert made.board.phase("first") is fault.phase
    assert made.board.phase("second") is Phase.CLOSED
    assert made.settled_all()


@pytest.mark.parametrize("name", WHOLE)
def test_whole_answers_fall_back(name):
    async def program():
        made = rig(WHOLE[name].behaviour, answers("from second"))
        got = await made.complete()
        assert got.status == 200
        assert got.headers["x-caopan-endpoint"] == "second"
        assert got.json["choices"][0]["message"]["content"] == "from second"
        ends(made, WHOLE[name])

    simulate(program())


@pytest.mark.parametrize("name", STREAMED)
def test_streams_fall_back_until_they_have_begun(name):
    async def program():
        made = rig(STREAMED[name].behaviour, streams(events(["from", " second"])))
        got = await made.stream()
        assert got.status == 200
        assert got.headers["x-caopan-endpoint"] == "second"
        assert said(got.events) == "from second"
        assert got.events[-1] == "[DONE]"
        ends(made, STREAMED[name])

    simulate(program())


def said(found: list) -> str:
    return "".join(
        choice["delta"].get("content") or ""
        for one in found
        if isinstance(one, dict)
        for choice in one.get("choices", ())
    )


AFTER_BEGINNING = {
    "cut after 40 tokens": (streams(BEGUN[:41]), "MODEL_UNAVAILABLE"),
    "connection breaks": (
        replace(streams(BEGUN), fails=FailureClass.BROKEN, fails_at=30),
        "MODEL_UNAVAILABLE",
    ),
    "stalls": (replace(streams(BEGUN), hangs_at=30), "MODEL_TIMEOUT"),
    "drips on and on": (replace(streams(BEGUN), piece_after_ms=3_000), "MODEL_TIMEOUT"),
    "error event": (
        streams([*BEGUN[:20], b'data: {"error":{"message":"x"}}\n\n', *BEGUN[20:]]),
        "MODEL_UNAVAILABLE",
    ),
    "malformed event": (
        streams([*BEGUN[:20], b'data: {"choices":[{"del\n\n', *BEGUN[20:]]),
        "MODEL_UNAVAILABLE",
    ),
    "half an event, then the end": (
        streams([*BEGUN[:20], BEGUN[20][:30]]),
        "MODEL_UNAVAILABLE",
    ),
}


@pytest.mark.parametrize("name", AFTER_BEGINNING)
def test_a_stream_that_breaks_midway_says_so_and_nobody_goes_on_with_it(name):
    behaviour, code = AFTER_BEGINNING[name]

    async def program():
        made = rig(behaviour, streams(events(["from second"])))
        got = await made.stream(made.call(stream=True, headers={"x-deadline-ms": "70000"}))
        whole = "".join(WORDS)
        *before, last = got.events
        assert got.status == 200
        assert last["error"]["code"] == code
        assert "[DONE]" not in got.events
        assert said(before) == whole[: len(said(before))] != ""
        assert made.log.rows() == [("first", "truncated", code)]
        assert made.log.ends[0].tokens.estimated
        assert made.tokens()[0][1] > 0
        assert made.board.phase("first") is Phase.OPEN
        assert made.settled_all()

    simulate(program())


WELL = {
    "usage last": streams(BEGUN),
    "usage early": streams([event({"content": "x"}, usage=USAGE), *BEGUN[1:-2], DONE]),
    "usage twice": streams([*BEGUN[:-2], event(None, usage={"prompt_tokens": 1}), *BEGUN[-2:]]),
    "usage null in every event": streams(
        [piece.replace(b"}\n\n", b',"usage":null}\n\n') for piece in BEGUN[:-2]] + [*BEGUN[-2:]]
    ),
    "two [DONE]": streams([*BEGUN, DONE]),
    "no [DONE] but every choice ended": streams(BEGUN[:-1]),
    "[DONE] without its last line": streams([*BEGUN[:-1], b"data: [DONE]"]),
    "in one piece": streams([b"".join(BEGUN)]),
    "byte by byte": streams([bytes([byte]) for byte in b"".join(BEGUN)]),
    "no reason why it ended, and [DONE] without its last line": streams(
        [*BEGUN[:-3], BEGUN[-2], b"data: [DONE]"]
    ),
    "lines end in CRLF": streams([b"".join(BEGUN).replace(b"\n", b"\r\n")]),
    "no space after data:": streams([b"".join(BEGUN).replace(b"data: ", b"data:")]),
    "keep-alives": streams([b": ping\n\n", *BEGUN[:9], b": ping\n\n", *BEGUN[9:]]),
}


@pytest.mark.parametrize("name", WELL)
def test_streams_that_are_only_unusual_are_well(name):
    async def program():
        made = rig(WELL[name], streams(events(["from second"])))
        got = await made.stream()
        assert said([one for one in got.events if isinstance(one, dict)]) in (
            "".join(WORDS),
            "x" + "".join(WORDS),
        )
        assert [one for one in got.events if one == "[DONE]"] == ["[DONE]"]
        assert got.events[-1] == "[DONE]"
        assert made.log.rows() == [("first", "ok", None)]
        assert (made.log.ends[0].tokens.prompt, made.log.ends[0].tokens.completion) == (100, 20)
        assert not made.log.ends[0].tokens.estimated
        assert made.upstream.read_whole == 1
        assert made.settled_all()

    simulate(program())


def test_without_usage_the_tokens_are_estimated_and_say_so():
    async def program():
        made = rig(streams(events(WORDS, usage=False)), answers())
        await made.stream()
        tokens = made.log.ends[0].tokens
        assert tokens.estimated
        assert tokens.completion == estimate_tokens("".join(WORDS).encode())
        assert made.limits.settled[0][2] == made.costs()[0] > 0

    simulate(program())


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (says(400, error("temperature is 3", param="temperature")), 400, None),
        (says(404, error("no such model")), 400, None),
        (says(422, error("tools[0]")), 400, None),
        (
            says(400, error("too long", code="context_length_exceeded")),
            400,
            "context_length_exceeded",
        ),
        (says(400, error("no", code="content_filter")), 400, "content_filter"),
    ],
)
def test_what_the_caller_did_wrong_goes_back_and_is_not_tried_again(behaviour, status, code):
    async def program(stream):
        made = rig(behaviour, answers())
        got = await (made.stream() if stream else made.complete())
        assert got.status == status
        assert got.error["code"] == code
        assert got.error["type"] == "invalid_request_error"
        assert got.headers["x-should-retry"] == "false"
        assert [row[:2] for row in made.log.rows()] == [("first", "failed")]
        assert made.log.ends[0].cost == 0
        assert made.board.phase("first") is Phase.CLOSED
        assert made.settled_all()

    simulate(program(stream=False))
    simulate(program(stream=True))


def test_an_answer_cut_by_its_bound_of_tokens_is_an_answer():
    cut = completion("")
    cut["choices"][0]["finish_reason"] = "length"

    async def program():
        made = rig(answers(**cut), answers())
        got = await made.complete()
        assert got.headers["x-caopan-endpoint"] == "first"
        assert made.log.ends[0].quality == "blank"

    simulate(program())


def test_json_that_does_not_parse_is_counted_and_is_no_fault_of_the_endpoint():
    async def program():
        made = rig(answers('{"a": '), answers())
        got = await made.complete(response_format={"type": "json_object"}, stream=False)
        assert got.json["choices"][0]["message"]["content"] == '{"a": '
        assert made.log.ends[0].quality == "invalid_json"
        assert made.board.phase("first") is Phase.CLOSED

    simulate(program())


def test_one_endpoint_alone_is_asked_again_after_a_rest():
    async def program():
        only = an_endpoint("only", retry=Retry(max_attempts=3, base_ms=1_000, cap_ms=4_000))
        made = GatewayRig(
            {"only": [says(500, error()), says(500, error()), answers()]}, a_snapshot(only)
        )
        got = await made.complete()
        assert got.status == 200
        assert [row[1] for row in made.log.rows()] == ["failed", "failed", "ok"]
        assert 0 < asyncio.get_running_loop().time() <= 3

    simulate(program(), seed=3)


def test_retry_after_is_honoured_where_it_fits_and_told_where_it_does_not():
    async def program(deadline_ms):
        script = [says(429, error(), {"retry-after": "7"}), answers()]
        made = GatewayRig({"only": script})
        got = await made.complete(made.call(headers={"x-deadline-ms": str(deadline_ms)}))
        return got, asyncio.get_running_loop().time(), made.log.rows()

    got, took, rows = simulate(program(60_000))
    assert got.status == 200
    assert 7 <= took < 8
    assert [row[1] for row in rows] == ["failed", "ok"]
    got, took, rows = simulate(program(5_000))
    assert got.status == 429
    assert got.headers["retry-after"] == "7"
    assert took < 0.1
    assert len(rows) == 1


def test_a_busy_endpoint_that_says_when_is_left_alone_until_then():
    async def program():
        script = [says(503, error(), {"retry-after": "7"}), answers()]
        made = GatewayRig({"only": script})
        got = await made.complete()
        assert got.status == 200
        assert 7 <= asyncio.get_running_loop().time() < 8

    simulate(program())


def test_rate_limits_without_a_time_double_the_rest_until_a_call_goes_well():
    async def program():
        limited, slow = says(429, error()), []
        made = GatewayRig({"only": [limited, limited, answers(), limited, answers()]})
        for _ in range(2):
            began = asyncio.get_running_loop().time()
            await made.complete()
            slow.append(asyncio.get_running_loop().time() - began)
        assert 2 < slow[0] < 4
        assert 0.5 < slow[1] < 2

    simulate(program())


def test_a_status_beyond_http_is_a_failure_and_no_status_in_the_row():
    async def program():
        made = GatewayRig({"a": [Behaviour(999)], "b": [answers()]})
        assert (await made.complete()).status == 200
        assert [end.status for end in made.log.ends] == [None, 200]

    simulate(program())


def test_attempts_are_bounded_over_all_endpoints():
    async def program():
        made = GatewayRig({name: [says(500, error())] for name in "abcde"})
        got = await made.complete()
        assert got.status == 502
        assert [row[0] for row in made.log.rows()] == ["a", "b", "c"]
        assert {one["endpoint"] for one in got.error["endpoints"]} == set("abcde")

    simulate(program())
