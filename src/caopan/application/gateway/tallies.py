"""What this process has seen of its calls since it started: counts, times, tokens, money.

Owns Tallies, filled from the record of each attempt, and MeteredLog, the record that fills it on
its way. Must never be asked for what is owed: money is exact in the database alone, and here only
what this process has seen. Tests: tests/unit/application/gateway/test_tallies.py.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from caopan.application.ports.gateway import AttemptBegan, AttemptEnded, CallLog
from caopan.domain.gateway.outcome import Outcome

_STEP: Final = 1.1
BOUNDS_MS: Final = tuple(0.1 * _STEP**power for power in range(170))
"""Upper ends of the buckets, 0.1 ms to a quarter of an hour, each a tenth above the one before: a
percentile read from them is at most a tenth too high."""
_MOST_OPEN: Final = 65_536
"""Attempts begun and not ended that are remembered; more can only be leaked ones."""


class Histogram:
    """Times of one kind, in milliseconds."""

    __slots__ = ("count", "counts", "total_ms")

    def __init__(self) -> None:
        """Start empty."""
        self.counts = [0] * (len(BOUNDS_MS) + 1)
        self.count = 0
        self.total_ms = 0.0

    def add(self, milliseconds: float) -> None:
        """Count one time."""
        self.counts[bisect_left(BOUNDS_MS, milliseconds)] += 1
        self.count += 1
        self.total_ms += milliseconds

    def percentile(self, share: float) -> float | None:
        """Return the time that `share` of all stayed within, to a tenth; None before the first."""
        wanted, seen = share * self.count, 0
        for bound, count in zip((*BOUNDS_MS, BOUNDS_MS[-1]), self.counts, strict=True):
            seen += count
            if count and seen >= wanted:
                return round(bound, 1)
        return None


@dataclass(frozen=True, slots=True)
class LastError:
    """The newest failure of an endpoint."""

    at: datetime
    code: str
    detail: str
    """Redacted and bounded, as it is recorded."""


@dataclass(slots=True)
class EndpointTally:
    """What was seen of one endpoint under one alias."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """Attempts by (outcome, error code; "" where there is none)."""
    tokens: Counter[str] = field(default_factory=Counter[str])
    """By class: prompt, completion, cached, reasoning."""
    quality: Counter[str] = field(default_factory=Counter[str])
    cost: int = 0
    """In 1e-8 CNY, of the attempts whose price is known."""
    unpriced: int = 0
    """Attempts with tokens whose price is unknown."""
    estimated: int = 0
    """Attempts whose tokens the vendor did not tell."""
    first_token: Histogram = field(default_factory=Histogram)
    total: Histogram = field(default_factory=Histogram)
    overhead: Histogram = field(default_factory=Histogram)
    under_way: int = 0
    last_error: LastError | None = None


class Tallies:
    """Everything counted in this process. Nothing here waits or fails."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.endpoints: dict[tuple[str, str], EndpointTally] = {}
        """By (alias, endpoint)."""
        self.calls: Counter[tuple[str, str, int]] = Counter()
        """Answers to callers by (alias, path, HTTP status)."""
        self.retries: Counter[tuple[str, str]] = Counter()
        """Further attempts at the same endpoint, by (endpoint, code of the one before)."""
        self.fallbacks: Counter[tuple[str, str, str]] = Counter()
        """Attempts elsewhere, by (from, to, code of the one before)."""
        self.refused: Counter[tuple[str, str]] = Counter()
        """Calls refused before any endpoint was asked, by (alias, code)."""
        self.moves: Counter[tuple[str, str, str]] = Counter()
        """Moves of breakers, by (endpoint, state after, reason)."""
        self.soft_budgets: Counter[str] = Counter()
        """Calls that passed a budget's soft bound, by scope."""
        self.reloads_failed = 0
        self._open: OrderedDict[tuple[UUID, int], AttemptBegan] = OrderedDict()
        self._before: OrderedDict[UUID, tuple[str, str]] = OrderedDict()
        """Endpoint and code of a call's last failed attempt."""

    def began(self, attempt: AttemptBegan) -> None:
        """Take note of an attempt about to leave."""
        self._open[attempt.call_id, attempt.attempt] = attempt
        if len(self._open) > _MOST_OPEN:
            self._open.popitem(last=False)
        if attempt.attempt == 0:
            return
        self._tally(attempt).under_way += 1
        before = self._before.pop(attempt.call_id, None) if attempt.attempt > 1 else None
        if before is not None:
            endpoint, code = before
            if endpoint == attempt.endpoint:
                self.retries[endpoint, code] += 1
            else:
                self.fallbacks[endpoint, attempt.endpoint, code] += 1

    def ended(self, attempt: AttemptEnded) -> None:
        """Count how an attempt ended."""
        begun = self._open.pop((attempt.call_id, attempt.attempt), None)
        if begun is None:
            return
        code = attempt.error_code or ""
        if begun.attempt == 0:
            self.refused[begun.alias, code] += 1
            return
        tally = self._tally(begun)
        tally.under_way -= 1
        tally.outcomes[attempt.outcome.value, code] += 1
        if attempt.quality is not None:
            tally.quality[attempt.quality] += 1
        if attempt.outcome is not Outcome.REFUSED:
            _count_use(tally, attempt)
        if attempt.outcome in (Outcome.FAILED, Outcome.TRUNCATED, Outcome.REFUSED):
            tally.last_error = LastError(attempt.at, code, attempt.detail)
            self._before[attempt.call_id] = begun.endpoint, code
            if len(self._before) > _MOST_OPEN:
                self._before.popitem(last=False)
        else:
            self._before.pop(attempt.call_id, None)

    def answered(self, alias: str, path: str, status: int) -> None:
        """Count what a caller got."""
        self.calls[alias, path, status] += 1

    def _tally(self, attempt: AttemptBegan) -> EndpointTally:
        place = attempt.alias, attempt.endpoint
        found = self.endpoints.get(place)
        if found is None:
            found = self.endpoints[place] = EndpointTally()
        return found


def _count_use(tally: EndpointTally, attempt: AttemptEnded) -> None:
    tokens = attempt.tokens
    for name, count in (
        ("prompt", tokens.prompt),
        ("completion", tokens.completion),
        ("cached", tokens.cached),
        ("reasoning", tokens.reasoning),
    ):
        if count:
            tally.tokens[name] += count
    if tokens.estimated:
        tally.estimated += 1
    if attempt.cost is not None:
        tally.cost += attempt.cost
    elif tokens.prompt or tokens.completion:
        tally.unpriced += 1
    if attempt.outcome is Outcome.OK:
        tally.total.add(attempt.latency_ms)
        if attempt.ttft_ms is not None:
            tally.first_token.add(attempt.ttft_ms)
    tally.overhead.add(attempt.overhead_ms)


class MeteredLog:
    """The record of calls, counted on its way."""

    def __init__(self, log: CallLog, tallies: Tallies) -> None:
        """Pass everything on to `log`."""
        self._log = log
        self._tallies = tallies

    def began(self, attempt: AttemptBegan) -> None:
        """Keep, then count. Raises as the log does; then nothing is counted."""
        self._log.began(attempt)
        self._tallies.began(attempt)

    def ended(self, attempt: AttemptEnded) -> None:
        """Keep, then count."""
        self._log.ended(attempt)
        self._tallies.ended(attempt)

    async def durable(self, call_id: UUID) -> None:
        """Wait as the log does."""
        await self._log.durable(call_id)

    @property
    def waiting(self) -> int:
        """Return what the log has waiting."""
        return self._log.waiting
