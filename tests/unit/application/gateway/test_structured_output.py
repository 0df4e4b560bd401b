"""Structured output and whole answers by way of a stream: what is sent, and what comes back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import orjson
import pytest

from caopan.domain.gateway.endpoint import (
    StructuredOutput,
    Timeouts,
)
from caopan.testing.gateway_doubles import Behaviour, answers, event, events, streams
from caopan.testing.gateway_rig import GatewayRig, a_route, a_snapshot, an_endpoint
from caopan.testing.sim_loop import simulate

SCHEMA = {"type": "object", "properties": {"side": {"type": "string"}}}
WANTS_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "decision", "schema": SCHEMA, "strict": True},
}


def now() -> float:
    return asyncio.get_running_loop().time()


def by_tool(arguments: str) -> dict[str, object]:
    function = {"name": "decision", "arguments": arguments}
    return {"index": 0, "id": "call-1", "type": "function", "function": function}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_by_tool_comes_back_as_content(stream, streamed):
    async def program():
        tool = an_endpoint("a", structured=StructuredOutput.TOOL)
        parts = ['{"si', 'de": ', '"buy"}']
        deltas = [event({"role": "assistant", "tool_calls": [by_tool("")]})]
        deltas += [event({"tool_calls": [by_tool(part)]}) for part in parts]
        deltas += [event({}, finish_reason="tool_calls"), b"data: [DONE]\n\n"]
        message = {"role": "assistant", "content": None, "tool_calls": [by_tool("".join(parts))]}
        whole = answers(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}])
        made = GatewayRig({"a": [streams(deltas) if streamed else whole]}, a_snapshot(tool))
        asked = {"response_format": WANTS_SCHEMA}
        if stream:
            got = await made.stream(**asked)
            choices = [choice for one in got.events[:-1] for choice in one["choices"]]
            text = "".join(choice["delta"].get("content") or "" for choice in choices)
            assert not any("tool_calls" in choice["delta"] for choice in choices)
            reason = choices[-1]["finish_reason"]
        else:
            got = await made.complete(**asked)
            choice = got.json["choices"][0]
            text, reason = choice["message"]["content"], choice["finish_reason"]
            assert "tool_calls" not in choice["message"]
        assert (text, reason) == ('{"side": "buy"}', "stop")
        sent = orjson.loads(made.upstream.sent[0].body)
        assert sent["tool_choice"]["function"]["name"] == "decision"
        assert sent["tools"][0]["function"]["parameters"] == SCHEMA
        assert "json_schema->tool" in made.log.begun[0].adapted
        assert made.log.ends[0].quality is None
        assert made.settled_all()

    simulate(program())


def test_json_is_fetched_as_a_stream_and_handed_on_whole():
    async def program():
        pieces = events(['{"a"', ": 1}"])
        broken = replace(streams(pieces), hangs_at=2)
        endpoint = an_endpoint("a", timeouts=Timeouts(idle_ms=1_000))
        made = GatewayRig(
            {"a": [broken], "b": [streams(pieces)]}, a_snapshot(endpoint, an_endpoint("b"))
        )
        got = await made.complete(response_format={"type": "json_object"})
        assert got.headers["content-type"] == "application/json"
        assert got.json["object"] == "chat.completion"
        assert got.json["choices"][0]["message"]["content"] == '{"a": 1}'
        assert got.json["usage"]["completion_tokens"] == 20
        assert made.log.rows() == [("a", "failed", "MODEL_TIMEOUT"), ("b", "ok", None)]
        assert now() < 1.1
        assert orjson.loads(made.upstream.sent[0].body)["stream"] is True
        assert made.log.begun[0].adapted == ("+stream", "+stream_options.include_usage")
        assert made.upstream.read_whole == 1
        assert made.settled_all()

    simulate(program())


def test_a_route_may_have_json_fetched_whole():
    async def program():
        route = a_route("a", buffered=False)
        made = GatewayRig({"a": [answers("{}")]}, a_snapshot(an_endpoint("a"), route=route))
        got = await made.complete(response_format={"type": "json_object"})
        assert got.status == 200
        assert made.log.begun[0].adapted == ()

    simulate(program())


def test_words_are_not_fetched_as_a_stream_and_their_bytes_are_not_touched():
    async def program():
        odd = b'{ "choices":[ {"message":{"content":"x"},"odd":1e2} ] , "odd": [1,2] }'
        made = GatewayRig({"a": [Behaviour(pieces=(odd,))]})
        got = await made.complete()
        assert got.body == odd

    simulate(program())


def test_usage_is_asked_for_and_kept_from_a_caller_who_did_not():
    async def program(**options):
        made = GatewayRig({"a": [streams(events(["x"]))]})
        got = await made.stream(**options)
        assert orjson.loads(made.upstream.sent[0].body)["stream_options"]["include_usage"] is True
        assert made.log.ends[0].tokens.prompt == 100
        return [one for one in got.events if isinstance(one, dict) and not one["choices"]]

    assert simulate(program()) == []
    assert len(simulate(program(stream_options={"include_usage": True}))) == 1
