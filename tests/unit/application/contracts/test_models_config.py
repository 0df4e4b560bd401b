"""The JSON Schema of the models document is enough to drive an editor."""

from __future__ import annotations

from typing import Any

import pytest

from caopan.application.contracts.models_config import models_schema

SCHEMA = models_schema()


def shapes() -> dict[str, dict[str, Any]]:
    found = {"ModelsDocument": SCHEMA, **SCHEMA["$defs"]}
    return {name: body for name, body in found.items() if "properties" in body}


def fields() -> list[tuple[str, dict[str, Any], bool]]:
    return [
        (f"{shape}.{name}", field, name in body.get("required", []))
        for shape, body in shapes().items()
        for name, field in body["properties"].items()
    ]


@pytest.mark.parametrize("shape", shapes())
def test_no_shape_takes_an_unknown_field(shape):
    assert shapes()[shape]["additionalProperties"] is False


@pytest.mark.parametrize(("name", "field", "required"), fields(), ids=lambda one: str(one)[:40])
def test_every_field_is_described_and_is_required_or_has_a_default(name, field, required):
    assert field["description"].endswith(".") or field["description"].endswith("presets`.")
    has_parts = "$ref" in field or field.get("type") in {"array", "object"}
    assert required or "default" in field or has_parts, name


@pytest.mark.parametrize(("name", "field", "required"), fields(), ids=lambda one: str(one)[:40])
def test_every_number_has_its_range_and_every_duration_its_unit(name, field, required):
    options = [field, *field.get("anyOf", [])]
    for option in options:
        if option.get("type") in {"integer", "number"}:
            assert {"minimum", "exclusiveMinimum"} & option.keys(), name
            assert {"maximum", "exclusiveMaximum"} & option.keys(), name
    if name.endswith("_ms"):
        assert field["unit"] == "ms"
