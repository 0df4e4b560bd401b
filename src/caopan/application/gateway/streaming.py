"""An endpoint's stream on its way to the caller.

Owns Relay: what is held back until the answer has begun, what is passed on untouched, and how a
stream is told complete, broken or garbled. Must never pass on half an event, nor anything after
the end, nor say that a broken stream is complete. Tests:
tests/unit/application/gateway/test_streaming.py, tests/property/application/gateway.

Until the first words, thoughts or call of a tool every event is parsed and kept, so that another
endpoint may still answer. Afterwards whole events go on as bytes: their shape is looked at, and
only what looks unusual is parsed. Usage is read from the last block that tells it, at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import orjson

from caopan.application.gateway.adapting import Adapted, tool_as_content
from caopan.application.gateway.assembling import DONE, Assembler, event_bytes
from caopan.application.gateway.calls import CallRefused
from caopan.application.gateway.nesting import bounded_json
from caopan.application.gateway.reading import (
    Failure,
    Reading,
    choices_of,
    error_in,
    mapping_of,
    model_name,
    quality_of,
    says_something,
    text_of,
)
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.profile import Profile
from caopan.domain.gateway.usage import read_usage

_LONGEST_EVENT = 1 << 20
_OK = 200
_ERROR_EVENT = re.compile(rb"event: ?error\b")


class Relay:
    """One stream. Feed it chunks as they come; it returns what may go on."""

    def __init__(self, profile: Profile, adapted: Adapted) -> None:
        """Start before the first byte."""
        self.has_begun = False
        """The caller has seen, or is about to see, part of the answer."""
        self.has_ended = False
        """The endpoint said that the stream is complete."""
        self.failure: Failure | None = None
        self._profile = profile
        self._tool = adapted.answer_tool
        self._hides_usage = adapted.hides_usage
        self._chunks: list[bytes] = []
        self._rest = b""
        self._held: list[bytes] = []
        self._model = ""
        self._reasons: set[object] = set()

    def feed(self, chunk: bytes) -> bytes:
        """Return the whole events that `chunk` completes, b"" while they are held back.

        Look at `has_ended` and `failure` afterwards: what is returned goes on even then.
        """
        self._chunks.append(chunk)
        block = self._whole_events(chunk)
        if not block:
            return b""
        if self.has_begun and self._is_usual(block):
            return block.removesuffix(DONE)
        return self._parsed(block)

    def close(self) -> bytes:
        """Take note that the endpoint's stream has ended; return what may still go on."""
        rest, self._rest = self._rest.strip(), b""
        # Only the line end may be missing: half an event is none.
        last = self._parsed(rest + b"\n\n") if _is_whole(rest) else b""
        if self.failure is None and not self.has_ended:
            # Some vendors say nothing after the last choice has told why it ended.
            if self._assembled().is_complete:
                self._end()
            else:
                self.failure = Failure(FailureClass.BROKEN, "The stream broke off.", _OK)
        return last or self._released()

    @property
    def response(self) -> bytes:
        """Return all that came, as it came."""
        return b"".join(self._chunks)

    def reading(self, *, wants_json: bool) -> Reading:
        """Return what the stream says of itself, complete or not."""
        usage = _last_usage(self.response)
        return Reading(
            model_served=self._model,
            tokens=None if usage is None else read_usage(usage, self._profile),
            usage_raw=usage,
            # Looked at only where it is told: putting a stream together is dear.
            quality=quality_of(self.completion_choices(), wants_json=True) if wants_json else None,
        )

    def completion_choices(self) -> list[dict[str, Any]]:
        """Return the choices as the caller got them."""
        choices = {"choices": self._assembled().choices()}
        return (tool_as_content(choices, "message") if self._tool else choices)["choices"]

    def _whole_events(self, chunk: bytes) -> bytes:
        """Return what is complete of the rest and `chunk`; lines end in LF afterwards."""
        if self._rest:
            chunk = self._rest + chunk
        if b"\r" in chunk:
            # A CR at the very end may be half of a CRLF.
            ends_open = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n")
            if not ends_open:
                chunk = chunk.replace(b"\r", b"\n")
        if chunk.endswith(b"\n\n"):
            self._rest = b""
            return chunk
        end = chunk.rfind(b"\n\n") + 2
        if end == 1:
            end = 0
        self._rest = chunk[end:]
        if len(self._rest) > _LONGEST_EVENT:
            self.failure = Failure(FailureClass.GARBAGE, "An event does not end.", _OK)
        return chunk[:end]

    def _is_usual(self, block: bytes) -> bool:
        """Tell whether all of `block` may go on unparsed; a [DONE] at its end is taken note of."""
        if not block.endswith(DONE):
            return self._says_more(block)
        body = block[: -len(DONE)]
        self.has_ended = not body or self._says_more(body)
        return self.has_ended

    def _says_more(self, block: bytes) -> bool:
        """Tell whether every event looks like one JSON object that only says more."""
        return (
            block.startswith(b"data: {")
            and block.endswith(b"}\n\n")
            and block.count(b"\n\n") == block.count(b"}\n\ndata: {") + 1
            and b'"error"' not in block
            and not (self._hides_usage and b"[]" in block)
            and self._tool is None
        )

    def _parsed(self, block: bytes) -> bytes:
        place = 0
        while place < len(block) and not self.has_ended and self.failure is None:
            # What follows the end does not count, least of all a second [DONE].
            began_before = self.has_begun
            end = block.index(b"\n\n", place) + 2
            event = block[place : end - 2].strip(b"\n")
            place = end
            kept = self._event(event) if event else b""
            if kept:
                self._held.append(kept)
            if self.has_begun and not began_before and self._is_usual(block[place:]):
                self._held.append(block[place:].removesuffix(DONE))
                break
        return self._released()

    def _released(self) -> bytes:
        """Return what was held back, once the answer has begun."""
        if not self.has_begun:
            return b""
        held, self._held = self._held, []
        return b"".join(held)

    def _event(self, event: bytes) -> bytes:
        """Return what of one event may go on."""
        if self.has_begun and self._says_more(event + b"\n\n"):
            return event + b"\n\n"
        data = data_of(event)
        if data is None:
            # A comment keeps the caller's connection alive, once there is one.
            return event + b"\n\n" if self.has_begun else b""
        if data == b"[DONE]":
            self._end()
            return b""
        try:
            found = bounded_json(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            self.failure = Failure(FailureClass.GARBAGE, "An event is not a JSON object.", _OK)
            return b""
        return self._object(event, cast("dict[str, Any]", found))

    def _object(self, event: bytes, parsed: Mapping[str, Any]) -> bytes:
        if parsed.get("error") or "choices" not in parsed:
            self.failure = error_in(parsed, self._profile, _OK)
            if self.failure is None and _ERROR_EVENT.match(event):
                self.failure = Failure(FailureClass.SERVER, "The endpoint told of an error.", _OK)
            if self.failure is not None:
                return b""
        self._model = self._model or model_name(text_of(parsed.get("model")))
        choices = choices_of(parsed)
        if not choices and self._hides_usage and parsed.get("usage"):
            return b""
        if self._tool is not None:
            parsed = tool_as_content(parsed, "delta")
            choices = choices_of(parsed)
            event = event_bytes(parsed)[:-2]
        for choice in choices:
            said = mapping_of(choice.get("delta") or choice.get("message"))
            if not self.has_begun and says_something(said, self._profile, thinking=True):
                self.has_begun = True
            self._reasons.add(text_of(choice.get("finish_reason")))
        return event + b"\n\n"

    def _end(self) -> None:
        if not self.has_begun:
            if not self._reasons & {"length", "content_filter"}:
                self.failure = Failure(FailureClass.BLANK, "The stream said nothing.", _OK)
                return
            self.has_begun = True
        self.has_ended = True

    def _assembled(self) -> Assembler:
        return assembled(self.response, self._profile)


def assembled(stream: bytes, profile: Profile) -> Assembler:
    """Return what the events of `stream` make together, as far as they can be read."""
    assembler = Assembler(profile)
    for event in events_of(stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n")):
        data = data_of(event)
        if data is None:
            continue
        try:
            found = bounded_json(data)
        except ValueError:
            continue
        if isinstance(found, dict):
            assembler.add(cast("dict[str, Any]", found))
    return assembler


def events_of(block: bytes) -> Iterator[bytes]:
    """Yield the events of `block` without the empty line that ends each."""
    for event in block.split(b"\n\n"):
        stripped = event.strip(b"\n")
        if stripped:
            yield stripped


def data_of(event: bytes) -> bytes | None:
    """Return an event's data, None if it has none (a comment)."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:].strip()
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


def _is_whole(event: bytes) -> bool:
    """Tell whether an event without its end has whole data."""
    data = data_of(event)
    if data is None or data == b"[DONE]":
        return data is not None
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def error_event(refused: CallRefused) -> bytes:
    """Return the event that tells the caller of a broken stream. No [DONE] follows it."""
    return event_bytes(refused.error())


def _last_usage(stream: bytes) -> dict[str, Any] | None:
    """Return the last block of usage that tells something: `null` and earlier ones do not count."""
    end = len(stream)
    while True:
        place = stream.rfind(b'"usage"', 0, end)
        if place < 0:
            return None
        after = stream[place + 7 : place + 32].lstrip().removeprefix(b":").lstrip()
        if after.startswith(b"{"):
            first = stream.rfind(b"\n", 0, place) + 1
            last = stream.find(b"\n", place)
            line = stream[first : last if last >= 0 else len(stream)].strip()
            usage = _usage_in(data_of(line))
            if usage:
                return usage
        end = place


def _usage_in(data: bytes | None) -> dict[str, Any] | None:
    try:
        found = bounded_json(data or b"")
    except ValueError:
        return None
    usage = mapping_of(mapping_of(found).get("usage"))
    return dict(usage) or None
