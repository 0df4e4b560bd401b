"""Reading fields of a JSON file strictly, so that each mistake names file, field, value and remedy.

Owns Node. Must never fill in a value that the caller did not name as a default, nor take a binary
float for money: numbers come in as int or Decimal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from fractions import Fraction
from typing import Any, TypeVar, cast

from caopan.domain.risk.policy_limits import read_number
from caopan.kernel.errors import CaopanError, ConfigInvalid
from caopan.kernel.money import units

_Word = TypeVar("_Word", bound=StrEnum)
_LONGEST = 200
"""Characters of a wrong value that an error shows."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a file, with the way to it."""

    file: str
    path: str
    value: Any

    def wrong(self, remedy: str) -> ConfigInvalid:
        """Return the error about this value."""
        told = repr(self.value)
        shown = told if len(told) <= _LONGEST else f"{told[:_LONGEST]}…"
        what = "is missing" if self.value is None else f"= {shown} is not taken"
        return ConfigInvalid(
            "GATE_FILE_INVALID", f"{self.file}: {self.path or 'the file'} {what}", remedy=remedy
        )

    def has(self, name: str) -> bool:
        """Return whether the object has a value other than null under `name`."""
        return self.members().get(name) is not None

    def at(self, name: str) -> Node:
        """Return the member `name`; its value is None where there is none."""
        path = name if not self.path else f"{self.path}.{name}"
        return Node(self.file, path, self.members().get(name))

    def members(self) -> dict[str, Any]:
        """Return the object."""
        found: object = self.value
        if not isinstance(found, dict):
            raise self.wrong("write a JSON object")
        return cast("dict[str, Any]", found)

    def only(self, names: Collection[str]) -> Node:
        """Return the node of an object that has no member beside `names`."""
        for name in self.members():
            if name not in names:
                raise self.at(name).wrong(
                    f"the field is not known here: {', '.join(sorted(names))}"
                )
        return self

    def items(self) -> Iterator[Node]:
        """Return the members of an array."""
        found: object = self.value
        if not isinstance(found, list):
            raise self.wrong("write a JSON array")
        for index, item in enumerate(cast("list[Any]", found)):
            yield Node(self.file, f"{self.path}[{index}]", item)

    def text(self) -> str:
        """Return a string."""
        if not isinstance(self.value, str) or not self.value:
            raise self.wrong("write a string")
        return self.value

    def truth(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self.wrong("write true or false")
        return self.value

    def whole(self) -> int:
        """Return a whole number that is not negative."""
        if not isinstance(self.value, int) or isinstance(self.value, bool) or self.value < 0:
            raise self.wrong("write a whole number from 0")
        return self.value

    def money(self) -> int:
        """Return CNY as units."""
        number = read_number(self.value)
        if number is None:
            raise self.wrong('write CNY as a decimal string, for example "1234.56"')
        found = number * units(1)
        if found.denominator != 1:
            raise self.wrong("round it to 0.0001 yuan")
        return int(found)

    def share(self) -> Fraction:
        """Return an exact number."""
        number = read_number(self.value)
        if number is None:
            raise self.wrong("write a number")
        return number

    def instant(self) -> datetime:
        """Return an instant with its time zone."""
        try:
            found = datetime.fromisoformat(self.text())
        except ValueError as error:
            raise self.wrong("write ISO 8601 with a time zone: 2026-11-20T01:16:00Z") from error
        if found.tzinfo is None:
            raise self.wrong("name the time zone: 2026-11-20T09:16:00+08:00")
        return found

    def day(self) -> date:
        """Return a date."""
        try:
            return date.fromisoformat(self.text())
        except ValueError as error:
            raise self.wrong("write a date as 2026-11-20") from error

    def word(self, words: type[_Word]) -> _Word:
        """Return one of the words."""
        try:
            return words(self.text())
        except ValueError as error:
            raise self.wrong(f"write one of {', '.join(words)}") from error

    def about(self, error: CaopanError) -> ConfigInvalid:
        """Return `error`, met while reading this value, with the file's name."""
        return ConfigInvalid(
            "GATE_FILE_INVALID", f"{self.file}: {error.message}", remedy=error.remedy
        )
