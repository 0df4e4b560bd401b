"""Writes every field of the models document into docs/gateway.md: `python tools/models_doc.py`.

Owns the part of the page between its two marks. Must never touch what a person wrote around it.
Tests: tests/unit/tools/test_models_doc.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caopan.application.contracts.models_config import models_schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "gateway.md"
BEGIN, END = "<!-- fields: tools/models_doc.py writes them -->", "<!-- end of fields -->"
_PARTS = {
    "EndpointPart": "An endpoint",
    "AliasPart": "An alias",
    "RoutingPart": "routing",
    "AlsoPart": "also[]",
    "TimeoutsPart": "timeouts",
    "RetryPart": "retry",
    "BackoffPart": "retry.backoff",
    "BreakerPart": "circuit_breaker",
    "RateLimitPart": "rate_limit",
    "BudgetPart": "budget",
    "PricePart": "prices[]",
    "DefaultParams": "default_params",
    "CapabilitiesPart": "capabilities",
}


def rendered() -> str:
    """Return a table of each part of the document, the whole first."""
    schema = models_schema()
    parts = {"": schema, **{name: schema["$defs"][name] for name in _PARTS}}
    lines: list[str] = []
    for name, part in parts.items():
        lines += [f"### {_PARTS.get(name, 'The document')}", "", _line(_HEAD), _line(["---"] * 4)]
        for field, told in part["properties"].items():
            required = field in part.get("required", [])
            default = "required" if required else _default(told)
            lines.append(_line([f"`{field}`", _kind(told), default, told["description"]]))
        lines.append("")
    return "\n".join(lines)


def with_fields(page: str, fields: str) -> str:
    """Return `page` with `fields` between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{fields}\n{END}{after}"


def main() -> int:
    """Rewrite the page; return 0."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_fields(page, rendered()), encoding="utf-8")
    return 0


_HEAD = ["field", "value", "default", ""]


def _kind(told: Mapping[str, Any]) -> str:
    """Return what a field takes: its type, range and unit."""
    unit = f" {told['unit']}" if "unit" in told else ""
    options = [_option(one) for one in told.get("anyOf", [told])]
    return " or ".join(options) + unit


def _option(told: Mapping[str, Any]) -> str:
    if "$ref" in told:
        return told["$ref"].rpartition("/")[2].removesuffix("Part").lower()
    if "enum" in told:
        return ", ".join(f"`{value}`" for value in told["enum"])
    kind = str(told.get("type", "any"))
    if kind == "array":
        items = told.get("items")
        return f"list of {_option(items)}" if items else "list"
    low = told.get("minimum", told.get("exclusiveMinimum"))
    high = told.get("maximum", told.get("exclusiveMaximum"))
    above = ">" if "exclusiveMinimum" in told else ""
    return kind if low is None else f"{kind} {above}{low} to {high}"


def _default(told: Mapping[str, Any]) -> str:
    return f"`{json.dumps(told['default'])}`" if "default" in told else ""


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
