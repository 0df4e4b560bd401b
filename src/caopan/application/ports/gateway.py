"""What the model gateway needs of the outside.

Owns the ports to vendors, shared limits, the record of calls, the gateway's configuration and its
callers' keys, and the shapes that cross them. Must never let a secret's value cross but inside an
adapter of `Upstream`. Tests: tests/contract/gateway.

Of each call a request, a claim and two halves of a row are made. They are not frozen, because that
takes two and a half times as long; nobody changes them all the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from caopan.domain.gateway.budget import BudgetClaim
from caopan.domain.gateway.endpoint import Endpoint, RateLimit
from caopan.domain.gateway.outcome import FailureClass, Outcome
from caopan.domain.gateway.usage import Tokens


class Path(StrEnum):
    """What is asked of an endpoint."""

    CHAT = "chat/completions"
    EMBEDDINGS = "embeddings"


# --- upstream ---------------------------------------------------------------------------------


@dataclass(slots=True)
class UpstreamRequest:
    """One attempt, ready for the wire: the body is what the vendor will read."""

    endpoint: Endpoint
    path: Path
    body: bytes
    headers: Mapping[str, str]
    """Passed on beside our own (trace headers); never the caller's Authorization."""
    connect_ms: int
    first_byte_ms: int
    idle_ms: int
    total_ms: int


class UpstreamAnswer(Protocol):
    """An answer whose headers have come. Chunks are read once; leaving the context ends it."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Response headers by lower-case name."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes; bounded in size by the adapter.

        Raises UpstreamFailed.
        """
        ...


class UpstreamFailed(Exception):
    """The exchange itself failed: `failure` is CONNECT, TLS, TIMEOUT or BROKEN."""

    def __init__(self, failure: FailureClass, detail: str) -> None:
        """Say what failed, without key or body."""
        super().__init__(detail)
        self.failure = failure
        self.detail = detail


class Upstream(Protocol):
    """The way to endpoints of one kind. No retry, no redirect, no proxy of its own."""

    def send(self, request: UpstreamRequest) -> AbstractAsyncContextManager[UpstreamAnswer]:
        """Send one request; entering waits for the headers, leaving early cancels upstream.

        Raises UpstreamFailed; ConfigInvalid SECRET_MISSING or ENDPOINT_ADDRESS before anything
        leaves.
        """
        ...


# --- limits and budgets shared by all gateway processes -----------------------------------------


@dataclass(slots=True)
class Claim:
    """What one attempt needs before it may leave."""

    claim_id: UUID
    endpoint: str
    limit: RateLimit
    tokens: int
    """Prompt and answer at their most, for tokens per minute."""
    cost: int
    """At its dearest, in 1e-8 CNY, for the budgets."""
    budgets: tuple[BudgetClaim, ...]
    client_rpm: tuple[str, int] | None = None
    """A caller's own bound: (client id, requests a minute)."""
    at: datetime | None = None
    """When the attempt begins: its Beijing day is the day of its budgets."""
    expires_ms: int = 600_000
    """When a claim that nobody settled is no longer counted as a call under way (its process
    died). Its money stays counted on its day: the vendor may have charged it."""


class Bound(StrEnum):
    """Which bound refused a claim."""

    RPM = "rpm"
    TPM = "tpm"
    CONCURRENCY = "concurrency"
    BUDGET = "budget"
    CLIENT_RPM = "client_rpm"


@dataclass(frozen=True, slots=True)
class Granted:
    """The claim holds until it is settled."""

    claim: Claim
    soft_reached: tuple[str, ...] = ()
    """Scopes whose soft bound this claim passes."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The claim does not fit; nothing was taken."""

    bound: Bound
    scope: str
    limit: int
    used: int
    retry_after_ms: int | None
    """When it may fit; None: not today."""


class SharedLimits(Protocol):
    """Counters of requests, tokens, calls under way and money, shared by all gateway processes.

    Where the shared place is gone each process counts alone, within the documented allowance, and
    hands in what it counted once the place is back.
    """

    async def claim(self, claim: Claim) -> Granted | Refused:
        """Take all of it or nothing. Answers within a bounded time.

        Who is cancelled while waiting has taken nothing: what was taken for it is given back.
        """
        ...

    def settle(self, granted: Granted, tokens: int, cost: int) -> None:
        """Put what was used in the place of what was claimed; once, never waits, never fails."""
        ...

    async def spent(self, scopes: Sequence[str], day: str) -> Mapping[str, int]:
        """Return what each scope has used and claimed of `day` (YYYY-MM-DD, Beijing)."""
        ...

    @property
    def is_shared(self) -> bool:
        """Tell whether other processes see these counters at the moment."""
        ...


# --- news between gateway processes ---------------------------------------------------------------


class Bus(Protocol):
    """Carries small JSON news between gateway processes; loses them when the shared place is gone.

    What depends on it must also be right without it.
    """

    def publish(self, kind: str, body: Mapping[str, Any]) -> None:
        """Send to every other process; never waits, never fails."""
        ...

    def news(self) -> AsyncIterator[tuple[str, Mapping[str, Any]]]:
        """Yield what other processes published, as (kind, body)."""
        ...

    async def take_token(self, name: str, lasts_ms: int) -> bool:
        """Take a token that only one process may hold at a time; True where nobody can tell."""
        ...


# --- the record -----------------------------------------------------------------------------------


@dataclass(slots=True)
class AttemptBegan:
    """An attempt about to leave, or a call refused before one could."""

    call_id: UUID
    attempt: int
    """From 1; 0 where the call was refused before any endpoint was asked."""
    trace_id: str
    decision_id: str | None
    role: str
    client: str
    """Id of the client key."""
    path: Path
    alias: str
    endpoint: str
    provider: str
    model_asked: str
    prompt_hash: str
    """SHA-256 of the canonical messages."""
    prompt_version: str
    config_version: int
    stream: bool
    at: datetime
    request: bytes
    """The vendor's body; keys are never in it."""
    adapted: tuple[str, ...]
    """What the gateway changed in the caller's request, in words: `json_schema->json_object`."""
    claimed: int
    """Worst-case cost, in 1e-8 CNY."""
    scopes: tuple[str, ...]
    """Budgets the attempt counts against."""


@dataclass(slots=True)
class AttemptEnded:
    """How an attempt ended."""

    call_id: UUID
    attempt: int
    at: datetime
    outcome: Outcome
    error_code: str | None
    detail: str
    """Redacted, bounded."""
    status: int | None
    """HTTP status of the endpoint."""
    model_served: str
    tokens: Tokens
    usage_raw: Mapping[str, Any] | None
    cost: int | None
    """In 1e-8 CNY; None: the price is unknown."""
    price_version: str | None
    ttft_ms: int | None
    latency_ms: int
    overhead_ms: float
    """Our own part of it."""
    breaker: str
    """State of the endpoint's breaker after it."""
    quality: str | None
    """`invalid_json` or `blank`: what the transport cannot see; None where nothing is wrong."""
    response: bytes
    """The whole answer, or what of a stream had come; bounded."""
    charged: int | None = None
    """What the budgets were charged, as settled, in 1e-8 CNY. None: the cost; where that is
    unknown too, nothing for a refused attempt, and else what was claimed."""


class CallLog(Protocol):
    """Keeps a row of every attempt. Survives the process being killed, and the database's absence.

    Raises Unavailable AUDIT_UNAVAILABLE from `began` where nothing can be kept: then nothing is
    sent.
    """

    def began(self, attempt: AttemptBegan) -> None:
        """Keep that an attempt is about to leave; returns once it would survive our death."""
        ...

    def ended(self, attempt: AttemptEnded) -> None:
        """Keep how it ended; never raises."""
        ...

    async def durable(self, call_id: UUID) -> None:
        """Wait until what was said of a call is in the database.

        Raises Unavailable AUDIT_UNAVAILABLE if it is not within a bounded time.
        """
        ...

    @property
    def waiting(self) -> int:
        """Return how many records are not in the database yet."""
        ...


# --- configuration and callers --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """One version of the models document."""

    version: int
    body: Mapping[str, Any]
    author: str
    note: str
    created_at: datetime


class ModelsConfig(Protocol):
    """Versions of the models document; the newest is in force."""

    async def newest(self) -> StoredConfig | None:
        """Return the version in force, None before the first."""
        ...

    async def put(
        self, body: Mapping[str, Any], *, author: str, note: str, expected: int, at: datetime
    ) -> StoredConfig:
        """Store the next version and tell every process.

        Raises Conflict CONFIG_VERSION unless `expected` is the version in force (0: none).
        """
        ...

    async def history(self, most: int) -> Sequence[StoredConfig]:
        """Return versions, newest first."""
        ...

    def changed(self) -> AsyncIterator[int]:
        """Yield the newest version's number whenever it may have changed, at least every 2 s.

        Survives a lost database: it yields again once it is back.
        """
        ...


@dataclass(frozen=True, slots=True)
class ClientKey:
    """A caller's key; only its hash is kept."""

    client_id: str
    name: str
    aliases: tuple[str, ...]
    """What it may ask for; `*` is every alias."""
    admin: bool
    """May read and change the configuration."""
    daily_budget: int | None
    """In 1e-8 CNY."""
    rpm: int | None
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime


class ClientKeys(Protocol):
    """The gateway's own keys."""

    async def all(self) -> Mapping[str, ClientKey]:
        """Return every key by the SHA-256 (hex) of its text."""
        ...

    async def add(self, digest: str, key: ClientKey) -> None:
        """Store a key. Raises Conflict CLIENT_EXISTS for a taken name."""
        ...

    async def revoke(self, client_id: str, at: datetime) -> None:
        """Void a key. Raises Conflict CLIENT_UNKNOWN."""
        ...
