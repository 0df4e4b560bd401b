"""One exported record, read back value by value, or refused by record and field.

Owns PlainRecord. An export may be older than this version, or damaged: what is missing or of
another type is named. Must never fill a value in. Tests:
tests/unit/domain/accounting/test_plain_record.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from fractions import Fraction
from typing import Any, NoReturn, cast

from caopan.kernel.errors import CorruptState


class PlainRecord:
    """Values by name, as JSON gives them; every method raises SNAPSHOT_INVALID naming the field."""

    __slots__ = ("_values", "name")

    def __init__(self, values: object, name: str) -> None:
        """Take the `values` of the record that messages call `name`."""
        self.name = name
        if not isinstance(values, Mapping):
            self.refuse("record", values, "is no object")
        self._values = cast("Mapping[str, object]", values)

    def refuse(self, field: str, value: object, why: str) -> NoReturn:
        """Refuse the record because of one field.

        Raises:
            CorruptState: SNAPSHOT_INVALID.
        """
        raise CorruptState(
            "SNAPSHOT_INVALID",
            f"the exchange cannot go on: {self.name}, field {field}: {value!r} {why}",
            remedy="use an export of this version, or replay the exchange from its log",
        )

    def has(self, field: str) -> bool:
        """Return whether the field stands there."""
        return field in self._values

    def value(self, field: str) -> Any:  # noqa: ANN401 - JSON
        """Return a value of any type."""
        if field not in self._values:
            raise CorruptState(
                "SNAPSHOT_INVALID",
                f"the exchange cannot go on: {self.name}, field {field} is missing",
                remedy="use an export of this version, or replay the exchange from its log",
            )
        return self._values[field]

    def whole(self, field: str, least: int | None = None) -> int:
        """Return a whole number, not below `least`."""
        return self._whole(field, self.value(field), least)

    def whole_or_none(self, field: str, least: int | None = None) -> int | None:
        """Return a whole number, or None where the export says so."""
        return None if self.value(field) is None else self.whole(field, least)

    def flag(self, field: str) -> bool:
        """Return true or false."""
        found = self.value(field)
        if not isinstance(found, bool):
            self.refuse(field, found, "is neither true nor false")
        return found

    def text(self, field: str) -> str:
        """Return a text."""
        found = self.value(field)
        if not isinstance(found, str):
            self.refuse(field, found, "is no text")
        return found

    def day(self, field: str) -> date:
        """Return a date written as 2024-01-02."""
        return self.as_day(field, self.value(field))

    def rows(self, field: str, *sizes: int) -> list[list[Any]]:
        """Return a list of lists, each of one of `sizes` values."""
        rows: list[list[Any]] = []
        for number, row in enumerate(self.listed(field)):
            values = _as_list(row)
            if values is None or len(values) not in sizes:
                wanted = " or ".join(map(str, sizes))
                self.refuse(f"{field}[{number}]", row, f"is no list of {wanted} values")
            rows.append(values)
        return rows

    def listed(self, field: str) -> list[Any]:
        """Return a list."""
        found = _as_list(self.value(field))
        if found is None:
            self.refuse(field, self.value(field), "is no list")
        return found

    def numbers(self, field: str, size: int) -> list[int]:
        """Return a list of so many whole numbers."""
        found = self.listed(field)
        if len(found) != size:
            self.refuse(field, found, f"is no list of {size} numbers")
        return [self._whole(f"{field}[{i}]", one, None) for i, one in enumerate(found)]

    def inner(self, field: str) -> PlainRecord:
        """Return an object within the record as a record of its own."""
        return PlainRecord(self.value(field), f"{self.name}, {field}")

    def as_day(self, field: str, value: object) -> date:
        """Return a value of `field` as a date."""
        try:
            return date.fromisoformat(cast("str", value))
        except (TypeError, ValueError):
            self.refuse(field, value, "is no date; write it as 2024-01-02")

    def as_whole(self, field: str, value: object, least: int = 0) -> int:
        """Return a value of `field` as a whole number, not below `least`."""
        return self._whole(field, value, least)

    def as_share(self, field: str, value: object) -> Fraction:
        """Return a value of `field` as an exact fraction, written as 3/10 or 0.3."""
        try:
            return Fraction(value if isinstance(value, str) else "")
        except (ValueError, ZeroDivisionError):
            self.refuse(field, value, "is no fraction")

    def _whole(self, field: str, value: object, least: int | None) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self.refuse(field, value, "is no whole number")
        if least is not None and value < least:
            self.refuse(field, value, f"is below {least}")
        return value


def _as_list(value: object) -> list[Any] | None:
    if not isinstance(value, list | tuple):
        return None
    return list(cast("Sequence[Any]", value))
