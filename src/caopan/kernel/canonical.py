"""Canonical JSON (RFC 8785) and the hashes built on it.

Owns the one byte form that hashes are taken over: sorted keys, no spaces, ECMAScript numbers,
UTF-8. Must never accept a value that JSON cannot carry exactly (NaN, infinity, integers beyond
2**53). Tests: tests/property/kernel/test_canonical.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from caopan.kernel.errors import ConfigInvalid

Json: TypeAlias = Any
"""A JSON value: dict, list, tuple, str, int, float, bool or None."""

_SAFE_INTEGER = 2**53
_PLAIN_LOW = 1e-4
_PLAIN_HIGH = 1e16
_ES_LOW = -6
_ES_HIGH = 21
_BYTES: tuple[type, ...] = (bytes, bytearray, memoryview)
"""Sequences to Python; JSON has no such type."""

_MARK = "\x00"
_MARKED = "\\u0000"
"""How the C encoder writes the mark. Text that holds either is left to the general writer."""

_encode_string = json.encoder.encode_basestring
_encode_plain = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
).encode


class _Unusual(Exception):
    """The value needs the slow, general writer."""


def canonical(value: Json) -> bytes:
    """Return the RFC 8785 bytes of a JSON value (dict, list, tuple, str, int, float, bool, None).

    Raises:
        ConfigInvalid: CANONICAL_VALUE if the value holds something JSON cannot carry exactly.
    """
    try:
        # The C encoder writes the same bytes for nearly all values, many times faster.
        text = _encode_plain(_for_c_encoder(value))
    except _Unusual:
        parts: list[str] = []
        _write(value, parts)
        text = "".join(parts)
    else:
        if _MARKED in text:
            text = text.replace(f'"{_MARKED}', "").replace(f'{_MARKED}"', "")
    return text.encode()


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def content_hash(value: Json) -> str:
    """Return the SHA-256 of the canonical JSON of `value`."""
    return sha256_hex(canonical(value))


def _for_c_encoder(value: Json) -> Json:  # noqa: C901, PLR0911 - one branch a type
    """Return `value` as the C encoder writes it canonically, or raise _Unusual.

    Python and ECMAScript write most floats alike; the others become marked strings, which
    `canonical` unmarks in the encoder's output.
    """
    kind = value.__class__
    if kind is float:
        if value.is_integer() and abs(value) < _PLAIN_HIGH:
            return int(value)
        if _PLAIN_LOW <= abs(value) < _PLAIN_HIGH:
            return value
        return f"{_MARK}{_ecmascript(value)}{_MARK}"
    if kind is str:
        if _MARK in value or _MARKED in value or not (value.isascii() or _no_surrogates(value)):
            raise _Unusual
        return value
    if kind is int:
        if not -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
            raise _Unusual
        return value
    if kind is dict:
        for key in value:
            # Beyond ASCII, code points and UTF-16 units may sort differently.
            if key.__class__ is not str or not key.isascii() or _MARK in key or _MARKED in key:
                raise _Unusual
        return {key: _for_c_encoder(item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_for_c_encoder(item) for item in value]
    if value is None or kind is bool:
        return value
    raise _Unusual


def _no_surrogates(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _write(value: Json, parts: list[str]) -> None:  # noqa: C901 - one branch a type
    if value is None or value is True or value is False:
        parts.append("null" if value is None else ("true" if value else "false"))
    elif isinstance(value, str):
        if not _no_surrogates(value):
            raise _refused(value, "a lone surrogate has no UTF-8 form")
        parts.append(_encode_string(value))
    elif isinstance(value, int):
        if not -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
            raise _refused(value, "integers beyond 2**53 are not exact in JSON; send a string")
        parts.append(str(int(value)))
    elif isinstance(value, float):
        parts.append(_ecmascript(value))
    elif value.__class__ in _BYTES:
        raise _refused(value, "bytes are not a JSON type")
    elif isinstance(value, Mapping):
        _write_object(cast("Mapping[Any, Any]", value), parts)
    elif isinstance(value, Sequence):
        parts.append("[")
        for index, item in enumerate(cast("Sequence[Any]", value)):
            if index:
                parts.append(",")
            _write(item, parts)
        parts.append("]")
    else:
        raise _refused(value, f"{type(value).__name__} is not a JSON type")


def _write_object(value: Mapping[Any, Any], parts: list[str]) -> None:
    if not all(isinstance(key, str) for key in value):
        raise _refused(list(value), "object keys must be strings")
    if not all(_no_surrogates(key) for key in value):
        raise _refused(list(value), "a lone surrogate has no UTF-8 form")
    parts.append("{")
    # RFC 8785 orders keys by UTF-16 code units.
    for index, key in enumerate(sorted(value, key=lambda name: name.encode("utf-16-be"))):
        if index:
            parts.append(",")
        _write(key, parts)
        parts.append(":")
        _write(value[key], parts)
    parts.append("}")


def _ecmascript(value: float) -> str:
    """Return Number.prototype.toString of `value` (ECMA-262 §6.1.6.1.20)."""
    if value - value != 0.0:
        raise _refused(value, "NaN and infinity have no JSON form")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0") if fraction != "0" else ""
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + (int(exponent) if exponent else 0)
    point -= len(whole + fraction) - len((whole + fraction).lstrip("0"))
    digits = digits.rstrip("0") or "0"
    count = len(digits)
    if count <= point <= _ES_HIGH:
        return sign + digits + "0" * (point - count)
    if 0 < point <= _ES_HIGH:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if _ES_LOW < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    power = point - 1
    tail = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if power >= 0 else '-'}{abs(power)}"


def _refused(value: Json, why: str) -> ConfigInvalid:
    return ConfigInvalid("CANONICAL_VALUE", f"{value!r} cannot be written canonically: {why}")
