"""A caller's request as one endpoint takes it, and structured output back as the caller wants it.

Owns the body an endpoint is sent: its model name, the parameters it wants by default, the fields
its vendor calls otherwise or refuses, and structured output by the best way it knows. Must never
change what is not in the way, nor anything without naming it in `changes`. Tests:
tests/unit/application/gateway/test_adapting.py.

How a change is named: `+field` was added, `-field` left out, `a->b` renamed or done another way,
`field:a->b` another value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from caopan.application.gateway.assembling import arguments_text
from caopan.application.gateway.calls import Call
from caopan.application.gateway.reading import choices_of, mapping_of
from caopan.application.ports.gateway import Path
from caopan.domain.gateway.endpoint import Endpoint, StructuredOutput
from caopan.domain.gateway.profile import Profile

_SCHEMA_TEXT = (
    "Answer with one JSON value that satisfies this JSON Schema, and with nothing else:\n"
)
_JSON_TEXT = "Answer with one JSON object, and with nothing else."
_TOOL_TEXT = "Give the answer as the arguments of this function."
_ROLES_OF_SYSTEM = ("system", "developer")
_NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
_SAME_BOUND = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""Two names of one thing: a default for one does not stand beside the caller's other."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """What one endpoint is sent for a call."""

    body: bytes
    changes: tuple[str, ...]
    streams: bool
    """The endpoint is asked for a stream, whatever the caller asked for."""
    answer_tool: str | None = None
    """The function whose arguments are the answer, where structured output goes by tool."""
    hides_usage: bool = False
    """The block of usage at a stream's end is our wish; the caller did not ask for it."""


def adapt(call: Call, endpoint: Endpoint, profile: Profile, *, streams: bool) -> Adapted:
    """Return what `endpoint` is sent for `call`, as a stream where `streams` says so."""
    if call.path is not Path.CHAT:
        return Adapted(_renamed_model(call, endpoint), (), streams=False)
    body = dict(call.body)
    changes: list[str] = []
    answer_tool = _structure(call, body, endpoint, profile, changes)
    _defaults(body, endpoint, changes)
    hides_usage = _stream(call, body, endpoint, profile, changes, streams=streams)
    _dialect(body, profile, changes)
    if not changes:
        return Adapted(_renamed_model(call, endpoint), (), streams)
    body["model"] = endpoint.model
    return Adapted(orjson.dumps(body), tuple(changes), streams, answer_tool, hides_usage)


def structured_by(endpoint: Endpoint, profile: Profile) -> StructuredOutput:
    """Return how an endpoint is made to answer in a given schema."""
    if endpoint.structured is not None:
        return endpoint.structured
    exact = profile.structured.get(endpoint.model)
    if exact is not None:
        return exact
    fitting = [
        name
        for name in profile.structured
        if name.endswith("*") and endpoint.model.startswith(name[:-1])
    ]
    # What nobody knows of an endpoint it is not trusted with: words work everywhere.
    return profile.structured[max(fitting, key=len)] if fitting else StructuredOutput.PROMPT


def tells_stream_usage(endpoint: Endpoint, profile: Profile) -> bool:
    """Tell whether an endpoint tells the usage of a stream when asked."""
    return profile.stream_usage if endpoint.stream_usage is None else endpoint.stream_usage


def _renamed_model(call: Call, endpoint: Endpoint) -> bytes:
    if call.alias == endpoint.model:
        return call.raw
    return orjson.dumps({**call.body, "model": endpoint.model})


# --- structured output ----------------------------------------------------------------------------


def _structure(
    call: Call, body: dict[str, Any], endpoint: Endpoint, profile: Profile, changes: list[str]
) -> str | None:
    """Bring `response_format` to what the endpoint can do; return the tool that answers, if any."""
    wanted = call.answer_format
    if wanted not in {"json_schema", "json_object"}:
        return None
    can = structured_by(endpoint, profile)
    if wanted == "json_object":
        if can in {StructuredOutput.JSON_SCHEMA, StructuredOutput.JSON_OBJECT}:
            _say_json(body, profile, changes)
        else:
            del body["response_format"]
            _append(body, _JSON_TEXT)
            changes.append("json_object->prompt")
        return None
    if can is StructuredOutput.JSON_SCHEMA:
        return None
    asked: Any = body["response_format"].get("json_schema")
    named = cast("dict[str, Any]", asked) if isinstance(asked, dict) else {}
    schema: object = named.get("schema", {})
    if can is StructuredOutput.TOOL and not body.get("tools"):
        return _by_tool(body, named, schema, changes)
    _append(body, _SCHEMA_TEXT + orjson.dumps(schema).decode())
    if can is StructuredOutput.JSON_OBJECT:
        body["response_format"] = {"type": "json_object"}
        changes.append("json_schema->json_object")
    else:
        # Also where the caller brought tools of its own: forcing ours would forbid theirs.
        del body["response_format"]
        changes.append("json_schema->prompt")
    return None


def _by_tool(
    body: dict[str, Any], named: dict[str, Any], schema: object, changes: list[str]
) -> str:
    name = _NOT_OF_A_NAME.sub("_", str(named.get("name") or "answer"))[:_LONGEST_NAME]
    function = {
        "name": name,
        "description": named.get("description") or _TOOL_TEXT,
        "parameters": schema,
    }
    del body["response_format"]
    body["tools"] = [{"type": "function", "function": function}]
    body["tool_choice"] = {"type": "function", "function": {"name": name}}
    changes.append("json_schema->tool")
    return name


def _say_json(body: dict[str, Any], profile: Profile, changes: list[str]) -> None:
    """Say "json" in the prompt where the vendor refuses JSON mode without it."""
    if profile.json_word and b"json" not in orjson.dumps(body["messages"]).lower():
        _append(body, _JSON_TEXT)
        changes.append("+json")


def _append(body: dict[str, Any], text: str) -> None:
    """Add `text` to the first system message, or bring one; the caller's own is left alone."""
    messages: list[dict[str, Any]] = list(body["messages"])
    for index, message in enumerate(messages):
        if message.get("role") in _ROLES_OF_SYSTEM:
            messages[index] = {**message, "content": _longer(message.get("content"), text)}
            break
    else:
        messages.insert(0, {"role": "system", "content": text})
    body["messages"] = messages


def _longer(content: object, text: str) -> object:
    if isinstance(content, list):
        return [*cast("list[object]", content), {"type": "text", "text": text}]
    return f"{content}\n\n{text}" if isinstance(content, str) and content else text


# --- parameters -----------------------------------------------------------------------------------


def _defaults(body: dict[str, Any], endpoint: Endpoint, changes: list[str]) -> None:
    for field, value in endpoint.default_params.items():
        if field not in body and _SAME_BOUND.get(field, field) not in body:
            body[field] = value
            changes.append(f"+{field}")


def _stream(
    call: Call,
    body: dict[str, Any],
    endpoint: Endpoint,
    profile: Profile,
    changes: list[str],
    *,
    streams: bool,
) -> bool:
    """Ask for a stream and its usage; return whether the usage is nobody's wish but ours."""
    if not streams:
        return False
    if not call.stream:
        body["stream"] = True
        changes.append("+stream")
    asked: object = body.get("stream_options")
    options = cast("dict[str, Any]", asked) if isinstance(asked, dict) else {}
    if not tells_stream_usage(endpoint, profile):
        if "stream_options" in body:
            del body["stream_options"]
            changes.append("-stream_options")
        return False
    if options.get("include_usage") is True:
        return False
    body["stream_options"] = {**options, "include_usage": True}
    changes.append("+stream_options.include_usage")
    return True


def _dialect(body: dict[str, Any], profile: Profile, changes: list[str]) -> None:
    """Speak the vendor's dialect: fields left out, other values, other names."""
    for field in profile.dropped:
        if field in body:
            del body[field]
            changes.append(f"-{field}")
    for field, instead in profile.replaced.items():
        value = _as_key(body.get(field))
        if value is not None and value in instead:
            body[field] = instead[value]
            changes.append(f"{field}:{value}->{_as_key(instead[value]) or 'object'}")
    for field, theirs in profile.renamed.items():
        if field in body:
            value = body.pop(field)
            body.setdefault(theirs, value)
            changes.append(f"{field}->{theirs}")


def _as_key(value: object) -> str | None:
    """Return a text, number or truth value as a profile writes it; None for anything else."""
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, int | float) else None


# --- and back ---------------------------------------------------------------------------------


def tool_as_content(parsed: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return an answer (`part` "message") or event ("delta") with the forced tool as its content.

    What the model said in words instead stays as it is. Only the first call of the tool counts:
    two answers in one text would be none.
    """
    choices = list[dict[str, Any]]()
    for choice in choices_of(parsed):
        said = mapping_of(choice.get(part))
        tools: object = said.get("tool_calls")
        turned = dict(choice)
        if isinstance(tools, list):
            turned[part] = {f: value for f, value in said.items() if f != "tool_calls"}
            first = mapping_of(next(iter(cast("list[object]", tools)), None))
            if not first.get("index"):
                function = mapping_of(first.get("function"))
                turned[part]["content"] = arguments_text(function.get("arguments"))
        if choice.get("finish_reason") == "tool_calls":
            turned["finish_reason"] = "stop"
        choices.append(turned)
    return {**parsed, "choices": choices}
