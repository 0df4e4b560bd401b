"""A tiny real call of each endpoint of an alias: what works, what does not, what it cost.

Owns the steps of `caopan models test`. Its calls go the way of every call (limits, budgets, record)
but for one thing: each goes to the endpoint under test and nowhere else, whatever its breaker says.
Must never show a key. Tests: tests/integration/cli/test_models.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

import orjson

from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.llm.network_probe import ProbeStep, probe_network
from caopan.application.gateway.attempt import GatewayParts
from caopan.application.gateway.calls import Answered, Call, read_call
from caopan.application.gateway.gateway import Gateway, Streamed
from caopan.application.ports.gateway import AttemptBegan, AttemptEnded, CallLog, ClientKey, Path
from caopan.domain.gateway.endpoint import (
    BreakerSettings,
    Endpoint,
    EndpointKind,
    Fallback,
    Retry,
    Route,
    Snapshot,
    Target,
    cny,
)
from caopan.kernel.errors import ConfigInvalid

KEY: Final = "key"
AUTH: Final = "auth"
MODEL: Final = "model"
JSON_MODE: Final = "json"
STREAM: Final = "stream"
USAGE: Final = "usage"
COST: Final = "cost"
_DEADLINE_MS: Final = 60_000
_TOKENS: Final = 512
"""Enough for a model that thinks first."""
_SCHEMA: Final = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
_BAD: Final = "MODEL_PARSE_FAIL"
_AUTH_CODES: Final = frozenset({"MODEL_AUTH", "MODEL_BALANCE"})


@dataclass(frozen=True, slots=True)
class Tested:
    """What was found of one endpoint."""

    endpoint: Endpoint
    steps: tuple[ProbeStep, ...]
    cost: int | None
    """Of its calls, in 1e-8 CNY; None: a price is unknown."""

    @property
    def is_well(self) -> bool:
        """Tell whether every step worked."""
        return all(step.is_well for step in self.steps)


class _Kept:
    """The record, with what was told to it kept for the one who asked."""

    def __init__(self, log: CallLog) -> None:
        self._log = log
        self.begun: list[AttemptBegan] = []
        self.ended_: list[AttemptEnded] = []

    def began(self, attempt: AttemptBegan) -> None:
        self._log.began(attempt)
        self.begun.append(attempt)

    def ended(self, attempt: AttemptEnded) -> None:
        self._log.ended(attempt)
        self.ended_.append(attempt)

    async def durable(self, call_id: UUID) -> None:
        await self._log.durable(call_id)

    @property
    def waiting(self) -> int:
        return self._log.waiting


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How one call ended."""

    answer: Answered
    took_ms: float
    ended: AttemptEnded | None

    @property
    def code(self) -> str:
        if self.answer.status == 200:  # noqa: PLR2004 - done well
            return ""
        told = self.ended.error_code if self.ended is not None else None
        return told or _error(self.answer).get("code") or "MODEL_UNAVAILABLE"

    @property
    def detail(self) -> str:
        return str(_error(self.answer).get("message", ""))


class Prober:
    """Tests endpoints through the parts of an open gateway."""

    def __init__(self, parts: GatewayParts, client: ClientKey) -> None:
        """Call as `client`."""
        self._parts = parts
        self._client = client

    async def test(self, alias: str) -> AsyncIterator[Tested]:
        """Test the endpoints of an alias, one after another, in the order they would be asked.

        Raises ConfigInvalid ALIAS_UNKNOWN.
        """
        snapshot = self._parts.snapshot()
        route = snapshot.routes.get(alias)
        if route is None:
            raise ConfigInvalid(
                "ALIAS_UNKNOWN",
                f"there is no alias {alias!r}",
                remedy=f"choose one of {', '.join(sorted(snapshot.routes))}",
            )
        for target in route.targets:
            yield await self._tested(snapshot, route, snapshot.endpoints[target.endpoint])

    async def _tested(self, snapshot: Snapshot, route: Route, endpoint: Endpoint) -> Tested:
        if endpoint.kind is not EndpointKind.OPENAI:
            step = ProbeStep(MODEL, 0.0, "an endpoint of our own: it needs no network and no key")
            return Tested(endpoint, (step,), 0)
        steps = list(await probe_network(endpoint, monotonic_ms))
        if not steps[-1].is_well:
            return Tested(endpoint, tuple(steps), 0)
        kept = _Kept(self._parts.log)
        pinned = _pinned(snapshot, route, endpoint)
        gateway = Gateway(replace(self._parts, log=kept, snapshot=lambda: pinned))
        first = await self._call(gateway, kept, route.alias, {})
        steps += _answered(endpoint, first)
        if not first.code:
            schema = {"name": "answer", "schema": _SCHEMA, "strict": True}
            wanted = {"response_format": {"type": "json_schema", "json_schema": schema}}
            steps.append(_json_step(await self._call(gateway, kept, route.alias, wanted), kept))
            steps += await self._streamed(gateway, kept, route.alias)
        costs = [one.cost for one in kept.ended_]
        cost = None if None in costs else sum(one for one in costs if one is not None)
        if not first.code:
            steps.append(_cost_step(endpoint, cost))
        return Tested(endpoint, tuple(steps), cost)

    async def _call(
        self, gateway: Gateway, kept: _Kept, alias: str, fields: Mapping[str, Any]
    ) -> _Outcome:
        began = monotonic_ms()
        answer = await gateway.complete(self._asked(alias, fields))
        ended = kept.ended_[-1] if kept.ended_ else None
        return _Outcome(answer, monotonic_ms() - began, ended)

    async def _streamed(self, gateway: Gateway, kept: _Kept, alias: str) -> Sequence[ProbeStep]:
        began = monotonic_ms()
        wanted = {"stream": True, "stream_options": {"include_usage": True}}
        async with gateway.stream(self._asked(alias, wanted)) as found:
            if not isinstance(found, Streamed):
                outcome = _Outcome(found, monotonic_ms() - began, kept.ended_[-1])
                return [ProbeStep(STREAM, outcome.took_ms, outcome.detail, outcome.code)]
            text = b"".join([chunk async for chunk in found.chunks])
        took, ended = monotonic_ms() - began, kept.ended_[-1]
        if b"data: [DONE]" not in text:
            return [ProbeStep(STREAM, took, ended.detail, ended.error_code or "MODEL_UNAVAILABLE")]
        first = "" if ended.ttft_ms is None else f"first words after {ended.ttft_ms} ms"
        tokens = ended.tokens
        told = f"{tokens.prompt} prompt, {tokens.completion} completion tokens"
        usage = (
            ProbeStep(USAGE, 0.0, f"estimated: {told}", "USAGE_ESTIMATED")
            if tokens.estimated
            else ProbeStep(USAGE, 0.0, told)
        )
        return [ProbeStep(STREAM, took, first), usage]

    def _asked(self, alias: str, fields: Mapping[str, Any]) -> Call:
        question = 'Answer with the JSON object {"answer": "ok"} and nothing else.'
        body = {
            "model": alias,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": _TOKENS,
            **fields,
        }
        return read_call(
            orjson.dumps(body),
            {"x-deadline-ms": str(_DEADLINE_MS), "x-caopan-trace": "models-test"},
            client=self._client,
            path=Path.CHAT,
            call_id=self._parts.new_id(),
            received_ms=monotonic_ms(),
        )


def _pinned(snapshot: Snapshot, route: Route, endpoint: Endpoint) -> Snapshot:
    """Return a configuration in which the alias leads to this endpoint alone, once."""
    alone = replace(
        endpoint, enabled=True, retry=Retry(max_attempts=1), breaker=BreakerSettings(enabled=False)
    )
    target = Target(endpoint.name, fallback=Fallback.NONE)
    path = replace(route, targets=(target,), strict_audit=False)
    return replace(snapshot, endpoints={endpoint.name: alone}, routes={route.alias: path})


def _answered(endpoint: Endpoint, first: _Outcome) -> list[ProbeStep]:
    """Return whether the key was taken and the model answered."""
    if not first.code:
        served = first.ended.model_served if first.ended is not None else ""
        auth = [] if endpoint.secret_ref is None else [ProbeStep(AUTH, 0.0, "the key is taken")]
        return [*auth, ProbeStep(MODEL, first.took_ms, served or endpoint.model)]
    if first.code.startswith("SECRET_"):
        return [ProbeStep(KEY, first.took_ms, first.detail, first.code)]
    if first.code in _AUTH_CODES:
        return [ProbeStep(AUTH, first.took_ms, first.detail, first.code)]
    return [ProbeStep(MODEL, first.took_ms, first.detail, first.code)]


def _json_step(outcome: _Outcome, kept: _Kept) -> ProbeStep:
    adapted = ", ".join(kept.begun[-1].adapted) or "json_schema as asked"
    if outcome.code:
        return ProbeStep(JSON_MODE, outcome.took_ms, outcome.detail, outcome.code)
    try:
        content = orjson.loads(outcome.answer.body)["choices"][0]["message"]["content"]
        fits = isinstance(orjson.loads(content)["answer"], str)
    except (ValueError, LookupError, TypeError):
        fits = False
    if not fits:
        return ProbeStep(JSON_MODE, outcome.took_ms, f"no answer in the schema ({adapted})", _BAD)
    return ProbeStep(JSON_MODE, outcome.took_ms, adapted)


def _cost_step(endpoint: Endpoint, cost: int | None) -> ProbeStep:
    if cost is None:
        return ProbeStep(COST, 0.0, f"the price of {endpoint.model} is unknown", "PRICE_UNKNOWN")
    return ProbeStep(COST, 0.0, f"{cny(cost)} CNY")


def _error(answer: Answered) -> Mapping[str, Any]:
    try:
        return orjson.loads(answer.body)["error"]
    except (ValueError, LookupError, TypeError):
        return {}
