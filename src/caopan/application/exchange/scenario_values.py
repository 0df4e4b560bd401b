"""Values of a scenario file, each of its type or refused by the place where it stands.

Owns these readings. Must never fill in a value. Every function raises ConfigInvalid
SCENARIO_INVALID. Tests: tests/integration/exchange/.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import suppress
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn, cast

from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import rate

Row = Mapping[str, Any]


def as_symbol(row: Row, where: str, known: Container[str], name: str = "symbol") -> str:
    """Return a symbol that is `known`."""
    symbol = str(field(row, name, where))
    if symbol not in known:
        refuse(f"{where}.{name}", f"{symbol!r} is not among the securities")
    return symbol


def as_rate(row: Row, name: str, where: str) -> Fraction:
    """Return a number that is not negative, exact."""
    value = field(row, name, where)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        refuse(f"{where}.{name}", f"{value!r} is no number")
    try:
        found = rate(str(value))
    except ConfigInvalid as error:
        refuse(f"{where}.{name}", error.message)
    if found < 0:
        refuse(f"{where}.{name}", f"{value!r} is negative")
    return found


def as_day(value: object, where: str) -> date:
    """Return a date."""
    found = None
    if isinstance(value, str):
        with suppress(ValueError):
            found = date.fromisoformat(value)
    # Other ways to write a date are as likely to be another field.
    if found is None or found.isoformat() != value:
        refuse(where, f"{value!r} is no date; write it as 2024-01-02")
    return found


def field(row: Row, name: str, where: str) -> Any:  # noqa: ANN401 - JSON
    """Return a value that must be there."""
    if name not in row:
        refuse(f"{where}.{name}", "missing")
    return row[name]


def as_object(value: object, where: str) -> Row:
    """Return an object."""
    if not isinstance(value, dict):
        refuse(where, "not an object")
    return cast("Row", value)


def as_rows(value: object, where: str) -> list[list[Any]]:
    """Return a list of lists."""
    if not isinstance(value, list):
        refuse(where, "not a list")
    rows = cast("list[Any]", value)
    if not all(isinstance(row, list) for row in rows):
        refuse(where, "not a list of lists")
    return rows


def as_list(row: Row, name: str, where: str) -> list[Any]:
    """Return a list."""
    value = field(row, name, where)
    if not isinstance(value, list):
        refuse(f"{where}.{name}", "not a list")
    return cast("list[Any]", value)


def refuse(where: str, why: str) -> NoReturn:
    """Refuse the scenario because of the field at `where`."""
    raise ConfigInvalid(
        "SCENARIO_INVALID",
        f"{where}: {why}",
        remedy="correct the scenario; nothing of it was run",
    )
