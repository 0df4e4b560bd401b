"""Recorded model calls: how they reach the database, and how they are read again.

Owns the shapes that cross between the queue of records and the database (KeptAttempt,
AttemptSink), and those of the reading side (CallHistory) for the command line, the API and the
replay endpoint. Money is in 1e-8 CNY. Must never hold a secret. Tests: tests/contract/gateway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from caopan.application.ports.gateway import AttemptBegan, AttemptEnded
from caopan.domain.gateway.outcome import Outcome
from caopan.domain.gateway.usage import Tokens

# --- writing --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KeptAttempt:
    """What is to be stored of one attempt; its identity is (call_id, attempt, began_at)."""

    call_id: UUID
    attempt: int
    began_at: datetime
    process: str
    """Gateway process that made the attempt."""
    began: AttemptBegan | None
    """None: stored before."""
    ended: AttemptEnded | None
    """None: still under way."""


class AttemptSink(Protocol):
    """Where kept attempts become rows. Blocks: called from a thread, one call at a time."""

    def write(self, attempts: Sequence[KeptAttempt]) -> Sequence[KeptAttempt]:
        """Make all durable or none; storing one again changes nothing.

        Return those that ended without a row of their beginning. Raises CorruptState
        CHECK_VIOLATION, DB_VALUE or NULL_VIOLATION where a row can never be stored, and whatever
        else the database may say: then it is worth repeating.
        """
        ...


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which attempts are wanted; None is any. Times are of the beginning: [since, until)."""

    since: datetime | None = None
    until: datetime | None = None
    alias: str | None = None
    endpoint: str | None = None
    client: str | None = None
    role: str | None = None
    decision_id: str | None = None
    trace_id: str | None = None
    outcome: Outcome | None = None
    under_way: bool = False
    """Only those that have not ended."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One attempt as recorded. What is None of its end has not come, or was not known."""

    call_id: UUID
    attempt: int
    began_at: datetime
    ended_at: datetime | None
    process: str
    trace_id: str
    decision_id: str | None
    role: str
    client: str
    path: str
    alias: str
    endpoint: str
    provider: str
    model_asked: str
    model_served: str | None
    prompt_hash: str
    prompt_version: str
    config_version: int
    price_version: str | None
    stream: bool
    adapted: tuple[str, ...]
    scopes: tuple[str, ...]
    claimed: int
    charged: int
    cost: int | None
    tokens: Tokens
    usage_raw: Mapping[str, Any] | None
    status: int | None
    outcome: Outcome | None
    """None: under way."""
    error_code: str | None
    detail: str | None
    quality: str | None
    breaker: str | None
    ttft_ms: int | None
    latency_ms: int | None
    overhead_ms: float | None


@dataclass(frozen=True, slots=True)
class CallPage:
    """Some attempts, newest first."""

    calls: Sequence[CallRecord]
    cursor: str | None
    """Where the next page begins; None: there is none."""


@dataclass(frozen=True, slots=True)
class CallDetail:
    """One attempt with its bodies; None where there was none, or retention has cleared it."""

    call: CallRecord
    request: bytes | None
    response: bytes | None


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of whole milliseconds."""

    p50: int
    p90: int
    p99: int


@dataclass(frozen=True, slots=True)
class EndpointMetrics:
    """What became of the attempts at one endpoint in a span."""

    endpoint: str
    attempts: int
    under_way: int
    outcomes: Mapping[Outcome, int]
    last_error_at: datetime | None
    last_error_code: str | None
    last_error_detail: str | None
    ttft_ms: Percentiles | None
    latency_ms: Percentiles | None
    """Of attempts that brought a whole answer."""
    cost: int
    """Of attempts whose price is known."""
    unpriced: int
    """Attempts that brought an answer whose price is unknown."""
    tokens_prompt: int
    tokens_completion: int


class CostBy(StrEnum):
    """What costs are summed by."""

    DAY = "day"
    """Beijing day of the beginning."""
    ALIAS = "alias"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class CostLine:
    """What one day, alias or client has cost."""

    key: str
    attempts: int
    cost: int
    """Of attempts whose price is known."""
    charged: int
    """What the budgets count: at worst-case price where the cost is not known."""
    unpriced: int
    tokens_prompt: int
    tokens_completion: int


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """A whole answer that was recorded once."""

    call_id: UUID
    attempt: int
    began_at: datetime
    model_served: str
    status: int | None
    stream: bool
    """Whether `response` is the vendor's stream of events."""
    tokens: Tokens
    response: bytes


class CallHistory(Protocol):
    """The recorded calls, read only, but for what retention clears."""

    async def page(self, wanted: CallFilter, most: int = 50, cursor: str | None = None) -> CallPage:
        """Return attempts, newest first. Raises ConfigInvalid CURSOR_INVALID."""
        ...

    async def call(self, call_id: UUID) -> Sequence[CallDetail]:
        """Return every attempt of one call with its bodies, in order; empty if there is none."""
        ...

    async def endpoint_metrics(self, since: datetime, until: datetime) -> Sequence[EndpointMetrics]:
        """Return what became of attempts that began in [since, until), by endpoint's name."""
        ...

    async def costs(self, since: datetime, until: datetime, by: CostBy) -> Sequence[CostLine]:
        """Return what attempts that began in [since, until) have cost, in order of the key."""
        ...

    async def recorded(self, prompt_hash: str, model: str | None = None) -> RecordedAnswer | None:
        """Return the first whole answer recorded to a prompt (of `model`, if named).

        The first, so that what a history replays does not change when the same is asked again.
        """
        ...

    async def spent_of(self, day: str, *, under_way: bool) -> Mapping[str, Mapping[str, int]]:
        """Return what each process charged each scope on `day` (YYYY-MM-DD, Beijing).

        Scopes are those of BudgetClaim, whether bounded or not. With `under_way`, attempts that
        have not ended count as claimed; without, they do not count.
        """
        ...

    async def clear_bodies(self, before: datetime, most: int = 1_000) -> int:
        """Clear at most `most` bodies of attempts that began before; return how many."""
        ...
