"""What an endpoint's answer means: an answer, or a failure of a known class.

Owns Failure, how a vendor's error is told from an answer (by its profile's signs, then by status),
and what a whole answer says of usage, model and quality. Must never trust a status alone: 200 with
an error, with nothing or with no JSON is a failure too. Tests:
tests/unit/application/gateway/test_reading.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, cast

import orjson

from caopan.application.gateway.calls import CallRefused
from caopan.application.gateway.nesting import bounded_json
from caopan.application.ports.gateway import Path
from caopan.domain.gateway.outcome import CONSEQUENCES, FailureClass
from caopan.domain.gateway.profile import ErrorSign, Profile
from caopan.domain.gateway.retry import retry_after_ms
from caopan.domain.gateway.usage import Tokens, read_usage

INVALID_JSON = "invalid_json"
BLANK = "blank"

_LONGEST_MESSAGE = 500
_BY_STATUS = {
    401: FailureClass.AUTH,
    402: FailureClass.BALANCE,
    403: FailureClass.AUTH,
    408: FailureClass.TIMEOUT,
    429: FailureClass.RATE_LIMIT,
}
_BY_CODE = {
    "context_length_exceeded": FailureClass.CONTEXT_LENGTH,
    "content_filter": FailureClass.CONTENT_FILTER,
    "content_policy_violation": FailureClass.CONTENT_FILTER,
    "insufficient_quota": FailureClass.BALANCE,
}
"""Codes of the protocol itself, which vendors share."""
_TOLD_CODES = {
    FailureClass.CONTEXT_LENGTH: "context_length_exceeded",
    FailureClass.CONTENT_FILTER: "content_filter",
}
"""What OpenAI's clients look for."""
_KEYS = re.compile(
    r"(?i)\b(bearer\s+)\S+|\b(?:sk|ak|ark|key|cpg|gsk|xai|AIza)[-_][\w.*-]{6,}|\bAIza[\w-]{10,}"
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt brought no answer."""

    failure: FailureClass
    message: str
    """Redacted and bounded; may be shown to the caller."""
    status: int | None = None
    """HTTP status of the endpoint."""
    retry_after_ms: int | None = None
    own_code: str | None = None
    """Code in place of the class's own: what is wrong lies with us, not with the vendor."""
    vendor_code: str | None = None
    param: str | None = None

    @property
    def code(self) -> str:
        """Return the neutral code of the record."""
        return self.own_code or CONSEQUENCES[self.failure].code

    def refusal(self) -> CallRefused:
        """Return what the caller is told where this failure is the end of it."""
        consequence = CONSEQUENCES[self.failure]
        ours = bool(consequence.after)
        return CallRefused(
            consequence.status,
            self.code if ours else _TOLD_CODES.get(self.failure, self.vendor_code),
            self.message,
            kind="server_error" if ours else "invalid_request_error",
            param=self.param,
            retry_after_ms=self.retry_after_ms,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """What a good answer says of itself."""

    model_served: str = ""
    tokens: Tokens | None = None
    """None: the answer does not tell."""
    usage_raw: Mapping[str, Any] | None = None
    quality: str | None = None


def read_answer(
    status: int, headers: Mapping[str, str], body: bytes, profile: Profile, path: Path
) -> Mapping[str, Any] | Failure:
    """Return the JSON of a good answer, or why it is none. `headers` by lower-case name."""
    if status != 200:  # noqa: PLR2004 - HTTP's OK, the protocol's only good status
        return _bad_status(status, body, profile)
    if "json" not in headers.get("content-type", "json"):
        kind = headers.get("content-type", "")
        return Failure(FailureClass.GARBAGE, f"The answer is {kind!r:.80}, not JSON.", status)
    parsed = _object(body)
    if parsed is None:
        return Failure(FailureClass.GARBAGE, "The answer is not a JSON object.", status)
    return read_object(parsed, profile, path, status)


def read_object(
    parsed: Mapping[str, Any], profile: Profile, path: Path, status: int
) -> Mapping[str, Any] | Failure:
    """Return `parsed`, the JSON object of an answer with status 200, or why it is no answer."""
    if "choices" not in parsed or parsed.get("error"):
        failure = error_in(parsed, profile, status)
        if failure is not None:
            return failure
    if path is Path.EMBEDDINGS:
        return parsed if parsed.get("data") else Failure(FailureClass.GARBAGE, _NO_DATA, status)
    choices = choices_of(parsed)
    if not choices:
        return Failure(FailureClass.GARBAGE, "The answer has no choices.", status)
    if is_blank(choices, profile):
        return Failure(FailureClass.BLANK, "The answer is blank.", status)
    return parsed


_NO_DATA = "The answer has no data."


def reading_of(parsed: Mapping[str, Any], profile: Profile, *, wants_json: bool) -> Reading:
    """Return what a good answer says of itself; `wants_json` where its content has to be JSON."""
    usage: object = parsed.get("usage")
    raw = cast("dict[str, Any]", usage) if isinstance(usage, dict) else None
    return Reading(
        model_served=model_name(text_of(parsed.get("model"))),
        tokens=None if raw is None else read_usage(raw, profile),
        usage_raw=raw,
        quality=quality_of(choices_of(parsed), wants_json=wants_json),
    )


def quality_of(choices: Sequence[Mapping[str, Any]], *, wants_json: bool) -> str | None:
    """Return what is wrong with well-formed choices; None where nothing is."""
    for choice in choices:
        message = mapping_of(choice.get("message"))
        content: object = message.get("content")
        if message.get("tool_calls") or message.get("refusal"):
            continue
        if not isinstance(content, str) or not content.strip():
            return BLANK if content is None or isinstance(content, str) else None
        if wants_json and not _is_json(content):
            return INVALID_JSON
    return None


def is_blank(choices: Sequence[Mapping[str, Any]], profile: Profile) -> bool:
    """Tell whether no choice says anything.

    An answer that ran into its bound of tokens is not blank: it was cut where the caller said, and
    another endpoint would cut it too. Nor is one that a filter stopped.
    """
    return not any(
        says_something(mapping_of(choice.get("message")), profile, thinking=False)
        or choice.get("finish_reason") in ("length", "content_filter")
        for choice in choices
    )


def says_something(message: Mapping[str, Any], profile: Profile, *, thinking: bool) -> bool:
    """Tell whether a message or delta has words, a refusal, sound or a call of a tool.

    `thinking` counts as words where it says so: it is the beginning of an answer, never the whole.
    """
    content: object = message.get("content")
    if isinstance(content, str):
        if content and not content.isspace():
            return True
    elif content:
        return True
    for field in ("tool_calls", "refusal", "function_call", "audio"):
        if message.get(field):
            return True
    return thinking and any(message.get(field) for field in profile.reasoning_fields)


def error_in(parsed: Mapping[str, Any], profile: Profile, status: int) -> Failure | None:
    """Return the failure that an object tells of, None if it tells of none."""
    error: object = parsed.get("error")
    if error:
        block = mapping_of(error)
        message = text_of(block.get("message")) if block else text_of(error)
        return _told(block, message or "The endpoint reported an error.", status, profile)
    message = text_of(parsed.get("message")) or text_of(parsed.get("detail"))
    if message and ("code" in parsed or "detail" in parsed or parsed.get("object") == "error"):
        return _told(parsed, message, status, profile)
    return None


@lru_cache(maxsize=1024)
def model_name(text: str) -> str:
    """Return a model's name as it is recorded; the few there are come again and again."""
    return redacted(text)


def redacted(text: str) -> str:
    """Return `text` on one printable line, bounded, without what looks like a key."""
    line = " ".join(text[: 4 * _LONGEST_MESSAGE].split())
    if not line.isprintable():
        line = "".join(letter if letter.isprintable() else "?" for letter in line)
    return _KEYS.sub("[redacted]", line)[:_LONGEST_MESSAGE]


def asked_to_wait(failure: Failure, headers: Mapping[str, str], now: datetime) -> Failure:
    """Return `failure` with how long the endpoint asks to wait, where `headers` say so."""
    wait = retry_after_ms(headers, now)
    return failure if wait is None else replace(failure, retry_after_ms=wait)


def _bad_status(status: int, body: bytes, profile: Profile) -> Failure:
    failure = error_in(_object(body) or {}, profile, status)
    if failure is not None:
        return failure
    text = body[: 4 * _LONGEST_MESSAGE].decode("utf-8", "replace").strip()
    return _told({}, text or f"HTTP status {status}.", status, profile)


def _told(block: Mapping[str, Any], message: str, status: int, profile: Profile) -> Failure:
    """Return the failure that an error block tells of: by the vendor's signs, then the status."""
    codes = {str(block[name]) for name in ("code", "type") if block.get(name) not in (None, "")}
    failure = _by_signs(profile.errors, status, codes, message.lower())
    if failure is None:
        shared = [_BY_CODE[code] for code in codes if code in _BY_CODE]
        failure = shared[0] if shared else _by_status(status)
    return Failure(
        failure,
        redacted(message),
        status,
        vendor_code=redacted(str(block["code"])) if block.get("code") else None,
        param=redacted(str(block["param"])) if block.get("param") else None,
    )


def _by_signs(
    signs: Sequence[ErrorSign], status: int, codes: set[str], message: str
) -> FailureClass | None:
    for sign in signs:
        fits = (
            sign.status in (None, status)
            and (not sign.code or sign.code in codes)
            and (not sign.text or sign.text in message)
        )
        if fits:
            return sign.failure
    return None


def _by_status(status: int) -> FailureClass:
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if 400 <= status < 500:  # noqa: PLR2004 - HTTP's faults of the caller
        return FailureClass.CALLER
    if 300 <= status < 400:  # noqa: PLR2004 - HTTP's redirects, which are never followed
        return FailureClass.GARBAGE
    # An error inside a 200, too: the endpoint itself says that it could not answer.
    return FailureClass.SERVER


def choices_of(parsed: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return the choices of an answer or event, without what is no object."""
    choices: object = parsed.get("choices")
    if not isinstance(choices, list):
        return ()
    return [
        cast("dict[str, Any]", choice)
        for choice in cast("list[object]", choices)
        if isinstance(choice, dict)
    ]


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return a JSON object, empty where `value` is none."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def text_of(value: object) -> str:
    """Return a text, empty where `value` is none."""
    return value if isinstance(value, str) else ""


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        parsed = bounded_json(body)
    except ValueError:
        return None
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else None


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
