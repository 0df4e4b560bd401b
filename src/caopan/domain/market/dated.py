"""Rules that hold from one date to another, and how the one in force is found.

Owns the shape every rule row shares and the refusal where no row, or two that disagree, cover a
day. Must never prefer one row to another that says something else. Tests:
tests/unit/domain/market/test_dated.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from caopan.kernel.errors import Denied

RULES_UNKNOWN = "RISK_RULES_UNKNOWN"
RULES_MISMATCH = "DATA_RULES_MISMATCH"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedRow:
    """A rule in force from `effective_from` up to and excluding `effective_to`."""

    effective_from: date
    effective_to: date | None = None
    source: str
    """Where the rule is written: a record id of a cited data set, or our own rules table."""
    confidence: str
    """verified, single-source, V, V2, M or U (see adapters/rules/own_rows.py)."""

    def in_force(self, day: date) -> bool:
        """Return whether the row holds on `day`."""
        return self.effective_from <= day and (self.effective_to is None or day < self.effective_to)

    def value(self) -> object:
        """Return what the row says, without its dates and source."""
        raise NotImplementedError


Row = TypeVar("Row", bound=DatedRow)


def find(rows: Iterable[Row], day: date, what: str) -> Row | None:
    """Return the row in force on `day`, or None.

    Raises:
        Denied: DATA_RULES_MISMATCH if two rows are in force and say different things.
    """
    found: Row | None = None
    for row in rows:
        if not row.in_force(day):
            continue
        if found is None:
            found = row
        elif found.value() != row.value():
            raise Denied(
                RULES_MISMATCH,
                f"{what} on {day}: {found.source} says {found.value()!r},"
                f" {row.source} says {row.value()!r}",
                remedy="settle which source is right; until then the case is not traded",
            )
    return found


def require(rows: Iterable[Row], day: date, what: str) -> Row:
    """Return the row in force on `day`.

    Raises:
        Denied: RISK_RULES_UNKNOWN if there is none, DATA_RULES_MISMATCH as `find`.
    """
    row = find(rows, day, what)
    if row is None:
        raise unknown(f"no rule for {what} on {day}")
    return row


def unknown(message: str) -> Denied:
    """Return the refusal for a case the rule tables do not cover."""
    return Denied(
        RULES_UNKNOWN, message, remedy="the rule tables do not cover it, so it is not traded"
    )
