"""How many tokens a call may take, and how many it took where the vendor does not say.

Owns our own estimates. Must never be used where the vendor has told the figure. Tests:
tests/unit/application/gateway/test_estimating.py.

No tokenizer: each vendor has its own. Four ASCII letters make a token, any other letter one, which
is more than vendors count of most Chinese and English prose.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

import orjson

from caopan.application.gateway.calls import Call
from caopan.application.gateway.reading import mapping_of
from caopan.application.ports.gateway import Path
from caopan.domain.gateway.endpoint import Endpoint
from caopan.domain.gateway.usage import Tokens

ANSWER_TOKENS = 8_192
"""Taken for the most an answer has where neither caller nor endpoint bounds it."""
PICTURE_TOKENS = 2_000
"""Taken for a picture, whatever its bytes."""
_BOUNDS = ("max_completion_tokens", "max_tokens")
_MOST = 10_000_000
_ASCII_A_TOKEN = 4


def text_tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return _tokens(len(text), size)


def _tokens(letters: int, size: int) -> int:
    """Return the tokens of a text with so many letters, in `size` bytes of UTF-8."""
    # Nearly every letter beyond ASCII that models read takes three bytes.
    beyond = (size - letters) // 2
    return beyond + -(-max(0, letters - beyond) // _ASCII_A_TOKEN)


def prompt_tokens(call: Call) -> int:
    """Return about how many tokens a call's request has."""
    raw = call.raw
    letters = len(raw) if raw.isascii() else len(raw.decode("utf-8", "replace"))
    whole = _tokens(letters, len(raw))
    if b"image_url" not in raw:
        return whole
    pictures, inside = _pictures(call.body)
    return max(0, whole - inside) + pictures * PICTURE_TOKENS


def answer_bound(call: Call, endpoint: Endpoint) -> int:
    """Return the most tokens the answers to a call may have together."""
    if call.path is Path.EMBEDDINGS:
        return 0
    for told in (call.body, endpoint.default_params):
        for field in _BOUNDS:
            bound: object = told.get(field)
            if isinstance(bound, int) and 0 < bound <= _MOST:
                return bound * call.choices
    return ANSWER_TOKENS * call.choices


def used_tokens(call: Call, choices: Iterable[Mapping[str, Any]]) -> Tokens:
    """Return our estimate for a call that was answered with `choices`, whole or in part."""
    said = sum(
        text_tokens(value if isinstance(value, str) else orjson.dumps(value).decode())
        for choice in choices
        for field, value in mapping_of(choice.get("message")).items()
        if value and field != "role"
    )
    return Tokens(prompt_tokens(call), said, estimated=True)


def _pictures(body: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many pictures a request has, and the tokens their bytes were taken for."""
    count = inside = 0
    for message in cast("list[dict[str, Any]]", body.get("messages") or []):
        content: object = message.get("content")
        for part in cast("list[object]", content) if isinstance(content, list) else ():
            url: object = mapping_of(mapping_of(part).get("image_url")).get("url")
            if isinstance(url, str):
                count += 1
                inside += text_tokens(url)
    return count, inside
