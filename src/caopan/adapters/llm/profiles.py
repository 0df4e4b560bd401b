"""The vendors' facts, one TOML file each, read into domain Profiles.

Owns the form of the files in profiles/ (and in a folder of the user's own) and their validation: a
field nobody knows is refused, not ignored. Must never hold a fact itself. Tests:
tests/unit/adapters/llm/test_profiles.py.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from caopan.domain.gateway.endpoint import AuthType, StructuredOutput
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.profile import ErrorSign, Profile
from caopan.kernel.errors import ConfigInvalid

_LIKE: Final = "like"
"""A file may build on another: what it does not say is as there."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_]{0,39}")
_STATUSES: Final = range(100, 600)
_CURRENCIES: Final = frozenset({"CNY", "USD"})


def load_profiles(own: Path | None = None) -> Mapping[str, Profile]:
    """Return every profile by name; files in `own` add to those of the product or replace them.

    Raises ConfigInvalid PROFILE_INVALID naming file and field.
    """
    texts = dict(_shipped())
    if own is not None:
        try:
            for path in sorted(own.glob("*.toml")):
                texts[path.stem] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigInvalid("PROFILE_INVALID", f"{own}: {type(error).__name__}") from error
    tables = {name: _table(name, text) for name, text in texts.items()}
    return MappingProxyType({name: _profile(name, tables) for name in sorted(tables)})


@cache
def _shipped() -> Mapping[str, str]:
    folder = resources.files("caopan.adapters.llm").joinpath("profiles")
    return {
        file.name.removesuffix(".toml"): file.read_text(encoding="utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".toml")
    }


def _table(name: str, text: str) -> dict[str, Any]:
    if not _NAME.fullmatch(name):
        raise _invalid(name, "the file's name", "is lower-case letters, digits and _")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _invalid(name, "the file", f"is no TOML: {error}") from None


def _profile(name: str, tables: Mapping[str, dict[str, Any]]) -> Profile:
    table = dict(tables[name])
    base_name = table.pop(_LIKE, None)
    if base_name is None:
        base = Profile(name, "", "", "")
    else:
        if base_name not in tables or _LIKE in tables[base_name]:
            raise _invalid(name, _LIKE, f"{base_name!r} is no profile that stands by itself")
        base = replace(_profile(base_name, tables), name=name)
    fields: dict[str, Any] = {}
    for field, value in table.items():
        read = _FIELDS.get(field)
        if read is None:
            raise _invalid(name, field, f"is not a field; there are {', '.join(_FIELDS)}")
        try:
            fields[field] = read(value)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _invalid(name, field, f"{value!r} is not understood ({error})") from None
    profile = replace(base, **fields)
    if not profile.title_zh or not profile.title_en:
        raise _invalid(name, "title_zh, title_en", "are missing")
    return profile


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = "expected text"
        raise TypeError(msg)
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        msg = "expected true or false"
        raise TypeError(msg)
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        msg = "expected a list of texts"
        raise TypeError(msg)
    return tuple(_text(one) for one in cast("list[object]", value))


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        msg = "expected a table"
        raise TypeError(msg)
    return MappingProxyType(cast("dict[str, Any]", value))


def _structured(value: object) -> Mapping[str, StructuredOutput]:
    return MappingProxyType(
        {model: StructuredOutput(_text(how)) for model, how in _mapping(value).items()}
    )


def _renamed(value: object) -> Mapping[str, str]:
    return MappingProxyType({ours: _text(theirs) for ours, theirs in _mapping(value).items()})


def _replaced(value: object) -> Mapping[str, Mapping[str, Any]]:
    return MappingProxyType({field: _mapping(values) for field, values in _mapping(value).items()})


def _currency(value: object) -> str:
    if value not in _CURRENCIES:
        msg = "expected CNY or USD"
        raise ValueError(msg)
    return _text(value)


def _auth(value: object) -> str:
    return AuthType(_text(value)).value


def _errors(value: object) -> tuple[ErrorSign, ...]:
    signs = cast("list[object]", value) if isinstance(value, list) else [value]
    return tuple(_sign(_mapping(sign)) for sign in signs)


def _sign(sign: Mapping[str, Any]) -> ErrorSign:
    unknown = sign.keys() - {"failure", "status", "code", "text"}
    status: object = sign.get("status")
    told = ErrorSign(
        FailureClass(_text(sign["failure"])),
        status if isinstance(status, int) else None,
        _text(sign.get("code", "")),
        _text(sign.get("text", "")),
    )
    if unknown or (status is not None and told.status not in _STATUSES):
        msg = "an error has failure, and of status, code and text what tells it"
        raise ValueError(msg)
    if told.text != told.text.lower():
        msg = "text is compared in lower case"
        raise ValueError(msg)
    if told.status is None and not told.code and not told.text:
        msg = "an error that nothing tells from others"
        raise ValueError(msg)
    return told


_FIELDS: Final[Mapping[str, Callable[[object], object]]] = {
    "title_zh": _text,
    "title_en": _text,
    "url": _text,
    "auth": _auth,
    "auth_header": _text,
    "structured": _structured,
    "json_word": _flag,
    "stream_usage": _flag,
    "embeddings": _flag,
    "renamed": _renamed,
    "dropped": _texts,
    "replaced": _replaced,
    "prompt_tokens": _text,
    "completion_tokens": _text,
    "cached_tokens": _texts,
    "cache_write_tokens": _texts,
    "reasoning_tokens": _texts,
    "reasoning_fields": _texts,
    "default_params": _mapping,
    "errors": _errors,
    "currency": _currency,
    "price_provider": _text,
    "notes": _text,
}
"""Every field of Profile but its name, and how its value is read."""


def _invalid(name: str, field: str, why: str) -> ConfigInvalid:
    return ConfigInvalid(
        "PROFILE_INVALID", f"profile {name}: {field} {why}", remedy=f"Correct {name}.toml."
    )
