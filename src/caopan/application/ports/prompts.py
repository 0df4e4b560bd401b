"""The prompts port: versioned templates and the messages rendered from them.

Owns Template, Prompt and the Prompts protocol. Must never send anything. Tests:
tests/unit/adapters/prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt."""

    role: str
    """`system` or `user`."""
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt, and the template it comes from."""

    messages: tuple[Message, ...]
    version: str
    """Template, version and locale: `actor-2.0.0.zh`."""
    digest: str
    """SHA-256 of the rendered messages: what was sent, to the letter."""
    tokens: int
    """Our own estimate, at least what vendors count."""


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a prompt in one language."""

    template_id: str
    role: str
    version: str
    locale: str
    variables: frozenset[str]
    """What it must be given: no more, no less."""
    change_log: str
    body: str
    digest: str
    """SHA-256 of its file."""

    @property
    def name(self) -> str:
        """Return `actor-2.0.0.zh`."""
        return f"{self.template_id}-{self.version}.{self.locale}"


class Prompts(Protocol):
    """A library of templates."""

    def all(self) -> Sequence[Template]:
        """Return every template, newest version first within an id and locale."""
        ...

    def find(self, name: str, locale: str) -> Template:
        """Return the newest template of an id (`actor`), or the one of a full name.

        Raises ConfigInvalid PROMPT_UNKNOWN naming what there is.
        """
        ...

    def render(self, template: Template, variables: Mapping[str, Any]) -> Prompt:
        """Return the messages of a template.

        Raises ConfigInvalid PROMPT_VARIABLE for a variable that is missing, not declared or not
        used, PROMPT_INVALID for what the template must not do.
        """
        ...
