"""Where this installation stands: home directory, services, language, model endpoint.

Owns every reading of the environment; nothing else in the product may look there. Must never hold
a tunable of the strategy or the risk rules (those belong to the recorded configuration), never
print a secret, and never import a heavy library: `caopan --help` reads the language here.
Tests: tests/unit/test_settings.py.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from caopan.kernel.errors import ConfigInvalid

Language = Literal["en", "zh"]

DATABASE_SCHEMES: Final = ("postgresql", "postgres", "postgresql+psycopg")
REDIS_SCHEMES: Final = ("redis", "rediss", "unix")
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})

VARIABLES: Final[Mapping[str, str]] = {
    "CAOPAN_HOME": "home",
    "CAOPAN_LANG": "lang",
    "CAOPAN_DEBUG": "debug",
    "CAOPAN_REAL_DATA": "real_data",
    "CAOPAN_MODEL_BASE_URL": "model_base_url",
    "CAOPAN_MODEL": "model",
    "CAOPAN_MODEL_KEY": "model_key",
    "DATABASE_URL": "database_url",
    "REDIS_URL": "redis_url",
}
"""Every variable the product reads, and the field it fills."""


_MOST_SECRET: Final = 64 * 1024
"""Bytes of a file that holds a secret."""


class Secret:
    """A value that is never shown: `str`, `repr`, format and logs see stars."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        """Return the value itself; call this only where it is handed to its consumer."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[object, ...]:
        msg = "a Secret is not pickled: hand over the settings' source instead"
        raise TypeError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One validated picture of the environment, taken once when a process starts."""

    home: Path
    """Absolute; all state of the installation lives under it."""
    lang: Language
    debug: bool = False
    database_url: Secret | None = None
    """An external PostgreSQL; None means the embedded one."""
    redis_url: Secret | None = None
    """An external Redis or Valkey; None means the embedded one."""
    real_data: Path | None = None
    """A folder of real market data, where the user has one."""
    model_base_url: str | None = None
    """An OpenAI-compatible endpoint; None means the built-in models only."""
    model: str | None = None
    model_key: str | None = None
    """A reference, never the key itself: `env:NAME` or `file:PATH`."""

    @property
    def logs(self) -> Path:
        """Folder of rotated server logs and crash reports."""
        return self.home / "logs"

    @property
    def backups(self) -> Path:
        """Folder of database backups; `caopan reset` leaves it alone."""
        return self.home / "backups"

    @property
    def plots(self) -> Path:
        """Folder of saved charts."""
        return self.home / "plots"


def environment_language(environ: Mapping[str, str] | None = None) -> Language:
    """Return the language the environment asks for; English where it says nothing usable."""
    source = os.environ if environ is None else environ
    asked = source.get("CAOPAN_LANG", "")
    if not asked:
        names = ("LC_ALL", "LC_MESSAGES", "LANG")
        asked = next((source[name] for name in names if source.get(name)), "")
    return "zh" if asked.lower().startswith("zh") else "en"


def environment_debug(environ: Mapping[str, str] | None = None) -> bool:
    """Return whether CAOPAN_DEBUG asks for tracebacks, without validating anything else."""
    source = os.environ if environ is None else environ
    return source.get("CAOPAN_DEBUG", "").lower() in _TRUE


def child_environment(**extra: str) -> dict[str, str]:
    """Return a small environment for server and tool processes: paths and locale, no secrets."""
    kept = ("PATH", "TMPDIR", "TZ", "SYSTEMROOT", "DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    # Server messages are classified by their English text.
    return {**environ, "LC_ALL": "C", "LANG": "C", **extra}


def load_settings(
    overrides: Mapping[str, str | Path | None] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read and check the environment; `overrides` (by field name) win over it where not None.

    Raises ConfigInvalid naming the variable, its value (never a secret's) and the remedy.
    """
    source = dict(os.environ if environ is None else environ)
    for name, value in (overrides or {}).items():
        variable = next((known for known, held in VARIABLES.items() if held == name), None)
        if variable is None:
            raise _invalid(name, str(value), f"one of the fields {', '.join(VARIABLES.values())}")
        if value is not None:
            source[variable] = str(value)
    text = {field: source.get(name, "").strip() for name, field in VARIABLES.items()}
    key = _key_reference(text["model_key"])
    _refuse_unknown(source, referenced=key)
    return Settings(
        home=_directory(text["home"] or ".caopan"),
        lang=_language(text["lang"], source),
        debug=_flag("CAOPAN_DEBUG", text["debug"]),
        database_url=_url("DATABASE_URL", text["database_url"], DATABASE_SCHEMES),
        redis_url=_url("REDIS_URL", text["redis_url"], REDIS_SCHEMES),
        real_data=_directory(text["real_data"]) if text["real_data"] else None,
        model_base_url=_endpoint(text["model_base_url"]),
        model=text["model"] or None,
        model_key=key,
    )


def resolve_secret(reference: str, *, named_by: str = "CAOPAN_MODEL_KEY") -> Secret:
    """Fetch what `env:NAME` or `file:PATH` points to; `named_by` tells who asks for it.

    Raises ConfigInvalid SECRET_MISSING when it is absent, empty or unreadable.
    """
    kind, _, place = reference.partition(":")
    if kind == "env":
        value, where = os.environ.get(place, ""), f"the environment variable {place}"
    else:
        where = f"the file {place}"
        try:
            value = _short_text(Path(place).expanduser()).strip()
        except (OSError, ValueError) as error:
            told = error.strerror if isinstance(error, OSError) else "it is no short UTF-8 text"
            reason = f"{where} named by {named_by} cannot be read: {told}"
            # A decoding error holds the bytes it choked on, so it must not be chained.
            raise ConfigInvalid("SECRET_MISSING", reason, remedy=f"Create {where}.") from None
    if not value:
        reason = f"{where} named by {named_by} is empty or not set"
        raise ConfigInvalid("SECRET_MISSING", reason, remedy=f"Put the key into {where}.")
    return Secret(value)


def _short_text(path: Path) -> str:
    """Return a small file's text; a device or pipe may have no end, and is not even opened.

    Raises OSError; ValueError where it is no such file.
    """
    if path.exists() and not path.is_file():
        msg = "not a regular file"
        raise ValueError(msg)
    with path.open("rb") as file:
        found = file.read(_MOST_SECRET + 1)
    if len(found) > _MOST_SECRET:
        msg = "too long"
        raise ValueError(msg)
    return found.decode("utf-8")


def redact_url(url: str) -> str:
    """Return `url` fit for a message: the password replaced by stars, the query dropped."""
    parts = urlsplit(url)
    user, _, place = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    shown = f"{name}{':***' if colon else ''}@{place}" if user else place
    return f"{parts.scheme}://{shown}{parts.path}"


def _refuse_unknown(source: Mapping[str, str], *, referenced: str | None) -> None:
    """Refuse a misspelt CAOPAN_ variable: silently ignoring it would run with a wrong setting."""
    known = {*VARIABLES, (referenced or "").removeprefix("env:")}
    for name in sorted(source):
        if not name.startswith("CAOPAN_") or name in known:
            continue
        near = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.0)
        raise ConfigInvalid(
            "SETTING_UNKNOWN",
            f"the environment variable {name} is not a setting of Caopan",
            remedy=f"Did you mean {near[0]}? Correct it or unset it.",
        )


def _invalid(variable: str, value: str, expected: str) -> ConfigInvalid:
    return ConfigInvalid(
        "SETTING_INVALID",
        f"{variable}={value!r} is not valid: expected {expected}",
        remedy=f"Set {variable} to {expected}, or unset it.",
    )


def _directory(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _language(text: str, source: Mapping[str, str]) -> Language:
    if text and not text.lower().startswith(("en", "zh")):
        raise _invalid("CAOPAN_LANG", text, "en or zh")
    return environment_language({**source, "CAOPAN_LANG": text})


def _flag(variable: str, text: str) -> bool:
    if text and text.lower() not in _TRUE | _FALSE:
        raise _invalid(variable, text, "0 or 1")
    return text.lower() in _TRUE


def _url(variable: str, text: str, schemes: tuple[str, ...]) -> Secret | None:
    if not text:
        return None
    expected = f"a URL starting with {schemes[0]}:// and naming a host"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        # The text may hold a password, so it is not repeated.
        raise _invalid(variable, "(not shown)", expected) from None
    if parts.scheme not in schemes or not (parts.hostname or parts.path or parts.query):
        raise _invalid(variable, redact_url(text) if parts.scheme else "(not shown)", expected)
    return Secret(text)


def _endpoint(text: str) -> str | None:
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _invalid("CAOPAN_MODEL_BASE_URL", text, "an http:// or https:// address")
    if parts.username or parts.password:
        raise _invalid("CAOPAN_MODEL_BASE_URL", redact_url(text), "an address without a password")
    return text.rstrip("/")


def _key_reference(text: str) -> str | None:
    if not text:
        return None
    kind, _, place = text.partition(":")
    if kind not in {"env", "file"} or not place:
        # The value is not repeated: a person may have put the key itself here.
        raise _invalid("CAOPAN_MODEL_KEY", "(not shown)", "env:NAME or file:PATH")
    return text
