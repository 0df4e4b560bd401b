"""What is wrong with a reply, in words a model can mend it by.

Owns `faults_of`. Each names field, value and remedy; all are bounded, whatever a reply calls its
fields. Must never repeat more of a reply than it takes. Tests:
tests/unit/application/contracts/test_decision.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from caopan.application.contracts.reply.letters import printable, shown

MOST_FAULTS: Final = 10
_LONGEST: Final = 300
_LONGEST_NAME: Final = 60

_PRICE: Final = 'CNY per share as a decimal string with at most four decimals, such as "10.50"'
_MONEY: Final = 'CNY as a decimal string with at most four decimals, such as "1000000.00"'
_FRACTION: Final = 'a decimal string from 0 to 1 with at most four decimals, such as "0.25"'
_REMEDIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("price", "stop_price", "min_price", "max_price"), _PRICE),
    **dict.fromkeys(("nav", "cash", "max_new_cash"), _MONEY),
    **dict.fromkeys(("target_weight", "fraction", "trail_pct", "tranches"), _FRACTION),
    "symbol": 'code, dot and exchange, such as "600519.SH"',
    "qty": "a whole number of shares",
    "confidence": "a number from 0 to 1",
    "cancel_at": "a time with its zone, such as 2026-11-20T14:50:00+08:00",
    "observation_ref": "the content_hash of the observation",
}

_MESSAGES: Final[Mapping[str, str]] = {
    "model_type": "Input should be an object",
    "list_type": "Input should be an array",
    "int_type": "Input should be a whole number",
}


def faults_of(error: ValidationError) -> tuple[str, ...]:
    """Return one line for each thing wrong, MOST_FAULTS at most and then their number."""
    found = error.errors(include_url=False)
    told = [_line(dict(one)) for one in found[:MOST_FAULTS]]
    if len(found) > MOST_FAULTS:
        told.append(f"and {len(found) - MOST_FAULTS} more")
    return tuple(told)


def _line(one: Mapping[str, Any]) -> str:
    way: tuple[int | str, ...] = one["loc"]
    path = ".".join(printable(str(step)[:_LONGEST_NAME]) for step in way) or "reply"
    kind, message = str(one["type"]), str(one["msg"]).removeprefix("Value error, ")
    message = _MESSAGES.get(kind, message)
    field = next((step for step in reversed(way) if isinstance(step, str)), "")
    remedy = _REMEDIES.get(field, "")
    if kind == "extra_forbidden":
        message, remedy = f"{message}: the field is not known here", "leave it out"
    elif kind == "missing":
        message = f"{message}, it is missing"
    elif way and not isinstance(one["input"], dict):
        message = f"{message}, not {shown(one['input'])}"
    if remedy and kind != "extra_forbidden":
        remedy = f"write {remedy}"
    return f"{path}: {message}{f'; {remedy}' if remedy else ''}"[:_LONGEST]
