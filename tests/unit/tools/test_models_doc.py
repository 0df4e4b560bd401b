"""The reference in docs/gateway.md is the document's own schema."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / "tools" / "models_doc.py"


@pytest.fixture
def made():
    spec = importlib.util.spec_from_file_location("models_doc", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_schema_says(made):
    page = made.PAGE.read_text(encoding="utf-8")
    assert page == made.with_fields(page, made.rendered()), "run python tools/models_doc.py"


def test_every_part_of_the_schema_has_its_table(made):
    schema = made.models_schema()
    named = {name for name, part in schema["$defs"].items() if "properties" in part}
    assert named == made._PARTS.keys()


def test_what_a_person_wrote_stays(made):
    page = f"before\n{made.BEGIN}\nold\n{made.END}\nafter\n"
    assert made.with_fields(page, "new") == f"before\n{made.BEGIN}\n\nnew\n{made.END}\nafter\n"
