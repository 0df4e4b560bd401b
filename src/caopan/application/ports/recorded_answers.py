"""Answers that were recorded once, by the prompt they answer.

Owns the port a replay endpoint asks. Must never find an answer to another prompt than the one
named. Tests: tests/contract/gateway/test_recorded_answers.py.
"""

from __future__ import annotations

from typing import Protocol


class Recording(Protocol):
    """A whole answer, byte for byte."""

    @property
    def stream(self) -> bool:
        """Whether `response` is the vendor's stream of events."""
        ...

    @property
    def response(self) -> bytes:
        """The body as it came."""
        ...


class RecordedAnswers(Protocol):
    """Where recorded answers lie."""

    async def recorded(self, prompt_hash: str, model: str | None = None) -> Recording | None:
        """Return the first whole answer recorded to a prompt (of `model`, if named).

        `prompt_hash` is the SHA-256 (hex) of the canonical messages. Raises Unavailable or
        ConfigInvalid if nobody can tell.
        """
        ...
