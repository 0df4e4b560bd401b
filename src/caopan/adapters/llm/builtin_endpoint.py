"""Endpoints of kind `builtin`: the rule traders answer a chat completion as a model would.

Owns how the observation is found in the last user message and the form of the answer. They are no
language models and say so (`system_fingerprint`). Must never answer without an observation, nor
read anything but that message. Tests: tests/unit/adapters/llm/test_builtin_endpoint.py,
tests/contract/gateway/test_upstream.py.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from caopan.adapters.llm.builtin.sizing import answer as decision_text
from caopan.adapters.llm.builtin.traders import BUILTIN
from caopan.adapters.llm.in_process import InProcessUpstream, Prepared, answer, body_of, not_asked
from caopan.application.ports.gateway import Path, UpstreamRequest
from caopan.domain.gateway.token_estimate import estimate_tokens
from caopan.kernel.canonical import content_hash
from caopan.kernel.errors import CaopanError

_PARTS: Final = frozenset({"account", "features", "market_rules", "positions", "universe"})
"""What a rule reads of an observation; a JSON object with all of them is one."""
_MOST_STARTS: Final = 64
_UNREADABLE: Final = (
    CaopanError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""What a rule raises over fields that are missing or wrong: the request is at fault."""
_EPOCH: Final = 0
"""A rule answers the same at any time, so its answers bear none."""


class BuiltinEndpoint(InProcessUpstream):
    """The traders of `BUILTIN`, by their alias as the model's name."""

    async def prepare(self, request: UpstreamRequest) -> Prepared:
        """Return the trader's decision as a completion."""
        trader = BUILTIN.get(request.endpoint.model)
        if trader is None:
            known = ", ".join(BUILTIN)
            return not_asked(
                f"no built-in trader {request.endpoint.model!r}; there are {known}",
                "model_not_found",
                404,
            )
        if request.path is not Path.CHAT:
            return not_asked("a built-in trader makes no embeddings", "unsupported_path")
        # A rule works for milliseconds on a big observation: other calls go on meanwhile.
        return await asyncio.to_thread(_decided, trader.alias, body_of(request), request.body)


def _decided(alias: str, body: Mapping[str, Any], raw: bytes) -> Prepared:
    observation = observation_in(_last_question(body))
    if observation is None:
        return not_asked(
            f"{alias} is a rule, not a language model: it answers an observation as JSON in the "
            "last user message, and there is none",
            "no_observation",
        )
    try:
        actions = BUILTIN[alias]().decide(observation)
        text = decision_text(observation, content_hash(observation), actions)
    except _UNREADABLE as bad:
        return not_asked(f"the observation cannot be read: {type(bad).__name__}", "bad_observation")
    prompt, told = estimate_tokens(raw), estimate_tokens(text.encode())
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "logprobs": None,
        "finish_reason": "stop",
    }
    completion = {
        "id": f"chatcmpl-{content_hash(text)[:24]}",
        "object": "chat.completion",
        "created": _EPOCH,
        "model": alias,
        "system_fingerprint": f"{alias}@1, not a language model",
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": told,
            "total_tokens": prompt + told,
        },
    }
    return answer(body, completion)


def observation_in(text: str) -> dict[str, Any] | None:
    """Return the observation in a prompt: the last JSON object with all the parts a rule reads."""
    found: dict[str, Any] | None = None
    for value in _objects(text):
        if value.keys() >= _PARTS:
            found = value
    return found


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the outermost JSON objects in `text`."""
    decoder = json.JSONDecoder()
    place, starts = 0, 0
    while (place := text.find("{", place)) >= 0 and starts < _MOST_STARTS:
        starts += 1
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place += 1
            continue
        yield cast("dict[str, Any]", value)
        place = end


def _last_question(body: Mapping[str, Any]) -> str:
    messages: object = body.get("messages")
    for message in reversed(cast("list[object]", messages) if isinstance(messages, list) else []):
        if isinstance(message, dict):
            told = cast("dict[str, Any]", message)
            if told.get("role") == "user":
                return _text(told.get("content"))
    return ""


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = cast("list[object]", content) if isinstance(content, list) else []
    texts = [cast("dict[str, Any]", part).get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
