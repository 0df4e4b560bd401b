"""Where one call stands: what it was tried with, what stood in the way, how much time is left.

Owns Course, and what the caller is told where nobody is left to ask. Must never ask anybody
itself. Tests: tests/unit/application/gateway/test_limits.py, test_gateway.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from caopan.application.gateway.calls import Call, CallRefused, prompt_hash
from caopan.application.gateway.estimating import prompt_tokens
from caopan.application.gateway.reading import Failure
from caopan.application.ports.gateway import Bound, Refused
from caopan.domain.gateway.endpoint import Endpoint, Route, Snapshot
from caopan.domain.gateway.outcome import CONSEQUENCES, After
from caopan.domain.gateway.routing import Choice, Failed, Health, PassedOver, Ranking, Skipped

BUDGET_EXCEEDED: Final = "BUDGET_EXCEEDED"
PRICE_UNKNOWN: Final = "PRICE_UNKNOWN"
BREAKER_OPEN: Final = "CIRCUIT_BREAKER_OPEN"
AUDIT_UNAVAILABLE: Final = "AUDIT_UNAVAILABLE"
RATE_LIMIT: Final = "MODEL_RATE_LIMIT"
TIMEOUT: Final = "MODEL_TIMEOUT"
UNAVAILABLE: Final = "MODEL_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Blocked:
    """Why an endpoint that is well was not asked for this call."""

    health: Health
    code: str
    why: str
    retry_after_ms: int | None = None


class Course:
    """The state of one call; it keeps the configuration it began with."""

    def __init__(
        self,
        call: Call,
        snapshot: Snapshot,
        route: Route,
        ranking: Ranking,
        monotonic_ms: Callable[[], float],
    ) -> None:
        """Begin before the first attempt."""
        self.call = call
        self.snapshot = snapshot
        self.route = route
        self.ranking = ranking
        self.failed: list[Failed] = []
        """Attempts that failed, oldest first."""
        self.last: tuple[Endpoint, Failure] | None = None
        self.blocked: dict[str, Blocked] = {}
        """By endpoint, until the next rest."""
        self.rested = True
        """The rest that the last failure calls for has been taken."""
        self.attempts = 0
        self.waited_ms = 0.0
        """Of the time since the request came, spent on vendors and rests."""
        self.bound: asyncio.Timeout | None = None
        """What ends the call at the caller's deadline."""
        self.call_name = str(call.call_id)
        self.prompt_hash = prompt_hash(call.body)
        self._prompt_tokens: int | None = None
        self._monotonic_ms = monotonic_ms
        bound = call.deadline_ms if call.deadline_ms is not None else route.deadline_ms
        self._ends_ms = call.received_ms + bound
        self._overhead_told = 0.0

    @property
    def prompt_tokens(self) -> int:
        """Return how many tokens the request has at the most to be expected; counted once."""
        if self._prompt_tokens is None:
            self._prompt_tokens = prompt_tokens(self.call)
        return self._prompt_tokens

    def remaining_ms(self) -> int:
        """Return what is left of the caller's time; never below 0."""
        return max(0, int(self._ends_ms - self._monotonic_ms()))

    @property
    def is_late(self) -> bool:
        """Tell whether the call was ended by its deadline."""
        return self.bound is not None and self.bound.expired()

    def call_ms(self) -> float:
        """Return the time since the request came."""
        return max(0.0, self._monotonic_ms() - self.call.received_ms)

    def overhead_ms(self) -> float:
        """Return our own part of the time so far."""
        return max(0.0, self.call_ms() - self.waited_ms)

    def overhead_since_ms(self) -> float:
        """Return our own part of the time since this was asked last."""
        before, self._overhead_told = self._overhead_told, self.overhead_ms()
        return max(0.0, self._overhead_told - before)

    def fail(self, endpoint: Endpoint, failure: Failure) -> None:
        """Take note of an attempt that failed. Raises CallRefused where nothing may follow."""
        self.failed.append(Failed(endpoint.name, failure.failure))
        self.last = endpoint, failure
        self.rested = False
        if not CONSEQUENCES[failure.failure].after & {After.ELSEWHERE, After.AGAIN}:
            raise failure.refusal()

    def block(self, endpoint: Endpoint, refused: Refused, until: int | None) -> None:
        """Pass an endpoint over whose claim does not fit, until `until` (Unix milliseconds)."""
        health = Health(PassedOver.RATE_LIMITED, until)
        if refused.bound is Bound.BUDGET:
            why = f"the budget of {refused.scope} has no room for this call"
            self.blocked[endpoint.name] = Blocked(health, BUDGET_EXCEEDED, why)
            return
        why = f"{refused.bound.value} {refused.limit} reached"
        self.blocked[endpoint.name] = Blocked(health, RATE_LIMIT, why, refused.retry_after_ms)

    def block_unpriced(self, endpoint: Endpoint) -> None:
        """Pass over an endpoint whose price nobody knows, where a budget would have to hold it."""
        why = f"the price of {endpoint.model} is unknown, and a budget has to hold it"
        self.blocked[endpoint.name] = Blocked(Health(PassedOver.RATE_LIMITED), PRICE_UNKNOWN, why)

    def block_open(self, endpoint: Endpoint) -> None:
        """Pass over an endpoint that another process is probing."""
        health = Health(PassedOver.OPEN)
        self.blocked[endpoint.name] = Blocked(health, BREAKER_OPEN, "another call probes it")

    def refusal(self, choice: Choice, now: int) -> CallRefused:
        """Return what the caller is told where nobody is left to ask at `now`."""
        reasons = [self._reason(skipped) for skipped in choice.skipped]
        if choice.endpoint is not None:
            why = "not asked: neither attempts nor time are left"
            name = choice.endpoint.name
            reasons.append({"endpoint": name, "code": UNAVAILABLE, "message": why})
        if self.last is not None:
            told = self.last[1].refusal()
            told.endpoints = tuple(reasons)
            return told
        codes = {reason["code"] for reason in reasons}
        names = "; ".join(f"{reason['endpoint']}: {reason['message']}" for reason in reasons)
        message = f"No endpoint of {self.route.alias!r} can be asked: {names or 'it has none'}."
        code = next((code for code in _GRAVEST if code in codes), UNAVAILABLE)
        status, kind = _TOLD[code]
        return CallRefused(
            status,
            code,
            message,
            kind=kind,
            retry_after_ms=self._retry_after(choice, now) if code in _PASSING else None,
            endpoints=reasons,
        )

    def _reason(self, skipped: Skipped) -> dict[str, Any]:
        blocked = self.blocked.get(skipped.endpoint)
        if blocked is not None:
            code, why = blocked.code, blocked.why
        elif skipped.failure is not None:
            code, why = CONSEQUENCES[skipped.failure].code, f"failed: {skipped.failure.value}"
        else:
            code, why = _SKIPPED[skipped.reason]
        return {"endpoint": skipped.endpoint, "code": code, "message": why}

    def _retry_after(self, choice: Choice, now: int) -> int | None:
        known = [one.until - now for one in choice.skipped if one.until is not None]
        known += [
            one.retry_after_ms for one in self.blocked.values() if one.retry_after_ms is not None
        ]
        return min((wait for wait in known if wait > 0), default=None)


def too_late(course: Course | None) -> CallRefused:
    """Return what the caller is told whose time was over before anybody answered."""
    if course is not None and course.last is not None:
        return course.last[1].refusal()
    return CallRefused(
        504, TIMEOUT, "The deadline passed before an endpoint answered.", kind="server_error"
    )


_TOLD: Mapping[str, tuple[int, str]] = {
    BUDGET_EXCEEDED: (429, "insufficient_quota"),
    PRICE_UNKNOWN: (429, "insufficient_quota"),
    RATE_LIMIT: (429, "rate_limit_error"),
    BREAKER_OPEN: (503, "server_error"),
    UNAVAILABLE: (503, "server_error"),
}
_GRAVEST = tuple(_TOLD)
RECORDED: Final = frozenset({*_TOLD, TIMEOUT})
"""What a call is refused for before any endpoint is asked, and recorded."""
_PASSING = frozenset({RATE_LIMIT, BREAKER_OPEN})
_SKIPPED: Mapping[PassedOver, tuple[str, str]] = {
    PassedOver.UNKNOWN: (UNAVAILABLE, "not configured"),
    PassedOver.DISABLED: (UNAVAILABLE, "disabled"),
    PassedOver.OPEN: (BREAKER_OPEN, "circuit breaker open"),
    PassedOver.RATE_LIMITED: (RATE_LIMIT, "the vendor asked to wait"),
    PassedOver.FAILED: (UNAVAILABLE, "failed"),
    PassedOver.NOT_ALLOWED: (UNAVAILABLE, "may not stand in for another model"),
    PassedOver.NOT_NEEDED: (UNAVAILABLE, "not asked"),
}
