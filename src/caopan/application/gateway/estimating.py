"""How many tokens a call may take, and how many it took where the vendor does not say.

Owns what is counted of a request and of an answer. Must never be used where the vendor has told
the figure, nor count a picture's bytes as text. Tests:
tests/unit/application/gateway/test_estimating.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import orjson

from caopan.application.gateway.calls import MOST_ANSWER, Call
from caopan.application.gateway.reading import mapping_of
from caopan.application.ports.gateway import Path
from caopan.domain.gateway.endpoint import Endpoint
from caopan.domain.gateway.token_estimate import estimate_tokens
from caopan.domain.gateway.usage import Tokens

ANSWER_TOKENS = 8_192
"""Taken for the most an answer has where neither caller nor endpoint bounds it."""
PICTURE_TOKENS = 2_000
"""Taken for a picture, whatever its bytes."""
_BOUNDS = ("max_completion_tokens", "max_tokens")


def prompt_tokens(call: Call) -> int:
    """Return how many tokens a call's request has at the most to be expected.

    Costs about 2 to 10 ns a byte, so it is asked only where something hangs on it.
    """
    if b"image_url" not in call.raw:
        return estimate_tokens(call.raw)
    pictures, text = 0, list[bytes]()
    for message in cast("list[dict[str, Any]]", call.body.get("messages") or []):
        content: object = message.get("content")
        parts = cast("list[object]", content) if isinstance(content, list) else [message]
        for part in parts:
            if "image_url" in mapping_of(part):
                pictures += 1
            else:
                text.append(orjson.dumps(part))
    tools: object = call.body.get("tools")
    return estimate_tokens(b"".join(text) + orjson.dumps(tools)) + pictures * PICTURE_TOKENS


def answer_bound(call: Call, endpoint: Endpoint) -> int:
    """Return the most tokens the answers to a call may have together."""
    if call.path is Path.EMBEDDINGS:
        return 0
    for told in (call.body, endpoint.default_params):
        bounds = [told.get(field) for field in _BOUNDS]
        # Of both names the larger counts: which one a vendor goes by is the vendor's affair.
        known = [one for one in bounds if isinstance(one, int) and 0 < one <= MOST_ANSWER]
        if known:
            return max(known) * call.choices
    return ANSWER_TOKENS * call.choices


def used_tokens(call: Call, choices: Iterable[Mapping[str, Any]]) -> Tokens:
    """Return our estimate for a call that was answered with `choices`, whole or in part."""
    said = [
        value.encode() if isinstance(value, str) else orjson.dumps(value)
        for choice in choices
        for field, value in mapping_of(choice.get("message")).items()
        if value and field != "role"
    ]
    return Tokens(prompt_tokens(call), estimate_tokens(b"".join(said)), estimated=True)
