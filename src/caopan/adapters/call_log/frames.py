"""How a record lies in a file: length and checksum in front, fields as JSON, then the body.

Owns the format of frames and their reading. A frame that was cut off by the death of its writer is
told from one that was damaged later. Must never open a file, nor judge a record. Tests:
tests/unit/adapters/call_log/test_frames.py.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import Any, Final, cast
from uuid import UUID

import orjson

from caopan.application.ports.gateway import AttemptBegan, AttemptEnded, Path
from caopan.domain.gateway.outcome import Outcome
from caopan.domain.gateway.usage import Tokens

_HEAD: Final = struct.Struct("<BIII")
"""Kind, length of the fields, length of the body, CRC-32 of kind, fields and body."""
_CHECK: Final = struct.Struct("<I")
"""CRC-32 of what stands before it: so a record that was cut off is no damaged one."""
HEAD_BYTES: Final = _HEAD.size + _CHECK.size

Key = tuple[UUID, int]
"""An attempt inside its process: call_id and number."""


class Kind(IntEnum):
    """What a frame tells."""

    BEGAN = 0xB1
    ENDED = 0xE1
    OPEN = 0x01
    """Attempts that began in segments that are removed, and have not ended."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame, not yet read: its fields and its body as they lie in the file."""

    kind: Kind
    fields: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """An attempt that began and has not ended."""

    key: Key
    began_at: datetime


@dataclass(frozen=True, slots=True)
class Split:
    """What a stretch of a segment holds."""

    frames: Sequence[Frame]
    used: int
    """Bytes of the whole frames, good or bad."""
    wanted: int
    """Bytes the incomplete frame behind them needs; 0 where nothing lies behind."""
    bad: int
    """Frames passed over because their checksum was wrong."""
    broken: bool
    """What lies behind is no frame at all: nothing after it can be told apart."""


def began(attempt: AttemptBegan) -> bytes:
    """Return the frame of a beginning."""
    fields = (
        attempt.call_id,
        attempt.attempt,
        attempt.trace_id,
        attempt.decision_id,
        attempt.role,
        attempt.client,
        attempt.path,
        attempt.alias,
        attempt.endpoint,
        attempt.provider,
        attempt.model_asked,
        attempt.prompt_hash,
        attempt.prompt_version,
        attempt.config_version,
        attempt.stream,
        attempt.at,
        attempt.adapted,
        attempt.claimed,
        attempt.scopes,
    )
    return _frame(Kind.BEGAN, fields, attempt.request)


def ended(attempt: AttemptEnded, began_at: datetime) -> bytes:
    """Return the frame of an end."""
    tokens = attempt.tokens
    fields = (
        attempt.call_id,
        attempt.attempt,
        began_at,
        attempt.at,
        attempt.outcome,
        attempt.error_code,
        attempt.detail,
        attempt.status,
        attempt.model_served,
        tokens.prompt,
        tokens.completion,
        tokens.cached,
        tokens.reasoning,
        tokens.estimated,
        attempt.usage_raw,
        attempt.cost,
        attempt.price_version,
        attempt.ttft_ms,
        attempt.latency_ms,
        attempt.overhead_ms,
        attempt.breaker,
        attempt.quality,
        attempt.charged,
    )
    return _frame(Kind.ENDED, fields, attempt.response)


def still_open(attempts: Sequence[Opened]) -> bytes:
    """Return the frame that carries attempts under way past the end of their segment."""
    fields = [(one.key[0], one.key[1], one.began_at) for one in attempts]
    return _frame(Kind.OPEN, fields, b"")


def split(data: bytes) -> Split:
    """Return the whole frames at the beginning of `data`."""
    frames: list[Frame] = []
    at = bad = 0
    end = len(data)
    while end - at >= HEAD_BYTES:
        kind, fields, body, checksum = _HEAD.unpack_from(data, at)
        (check,) = _CHECK.unpack_from(data, at + _HEAD.size)
        if kind not in _KINDS or zlib.crc32(data[at : at + _HEAD.size]) != check:
            return Split(frames, at, 0, bad, broken=True)
        whole = HEAD_BYTES + fields + body
        if end - at < whole:
            return Split(frames, at, whole, bad, broken=False)
        middle = at + HEAD_BYTES + fields
        told = data[at + HEAD_BYTES : middle]
        rest = data[middle : at + whole]
        if zlib.crc32(rest, zlib.crc32(told, kind)) == checksum:
            frames.append(Frame(Kind(kind), told, rest))
        else:
            bad += 1
        at += whole
    return Split(frames, at, HEAD_BYTES if at < end else 0, bad, broken=False)


def read_began(frame: Frame) -> AttemptBegan:
    """Return the beginning a frame tells of."""
    told = orjson.loads(frame.fields)
    return AttemptBegan(
        call_id=UUID(told[0]),
        attempt=told[1],
        trace_id=told[2],
        decision_id=told[3],
        role=told[4],
        client=told[5],
        path=Path(told[6]),
        alias=told[7],
        endpoint=told[8],
        provider=told[9],
        model_asked=told[10],
        prompt_hash=told[11],
        prompt_version=told[12],
        config_version=told[13],
        stream=told[14],
        at=datetime.fromisoformat(told[15]),
        adapted=tuple(told[16]),
        claimed=told[17],
        scopes=tuple(told[18]),
        request=frame.body,
    )


def read_ended(frame: Frame) -> tuple[AttemptEnded, datetime]:
    """Return the end a frame tells of, and when its attempt began."""
    told = orjson.loads(frame.fields)
    attempt = AttemptEnded(
        call_id=UUID(told[0]),
        attempt=told[1],
        at=datetime.fromisoformat(told[3]),
        outcome=Outcome(told[4]),
        error_code=told[5],
        detail=told[6],
        status=told[7],
        model_served=told[8],
        tokens=Tokens(*told[9:14]),
        usage_raw=told[14],
        cost=told[15],
        price_version=told[16],
        ttft_ms=told[17],
        latency_ms=told[18],
        overhead_ms=told[19],
        breaker=told[20],
        quality=told[21],
        charged=told[22],
        response=frame.body,
    )
    return attempt, datetime.fromisoformat(told[2])


def read_open(frame: Frame) -> Sequence[Opened]:
    """Return the attempts under way that a frame carries."""
    return [
        Opened((UUID(call_id), attempt), datetime.fromisoformat(began_at))
        for call_id, attempt, began_at in orjson.loads(frame.fields)
    ]


_LEVELS: Final = 200
"""orjson writes 254 of them."""
_TOO_DEEP: Final = "nested too deep to be kept"
_KINDS: Final = frozenset(int(kind) for kind in Kind)


def _frame(kind: Kind, fields: Sequence[Any], body: bytes) -> bytes:
    try:
        told = orjson.dumps(fields)
    except TypeError:
        told = orjson.dumps(_sendable(fields))
    checksum = zlib.crc32(body, zlib.crc32(told, kind))
    head = _HEAD.pack(kind, len(told), len(body), checksum)
    return b"".join((head, _CHECK.pack(zlib.crc32(head)), told, body))


def _sendable(value: object, levels: int = _LEVELS) -> Any:  # noqa: ANN401 - any JSON value
    """Return `value` as JSON can hold it.

    No half of a character, no number beyond 64 bits, nothing nested deeper than can be written.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if not levels:
        return _TOO_DEEP
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {str(_sendable(name)): _sendable(one, levels - 1) for name, one in pairs}
    return [_sendable(one, levels - 1) for one in cast("Sequence[object]", value)]
