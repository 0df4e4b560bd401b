"""What an endpoint is sent: only what is in the way is changed, and every change is named."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest

from caopan.application.gateway.adapting import adapt, structured_by, tool_as_content
from caopan.application.ports.gateway import Path
from caopan.domain.gateway.endpoint import StructuredOutput
from caopan.testing.gateway_rig import PROFILE, a_call, an_endpoint

SCHEMA = {"type": "object", "properties": {"边": {"type": "string"}}}
WANTS = {"type": "json_schema", "json_schema": {"name": "my answer!", "schema": SCHEMA}}
JSON = {"type": "json_object"}


def sent(call, endpoint=None, profile=PROFILE, *, streams=False):
    made = adapt(call, endpoint or an_endpoint("a"), profile, streams=streams)
    return orjson.loads(made.body), made


def can(structured):
    return an_endpoint("a", structured=structured)


def test_what_needs_no_change_keeps_its_very_bytes_or_changes_the_models_name_alone():
    call = a_call(odd={"x": [1, None, 1.5]}, response_format={"type": "text"})
    assert adapt(call, an_endpoint("a", "actor"), PROFILE, streams=False).body is call.raw
    body, made = sent(call)
    assert body == {**call.body, "model": "model-a"}
    assert made.changes == ()


def test_embeddings_are_sent_as_they_came():
    call = a_call(path=Path.EMBEDDINGS, dimensions=3)
    endpoint = an_endpoint("a", default_params={"temperature": 0})
    body, made = sent(call, endpoint, replace(PROFILE, dropped=("dimensions",)))
    assert body == {**call.body, "model": "model-a"}
    assert made.changes == ()


def test_defaults_stand_where_the_caller_says_nothing():
    endpoint = an_endpoint("a", default_params={"temperature": 0, "seed": 7, "max_tokens": 100})
    body, made = sent(a_call(seed=None, max_completion_tokens=5), endpoint)
    assert body["temperature"] == 0
    assert body["seed"] is None
    assert "max_tokens" not in body
    assert made.changes == ("+temperature",)


def test_a_vendors_dialect():
    profile = replace(
        PROFILE,
        renamed={"max_completion_tokens": "max_tokens", "seed": "random_seed"},
        dropped=("logit_bias", "store"),
        replaced={
            "tool_choice": {"required": "auto"},
            "parallel": {"true": False},
            "level": {"3": "high"},
        },
    )
    call = a_call(
        max_completion_tokens=9, logit_bias={}, tool_choice="required", parallel=True, level=3
    )
    body, made = sent(call, profile=profile)
    assert body["max_tokens"] == 9
    assert (body["tool_choice"], body["parallel"], body["level"]) == ("auto", False, "high")
    assert not {"max_completion_tokens", "logit_bias", "store"} & set(body)
    assert made.changes == (
        "-logit_bias",
        "tool_choice:required->auto",
        "parallel:true->false",
        "level:3->high",
        "max_completion_tokens->max_tokens",
    )
    both = a_call(max_completion_tokens=9, max_tokens=5)
    assert sent(both, profile=profile)[0]["max_tokens"] == 5
    kept = a_call(tool_choice={"type": "function"}, level=4)
    assert sent(kept, profile=profile)[1].changes == ()


def test_a_schema_goes_as_it_is_where_the_endpoint_knows_it():
    body, made = sent(a_call(response_format=WANTS), can(StructuredOutput.JSON_SCHEMA))
    assert body["response_format"] == WANTS
    assert made.changes == ()


def test_json_mode_gets_the_schema_in_words():
    call = a_call(
        messages=[{"role": "user", "content": "x"}, {"role": "developer", "content": "rules"}],
        response_format=WANTS,
    )
    body, made = sent(call, can(StructuredOutput.JSON_OBJECT), replace(PROFILE, json_word=True))
    assert body["response_format"] == JSON
    first, second = body["messages"]
    assert first == call.body["messages"][0]
    assert second["content"].startswith("rules\n\n")
    assert second["content"].endswith(orjson.dumps(SCHEMA).decode())
    assert "json" in second["content"].lower()
    assert made.changes == ("json_schema->json_object",)
    assert call.body["messages"][1]["content"] == "rules"


@pytest.mark.parametrize("asked", [WANTS, JSON])
def test_words_alone_where_nothing_else_is_known(asked):
    body, made = sent(a_call(response_format=asked), can(StructuredOutput.PROMPT))
    assert "response_format" not in body
    assert body["messages"][0]["role"] == "system"
    assert "JSON" in body["messages"][0]["content"]
    assert made.changes == (f"{asked['type']}->prompt",)


def test_text_is_added_to_a_system_message_in_parts():
    parts = [{"type": "text", "text": "rules"}]
    call = a_call(messages=[{"role": "system", "content": parts}], response_format=JSON)
    body, _ = sent(call, can(StructuredOutput.PROMPT))
    assert body["messages"][0]["content"][0] == parts[0]
    assert "JSON" in body["messages"][0]["content"][1]["text"]


def test_a_tool_answers_unless_the_caller_brought_tools():
    body, made = sent(a_call(response_format=WANTS), can(StructuredOutput.TOOL))
    function = body["tools"][0]["function"]
    assert (function["name"], function["parameters"]) == ("my_answer_", SCHEMA)
    assert body["tool_choice"] == {"type": "function", "function": {"name": "my_answer_"}}
    assert "response_format" not in body
    assert (made.answer_tool, made.changes) == ("my_answer_", ("json_schema->tool",))
    body, made = sent(
        a_call(response_format=WANTS, tools=[{"type": "function"}]), can(StructuredOutput.TOOL)
    )
    assert body["tools"] == [{"type": "function"}]
    assert (made.answer_tool, made.changes) == (None, ("json_schema->prompt",))


def test_the_word_json_is_said_where_a_vendor_refuses_json_mode_without_it():
    wordy = replace(PROFILE, json_word=True)
    endpoint = can(StructuredOutput.JSON_OBJECT)
    silent = a_call(response_format=JSON)
    body, made = sent(silent, endpoint, wordy)
    assert "JSON" in body["messages"][0]["content"]
    assert made.changes == ("+json",)
    said = a_call(response_format=JSON, messages=[{"role": "user", "content": "as Json"}])
    assert sent(said, endpoint, wordy)[1].changes == ()
    assert sent(silent, endpoint)[1].changes == ()


def test_who_is_trusted_with_what():
    profile = replace(
        PROFILE,
        structured={
            "m-3": StructuredOutput.JSON_SCHEMA,
            "m-*": StructuredOutput.JSON_OBJECT,
            "m-3*": StructuredOutput.TOOL,
        },
    )
    found = {
        model: structured_by(an_endpoint("a", model, structured=None), profile)
        for model in ("m-3", "m-3.5", "m-2", "other")
    }
    assert found == {
        "m-3": StructuredOutput.JSON_SCHEMA,
        "m-3.5": StructuredOutput.TOOL,
        "m-2": StructuredOutput.JSON_OBJECT,
        "other": StructuredOutput.PROMPT,
    }
    own = an_endpoint("a", "m-3", structured=StructuredOutput.PROMPT)
    assert structured_by(own, profile) is StructuredOutput.PROMPT


def test_a_stream_and_its_usage():
    body, made = sent(a_call(), streams=True)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert made.changes == ("+stream", "+stream_options.include_usage")
    assert made.hides_usage
    asked = a_call(stream=True, stream_options={"include_usage": True, "x": 1})
    body, made = sent(asked, streams=True)
    assert (made.changes, made.hides_usage) == ((), False)
    silent = an_endpoint("a", stream_usage=False)
    body, made = sent(asked, silent, streams=True)
    assert "stream_options" not in body
    assert made.changes == ("-stream_options",)


def test_a_tools_arguments_as_an_object_are_content_too():
    tool = {"function": {"name": "x", "arguments": {"a": 1}}}
    parsed = {"choices": [{"message": {"tool_calls": [tool, tool]}, "finish_reason": "tool_calls"}]}
    choice = tool_as_content(parsed, "message")["choices"][0]
    assert choice == {"message": {"content": '{"a":1}'}, "finish_reason": "stop"}
    words = {"choices": [{"message": {"content": "no"}, "finish_reason": "length"}]}
    assert tool_as_content(words, "message") == words
