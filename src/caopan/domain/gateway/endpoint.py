"""Model endpoints and the routes that lead to them, as configured: the shapes alone.

Owns Endpoint with its parts, Route and Snapshot (one immutable version of the whole
configuration). Must never hold a secret, only a reference to one, nor the state of an endpoint.
Tests: tests/unit/domain/gateway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

CNY = 100_000_000
"""Cost is counted in whole units of 1e-8 CNY, the scale of NUMERIC(18,8)."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


def cny(units: int) -> str:
    """Return an amount of 1e-8 CNY as the shortest decimal string."""
    whole, part = divmod(abs(units), CNY)
    tail = f"{part:08d}".rstrip("0")
    shown = f"{whole}.{tail}" if tail else str(whole)
    return f"-{shown}" if units < 0 else shown


def nothing() -> Mapping[str, Any]:
    """Return NOTHING, as the default of a field."""
    return NOTHING


class EndpointKind(StrEnum):
    """What stands behind an endpoint."""

    OPENAI = "openai"
    """An HTTP server that speaks the chat-completions protocol."""
    BUILTIN = "builtin"
    """A rule trader of our own, in this process."""
    REPLAY = "replay"
    """Answers from recorded calls, by prompt hash."""
    FAULTY = "faulty"
    """Misbehaves on request, for tests and drills."""


class AuthType(StrEnum):
    """How an endpoint wants its key."""

    BEARER = "bearer"
    """`Authorization: Bearer KEY`."""
    API_KEY = "api_key"
    """A header of its own, named by the profile (`api-key`, `x-goog-api-key`)."""
    NONE = "none"


class Fallback(StrEnum):
    """Who may answer instead of an endpoint that failed."""

    SAME_MODEL = "same_model"
    """Another endpoint of the alias that serves the same model: the strategy stays the same."""
    LISTED = "listed"
    """Any other endpoint of the alias."""
    NONE = "none"


class StructuredOutput(StrEnum):
    """How an endpoint is made to answer in a given JSON Schema, best first."""

    JSON_SCHEMA = "json_schema"
    TOOL = "tool"
    JSON_OBJECT = "json_object"
    """JSON mode, with the schema in the prompt."""
    PROMPT = "prompt"
    """The schema in the prompt, and nothing else."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of one attempt, in milliseconds; the caller's deadline bounds them all."""

    connect_ms: int = 5_000
    first_token_ms: int = 60_000
    """From the request until the first content, reasoning or tool call of a stream, or until the
    headers of a whole answer."""
    idle_ms: int = 30_000
    """Between two chunks of a stream."""
    total_ms: int = 180_000


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call is tried, over all endpoints, and how long it rests between."""

    max_attempts: int = 3
    base_ms: int = 250
    cap_ms: int = 8_000


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When an endpoint is left alone, and how it is tried again."""

    enabled: bool = True
    window_ms: int = 60_000
    failures: int = 5
    """Failures in the window without which no rate opens the breaker; as many in a row do."""
    error_rate: float = 0.5
    slow_call_ms: int = 60_000
    slow_rate: float = 0.8
    open_ms: int = 15_000
    """First time left alone; doubles with each failed probe, up to `max_open_ms`."""
    max_open_ms: int = 300_000
    half_open_probes: int = 1
    successes: int = 2
    """Successful probes in a row that close it."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What an endpoint allows all our processes together; None where it sets no bound."""

    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent, in units of 1e-8 CNY; None is no bound."""

    daily: int | None = None
    per_decision: int | None = None
    soft_share: float = 0.8
    """Share of a bound at which an alert is raised and nothing is refused."""


@dataclass(frozen=True, slots=True)
class PriceRule:
    """What a model costs from a moment on, as its vendor published it.

    The newest rule that has begun, fits the hour and whose tier the prompt reaches holds.
    """

    model: str
    """Exact name, or a prefix ending in `*`."""
    valid_from: str
    """ISO 8601 instant."""
    currency: str
    """CNY or USD; a price in USD needs the configured rate of exchange."""
    input_mtok: str
    """Price of a million prompt tokens, as a decimal string."""
    output_mtok: str
    cached_mtok: str | None = None
    """Of prompt tokens read from the vendor's cache; None: as the others."""
    tier_from: int = 0
    """Prompt tokens from which this tier holds for the whole call."""
    hours: tuple[str, str] | None = None
    """Beijing time of day "HH:MM" from and to (may wrap midnight); None is the whole day."""
    weekdays: tuple[int, ...] | None = None
    """ISO weekdays on which it holds; None is every day."""
    source: str = ""
    """Where the vendor says so, and when that was read."""
    cache_write_mtok: str | None = None
    """Of prompt tokens written to the vendor's cache; None: as the others."""
    except_days: tuple[str, ...] = ()
    """Beijing days (YYYY-MM-DD) on which it does not hold, such as public holidays."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One model at one place."""

    name: str
    """Unique and stable: state and limits hang on it."""
    provider: str
    """Name of the profile that holds the vendor's facts."""
    model: str
    """As the vendor calls it."""
    kind: EndpointKind = EndpointKind.OPENAI
    url: str = ""
    """Base URL up to and including the version, for example `https://api.deepseek.com/v1`."""
    auth: AuthType = AuthType.NONE
    secret_ref: str | None = None
    """`env:NAME`, `file:PATH` or `sealed:ID`."""
    default_params: Mapping[str, Any] = field(default_factory=nothing)
    """Sent where the caller says nothing."""
    structured: StructuredOutput | None = None
    """None: as the profile says for this model."""
    stream_usage: bool | None = None
    """Whether a stream is asked for its usage; None: as the profile says."""
    timeouts: Timeouts = Timeouts()
    retry: Retry = Retry()
    breaker: BreakerSettings = BreakerSettings()
    rate_limit: RateLimit = RateLimit()
    budget: Budget = Budget()
    prices: Sequence[PriceRule] = ()
    """Overrides of the price table."""
    unknown_price_mtok: int | None = None
    """What a million tokens of an unknown price count as against budgets, in 1e-8 CNY; None: such
    a call is refused where a budget would have to hold it."""
    private_address: bool = False
    """An administrator allowed loopback, private and link-local addresses for this endpoint."""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint's place on a route."""

    endpoint: str
    priority: int = 0
    """Lower goes first; a higher tier is used only when a lower one has none to offer."""
    weight: float = 1.0
    """Share among healthy endpoints of one tier, in [0, 1]; 0 is never chosen first."""
    fallback: Fallback = Fallback.SAME_MODEL
    """Who may answer when this endpoint failed."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the calls of one alias may go."""

    alias: str
    targets: tuple[Target, ...]
    sticky: bool = False
    """Keep a caller's calls of one decision (or its `user`) on one endpoint while it is healthy."""
    buffered: bool = True
    """Fetch an answer that must be JSON as a stream, where the endpoint can, and hand it on whole:
    gains the bounds on first token and silence. Other answers are fetched as they are asked for:
    putting a stream together costs about as much as the rest of a call."""
    strict_audit: bool = False
    """Answer only once the record of the call is durable."""
    deadline_ms: int = 180_000
    """Where the caller names none."""
    budget: Budget = Budget()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of the configuration; a call keeps the one it began with."""

    version: int
    endpoints: Mapping[str, Endpoint]
    routes: Mapping[str, Route]
    budget: Budget = Budget()
    """Of all calls together."""
    usd_cny: str | None = None
    """Rate at which prices in USD are counted, as a decimal string; None: they are unknown."""
    retention_days: int = 90
    """How long requests and responses are kept; the rows stay."""
    prices: Sequence[PriceRule] = field(default=())
    """Overrides of the price table for every endpoint."""
