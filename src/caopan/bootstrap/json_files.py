"""Reading JSON files strictly.

Owns `read_json`. Must never take a field that is given twice, a number that JSON does not have or
a file beyond its bound. Tests: tests/integration/cli/test_gate.py.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from caopan.application.file_fields import Node
from caopan.kernel.errors import ConfigInvalid

_LARGEST: Final = 64 * 2**20


def read_json(path: Path) -> Node:
    """Return the JSON values of a file; numbers with a point stay exact decimals.

    Raises:
        ConfigInvalid: GATE_FILE_UNREADABLE naming the file.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise unreadable(path, "it is larger than 64 MiB")
        text = path.read_text(encoding="utf-8")
        value = json.loads(
            text, parse_float=Decimal, parse_constant=_no_constant, object_pairs_hook=_once
        )
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, str(error)) from error
    return Node(path.name, "", value)


def unreadable(path: Path, why: str) -> ConfigInvalid:
    """Return the error about a file that holds no JSON object."""
    remedy = "give a UTF-8 file that holds one JSON object"
    return ConfigInvalid("GATE_FILE_UNREADABLE", f"{path.name}: {why}", remedy=remedy)


def _no_constant(word: str) -> object:
    message = f"{word} is no JSON number"
    raise ValueError(message)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        message = f"{next(n for n in names if names.count(n) > 1)!r} is given twice"
        raise ValueError(message)
    return found
