"""Messages between the desk and the process that holds a broker: frames, and values as JSON.

Owns the frame (four bytes of length, then JSON) and the plain form of the port's shapes. Must
never trust what it reads: whatever does not fit its shape is a Malformed, named by field. Tests:
tests/unit/adapters/brokers/test_remote.py.
"""

from __future__ import annotations

import asyncio
import json
import types
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from functools import cache
from typing import Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from uuid import UUID

from caopan.kernel.errors import Unavailable

VERSION: Final = 3
_MOST: Final = 64 * 1024 * 1024
_LENGTH: Final = 4
T = TypeVar("T")


class Malformed(Exception):
    """A message that is none; says what is wrong."""


def other_build(broker: str, desk: str) -> Unavailable:
    """Return the refusal of two processes that do not run the same."""
    return Unavailable(
        "BROKER_BUILD",
        f"the broker process runs {broker or 'no build'}, this desk {desk or 'no build'}",
        remedy="stop both and start both from one installation",
    )


async def receive(reader: asyncio.StreamReader, most: int = _MOST) -> dict[str, Any]:
    """Return the next message, of at most `most` bytes.

    Raises Malformed; EOFError or OSError where the line ends first.
    """
    size = int.from_bytes(await reader.readexactly(_LENGTH), "big")
    if size > most:
        raise Malformed(f"a message of {size} bytes is longer than {most}")
    data = await reader.readexactly(size)
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from error
    return as_object(message, "message")


def framed(message: Mapping[str, Any]) -> bytes:
    """Return a message as bytes: ASCII, since JSON may hold what UTF-8 cannot (lone surrogates)."""
    data = json.dumps(message, separators=(",", ":")).encode()
    return len(data).to_bytes(_LENGTH, "big") + data


def plain(value: object) -> Any:  # noqa: ANN401, PLR0911 - JSON; one branch a shape
    """Return a value of the port's shapes as JSON."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, int | str):
        return value
    if isinstance(value, date):  # and datetime
        return value.isoformat()
    if isinstance(value, timedelta):
        return value // timedelta(microseconds=1)
    if is_dataclass(value):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value)
        return {key: plain(item) for key, item in items.items()}
    if isinstance(value, AbstractSet):
        return sorted(plain(one) for one in cast("AbstractSet[object]", value))
    if isinstance(value, Sequence):
        return [plain(one) for one in cast("Sequence[object]", value)]
    return str(value)


def as_object(value: object, where: str) -> dict[str, Any]:
    """Return a value as a JSON object. Raises Malformed."""
    return cast("dict[str, Any]", _as(dict, value, where))


def as_list(value: object, where: str) -> list[Any]:
    """Return a value as a JSON array. Raises Malformed."""
    return cast("list[Any]", _as(list, value, where))


def read(shape: type[T], value: object, where: str = "message") -> T:
    """Return `value` as a `shape`. Raises Malformed naming the field that does not fit."""
    try:
        return cast("T", _read(shape, value, where))
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise Malformed(f"{where}: {error}") from error


def _read(shape: Any, value: Any, where: str) -> object:  # noqa: ANN401, C901, PLR0911
    origin, inner = get_origin(shape), get_args(shape)
    if origin in (Union, types.UnionType):
        if value is None and types.NoneType in inner:
            return None
        (only,) = (one for one in inner if one is not types.NoneType)
        return read(only, value, where)
    if origin is frozenset:
        return frozenset(read(inner[0], one, where) for one in as_list(value, where))
    if origin is not None and issubclass(origin, Mapping):
        named = as_object(value, where).items()
        return {key: read(inner[1], one, f"{where}.{key}") for key, one in named}
    if origin is not None and issubclass(origin, Sequence):
        listed = enumerate(as_list(value, where))
        found = [read(inner[0], one, f"{where}[{at}]") for at, one in listed]
        return tuple(found) if origin is tuple else found
    if is_dataclass(shape):
        return _read_fields(cast("type[Any]", shape), as_object(value, where), where)
    if shape is datetime:
        at = datetime.fromisoformat(_as(str, value, where))
        if at.tzinfo is None:
            raise Malformed(f"{where}: {value!r} has no time zone")
        return at
    if shape is date:
        return date.fromisoformat(_as(str, value, where))
    if shape is timedelta:
        return timedelta(microseconds=_as(int, value, where))
    if shape in (int, str, bool):
        return _as(shape, value, where)
    return shape(_as(str, value, where))  # UUID and the enumerations


def _read_fields(shape: type[Any], values: dict[str, object], where: str) -> object:
    hints = _hints(shape)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise Malformed(f"{where}: there is no field {unknown[0]!r}")
    return shape(
        **{name: read(hints[name], one, f"{where}.{name}") for name, one in values.items()}
    )


@cache
def _hints(shape: type[Any]) -> dict[str, Any]:
    return get_type_hints(shape, localns={"UUID": UUID})


def _as(kind: type[T], value: object, where: str) -> T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise Malformed(f"{where}: {value!r} is no {kind.__name__}")
    return value
