"""Writes every dated rule row into docs/market-rules.md: `python tools/rules_doc.py`.

Owns the part of the page between its two marks. Must never touch what a person wrote around it.
Tests: tests/unit/tools/test_rules_doc.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

from caopan.adapters.rules.book import load_rules
from caopan.kernel.money import yuan

PAGE = Path(__file__).resolve().parents[1] / "docs" / "market-rules.md"
BEGIN, END = "<!-- rows: tools/rules_doc.py writes them -->", "<!-- end of rows -->"
_DATED = ("effective_from", "effective_to", "source", "confidence")
_MONEY = frozenset({"tick_size", "below"})
_TITLES: Mapping[str, str] = {
    "LIMITS": "Price limits",
    "ROUNDING": "Rounding of price limits",
    "TICKS": "Ticks (yuan)",
    "ONE_TICK": "One-tick relaxation of price limits",
    "QUANTITIES": "Order quantities",
    "DAILY_BUY_CAPS": "Daily cap on buying a risk-warning share",
    "CAGES": "Price cage",
    "HALTS": "Temporary halts without a price limit",
    "AUCTION_RANGES": "Prices taken by auctions without a price limit (multiples of the base)",
    "SESSIONS": "Closing auction",
    "AFTER_HOURS": "Trading at the close",
    "AFTER_HOURS_INTAKE": "Phase from which orders at the close are taken in",
    "AUCTION_GAPS": "Orders and cancels between 9:25 and 9:30",
    "ORDER_TYPES": "Order types",
    "SETTLEMENT": "Sessions a purchase is held before it may be sold",
    "FEES": "Fees and taxes on the amount",
    "DIVIDEND_TAX": "Dividend tax of an individual",
    "SURVEILLANCE": "Published figures of surveillance",
}


def rendered(tables: Mapping[str, Iterable[Any]]) -> str:
    """Return the tables as Markdown, each row with its dates, confidence and source."""
    return "\n".join(_table(_TITLES[name], list(rows)) for name, rows in tables.items())


def with_rows(page: str, rows: str) -> str:
    """Return `page` with `rows` between its marks."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{rows}\n{END}{after}"


def main() -> int:
    """Rewrite the page; return 0."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_rows(page, rendered(load_rules().rows)), encoding="utf-8")
    return 0


def _table(title: str, rows: list[Any]) -> str:
    own = [field.name for field in fields(rows[0]) if field.name not in _DATED]
    names = [*own, "from", "until", "confidence", "source"]
    lines = [f"### {title}", "", _line(name.replace("_", " ") for name in names)]
    lines.append(_line("---" for _ in names))
    for row in rows:
        cells = [_cell(name, getattr(row, name)) for name in own]
        until = "" if row.effective_to is None else row.effective_to.isoformat()
        cells += [row.effective_from.isoformat(), until, row.confidence, row.source]
        lines.append(_line(cells))
    return "\n".join([*lines, ""])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(name: str, value: Any) -> str:  # noqa: ANN401 - whatever a row may hold
    if value is None:
        text = "none"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    elif isinstance(value, Enum):
        text = str(value.value)
    elif isinstance(value, Fraction):
        exact = value.denominator == 1 and value > 1
        text = str(value) if exact else f"{float(value):.10f}".rstrip("0").rstrip(".")
    elif isinstance(value, frozenset | tuple):
        members: Any = value
        text = ", ".join(_cell(name, one) for one in sorted(members))
    else:
        text = yuan(value) if name in _MONEY else str(value)
    return text


if __name__ == "__main__":
    sys.exit(main())
