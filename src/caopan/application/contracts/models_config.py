"""The models document: which endpoints serve which alias, on what terms (CFG-01, MG-02).

Owns ModelsDocument, the one shape of a models version in the database, over REST and on the command
line, and its JSON Schema, which can drive an editor. Must never hold a secret: only references to
them fit. What a valid document means stands in models_parsing.py. Tests:
tests/unit/application/contracts/test_models_config.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue

from caopan.domain.gateway.endpoint import BreakerSettings, Budget, Retry, Route, Snapshot, Timeouts

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}$"
REFERENCE_PATTERN = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|sealed:[A-Za-z0-9][A-Za-z0-9._-]{0,63})$"
_TIMEOUTS, _RETRY, _BREAKER, _BUDGET = Timeouts(), Retry(), BreakerSettings(), Budget()
_ROUTE, _SNAPSHOT = Route("", ()), Snapshot(0, {}, {})
_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000


def _unit(name: str) -> dict[str, JsonValue]:
    return {"unit": name}


_MS, _SHARE, _CNY_UNIT = _unit("ms"), _unit("share of 1"), _unit("CNY")
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Cny = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,9}(\.[0-9]{1,8})?$",
        description="An amount in CNY, as a decimal string with at most 8 decimals.",
        json_schema_extra=_CNY_UNIT,
    ),
]
Price = Annotated[str, Field(pattern=r"^[0-9]{1,7}(\.[0-9]{1,8})?$")]
Day = Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
HourOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class TimeoutsPart(_Strict):
    """Bounds of one attempt; the caller's deadline bounds them all."""

    connect_ms: int = Field(
        default=_TIMEOUTS.connect_ms,
        ge=50,
        le=_MINUTE_MS,
        json_schema_extra=_MS,
        description="Name look-up, TCP and TLS together.",
    )
    first_token_ms: int = Field(
        default=_TIMEOUTS.first_token_ms,
        ge=100,
        le=_HOUR_MS,
        json_schema_extra=_MS,
        description="From the request to the first content, reasoning or tool call of a stream, "
        "or to the headers of a whole answer.",
    )
    idle_ms: int = Field(
        default=_TIMEOUTS.idle_ms,
        ge=100,
        le=_HOUR_MS,
        json_schema_extra=_MS,
        description="Between two chunks of a stream.",
    )
    total_ms: int = Field(
        default=_TIMEOUTS.total_ms,
        ge=100,
        le=_HOUR_MS,
        json_schema_extra=_MS,
        description="The whole attempt.",
    )


class BackoffPart(_Strict):
    """The rest between two tries: drawn between 0 and a bound that doubles each time."""

    base_ms: int = Field(
        default=_RETRY.base_ms,
        ge=1,
        le=_MINUTE_MS,
        json_schema_extra=_MS,
        description="First bound.",
    )
    cap_ms: int = Field(
        default=_RETRY.cap_ms,
        ge=1,
        le=10 * _MINUTE_MS,
        json_schema_extra=_MS,
        description="Last bound.",
    )


class RetryPart(_Strict):
    """How often a call is tried, over all endpoints together."""

    max_attempts: int = Field(
        default=_RETRY.max_attempts, ge=1, le=10, description="Tries in all, the first included."
    )
    backoff: BackoffPart = Field(default_factory=BackoffPart, description="Rest between two tries.")


class BreakerPart(_Strict):
    """When an endpoint is left alone, and how it is tried again."""

    enabled: bool = Field(
        default=_BREAKER.enabled, description="Off: it is asked however often it fails."
    )
    window_ms: int = Field(
        default=_BREAKER.window_ms,
        ge=1_000,
        le=_HOUR_MS,
        validation_alias=AliasChoices("window_ms", "window"),
        json_schema_extra=_MS,
        description="How far back failures and slow calls are counted.",
    )
    failures: int = Field(
        default=_BREAKER.failures,
        ge=1,
        le=1_000,
        description="Failures in the window without which no rate opens it; as many in a row do.",
    )
    error_rate: float = Field(
        default=_BREAKER.error_rate,
        gt=0,
        le=1,
        json_schema_extra=_SHARE,
        description="Share of failed calls in the window that opens it.",
    )
    slow_call_ms: int = Field(
        default=_BREAKER.slow_call_ms,
        ge=100,
        le=_HOUR_MS,
        json_schema_extra=_MS,
        description="A call that takes longer is slow.",
    )
    slow_rate: float = Field(
        default=_BREAKER.slow_rate,
        gt=0,
        le=1,
        json_schema_extra=_SHARE,
        description="Share of slow calls in the window that opens it.",
    )
    open_ms: int = Field(
        default=_BREAKER.open_ms,
        ge=100,
        le=_HOUR_MS,
        json_schema_extra=_MS,
        description="How long it is left alone at first; doubles with each failed probe.",
    )
    max_open_ms: int = Field(
        default=_BREAKER.max_open_ms,
        ge=100,
        le=24 * _HOUR_MS,
        json_schema_extra=_MS,
        description="How long it is left alone at most.",
    )
    half_open_probes: int = Field(
        default=_BREAKER.half_open_probes,
        ge=1,
        le=100,
        description="Calls let through at a time to try.",
    )
    successes: int = Field(
        default=_BREAKER.successes,
        ge=1,
        le=100,
        description="Successful probes in a row that close it.",
    )


class RateLimitPart(_Strict):
    """What an endpoint allows all our processes together; null sets no bound."""

    rpm: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        json_schema_extra=_unit("requests/min"),
        description="Requests a minute.",
    )
    tpm: int | None = Field(
        default=None,
        ge=1,
        le=10**12,
        json_schema_extra=_unit("tokens/min"),
        description="Tokens a minute, prompt and answer.",
    )
    concurrency: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        json_schema_extra=_unit("calls"),
        description="Calls under way.",
    )


class BudgetPart(_Strict):
    """What may be spent; null sets no bound. A day is a Beijing day."""

    daily_cny: Cny | None = Field(default=None, description="In one day.")
    per_decision_cny: Cny | None = Field(default=None, description="For one decision.")
    soft_share: float = Field(
        default=_BUDGET.soft_share,
        gt=0,
        le=1,
        json_schema_extra=_SHARE,
        description="Share of a bound at which an alert is raised and nothing is refused yet.",
    )


class PricePart(_Strict):
    """What a model costs from a moment on. The newest row that has begun and fits holds."""

    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Exact name, or a prefix ending in *; null is the endpoint's own model.",
    )
    valid_from: str = Field(
        default="1970-01-01T00:00:00+00:00",
        max_length=40,
        description="ISO 8601 instant with its offset from which it holds.",
    )
    currency: Literal["CNY", "USD"] = Field(
        default="CNY", description="USD needs the document's rate of exchange (usd_cny)."
    )
    input_mtok: Price = Field(description="Per million prompt tokens, a decimal string.")
    output_mtok: Price = Field(description="Per million tokens of the answer, a decimal string.")
    cached_mtok: Price | None = Field(
        default=None,
        description="Per million prompt tokens read from the vendor's cache; null: as the others.",
    )
    tier_from: int = Field(
        default=0,
        ge=0,
        le=10**9,
        json_schema_extra=_unit("tokens"),
        description="Prompt tokens from which this tier holds for the whole call.",
    )
    hours: tuple[HourOfDay, HourOfDay] | None = Field(
        default=None,
        strict=False,
        description="Beijing time of day HH:MM from and to, may wrap midnight; null: all day.",
    )
    weekdays: tuple[Annotated[int, Field(ge=1, le=7)], ...] | None = Field(
        default=None,
        strict=False,
        min_length=1,
        max_length=7,
        description="ISO weekdays (Monday is 1) on which it holds; null is every day.",
    )
    source: str = Field(
        default="", max_length=500, description="Where the vendor says so, and when it was read."
    )
    cache_write_mtok: Price | None = Field(
        default=None,
        description="Per million prompt tokens written to the vendor's cache; null: as the others.",
    )
    except_days: tuple[Day, ...] = Field(
        default=(),
        strict=False,
        max_length=400,
        description="Beijing days YYYY-MM-DD on which it does not hold, such as public holidays.",
    )


class DefaultParams(_Strict):
    """Sent where the caller says nothing."""

    temperature: float | None = Field(default=None, ge=0, le=2, description="Sampling temperature.")
    top_p: float | None = Field(default=None, gt=0, le=1, description="Nucleus sampling.")
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        json_schema_extra=_unit("tokens"),
        description="Longest answer.",
    )
    seed: int | None = Field(
        default=None, ge=0, le=2**63 - 1, description="For vendors that take one."
    )
    timeout_ms: int | None = Field(
        default=None,
        ge=100,
        le=_HOUR_MS,
        json_schema_extra=_MS,
        description="Another word for timeouts.total_ms; give one of the two. Never sent.",
    )
    extra: dict[str, JsonValue] = Field(
        default_factory=dict[str, JsonValue],
        max_length=50,
        description="Any other request field of the vendor, by its name there.",
    )


class CapabilitiesPart(_Strict):
    """What the endpoint can do, where the profile of its vendor is wrong; null: as it says."""

    json_schema: bool | None = Field(default=None, description="Answers in a given JSON Schema.")
    json_object: bool | None = Field(
        default=None, description="Has a JSON mode; the schema then goes into the prompt."
    )
    tools: bool | None = Field(
        default=None,
        description="Calls tools; used for a schema where both above are false.",
    )
    stream_usage: bool | None = Field(
        default=None, description="Tells the usage of a stream when asked."
    )


class RoutingPart(_Strict):
    """The endpoint's place among those of its alias."""

    weight: float = Field(
        default=1.0,
        ge=0,
        le=1,
        json_schema_extra=_SHARE,
        description="Share among healthy endpoints of one priority; 0 is never chosen first.",
    )
    priority: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Lower goes first; a higher one waits for the lower to fail.",
    )
    fallback: Literal["same_model", "listed", "none"] = Field(
        default="same_model",
        description="Who may answer when this endpoint failed: another that serves the same "
        "model, any other of the alias (another model is another strategy), or nobody.",
    )


class EndpointPart(_Strict):
    """One model at one place."""

    alias: Name = Field(description="What callers ask for as `model`.")
    name: Name | None = Field(
        default=None,
        description="Unique and stable: state, limits and records hang on it. "
        "null is ALIAS-PROVIDER.",
    )
    kind: Literal["openai", "builtin", "replay", "faulty"] = Field(
        default="openai",
        description="An HTTP endpoint, a trader of our own, recorded answers, or drills.",
    )
    provider: Name = Field(description="Profile that holds the vendor's facts: `models presets`.")
    endpoint_url: str | None = Field(
        default=None,
        max_length=500,
        description="Base URL up to and including the version; null is the profile's.",
    )
    model: str = Field(min_length=1, max_length=200, description="As the vendor calls it.")
    auth_type: Literal["bearer", "api_key", "none"] | None = Field(
        default=None, description="How the key is sent; null is the profile's way."
    )
    auth_secret_ref: str | None = Field(
        default=None,
        pattern=REFERENCE_PATTERN,
        max_length=500,
        description="Where the key is: env:NAME, file:PATH or sealed:ID; never the key itself.",
    )
    default_params: DefaultParams = Field(
        default_factory=DefaultParams, description="What is sent where the caller says nothing."
    )
    capabilities: CapabilitiesPart = Field(
        default_factory=CapabilitiesPart, description="Where the vendor's profile is wrong."
    )
    timeouts: TimeoutsPart = Field(
        default_factory=TimeoutsPart, description="Bounds of one attempt."
    )
    retry: RetryPart = Field(default_factory=RetryPart, description="How often a call is tried.")
    routing: RoutingPart = Field(
        default_factory=RoutingPart, description="Place among the endpoints of the alias."
    )
    circuit_breaker: BreakerPart = Field(
        default_factory=BreakerPart, description="When it is left alone."
    )
    rate_limit: RateLimitPart = Field(
        default_factory=RateLimitPart, description="What it allows all processes together."
    )
    budget: BudgetPart = Field(default_factory=BudgetPart, description="What it may cost.")
    prices: list[PricePart] = Field(
        default_factory=list[PricePart],
        max_length=500,
        description="Prices that go before the built-in table.",
    )
    unknown_price_mtok_cny: Cny | None = Field(
        default=None,
        description="What a million tokens of unknown price count as against budgets; "
        "null: such a call is refused where a budget holds.",
    )
    private_address: bool = Field(
        default=False,
        description="Loopback, private and link-local addresses and plain http are allowed.",
    )
    enabled: bool = Field(default=True, description="Off: it is not asked at all.")


class AlsoPart(RoutingPart):
    """An endpoint of another alias that serves this one too."""

    endpoint: Name = Field(description="Name of the endpoint.")


class AliasPart(_Strict):
    """How the calls of one alias are treated."""

    sticky: bool = Field(
        default=_ROUTE.sticky,
        description="Calls of one decision (or of one `user`) keep to one healthy endpoint.",
    )
    buffered: bool = Field(
        default=_ROUTE.buffered,
        description="Fetch whole answers as a stream where the endpoint can: they gain the bounds "
        "first_token_ms and idle_ms.",
    )
    strict_audit: bool = Field(
        default=_ROUTE.strict_audit, description="Answer only once the record is in the database."
    )
    deadline_ms: int = Field(
        default=_ROUTE.deadline_ms,
        ge=100,
        le=_HOUR_MS,
        json_schema_extra=_MS,
        description="Bound of the whole call where the caller names none.",
    )
    budget: BudgetPart = Field(default_factory=BudgetPart, description="What the alias may cost.")
    also: list[AlsoPart] = Field(
        default_factory=list[AlsoPart],
        max_length=100,
        description="Endpoints of other aliases that serve this one too.",
    )


class ModelsDocument(_Strict):
    """Every endpoint, alias and budget of the model gateway."""

    endpoints: list[EndpointPart] = Field(
        min_length=1, max_length=500, description="Endpoints, each with the alias it serves."
    )
    aliases: dict[Name, AliasPart] = Field(
        default_factory=dict[str, AliasPart],
        description="Settings by alias; one that is not named has the defaults.",
    )
    budget: BudgetPart = Field(
        default_factory=BudgetPart, description="What all calls together may cost."
    )
    usd_cny: Price | None = Field(
        default=None,
        description="CNY for one USD, a decimal string; null: prices in USD are unknown.",
        json_schema_extra=_unit("CNY/USD"),
    )
    retention_days: int = Field(
        default=_SNAPSHOT.retention_days,
        ge=0,
        le=36_500,
        json_schema_extra=_unit("days"),
        description="How long requests and answers are kept; the rows stay.",
    )
    prices: list[PricePart] = Field(
        default_factory=list[PricePart],
        max_length=2_000,
        description="Prices of any endpoint that go before the built-in table; each names a model.",
    )


def models_schema() -> dict[str, Any]:
    """Return the JSON Schema of the document, each field with its unit, range and default."""
    return ModelsDocument.model_json_schema(by_alias=False)
