"""The one tree of errors, with what each means for the caller.

Owns every exception that may cross a door between rooms. Must never know HTTP, SQL or a vendor.

    CaopanError
    ├── Denied            a rule said no; nothing left this process   (retry: NEVER)
    ├── Unavailable       dependency down before anything was sent    (retry: SAFE)
    ├── OutcomeUnknown    may have happened; ask, do not resend       (retry: ASK_FIRST)
    ├── Conflict          someone else moved first                    (retry: RELOAD)
    ├── CorruptState      an invariant is broken; trading halts       (retry: HUMAN)
    └── ConfigInvalid     input or settings refused                   (retry: HUMAN)
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Retry(StrEnum):
    """What a caller may do after an error."""

    NEVER = "never"
    SAFE = "safe"
    ASK_FIRST = "ask_first"
    RELOAD = "reload"
    HUMAN = "human"


class CaopanError(Exception):
    """Base of all errors that may cross a door; `code` is stable, `remedy` tells what to do."""

    retry: ClassVar[Retry] = Retry.HUMAN

    def __init__(self, code: str, message: str, *, remedy: str = "") -> None:
        """Keep the stable `code`, the `message` (field and value named) and the `remedy`."""
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Return one line: code, message, remedy."""
        tail = f" Remedy: {self.remedy}" if self.remedy else ""
        return f"{self.code}: {self.message}{tail}"


class Denied(CaopanError):
    """A rule said no; nothing left this process. Asking again gives the same answer."""

    retry = Retry.NEVER


class Unavailable(CaopanError):
    """A dependency was down before anything was sent; the call may be repeated."""

    retry = Retry.SAFE


class OutcomeUnknown(CaopanError):
    """The call may have had its effect; only the other side's evidence can tell."""

    retry = Retry.ASK_FIRST


class Conflict(CaopanError):
    """Someone else changed the state first; reload and decide again."""

    retry = Retry.RELOAD


class CorruptState(CaopanError):
    """An invariant is broken; trading on this account stops until a person has looked."""

    retry = Retry.HUMAN


class ConfigInvalid(CaopanError):
    """Settings, a file or another input was refused; nothing of it was applied."""

    retry = Retry.HUMAN
