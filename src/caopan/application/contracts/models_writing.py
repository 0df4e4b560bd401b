"""A Snapshot written as the models document that reads into it again.

Owns `models_document`. Must never invent a setting: what a document cannot say is not in a
snapshot. Tests: tests/unit/application/contracts/test_models_parsing.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from pydantic import JsonValue

from caopan.application.contracts.models_config import (
    AliasPart,
    AlsoPart,
    BackoffPart,
    BreakerPart,
    BudgetPart,
    CapabilitiesPart,
    DefaultParams,
    EndpointPart,
    ModelsDocument,
    PricePart,
    RateLimitPart,
    RetryPart,
    RoutingPart,
    TimeoutsPart,
)
from caopan.application.contracts.models_parsing import OWN_PARAMS
from caopan.domain.gateway.endpoint import (
    Budget,
    Endpoint,
    PriceRule,
    Route,
    Snapshot,
    StructuredOutput,
    Target,
    cny,
)


def models_document(snapshot: Snapshot) -> dict[str, Any]:
    """Return the document that `parse_models` reads into this snapshot; defaults are left out."""
    homes: dict[str, str] = {}
    for alias in sorted(snapshot.routes):
        for target in snapshot.routes[alias].targets:
            homes.setdefault(target.endpoint, alias)
    parts: list[EndpointPart] = []
    for name, alias in homes.items():
        target = next(one for one in snapshot.routes[alias].targets if one.endpoint == name)
        parts.append(_endpoint_part(snapshot.endpoints[name], alias, target))
    document = ModelsDocument(
        endpoints=parts,
        aliases={
            alias: _alias_part(route, homes) for alias, route in sorted(snapshot.routes.items())
        },
        budget=_budget_part(snapshot.budget),
        usd_cny=snapshot.usd_cny,
        retention_days=snapshot.retention_days,
        prices=[_price_part(rule) for rule in snapshot.prices],
    )
    return document.model_dump(mode="json", exclude_defaults=True)


def _endpoint_part(endpoint: Endpoint, alias: str, target: Target) -> EndpointPart:
    params = endpoint.default_params
    own = {name: params[name] for name in OWN_PARAMS if name in params}
    extra = {name: value for name, value in params.items() if name not in own}
    retry = endpoint.retry
    return EndpointPart(
        alias=alias,
        name=endpoint.name,
        kind=endpoint.kind.value,
        provider=endpoint.provider,
        endpoint_url=endpoint.url or None,
        model=endpoint.model,
        auth_type=endpoint.auth.value,
        auth_secret_ref=endpoint.secret_ref,
        default_params=DefaultParams(**own, extra=cast("dict[str, JsonValue]", extra)),
        capabilities=_capabilities(endpoint),
        timeouts=TimeoutsPart(**asdict(endpoint.timeouts)),
        retry=RetryPart(
            max_attempts=retry.max_attempts,
            backoff=BackoffPart(base_ms=retry.base_ms, cap_ms=retry.cap_ms),
        ),
        routing=RoutingPart(**_routing(target)),
        circuit_breaker=BreakerPart(**asdict(endpoint.breaker)),
        rate_limit=RateLimitPart(**asdict(endpoint.rate_limit)),
        budget=_budget_part(endpoint.budget),
        prices=[_price_part(rule) for rule in endpoint.prices],
        unknown_price_mtok_cny=_text(endpoint.unknown_price_mtok),
        private_address=endpoint.private_address,
        enabled=endpoint.enabled,
    )


def _routing(target: Target) -> dict[str, Any]:
    fallback = target.fallback.value
    return {"weight": target.weight, "priority": target.priority, "fallback": fallback}


def _capabilities(endpoint: Endpoint) -> CapabilitiesPart:
    kind = endpoint.structured
    if kind is None:
        return CapabilitiesPart(stream_usage=endpoint.stream_usage)
    return CapabilitiesPart(
        json_schema=kind is StructuredOutput.JSON_SCHEMA,
        json_object=kind is StructuredOutput.JSON_OBJECT,
        tools=True if kind is StructuredOutput.TOOL else None,
        stream_usage=endpoint.stream_usage,
    )


def _alias_part(route: Route, homes: Mapping[str, str]) -> AliasPart:
    return AliasPart(
        sticky=route.sticky,
        buffered=route.buffered,
        strict_audit=route.strict_audit,
        deadline_ms=route.deadline_ms,
        budget=_budget_part(route.budget),
        also=[
            AlsoPart(endpoint=target.endpoint, **_routing(target))
            for target in route.targets
            if homes[target.endpoint] != route.alias
        ],
    )


def _budget_part(budget: Budget) -> BudgetPart:
    return BudgetPart(
        daily_cny=_text(budget.daily),
        per_decision_cny=_text(budget.per_decision),
        soft_share=budget.soft_share,
    )


def _price_part(rule: PriceRule) -> PricePart:
    return PricePart(**asdict(rule))


def _text(units: int | None) -> str | None:
    return None if units is None else cny(units)
