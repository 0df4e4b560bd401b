"""The values of a decision's fields: their JSON Schema, and the dress each may wear.

Owns the field types of the reply and the table of synonyms. A value is only written anew where its
meaning is one and the same, exactly, and each such fix is named in the validation's context (a set
of names). Must never pass a number through a binary float, nor touch free text. Tests:
tests/unit/application/contracts/test_reply_fields.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final, TypeAlias, cast

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from caopan.application.contracts.reply.letters import folded, folded_name, seen
from caopan.application.contracts.reply.scanner import Numeral
from caopan.domain.decision.shapes import Comparison
from caopan.kernel.money import units

SYNONYMS: Final = {
    "买入": "buy",
    "卖出": "sell",
    "限价": "limit",
    "市价": "market",
    "<": Comparison.LT.value,
    "<=": Comparison.LE.value,
    ">": Comparison.GT.value,
    ">=": Comparison.GE.value,
    "==": Comparison.EQ.value,
    "!=": Comparison.NE.value,
}
"""Words with exactly one meaning. What a model might mean by others (hold, 持有, close) is not
guessed."""

_LONGEST: Final = 100
"""Letters of a value that is looked at for dress."""
_SEPARATED: Final = re.compile(r"-?[0-9]{1,3}(?:(?:,[0-9]{3}){2,}(?:\.[0-9]+)?|,[0-9]{3}\.[0-9]+)")
"""Thousands are told from a decimal comma by a second separator, or by a decimal point."""
_LONG_ZEROS: Final = re.compile(r"(-?[0-9]+\.[0-9]{4})0+")
_WHOLE: Final = re.compile(r"(-?(?:0|[1-9][0-9]*))(\.0+)?")
_PLAIN: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


def fix(info: ValidationInfo, name: str) -> None:
    """Note a fix by its name."""
    noted: object = info.context
    if isinstance(noted, set):
        cast("set[str]", noted).add(name)


def null_as(make: Callable[[], object]) -> BeforeValidator:
    """Return what takes null for a field that was left out, whose value `make` gives."""

    def absent(value: object, info: ValidationInfo) -> object:
        if value is not None:
            return value
        fix(info, "null_for_absent")
        return make()

    return BeforeValidator(absent)


def _bare(value: str, info: ValidationInfo, fold: Callable[[str], str] = folded) -> str:
    """Return a word or number without full-width letters, invisible ones and spaces around it."""
    if len(value) > _LONGEST and not value.isascii():
        return value
    found = value
    for name, change in (
        ("invisible_characters", seen),
        ("full_width", fold),
        ("spaces", str.strip),
    ):
        changed = change(found)
        if changed != found:
            fix(info, name)
        found = changed
    return found


def _decimal(text: str, info: ValidationInfo) -> str:
    """Return a decimal without its thousands separators and surplus zeros."""
    text = _bare(text, info)
    if len(text) > _LONGEST:
        return text
    if "," in text and _SEPARATED.fullmatch(text):
        fix(info, "thousands_separator")
        text = text.replace(",", "")
    match = _LONG_ZEROS.fullmatch(text)
    if match is not None:
        fix(info, "trailing_zeros")
        text = match[1]
    return text


def _decimal_text(value: object, info: ValidationInfo) -> object:
    """Take a number where its decimal text is asked for: its digits, as they are written."""
    if isinstance(value, Numeral):
        fix(info, "number_for_text")
        return _decimal(value.text, info)
    return _decimal(value, info) if isinstance(value, str) else value


def _whole(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str):
        text = _decimal(value, info)
        if _PLAIN.fullmatch(text) is None:
            return value
        fix(info, "text_for_number")
    elif isinstance(value, Numeral):
        text = value.text
    else:
        return value
    match = _WHOLE.fullmatch(text)
    if match is None or len(text) > _LONGEST:
        return value
    if match[2]:
        fix(info, "trailing_zeros")
    return int(match[1])


def _statistic(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str):
        text = _bare(value, info)
        if len(text) > _LONGEST or _PLAIN.fullmatch(text) is None:
            return value
        fix(info, "text_for_number")
        return float(text)
    return float(value.text) if isinstance(value, Numeral) else value


def _threshold(value: object, info: ValidationInfo) -> object:
    if isinstance(value, Numeral):
        return _decimal(value.text, info)
    if not isinstance(value, str):
        return value
    text = _decimal(value, info)
    if _PLAIN.fullmatch(text):
        fix(info, "text_for_number")
    return text


def _word(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    text = _bare(value, info)
    if text in SYNONYMS:
        fix(info, "synonym")
        return SYNONYMS[text]
    small = text.lower()
    if small != text:
        fix(info, "letter_case")
    return small


def _symbol(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    text = _bare(value, info)
    large = text.upper()
    if large != text:
        fix(info, "letter_case")
    return large


def _name(value: object, info: ValidationInfo) -> object:
    return _bare(value, info, folded_name) if isinstance(value, str) else value


def _positive(value: str) -> str:
    if units(value) <= 0:
        message = "Input should be greater than 0"
        raise ValueError(message)
    return value


def _above_zero(value: str) -> str:
    if Decimal(value) <= 0:
        message = "Input should be greater than 0"
        raise ValueError(message)
    return value


def _below_one(value: str) -> str:
    if Decimal(value) >= 1:
        message = "Input should be less than 1"
        raise ValueError(message)
    return value


def _comparable(value: str) -> str:
    if value in {"nan", "inf", "infinity"}:
        message = "Input should be a number or a state"
        raise ValueError(message)
    return value


def _instant(value: str) -> str:
    try:
        found = datetime.fromisoformat(value)
        # The first and the last day have no time elsewhere.
        found.astimezone(UTC)
    except (ValueError, OverflowError):
        found = None
    if found is None or found.tzinfo is None:
        message = "Input should be a time with its zone, such as 2026-11-20T14:50:00+08:00"
        raise ValueError(message)
    return value


FreeText: TypeAlias = Annotated[str, Field(strict=True)]
"""Kept to the letter."""
_FRACTION: Final = r"^(0(\.[0-9]{1,4})?|1(\.0{1,4})?)$"

Price: TypeAlias = Annotated[
    FreeText,
    Field(pattern=r"^[0-9]{1,7}(\.[0-9]{1,4})?$", description="CNY per share, a decimal string"),
    AfterValidator(_positive),
    BeforeValidator(_decimal_text),
]
Money: TypeAlias = Annotated[
    FreeText,
    Field(pattern=r"^-?[0-9]{1,15}(\.[0-9]{1,4})?$", description="CNY, a decimal string"),
    BeforeValidator(_decimal_text),
]
Weight: TypeAlias = Annotated[FreeText, Field(pattern=_FRACTION), BeforeValidator(_decimal_text)]
"""From 0 to 1."""
Part: TypeAlias = Annotated[
    FreeText, Field(pattern=_FRACTION), AfterValidator(_above_zero), BeforeValidator(_decimal_text)
]
"""Above 0, to 1."""
Distance: TypeAlias = Annotated[
    FreeText,
    Field(pattern=_FRACTION),
    AfterValidator(_above_zero),
    AfterValidator(_below_one),
    BeforeValidator(_decimal_text),
]
"""Between 0 and 1."""
Threshold: TypeAlias = Annotated[
    FreeText,
    Field(pattern=r"^(-?[0-9]{1,12}(\.[0-9]{1,12})?|[a-z][a-z_]{0,39})$"),
    AfterValidator(_comparable),
    BeforeValidator(_threshold),
    WithJsonSchema({"type": ["number", "string"]}),
]
"""What a feature is compared with: a number as it is written, or a state such as sealed_up."""
Instant: TypeAlias = Annotated[
    FreeText, Field(max_length=40), AfterValidator(_instant), BeforeValidator(_name)
]
SymbolText: TypeAlias = Annotated[
    FreeText, Field(pattern=r"^[0-9]{6}\.(SH|SZ|BJ)$"), BeforeValidator(_symbol)
]
Name: TypeAlias = Annotated[FreeText, BeforeValidator(_name)]
WHOLE: Final = BeforeValidator(_whole)
"""Put on an int, after its bounds: a whole number, or its text."""
STATISTIC: Final = BeforeValidator(_statistic)
"""Put on a float, after its bounds: a number, or its text."""
WORD: Final = BeforeValidator(_word)
"""Put on a Literal: its words in any case, with spaces around them, or a synonym."""
