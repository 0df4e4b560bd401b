"""A call as its caller made it, and what the caller gets: an answer, a stream or a refusal.

Owns Call with how it is read, Answered, and CallRefused with the error body an OpenAI client
understands. Must never read more of a body than the gateway acts on: fields it does not know are
the endpoint's to judge. Tests: tests/unit/application/gateway/test_calls.py.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import orjson

from caopan.application.ports.gateway import ClientKey, Path

DEADLINE = "x-deadline-ms"
DECISION = "x-caopan-decision"
TRACE = "x-caopan-trace"
ROLE = "x-caopan-role"
PROMPT_VERSION = "x-caopan-prompt-version"

MOST_ANSWER = 10_000_000
"""Tokens that a caller may ask for in one answer."""
ROLES = ("actor", "checker", "analyst", "other")
_BOUNDS = {"max_completion_tokens": MOST_ANSWER, "max_tokens": MOST_ANSWER, "n": 128}
_LONGEST_WORD = 128
_LONGEST_DEADLINE_MS = 24 * 3_600_000
_DEADLINE_DIGITS = 8

JSON_TYPE = {"content-type": "application/json"}
_NO_RETRY = {"x-should-retry": "false"}
"""OpenAI's clients retry 408, 409, 429 and 5xx by themselves. The gateway has done that within the
caller's deadline; doing it again would multiply the calls."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A whole answer for the caller."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class CallRefused(Exception):
    """The caller gets an error. Never leaves the gateway but as an Answered."""

    def __init__(
        self,
        status: int,
        code: str | None,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        retry_after_ms: int | None = None,
        endpoints: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Keep the status and the parts of OpenAI's error body.

        `code` is for programs, `endpoints` says why each endpoint gave no answer.
        """
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message
        self.kind = kind
        self.param = param
        self.retry_after_ms = retry_after_ms
        self.endpoints = tuple(endpoints)

    def error(self) -> dict[str, Any]:
        """Return {"error": {...}} as OpenAI's clients read it."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        if self.endpoints:
            error["endpoints"] = list(self.endpoints)
        return {"error": error}

    def answer(self, headers: Mapping[str, str] | None = None) -> Answered:
        """Return the refusal as an HTTP answer, with `headers` beside its own."""
        told = {**JSON_TYPE, **(headers or {})}
        if self.retry_after_ms is None:
            told |= _NO_RETRY
        else:
            told["retry-after"] = str(max(1, math.ceil(self.retry_after_ms / 1000)))
        return Answered(self.status, told, orjson.dumps(self.error()))


@dataclass(slots=True)
class Call:
    """One call of one client, its body parsed once. Nobody changes it (freezing it takes time)."""

    call_id: UUID
    client: ClientKey
    path: Path
    alias: str
    body: Mapping[str, Any]
    raw: bytes
    """The body as it came."""
    stream: bool
    deadline_ms: int | None
    """From `received_ms`; None: the route's."""
    received_ms: float
    """Reading of the stopwatch when the request had come."""
    trace_id: str
    decision_id: str | None = None
    role: str = "other"
    prompt_version: str = ""

    @property
    def answer_format(self) -> str | None:
        """Return the type of `response_format`, None for plain text."""
        wanted: object = self.body.get("response_format")
        if isinstance(wanted, dict):
            kind: object = cast("dict[str, Any]", wanted).get("type")
            if isinstance(kind, str) and kind != "text":
                return kind
        return None

    @property
    def wants_json(self) -> bool:
        """Tell whether the content of the answer has to be JSON."""
        return self.answer_format in {"json_schema", "json_object"}

    @property
    def choices(self) -> int:
        """Return how many answers are asked for."""
        wanted: object = self.body.get("n")
        return wanted if isinstance(wanted, int) and wanted > 1 else 1

    @property
    def sticky_key(self) -> str | None:
        """Return what a sticky route keeps on one endpoint: the decision, else the `user`."""
        if self.decision_id is not None:
            return self.decision_id
        user: object = self.body.get("user")
        return user if isinstance(user, str) and user else None


def read_call(
    raw: bytes,
    headers: Mapping[str, str],
    *,
    client: ClientKey,
    path: Path,
    call_id: UUID,
    received_ms: float,
) -> Call:
    """Return the call that `raw` and its `headers` (by lower-case name) make.

    Raises CallRefused (400) that names the field or header.
    """
    body = _parsed(raw)
    alias: object = body.get("model")
    if not isinstance(alias, str) or not alias:
        raise _bad("model", "is the alias to ask, a text")
    stream: object = body.get("stream")
    if path is Path.CHAT:
        _checked_messages(body.get("messages"))
    elif not body.get("input"):
        raise _bad("input", "is the text to embed, and is missing or empty")
    if path is Path.CHAT:
        _check_bounds(body)
    if stream is not None and not isinstance(stream, bool):
        raise _bad("stream", "is true or false")
    if stream and path is not Path.CHAT:
        raise _bad("stream", "is for chat completions only")
    return Call(
        call_id=call_id,
        client=client,
        path=path,
        alias=alias,
        body=body,
        raw=raw,
        stream=bool(stream),
        deadline_ms=_deadline(headers.get(DEADLINE)),
        received_ms=received_ms,
        trace_id=_word(headers, TRACE) or call_id.hex,
        decision_id=_word(headers, DECISION),
        role=_role(headers.get(ROLE)),
        prompt_version=_word(headers, PROMPT_VERSION) or "",
    )


def prompt_hash(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of what is asked: the messages, or the input of an embedding.

    Keys are sorted, so that two writers of the same messages get the same hash.
    """
    asked: object = body.get("messages")
    if asked is None:
        asked = body.get("input")
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        body: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise CallRefused(400, "invalid_json", f"The body is not JSON: {error}.") from None
    if not isinstance(body, dict):
        raise CallRefused(400, "invalid_json", "The body is not a JSON object.")
    return cast("dict[str, Any]", body)


def _checked_messages(messages: object) -> None:
    if not isinstance(messages, list) or not messages:
        raise _bad("messages", "is a list with at least one message")
    for index, message in enumerate(cast("list[object]", messages)):
        if not isinstance(message, dict):
            raise _bad(f"messages[{index}]", "is an object")


def _check_bounds(body: Mapping[str, Any]) -> None:
    """Refuse what vendors might read as a larger answer than the one that is claimed for."""
    for field, most in _BOUNDS.items():
        bound: object = body.get(field)
        if bound is None:
            continue
        if not isinstance(bound, int) or isinstance(bound, bool) or not 0 < bound <= most:
            raise _bad(field, f"is a whole number, 1 to {most}")


def _bad(field: str, rule: str) -> CallRefused:
    return CallRefused(400, "invalid_value", f"`{field}` {rule}.", param=field)


def _deadline(text: str | None) -> int | None:
    if text is None:
        return None
    digits = text.isascii() and text.isdigit() and len(text) <= _DEADLINE_DIGITS
    if not digits or not 0 < int(text) <= _LONGEST_DEADLINE_MS:
        raise _bad(DEADLINE, f"is whole milliseconds, 1 to {_LONGEST_DEADLINE_MS}")
    return int(text)


def _role(text: str | None) -> str:
    if text is None:
        return "other"
    if text not in ROLES:
        raise _bad(ROLE, f"is one of {', '.join(ROLES)}, not {text!r:.40}")
    return text


def _word(headers: Mapping[str, str], name: str) -> str | None:
    """Return a header that goes into rows and names of budgets: one short word of ASCII."""
    text = headers.get(name)
    if not text:
        return None
    if len(text) > _LONGEST_WORD or not text.isascii() or not text.isprintable() or " " in text:
        raise _bad(name, f"is at most {_LONGEST_WORD} printable ASCII characters without spaces")
    return text
