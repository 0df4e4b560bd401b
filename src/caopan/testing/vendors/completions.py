"""The plain shapes of the chat-completions protocol, from which fakes make theirs.

Owns what a whole answer, a stream, an embedding and a refusal look like where a vendor follows
OpenAI. Never used by production code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Body: TypeAlias = Any
"""A request as JSON, from outside."""

CREATED = 1_795_000_000
"""Seconds since the epoch at which every fake answers."""


def tokens_of(text: str) -> list[str]:
    """Return a text cut as a tokenizer might: every token is a word with the space behind it."""
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + ([words[-1]] if words[-1] else [])


def count(text: str) -> int:
    """Return how many tokens a fake takes a text for."""
    return len(tokens_of(text))


def prompt_of(body: Body) -> str:
    """Return all text of the messages."""
    parts: list[str] = []
    messages: list[Any] = body.get("messages", [])
    for message in messages:
        content: Any = message.get("content")
        if isinstance(content, str):
            parts.append(content)
        elif content is not None:
            pieces: list[Any] = content
            parts.extend(str(piece.get("text", "")) for piece in pieces)
    return "\n".join(parts)


def whole(
    body: Body,
    message: Mapping[str, Any],
    usage: Mapping[str, Any] | None,
    *,
    finish: str = "stop",
    **more: object,
) -> dict[str, Any]:
    """Return a whole answer to `body`."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "logprobs": None,
        "finish_reason": finish,
    }
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": CREATED,
        "model": body.get("model"),
        "choices": [choice],
        "usage": usage,
        **more,
    }


def delta(
    body: Body, change: Mapping[str, Any], finish: str | None = None, **more: object
) -> dict[str, Any]:
    """Return one event of a stream."""
    choice = {"index": 0, "delta": dict(change), "logprobs": None, "finish_reason": finish}
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": body.get("model"),
        "choices": [choice],
        **more,
    }


def usage_event(body: Body, usage: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the event that holds the usage and no choice."""
    return {**delta(body, {}), "choices": [], "usage": usage}


def deltas(
    body: Body, text: str, name: str = "content", **beside: object
) -> Iterator[dict[str, Any]]:
    """Yield an event for each token of `text`, with other fields of the delta beside it."""
    for token in tokens_of(text):
        yield delta(body, {**beside, name: token})


def encoded(value: object) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value, ensure_ascii=False).encode()


def wants_usage(body: Body) -> bool:
    """Tell whether a stream was asked for its usage."""
    options: Any = body.get("stream_options")
    return options is not None and options.get("include_usage") is True


def embeddings(body: Body, size: int = 8) -> dict[str, Any]:
    """Return vectors that depend on the texts alone."""
    texts: Any = body.get("input")
    listed: list[Any] = [texts] if texts.__class__ is str else texts
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": [((len(str(text)) + place) % 7) / 7 for place in range(size)],
        }
        for index, text in enumerate(listed)
    ]
    used = sum(count(str(text)) for text in listed)
    usage = {"prompt_tokens": used, "total_tokens": used}
    return {"object": "list", "data": data, "model": body.get("model"), "usage": usage}


def models(names: Sequence[str], owner: str) -> dict[str, Any]:
    """Return a list of models."""
    data = [
        {"id": name, "object": "model", "created": CREATED, "owned_by": owner} for name in names
    ]
    return {"object": "list", "data": data}


def error(message: str, kind: str, code: str | None, **more: object) -> dict[str, Any]:
    """Return a refusal in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}, **more}
