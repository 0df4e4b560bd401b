"""Endpoints of kind `faulty`: misbehaving on request, for tests and drills.

Owns the faults and their parameters, which stand in the endpoint's default_params: {"fault":
"truncate", "after_tokens": 40, "seed": 7}. Must never misbehave unasked, and the same seed and
requests always meet the same faults. Tests: tests/unit/adapters/llm/test_faulty_endpoint.py,
tests/contract/gateway/test_upstream.py.

| fault | what happens | parameters |
| --- | --- | --- |
| `none` | a good answer | `text` |
| `latency` | a good answer, late | `latency_ms`, `jitter_ms` |
| `rate_limit` | 429 | `retry_after_s` (none: no header) |
| `error` | a refusal | `status` (500) |
| `ok_error` | 200 with an error in the body | |
| `truncate` | the exchange breaks off | `after_tokens` (40) |
| `stall` | silence until a bound of the request ends it | `after_tokens` |
| `drip` | a stream with a rest before each token | `latency_ms` (50) |
| `garbage` | bytes that are no JSON | |
| `blank` | an answer of nothing but blanks | |
| `refuse` | no connection | |

`rate` (1.0) is the share of requests that meet the fault; which ones depends on `seed` (0) and
their number alone.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from caopan.adapters.llm.in_process import (
    EVENTS,
    JSON,
    OK,
    InProcessUpstream,
    Prepared,
    answer,
    body_of,
    not_asked,
    refusal,
)
from caopan.application.gateway.assembling import DONE, event_bytes
from caopan.application.ports.gateway import UpstreamFailed, UpstreamRequest
from caopan.domain.gateway.outcome import FailureClass
from caopan.domain.gateway.token_estimate import estimate_tokens

_TEXT: Final = " ".join(f"drill{number}" for number in range(60))
_BLANK: Final = " \n" * 12
_FOR_EVER_S: Final = 86_400.0
_SHARES: Final = 1 << 32
_SERVER: Final = "server_error"


@dataclass(frozen=True, slots=True)
class _Drill:
    """One request and what it is to meet."""

    body: dict[str, Any]
    params: Mapping[str, Any]
    share: float
    """In [0, 1), drawn from the seed and the request's number."""

    def number(self, name: str, default: float) -> float:
        value = self.params.get(name, default)
        return float(value) if isinstance(value, int | float) and value >= 0 else default

    @property
    def text(self) -> str:
        return str(self.params.get("text", _TEXT))


class FaultyEndpoint(InProcessUpstream):
    """Does what its endpoint's default_params say."""

    def __init__(self) -> None:
        """Begin with no request counted."""
        self._asked: dict[str, int] = {}

    async def prepare(self, request: UpstreamRequest) -> Prepared:
        """Return the answer, or meet the fault. Raises UpstreamFailed."""
        name, params = request.endpoint.name, request.endpoint.default_params
        number = self._asked[name] = self._asked.get(name, 0) + 1
        fault = _FAULTS.get(str(params.get("fault", "none")))
        if fault is None:
            known = ", ".join(_FAULTS)
            return not_asked(f"no fault {params['fault']!r}; there are {known}", "unknown_fault")
        drill = _Drill(body_of(request), params, _drawn(params.get("seed", 0), number, "share"))
        if _drawn(params.get("seed", 0), number, "meets") >= drill.number("rate", 1.0):
            return await _none(drill)
        return await fault(drill)


async def _none(drill: _Drill) -> Prepared:
    return answer(drill.body, _completion(drill, drill.text))


async def _latency(drill: _Drill) -> Prepared:
    waits_ms = drill.number("latency_ms", 1_000) + drill.share * drill.number("jitter_ms", 0)
    await asyncio.sleep(waits_ms / 1000)
    return await _none(drill)


async def _rate_limit(drill: _Drill) -> Prepared:
    rest = drill.params.get("retry_after_s")
    headers = {} if rest is None else {"retry-after": str(rest)}
    return refusal(429, "drill: too many requests", "rate_limit_error", "drill", headers)


async def _error(drill: _Drill) -> Prepared:
    return refusal(int(drill.number("status", 500)), "drill: an error", _SERVER, "drill")


async def _ok_error(_drill: _Drill) -> Prepared:
    return refusal(OK, "drill: an error in a 200", _SERVER, "drill")


async def _truncate(drill: _Drill) -> Prepared:
    return _parts(drill, _cut(drill, "truncate"))


async def _stall(drill: _Drill) -> Prepared:
    return _parts(drill, _cut(drill, "stall"))


async def _drip(drill: _Drill) -> Prepared:
    return _parts(drill, _dripped(drill))


async def _garbage(drill: _Drill) -> Prepared:
    noise = hashlib.sha256(f"{drill.share}".encode()).digest() * 8
    return Prepared(OK, body=b"<html>" + noise)


async def _blank(drill: _Drill) -> Prepared:
    return answer(drill.body, _completion(drill, _BLANK))


async def _refuse(_drill: _Drill) -> Prepared:
    raise UpstreamFailed(FailureClass.CONNECT, "drill: no connection")


async def _cut(drill: _Drill, end: str) -> AsyncGenerator[bytes]:
    tokens = _tokens(drill.text)[: int(drill.number("after_tokens", 40))]
    if drill.body.get("stream") is True:
        for token in tokens:
            yield _delta(drill, {"content": token})
    else:
        yield orjson.dumps(_completion(drill, "".join(tokens)))[:-40]
    if end == "stall":
        await asyncio.sleep(_FOR_EVER_S)
    raise UpstreamFailed(FailureClass.BROKEN, "drill: broken off")


async def _dripped(drill: _Drill) -> AsyncGenerator[bytes]:
    rest_s = drill.number("latency_ms", 50) / 1000
    if drill.body.get("stream") is not True:
        whole = orjson.dumps(_completion(drill, drill.text))
        for place in range(0, len(whole), 64):
            await asyncio.sleep(rest_s)
            yield whole[place : place + 64]
        return
    for token in _tokens(drill.text):
        await asyncio.sleep(rest_s)
        yield _delta(drill, {"content": token})
    completion = _completion(drill, drill.text)
    yield _delta(drill, {}, finish="stop", usage=completion["usage"])
    yield DONE


_FAULTS: Final[Mapping[str, Callable[[_Drill], Awaitable[Prepared]]]] = {
    "none": _none,
    "latency": _latency,
    "rate_limit": _rate_limit,
    "error": _error,
    "ok_error": _ok_error,
    "truncate": _truncate,
    "stall": _stall,
    "drip": _drip,
    "garbage": _garbage,
    "blank": _blank,
    "refuse": _refuse,
}
FAULTS: Final = frozenset(_FAULTS)
"""Names of all faults."""


def _parts(drill: _Drill, parts: AsyncGenerator[bytes]) -> Prepared:
    return Prepared(OK, EVENTS if drill.body.get("stream") is True else JSON, parts=parts)


def _tokens(text: str) -> list[str]:
    return [f"{word} " for word in text.split(" ")]


def _completion(drill: _Drill, text: str) -> dict[str, Any]:
    prompt, told = estimate_tokens(orjson.dumps(drill.body)), estimate_tokens(text.encode())
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "logprobs": None,
        "finish_reason": "stop",
    }
    return {
        "id": "chatcmpl-drill",
        "object": "chat.completion",
        "created": 0,
        "model": drill.body.get("model"),
        "system_fingerprint": "drill",
        "choices": [choice],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": told,
            "total_tokens": prompt + told,
        },
    }


def _delta(
    drill: _Drill, change: Mapping[str, Any], finish: str | None = None, **more: object
) -> bytes:
    choice = {"index": 0, "delta": change, "finish_reason": finish}
    head = {"id": "chatcmpl-drill", "object": "chat.completion.chunk", "created": 0}
    return event_bytes({**head, "model": drill.body.get("model"), "choices": [choice], **more})


def _drawn(seed: object, number: int, what: str) -> float:
    """Return a share in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{seed}\n{number}\n{what}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / _SHARES
