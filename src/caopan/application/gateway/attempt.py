"""One attempt at one endpoint, from its claim to its end in the record.

Owns Attempt, which ends exactly once whatever happens between: its claim is settled, its row
completed, the breaker told. Must never be made without a claim, nor left open. Tests:
tests/unit/application/gateway/test_gateway.py, tests/property/application/gateway.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from caopan.application.gateway.adapting import Adapted
from caopan.application.gateway.breakers import BreakerBoard
from caopan.application.gateway.calls import CallRefused
from caopan.application.gateway.course import Course
from caopan.application.gateway.estimating import used_tokens
from caopan.application.gateway.price_list import Priced, PriceList
from caopan.application.gateway.reading import Failure, Reading, choices_of, reading_of
from caopan.application.gateway.streaming import Relay
from caopan.application.ports.gateway import (
    AttemptBegan,
    AttemptEnded,
    CallLog,
    Granted,
    Path,
    SharedLimits,
    Upstream,
    UpstreamRequest,
)
from caopan.domain.gateway.endpoint import Endpoint, EndpointKind, Snapshot
from caopan.domain.gateway.outcome import FailureClass, Outcome
from caopan.domain.gateway.profile import Profile
from caopan.domain.gateway.usage import Tokens
from caopan.kernel.clock import Clock
from caopan.kernel.errors import Unavailable

INTERNAL = "INTERNAL"
_NOTHING_SENT = frozenset({FailureClass.CONNECT, FailureClass.TLS})
_OK = 200
_CUT_MS = 10
"""Left of the caller's time, where it was the deadline that ended an attempt."""
_STATUSES = range(100, 600)
"""Of HTTP. A vendor may send anything."""


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """What a gateway works with."""

    snapshot: Callable[[], Snapshot]
    """The configuration in force."""
    upstreams: Mapping[EndpointKind, Upstream]
    profile: Callable[[str], Profile]
    """A vendor's facts by the name of its profile."""
    limits: SharedLimits
    log: CallLog
    board: BreakerBoard
    prices: PriceList
    clock: Clock
    monotonic_ms: Callable[[], float]
    draw: Callable[[], float]
    """Uniform numbers in [0, 1)."""
    new_id: Callable[[], UUID]
    on_soft_budget: Callable[[str], None] = lambda _: None
    """Hears of a budget (its scope) whose alert is due."""


class Attempt:
    """An attempt that has a claim. Use it as a context: leaving ends it if nothing else did."""

    def __init__(
        self,
        parts: GatewayParts,
        course: Course,
        endpoint: Endpoint,
        profile: Profile,
        adapted: Adapted,
        granted: Granted,
        *,
        at: datetime,
        probe: bool,
    ) -> None:
        """Begin it in the record; where that refuses, the claim is settled and this raises."""
        self.course = course
        self.endpoint = endpoint
        self.profile = profile
        self.adapted = adapted
        self.began_ms = parts.monotonic_ms()
        self.status: int | None = None
        """HTTP status of the endpoint."""
        self.first_ms: float | None = None
        """Stopwatch when the answer began."""
        self.relay: Relay | None = None
        """What of a stream has come."""
        self.body = b""
        """What of a whole answer has come."""
        self.parsed: Mapping[str, Any] = {}
        self.headers: Mapping[str, str] = {}
        """Of the endpoint's answer, by lower-case name."""
        self.request = _request(course, endpoint, adapted)
        self._parts = parts
        self._granted = granted
        self._at = at
        self._probe = probe
        self._is_open = True
        course.attempts += 1
        self._number = course.attempts
        try:
            parts.log.began(self._row())
        except BaseException:
            self._is_open = False
            course.attempts -= 1
            parts.limits.settle(granted, 0, 0)
            if probe:
                parts.board.release(endpoint)
            raise

    @property
    def upstream(self) -> Upstream:
        """Return the way to the endpoint."""
        return self._parts.upstreams[self.endpoint.kind]

    def now_ms(self) -> float:
        """Return the stopwatch."""
        return self._parts.monotonic_ms()

    def now(self) -> datetime:
        """Return the present instant."""
        return self._parts.clock.now()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it if it has not ended: the caller went away, or something of ours is broken."""
        if not self._is_open:
            return
        if self.course.is_late:
            late = Failure(FailureClass.TIMEOUT, "The caller's deadline passed.")
            self.course.last = self.endpoint, late
            self.end(Outcome.FAILED, failure=late)
        elif kind is None or not issubclass(kind, Exception):
            self.end(Outcome.CANCELED)
        else:
            fault = Failure(FailureClass.CALLER, kind.__name__, own_code=INTERNAL)
            self.end(Outcome.FAILED, failure=fault)

    def end(
        self, outcome: Outcome, *, failure: Failure | None = None, reading: Reading | None = None
    ) -> None:
        """End it: settle the claim, tell the breaker, complete the row. Once."""
        assert self._is_open, "an attempt ends once"
        self._is_open = False
        parts = self._parts
        latency_ms = int(parts.monotonic_ms() - self.began_ms)
        ttft_ms = None if self.first_ms is None else int(self.first_ms - self.began_ms)
        told, tokens = reading or Reading(), Tokens()
        # Until the price is known, what was claimed stays charged.
        priced = Priced(None, self._granted.claim.cost, None)
        try:
            told = reading or self._reading()
            tokens = self._used(failure, told)
            priced = parts.prices.priced(self.course.snapshot, self.endpoint, tokens, self._at)
        finally:
            used = (tokens.prompt or 0) + (tokens.completion or 0)
            parts.limits.settle(self._granted, used, priced.charged)
            self._tell_breaker(outcome, failure, ttft_ms, latency_ms)
            parts.log.ended(
                AttemptEnded(
                    call_id=self.course.call.call_id,
                    attempt=self._number,
                    at=parts.clock.now(),
                    outcome=outcome,
                    error_code=None if failure is None else failure.code,
                    detail="" if failure is None else failure.message,
                    status=self.status if self.status in _STATUSES else None,
                    model_served=told.model_served,
                    tokens=tokens,
                    usage_raw=told.usage_raw,
                    cost=priced.cost,
                    price_version=priced.version,
                    ttft_ms=ttft_ms,
                    latency_ms=latency_ms,
                    overhead_ms=round(self.course.overhead_since_ms(), 3),
                    breaker=parts.board.phase(self.endpoint.name).value,
                    quality=told.quality,
                    response=self.body if self.relay is None else self.relay.response,
                    charged=priced.charged,
                )
            )

    def _tell_breaker(
        self, outcome: Outcome, failure: Failure | None, ttft_ms: int | None, latency_ms: int
    ) -> None:
        board = self._parts.board
        if outcome is Outcome.CANCELED or self._tells_nothing(failure, latency_ms):
            if self._probe:
                board.release(self.endpoint)
            return
        waited_ms = latency_ms if ttft_ms is None else ttft_ms
        board.report(
            self.endpoint, failure, waited_ms=waited_ms, total_ms=latency_ms, probe=self._probe
        )

    def _tells_nothing(self, failure: Failure | None, latency_ms: int) -> bool:
        """Tell whether an end says nothing of the endpoint: our fault, or a hasty caller's.

        Else whoever sets short deadlines could shut an endpoint off for everybody.
        """
        if failure is None:
            return False
        if failure.own_code == INTERNAL:
            return True
        was_cut = failure.failure is FailureClass.TIMEOUT and self.course.remaining_ms() < _CUT_MS
        return was_cut and latency_ms < self.endpoint.breaker.slow_call_ms

    def _reading(self) -> Reading:
        """Return what has come says of itself, where it was not a good answer."""
        if self.relay is not None:
            return self.relay.reading(wants_json=False)
        return reading_of(self.parsed, self.profile, wants_json=False)

    def _used(self, failure: Failure | None, reading: Reading) -> Tokens:
        """Return the tokens the vendor tells of; else none where it did no work; else a guess."""
        told = reading.tokens
        if told is not None and self.course.call.path is Path.EMBEDDINGS:
            # The protocol tells no answer's tokens here, because there are none.
            told = replace(told, completion=told.completion or 0)
        if told is not None and told.prompt is not None and told.completion is not None:
            return told
        if failure is not None and (
            failure.failure in _NOTHING_SENT
            or failure.own_code not in (None, INTERNAL)
            or self.status not in (None, _OK)
        ):
            return Tokens(0, 0)
        parsed = self.parsed
        choices = choices_of(parsed) if self.relay is None else self.relay.completion_choices()
        guess = used_tokens(self.course.call, choices)
        if told is None:
            return guess
        prompt = guess.prompt if told.prompt is None else told.prompt
        completion = guess.completion if told.completion is None else told.completion
        return replace(told, prompt=prompt, completion=completion, estimated=True)

    def _row(self) -> AttemptBegan:
        call, endpoint, claim = self.course.call, self.endpoint, self._granted.claim
        return AttemptBegan(
            call_id=call.call_id,
            attempt=self._number,
            trace_id=call.trace_id,
            decision_id=call.decision_id,
            role=call.role,
            client=call.client.client_id,
            path=call.path,
            alias=call.alias,
            endpoint=endpoint.name,
            provider=endpoint.provider,
            model_asked=endpoint.model,
            prompt_hash=self.course.prompt_hash,
            prompt_version=call.prompt_version,
            config_version=self.course.snapshot.version,
            stream=self.adapted.streams,
            at=self._at,
            request=self.adapted.body,
            adapted=self.adapted.changes,
            claimed=claim.cost,
            scopes=tuple(budget.scope for budget in claim.budgets),
        )


def record_refusal(parts: GatewayParts, course: Course, refused: CallRefused) -> None:
    """Keep a row of a call that was refused before any endpoint was asked."""
    call, at = course.call, parts.clock.now()
    began = AttemptBegan(
        call_id=call.call_id,
        attempt=0,
        trace_id=call.trace_id,
        decision_id=call.decision_id,
        role=call.role,
        client=call.client.client_id,
        path=call.path,
        alias=call.alias,
        endpoint="",
        provider="",
        model_asked="",
        prompt_hash=course.prompt_hash,
        prompt_version=call.prompt_version,
        config_version=course.snapshot.version,
        stream=call.stream,
        at=at,
        request=call.raw,
        adapted=(),
        claimed=0,
        scopes=(),
    )
    ended = AttemptEnded(
        call_id=call.call_id,
        attempt=0,
        at=at,
        outcome=Outcome.REFUSED,
        error_code=refused.code,
        detail=refused.message,
        status=None,
        model_served="",
        tokens=Tokens(0, 0),
        usage_raw=None,
        cost=0,
        price_version=None,
        ttft_ms=None,
        latency_ms=int(course.call_ms()),
        overhead_ms=round(course.overhead_ms(), 3),
        breaker="",
        quality=None,
        response=b"",
        charged=0,
    )
    with suppress(Unavailable):
        # The caller is refused either way; the log itself says that it is full.
        parts.log.began(began)
        parts.log.ended(ended)


def _request(course: Course, endpoint: Endpoint, adapted: Adapted) -> UpstreamRequest:
    """Return what is sent, bounded by the endpoint's timeouts and the caller's deadline."""
    remaining, timeouts = max(1, course.remaining_ms()), endpoint.timeouts
    return UpstreamRequest(
        endpoint,
        course.call.path,
        adapted.body,
        {"x-client-request-id": course.call_name},
        min(timeouts.connect_ms, remaining),
        min(timeouts.first_token_ms, remaining),
        min(timeouts.idle_ms, remaining),
        min(timeouts.total_ms, remaining),
    )
