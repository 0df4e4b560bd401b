"""The whole answer that a stream spells, and the stream that spells a whole answer.

Owns Assembler (events to one completion object) and `as_events` (the other way). Must never drop
what it does not know: unknown fields are kept as they came last. Tests:
tests/unit/application/gateway/test_assembling.py.

Measured on one core: 600 events of 260 bytes take 1.5 to 3 ms, as much as three to six calls that
are passed on as they come. That is why a Route buffers only what must be JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import orjson

from caopan.application.gateway.reading import choices_of, mapping_of
from caopan.domain.gateway.profile import Profile

DONE = b"data: [DONE]\n\n"

_OF_THE_STREAM = frozenset({"choices", "object", "usage", "error"})
_OF_THE_CHOICE = frozenset({"delta", "message", "index", "finish_reason", "logprobs"})
_MOST_CHOICES = 128
_MOST_TOOLS = 128


class Assembler:
    """Puts the events of one stream together, in the order they come."""

    def __init__(self, profile: Profile) -> None:
        """Start with nothing; `profile` names the fields that hold thinking."""
        self._joined = frozenset({"content", "refusal", *profile.reasoning_fields})
        self._top: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}
        self._usage: Mapping[str, Any] | None = None

    def add(self, event: Mapping[str, Any]) -> None:
        """Add one event (its JSON object)."""
        for field, value in event.items():
            if field not in _OF_THE_STREAM:
                self._top[field] = value
        usage = mapping_of(event.get("usage"))
        if usage:
            # Some vendors tell it in every event, some twice: the last one is the whole.
            self._usage = usage
        for part in choices_of(event):
            index: object = part.get("index", 0)
            if isinstance(index, int) and 0 <= index < _MOST_CHOICES:
                choice = self._choices.get(index)
                if choice is None:
                    choice = self._choices[index] = _Choice(index, self._joined)
                choice.add(part)

    @property
    def is_complete(self) -> bool:
        """Tell whether every choice that began has said why it ended."""
        return bool(self._choices) and all(c.finish_reason for c in self._choices.values())

    def completion(self) -> dict[str, Any]:
        """Return the completion object as the endpoint would have sent it whole."""
        completion = {**self._top, "object": "chat.completion", "choices": self.choices()}
        if self._usage is not None:
            completion["usage"] = self._usage
        return completion

    def choices(self) -> list[dict[str, Any]]:
        """Return the choices so far, by index."""
        return [self._choices[index].whole() for index in sorted(self._choices)]


class _Choice:
    def __init__(self, index: int, joined: frozenset[str]) -> None:
        self.finish_reason: object = None
        self._index = index
        self._joined = joined
        self._texts: dict[str, list[str]] = {}
        self._message: dict[str, Any] = {"role": "assistant", "content": None}
        self._tools: dict[int, _Function] = {}
        self._function: _Function | None = None
        self._logprobs: dict[str, Any] | None = None
        self._others: dict[str, Any] = {}

    def add(self, part: Mapping[str, Any]) -> None:
        self.finish_reason = part.get("finish_reason") or self.finish_reason
        logprobs = mapping_of(part.get("logprobs"))
        if logprobs:
            self._logprobs = {} if self._logprobs is None else self._logprobs
            _lengthen(self._logprobs, logprobs)
        self._others.update({f: value for f, value in part.items() if f not in _OF_THE_CHOICE})
        for field, value in mapping_of(part.get("delta") or part.get("message")).items():
            if isinstance(value, str) and field in self._joined:
                self._texts.setdefault(field, []).append(value)
            elif field == "tool_calls":
                self._add_tools(cast("list[object]", value) if isinstance(value, list) else ())
            elif field == "function_call":
                self._function = self._function or _Function()
                self._function.add(mapping_of(value))
            else:
                _lengthen(self._message, {field: value})

    def whole(self) -> dict[str, Any]:
        message = dict(self._message)
        message.update({field: "".join(parts) for field, parts in self._texts.items()})
        if self._tools:
            message["tool_calls"] = [self._tools[i].as_tool() for i in sorted(self._tools)]
        if self._function is not None:
            message["function_call"] = self._function.as_function()
        whole = {**self._others, "index": self._index, "message": message}
        if self._logprobs is not None:
            whole["logprobs"] = self._logprobs
        return {**whole, "finish_reason": self.finish_reason}

    def _add_tools(self, parts: Sequence[object]) -> None:
        for place, part in enumerate(parts):
            tool = mapping_of(part)
            index: object = tool.get("index", place)
            if isinstance(index, int) and 0 <= index < _MOST_TOOLS:
                function = self._tools.get(index)
                if function is None:
                    function = self._tools[index] = _Function()
                function.add_tool(tool)


class _Function:
    """A function called by the model, and the tool around it, coming in parts."""

    def __init__(self) -> None:
        self._tool: dict[str, Any] = {}
        self._fields: dict[str, Any] = {}
        self._arguments: list[str] = []

    def add_tool(self, part: Mapping[str, Any]) -> None:
        for field, value in part.items():
            if field == "function":
                self.add(mapping_of(value))
            elif field != "index" and value and not self._tool.get(field):
                self._tool[field] = value

    def add(self, part: Mapping[str, Any]) -> None:
        for field, value in part.items():
            if field == "arguments":
                self._arguments.append(arguments_text(value))
            elif value and not self._fields.get(field):
                # A vendor that repeats the name in every event does not mean a longer name.
                self._fields[field] = value

    def as_tool(self) -> dict[str, Any]:
        return {"type": "function", **self._tool, "function": self.as_function()}

    def as_function(self) -> dict[str, Any]:
        return {**self._fields, "arguments": "".join(self._arguments)}


def arguments_text(value: object) -> str:
    """Return a function's arguments as the text the protocol wants; some vendors send an object."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def as_events(completion: Mapping[str, Any]) -> bytes:
    """Return the stream that spells `completion`, for an endpoint that answers only whole.

    Usage goes into the last event of the choices, where no client trips over it.
    """
    top = {field: value for field, value in completion.items() if field not in _OF_THE_STREAM}
    top["object"] = "chat.completion.chunk"
    said = list[dict[str, Any]]()
    ends = list[dict[str, Any]]()
    for choice in choices_of(completion):
        begun = {field: value for field, value in choice.items() if field != "message"}
        delta = _numbered(mapping_of(choice.get("message")))
        said.append({**begun, "delta": delta, "finish_reason": None})
        reason = choice.get("finish_reason") or "stop"
        ends.append({"index": choice.get("index", 0), "delta": {}, "finish_reason": reason})
    last: dict[str, Any] = {**top, "choices": ends}
    if completion.get("usage"):
        last["usage"] = completion["usage"]
    return event_bytes({**top, "choices": said}) + event_bytes(last) + DONE


def event_bytes(event: Mapping[str, Any]) -> bytes:
    """Return one event of a stream."""
    return b"data: " + orjson.dumps(event) + b"\n\n"


def _numbered(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message as a delta: its calls of tools carry their index."""
    tools: object = message.get("tool_calls")
    if not isinstance(tools, list):
        return message
    numbered = [
        {"index": index, **mapping_of(tool)}
        for index, tool in enumerate(cast("list[object]", tools))
    ]
    return {**message, "tool_calls": numbered}


def _lengthen(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Take `part` in: lists grow, everything else is as it came last, but not unknown again."""
    for field, value in part.items():
        known: object = whole.get(field)
        if isinstance(known, list) and isinstance(value, list):
            whole[field] = [*cast("list[object]", known), *cast("list[object]", value)]
        elif value is not None or field not in whole:
            whole[field] = value
