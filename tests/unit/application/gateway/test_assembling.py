"""The whole answer that a stream spells."""

from __future__ import annotations

import orjson

from caopan.application.gateway.assembling import Assembler, as_events
from caopan.application.gateway.streaming import assembled
from caopan.testing.gateway_doubles import USAGE, event
from caopan.testing.gateway_rig import PROFILE


def made(*events) -> dict:
    assembler = Assembler(PROFILE)
    for one in events:
        assembler.add(orjson.loads(one[6:]))
    return assembler.completion()


def test_words_thoughts_and_what_surrounds_them():
    found = made(
        event({"role": "assistant", "content": "", "reasoning_content": None}, service_tier="x"),
        event({"reasoning_content": "let me "}),
        event({"reasoning_content": "see", "content": None}),
        event({"content": "Buy"}, system_fingerprint="fp"),
        event({"content": " it"}, finish_reason="stop", usage={"prompt_tokens": 1}),
        event(None, usage=USAGE),
    )
    choice = found["choices"][0]
    assert choice["message"] == {
        "role": "assistant",
        "content": "Buy it",
        "reasoning_content": "let me see",
    }
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert (found["object"], found["model"], found["id"]) == (
        "chat.completion",
        "model-served",
        "chatcmpl-1",
    )
    assert (found["system_fingerprint"], found["service_tier"]) == ("fp", "x")
    assert found["usage"] == USAGE


def test_calls_of_tools_by_their_index():
    def part(index, **function):
        tool = {"index": index, "id": f"call-{index}", "type": "function", "function": function}
        return event({"tool_calls": [tool]})

    found = made(
        part(0, name="buy", arguments=""),
        part(1, name="sell", arguments='{"a"'),
        part(0, name="buy", arguments='{"b":'),
        part(1, name=None, arguments=": 2}"),
        part(0, arguments=" 1}"),
        event({}, finish_reason="tool_calls"),
    )
    message = found["choices"][0]["message"]
    assert message["content"] is None
    assert [(one["id"], one["function"]) for one in message["tool_calls"]] == [
        ("call-0", {"name": "buy", "arguments": '{"b": 1}'}),
        ("call-1", {"name": "sell", "arguments": '{"a": 2}'}),
    ]


def test_several_answers_and_their_probabilities():
    def part(index, word):
        return {
            "choices": [
                {
                    "index": index,
                    "delta": {"content": word},
                    "logprobs": {"content": [{"token": word}], "refusal": None},
                    "finish_reason": "stop" if word == "." else None,
                }
            ]
        }

    assembler = Assembler(PROFILE)
    for index, word in [(1, "no"), (0, "yes"), (1, ".")]:
        assembler.add(part(index, word))
    assert not assembler.is_complete
    assembler.add(part(0, "."))
    assert assembler.is_complete
    first, second = assembler.choices()
    assert (first["message"]["content"], second["message"]["content"]) == ("yes.", "no.")
    assert second["logprobs"] == {"content": [{"token": "no"}, {"token": "."}], "refusal": None}


def test_what_nobody_knows_is_kept():
    found = made(
        event({"reasoning_details": [{"a": 1}], "odd": 1}, citations=["x"]),
        event({"reasoning_details": [{"b": 2}], "odd": 2, "annotations": None}),
    )
    message = found["choices"][0]["message"]
    assert message["reasoning_details"] == [{"a": 1}, {"b": 2}]
    assert (message["odd"], message["annotations"], found["citations"]) == (2, None, ["x"])


def test_nonsense_is_bounded_and_harmless():
    assembler = Assembler(PROFILE)
    for choices in ("x", [1], [{"index": 9_999}], [{"index": -1}], [{"delta": 3}]):
        assembler.add({"choices": choices})
    assembler.add({"choices": [{"delta": {"tool_calls": [3, {"index": 10**9}, {"index": "0"}]}}]})
    assert len(assembler.choices()) == 1


def test_a_whole_answer_as_a_stream_makes_the_same_answer():
    tools = [
        {"id": "c", "type": "function", "function": {"name": "buy", "arguments": '{"b": 1}'}},
        {"id": "d", "type": "function", "function": {"name": "sell", "arguments": "{}"}},
    ]
    whole = {
        "id": "x",
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Buy", "reasoning_content": "hm"},
                "finish_reason": "stop",
            },
            {
                "index": 1,
                "message": {"role": "assistant", "content": None, "tool_calls": tools},
                "finish_reason": "tool_calls",
            },
        ],
        "usage": USAGE,
    }
    stream = as_events(whole)
    assert stream.endswith(b"data: [DONE]\n\n")
    assert assembled(stream, PROFILE).completion() == whole
