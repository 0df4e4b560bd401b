"""Versioned prompt templates: bundled ones and a user's own, rendered by sandboxed Jinja.

Owns reading, checking and rendering of template files. Must never let a template reach anything but
the variables it declares, nor render one that lacks or ignores a variable. Tests:
tests/unit/adapters/prompts.

A file opens with TOML between two lines `+++`, then holds messages, each behind `=== role`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2 import Template as Compiled
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from caopan.application.ports.prompts import Message, Prompt, Template
from caopan.domain.gateway.token_estimate import estimate_tokens
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.errors import ConfigInvalid

_FRONT: Final = re.compile(r"\A\+\+\+\n(?P<front>.*?)\n\+\+\+\n(?P<body>.*)\Z", re.DOTALL)
_MESSAGE: Final = re.compile(r"^=== (?P<role>\w+)\n", re.MULTILINE)
_VERSION: Final = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}")
_NAME: Final = re.compile(r"(?P<id>[a-z][a-z0-9_]*)-(?P<version>[0-9.]+)\.(?P<locale>[a-z]{2})")
_FIELDS: Final = ("template_id", "role", "version", "locale", "variables", "change_log")
_ROLES: Final = ("system", "user")
_FILTERS: Final = ("join", "length", "tojson", "upper")
_LARGEST_FILE: Final = 262_144
_OUTSIDE: Final = frozenset({"news", "proposal"})
_FENCE: Final = "fence"
_A_MESSAGE: Final = 6
"""Tokens a vendor adds for each message."""


class PromptLibrary:
    """Prompts on the bundled templates and, where given, a folder of the user's own."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read nothing yet; `folder` holds a user's `*.md`."""
        self._folder = folder
        self._compiled: dict[str, list[tuple[str, Compiled]]] = {}
        self._environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False
        )
        # Nothing but the variables: no globals to call, and what is random has no place here.
        environment: Any = self._environment
        environment.globals.clear()
        environment.filters = {name: environment.filters[name] for name in _FILTERS}
        self._environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "sort_keys": True}

    @cached_property
    def _templates(self) -> tuple[Template, ...]:
        bundled = resources.files("caopan.adapters.prompts.templates").iterdir()
        found = [
            self.read(entry.read_text("utf-8"), entry.name)
            for entry in bundled
            if entry.name.endswith(".md")
        ]
        if self._folder is not None and self._folder.is_dir():
            found += [self.read_file(path) for path in sorted(self._folder.glob("*.md"))]
        known: dict[str, Template] = {}
        for template in found:
            if known.setdefault(template.name, template).digest != template.digest:
                raise ConfigInvalid(
                    "PROMPT_INVALID",
                    f"template {template.name} exists already with another text",
                    remedy="give your version a number of its own",
                )
        return tuple(sorted(known.values(), key=_newest_first))

    def all(self) -> Sequence[Template]:
        """Return every template, newest version first within an id and locale."""
        return self._templates

    def find(self, name: str, locale: str) -> Template:
        """Return the newest template of an id, or the one of a full name.

        Raises ConfigInvalid PROMPT_UNKNOWN.
        """
        for template in self._templates:
            if template.name == name or (template.template_id, template.locale) == (name, locale):
                return template
        known = ", ".join(template.name for template in self._templates)
        raise ConfigInvalid(
            "PROMPT_UNKNOWN",
            f"there is no template {name!r} in language {locale!r}",
            remedy=f"use one of: {known}",
        )

    def read_file(self, path: Path) -> Template:
        """Return the template of a file. Raises ConfigInvalid PROMPT_INVALID."""
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise ConfigInvalid(
                    "PROMPT_INVALID", f"{path}: larger than {_LARGEST_FILE} bytes, no prompt is"
                )
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigInvalid("PROMPT_INVALID", f"{path} cannot be read: {error}") from error
        return self.read(text, path.name)

    def read(self, text: str, where: str) -> Template:
        """Return the template that `text` states; `where` is for messages.

        Raises ConfigInvalid PROMPT_INVALID naming the field.
        """
        parts = _FRONT.match(text.replace("\r\n", "\n"))
        if parts is None:
            raise _invalid(where, "it does not open with TOML between two lines +++")
        try:
            front = tomllib.loads(parts["front"])
        except tomllib.TOMLDecodeError as error:
            raise _invalid(where, str(error)) from error
        _check_front(front, where)
        body = parts["body"]
        used = self._used(body, where)
        declared = frozenset(front["variables"])
        if used != declared:
            wrong = ", ".join(sorted(used ^ declared))
            raise _invalid(where, f"variables declared and used differ: {wrong}")
        self._sections(body, where)
        if used & _OUTSIDE and _FENCE not in used:
            raise _invalid(where, "it shows text from outside and no fence around it")
        return Template(
            template_id=front["template_id"],
            role=front["role"],
            version=front["version"],
            locale=front["locale"],
            variables=declared,
            change_log=front["change_log"],
            body=body,
            digest=sha256_hex(text.encode()),
        )

    def render(self, template: Template, variables: Mapping[str, Any]) -> Prompt:
        """Return a template's messages. Raises ConfigInvalid PROMPT_VARIABLE, PROMPT_INVALID."""
        if wrong := template.variables.symmetric_difference(variables):
            named = ", ".join(
                f"{name} ({'missing' if name in template.variables else 'not declared'})"
                for name in sorted(wrong)
            )
            raise ConfigInvalid(
                "PROMPT_VARIABLE",
                f"template {template.name}: {named}",
                remedy="declare and use exactly the variables the desk gives",
            )
        messages: list[Message] = []
        for role, compiled in self._compiled_of(template):
            try:
                rendered = compiled.render(variables)
            except SecurityError as error:
                raise _invalid(
                    template.name, f"it reaches for what is not its own: {error}"
                ) from error
            except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
                raise ConfigInvalid(
                    "PROMPT_VARIABLE", f"template {template.name}: {error}"
                ) from error
            messages.append(Message(role, rendered.strip()))
        return Prompt(
            messages=tuple(messages),
            version=template.name,
            digest=digest_of(messages),
            tokens=sum(estimate_tokens(one.content.encode()) + _A_MESSAGE for one in messages),
        )

    def _compiled_of(self, template: Template) -> list[tuple[str, Compiled]]:
        known = self._compiled.get(template.digest)
        if known is None:
            known = [
                (role, self._environment.from_string(text))
                for role, text in self._sections(template.body, template.name)
            ]
            self._compiled[template.digest] = known
        return known

    def _used(self, body: str, where: str) -> frozenset[str]:
        try:
            return frozenset(meta.find_undeclared_variables(self._environment.parse(body)))
        except TemplateError as error:
            raise _invalid(where, str(error)) from error

    def _sections(self, body: str, where: str) -> list[tuple[str, str]]:
        cut = _MESSAGE.split(body)
        found = list(zip(cut[1::2], cut[2::2], strict=True))
        if cut[0].strip() or not found or any(role not in _ROLES for role, _ in found):
            raise _invalid(where, "its text is not cut into `=== system` and `=== user`")
        return found


def digest_of(messages: Iterable[Message]) -> str:
    """Return the SHA-256 of the canonical JSON of chat messages."""
    return sha256_hex(canonical([{"content": m.content, "role": m.role} for m in messages]))


def _check_front(front: Mapping[str, Any], where: str) -> None:
    for name in _FIELDS:
        value = front.get(name)
        if name == "variables":
            good = isinstance(value, list) and all(isinstance(one, str) for one in value)  # pyright: ignore[reportUnknownVariableType] - of TOML
        else:
            good = isinstance(value, str) and bool(value.strip())
        if not good:
            raise _invalid(where, f"{name} is missing or no text")
    if unknown := sorted(set(front) - set(_FIELDS)):
        raise _invalid(where, f"unknown field {', '.join(unknown)}")
    if not _VERSION.fullmatch(front["version"]):
        raise _invalid(where, f"version {front['version']!r} is not like 1.2.3")
    if not _NAME.fullmatch(f"{front['template_id']}-{front['version']}.{front['locale']}"):
        raise _invalid(where, "template_id is lower-case words, locale two letters")


def _newest_first(template: Template) -> tuple[str, str, tuple[int, ...]]:
    version = tuple(-int(part) for part in template.version.split("."))
    return template.template_id, template.locale, version


def _invalid(where: str, what: str) -> ConfigInvalid:
    return ConfigInvalid(
        "PROMPT_INVALID",
        f"prompt template {where}: {what}",
        remedy="see a bundled template: caopan prompt ls",
    )
