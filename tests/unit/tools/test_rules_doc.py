"""docs/market-rules.md lists every dated row as the tables hold it."""

import importlib.util
from pathlib import Path

from caopan.adapters.rules.book import load_rules

TOOL = Path(__file__).parents[3] / "tools" / "rules_doc.py"


def tool():
    spec = importlib.util.spec_from_file_location("rules_doc", TOOL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_holds_every_row():
    made = tool()
    page = made.PAGE.read_text("utf-8")
    expected = made.with_rows(page, made.rendered(load_rules().rows))
    assert page == expected, "run python tools/rules_doc.py"


def test_every_row_shows_its_date_confidence_and_source():
    rows = load_rules().rows
    text = tool().rendered(rows)
    lines = text.splitlines()
    assert sum(line.startswith("| ") for line in lines) == 2 * len(rows) + sum(
        len(table) for table in rows.values()
    )
    for table in rows.values():
        for row in table:
            assert f"| {row.confidence} | {row.source} |" in text
