"""A JSON Schema as models are given it: short, without references, and in a strict variant.

Owns `plain` and `strict`. Must never allow what the contract's own schema forbids, nor hold a
reference: some endpoints take none, and a schema without any cannot be recursive. Tests:
tests/unit/application/contracts/test_reply_schema.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from caopan.kernel.canonical import Json

_REFERENCE: Final = "#/$defs/"
_NULL: Final = {"type": "null"}
_NOT_IN_STRICT: Final = frozenset({"default", "maxLength", "maxItems", "minItems"})
"""What strict modes of some vendors refuse; the reader enforces it all the same."""


def plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema in which what may be left out is not required, and null is not spoken of.

    The reader takes null for left out.
    """
    return _without_null(_inlined(schema, schema.get("$defs", {})))


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema in which every field is required: what may be left out may be null.

    It is what OpenAI's strict mode asks for, and others that follow it.
    """
    return _all_required(_inlined(schema, schema.get("$defs", {})))


def _inlined(node: Json, definitions: Mapping[str, Any]) -> Json:
    """Return a schema with its references replaced by what they name, and without titles."""
    if isinstance(node, list):
        return [_inlined(item, definitions) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found = dict(cast("dict[str, Any]", node))
    reference = found.pop("$ref", None)
    if reference is not None:
        # What stands beside a reference says more than what it names.
        found = {**definitions[str(reference).removeprefix(_REFERENCE)], **found}
    found.pop("$defs", None)
    # A field may be called so too, but is no text.
    if isinstance(found.get("title"), str):
        del found["title"]
    if isinstance(found.get("description"), str):
        found["description"] = " ".join(found["description"].split())
    return {name: _inlined(value, definitions) for name, value in found.items()}


def _without_null(node: Json) -> Json:
    if isinstance(node, list):
        return [_without_null(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found = dict(cast("dict[str, Any]", node))
    found.pop("default", None)
    if _NULL in found.get("anyOf", []):
        kinds = [kind for kind in found.pop("anyOf") if kind != _NULL]
        found = {**kinds[0], **found}
    return {name: _without_null(value) for name, value in found.items()}


def _all_required(node: Json) -> Json:
    if isinstance(node, list):
        return [_all_required(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    found = {
        name: _all_required(value)
        for name, value in cast("dict[str, Any]", node).items()
        if name not in _NOT_IN_STRICT
    }
    if found.get("type") == "object":
        found["required"] = list(found["properties"])
    return found
