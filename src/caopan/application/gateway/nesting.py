"""How deep JSON may nest that others sent, so that whatever writes or walks it again can do so.

Owns the bound and its measuring. Must never measure by recursion, nor parse what cannot nest so
deep. Tests: tests/unit/application/gateway/test_nesting.py.

The parser takes 1,024 levels and the writer gives up at 254: without a bound an answer that was
read could be neither passed on nor recorded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

import orjson

MOST_DEPTH: Final = 100


def nests_deeper(raw: bytes, parsed: object, most: int = MOST_DEPTH) -> bool:
    """Tell whether `parsed`, the JSON of `raw`, nests deeper than `most` levels.

    What does not even open that many brackets is not looked through.
    """
    if raw.count(b"[") + raw.count(b"{") <= most:
        return False
    level = _containers([parsed])
    for _ in range(most):
        if not level:
            return False
        level = [inner for container in level for inner in _containers(_values(container))]
    return bool(level)


def bounded_json(raw: bytes) -> object:
    """Return the JSON of `raw`. Raises ValueError where it is none, or nests too deep."""
    parsed: object = orjson.loads(raw)
    if nests_deeper(raw, parsed):
        msg = f"JSON nests deeper than {MOST_DEPTH} levels"
        raise ValueError(msg)
    return parsed


def _containers(values: Iterable[object]) -> list[object]:
    return [value for value in values if isinstance(value, dict | list)]


def _values(container: object) -> Iterable[object]:
    if isinstance(container, dict):
        return cast("dict[str, object]", container).values()
    return cast("list[object]", container)
