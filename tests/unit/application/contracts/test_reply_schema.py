"""The schema models are given: small, closed, without references, and in a strict variant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from caopan.application.contracts.decision import REPLY_SCHEMA, STRICT_REPLY_SCHEMA

BOTH = pytest.mark.parametrize(
    "schema", [REPLY_SCHEMA, STRICT_REPLY_SCHEMA], ids=["plain", "strict"]
)
STRICT_WORDS = {
    *("type", "properties", "required", "additionalProperties", "items", "enum", "anyOf"),
    *("description", "pattern", "minimum", "maximum"),
}
"""What OpenAI's strict mode and the grammars of the common servers all take."""


def schemas(node: Any) -> Iterator[dict[str, Any]]:
    """Yield a schema and all schemas inside it."""
    yield node
    for inner in (*node.get("properties", {}).values(), *node.get("anyOf", ())):
        yield from schemas(inner)
    if "items" in node:
        yield from schemas(node["items"])


def depth(node: Any) -> int:
    inner = (*node.get("properties", {}).values(), *node.get("anyOf", ()))
    below = max(
        (depth(one) for one in (*inner, *([node["items"]] if "items" in node else []))), default=0
    )
    return below + (node.get("type") == "object")


@BOTH
def test_every_object_is_closed_and_nothing_refers_to_anything(schema):
    for one in schemas(schema):
        assert "$ref" not in one
        assert "$defs" not in one
        if one.get("type") == "object":
            assert one["additionalProperties"] is False
            assert set(one.get("required", ())) <= set(one["properties"])


@BOTH
def test_it_is_small(schema):
    assert len(json.dumps(schema, ensure_ascii=False, separators=(",", ":"))) < 6_500
    # OpenAI's bounds are 5 000 properties, 10 levels and 1 000 words.
    assert sum(len(one.get("properties", ())) for one in schemas(schema)) < 60
    assert sum(len(one.get("enum", ())) for one in schemas(schema)) < 60
    assert depth(schema) <= 5


def test_in_the_plain_one_what_may_be_left_out_is_not_required():
    assert set(REPLY_SCHEMA["required"]) == {"observation_ref", "account_view", "actions"}
    action = REPLY_SCHEMA["properties"]["actions"]["items"]
    assert action["required"] == ["type"]
    assert "null" not in json.dumps(REPLY_SCHEMA)


def test_in_the_strict_one_every_field_is_required_and_may_be_null_instead():
    for one in schemas(STRICT_REPLY_SCHEMA):
        assert set(one) <= STRICT_WORDS
        if one.get("type") == "object":
            assert one["required"] == list(one["properties"])
    action = STRICT_REPLY_SCHEMA["properties"]["actions"]["items"]
    assert {"type": "null"} in action["properties"]["price"]["anyOf"]
    assert "anyOf" not in action["properties"]["type"]


def test_both_have_the_same_fields():
    def fields(schema: Any) -> list[str]:
        return sorted(name for one in schemas(schema) for name in one.get("properties", ()))

    assert fields(REPLY_SCHEMA) == fields(STRICT_REPLY_SCHEMA)
