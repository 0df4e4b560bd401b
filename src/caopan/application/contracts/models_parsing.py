"""A models document read into one immutable Snapshot, whole or not at all.

Owns what a document means and every check that needs nothing outside it: what refers to what, where
keys may stand, which addresses are allowed. Must never repeat what may be a key, nor look a secret,
a name or a price up: bootstrap does, with adapters at hand. Tests:
tests/unit/application/contracts/test_models_parsing.py.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationError

from caopan.application.contracts.models_config import (
    AliasPart,
    BudgetPart,
    CapabilitiesPart,
    DefaultParams,
    EndpointPart,
    ModelsDocument,
    PricePart,
    RoutingPart,
    TimeoutsPart,
)
from caopan.domain.gateway.endpoint import (
    CNY,
    AuthType,
    BreakerSettings,
    Budget,
    Endpoint,
    EndpointKind,
    Fallback,
    PriceRule,
    RateLimit,
    Retry,
    Route,
    Snapshot,
    StructuredOutput,
    Target,
    Timeouts,
)
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import ConfigInvalid

OWN_PARAMS = ("temperature", "top_p", "max_tokens", "seed")
"""Default parameters with a field of their own; the others stand in `extra`."""
_NEVER_DEFAULTS = frozenset({"model", "messages", "input", "stream", "stream_options"})
_KEY_FIELDS = frozenset(
    {"api_key", "apikey", "api-key", "authorization", "access_token", "password", "secret"}
)
_SHOWN_LENGTH = 24
"""Longer texts are not repeated in an error: somebody may have put a key there."""
_NOT_SHOWN = " (value not shown)"
_MOST_TOLD = 10


@dataclass(frozen=True, slots=True)
class _Problem:
    path: str
    told: str
    remedy: str = "correct the field; `caopan models ls` shows what is in force"


def parse_models(
    body: Mapping[str, Any], *, version: int, profiles: Mapping[str, Profile]
) -> Snapshot:
    """Return what a models document says.

    Raises ConfigInvalid MODELS_INVALID with every problem, a line each: the path of the field, what
    stands there (never what may be a key) and why it is refused. The message begins with the first
    path, which ends before "=" or ":".
    """
    try:
        document = ModelsDocument.model_validate(body)
    except ValidationError as error:
        raise _refused(_misshapen(error)) from None
    problems = [*_problems(document, profiles)]
    if problems:
        raise _refused(problems)
    endpoints = {_name(part): _endpoint(part, profiles) for part in document.endpoints}
    return Snapshot(
        version=version,
        endpoints=endpoints,
        routes={alias: _route(alias, document) for alias in _aliases(document)},
        budget=_budget(document.budget),
        usd_cny=document.usd_cny,
        retention_days=document.retention_days,
        prices=tuple(_price(row, row.model or "") for row in document.prices),
    )


# --- what is refused ------------------------------------------------------------------------------


def _refused(problems: Sequence[_Problem]) -> ConfigInvalid:
    told = [f"{one.path}{one.told}" for one in problems[:_MOST_TOLD]]
    if len(problems) > _MOST_TOLD:
        told.append(f"and {len(problems) - _MOST_TOLD} more")
    return ConfigInvalid("MODELS_INVALID", "\n".join(told), remedy=problems[0].remedy)


def _misshapen(error: ValidationError) -> list[_Problem]:
    found: list[_Problem] = []
    for one in error.errors(include_url=False, include_context=False):
        told = f": {one['msg']}" if one["type"] == "missing" else f"{_shown(one)}: {one['msg']}"
        if one["type"] == "extra_forbidden":
            found.append(_Problem(_path(one["loc"]), ": there is no such field"))
        else:
            found.append(_Problem(_path(one["loc"]), told))
    return found


def _shown(one: Mapping[str, Any]) -> str:
    """Return "=VALUE" where the value can be no key, and "" or a note elsewhere."""
    value, place = one["input"], one["loc"]
    if isinstance(value, bool | int | float) or value is None:
        return f"={value}"
    if not isinstance(value, str):
        return ""
    return _NOT_SHOWN if place[-1:] == ("auth_secret_ref",) else _quoted(value)


def _quoted(text: str) -> str:
    """Return "='TEXT'" unless somebody may have put a key there."""
    hidden = len(text) > _SHOWN_LENGTH or text.startswith("sk-")
    return _NOT_SHOWN if hidden else f"={text!r}"


def _path(location: tuple[int | str, ...]) -> str:
    told = ""
    for step in location:
        if isinstance(step, int):
            told += f"[{step}]"
        elif step != "[key]":
            told += f".{step}" if told else step
    return told or "document"


def _problems(document: ModelsDocument, profiles: Mapping[str, Profile]) -> Iterator[_Problem]:
    first: dict[str, int] = {}
    for index, part in enumerate(document.endpoints):
        at = f"endpoints[{index}]"
        other = first.setdefault(_name(part), index)
        if other != index:
            yield _Problem(
                f"{at}.name",
                f"{_quoted(_name(part))}: endpoints[{other}] has this name too",
                "give each endpoint a name of its own",
            )
        yield from _endpoint_problems(at, part, profiles)
    for index, row in enumerate(document.prices):
        if row.model is None:
            yield _Problem(f"prices[{index}].model", ": a price for every endpoint names its model")
        yield from _price_problems(f"prices[{index}]", row)
    yield from _alias_problems(document, first)


def _endpoint_problems(
    at: str, part: EndpointPart, profiles: Mapping[str, Profile]
) -> Iterator[_Problem]:
    for index, row in enumerate(part.prices):
        yield from _price_problems(f"{at}.prices[{index}]", row)
    yield from _param_problems(at, part)
    if part.retry.backoff.cap_ms < part.retry.backoff.base_ms:
        yield _Problem(f"{at}.retry.backoff.cap_ms", ": smaller than base_ms")
    if part.circuit_breaker.max_open_ms < part.circuit_breaker.open_ms:
        yield _Problem(f"{at}.circuit_breaker.max_open_ms", ": smaller than open_ms")
    if part.kind != EndpointKind.OPENAI:
        return
    profile = profiles.get(part.provider)
    if profile is None:
        near = difflib.get_close_matches(part.provider, profiles, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}? " if near else ""
        yield _Problem(
            f"{at}.provider",
            f"{_quoted(part.provider)}: no profile has this name",
            f"{meant}choose one of {', '.join(sorted(profiles))}",
        )
        return
    yield from _auth_problems(at, part, profile)
    yield from _url_problems(at, part, profile)


def _auth_problems(at: str, part: EndpointPart, profile: Profile) -> Iterator[_Problem]:
    wanted = part.auth_type or profile.auth
    if part.auth_secret_ref is None and wanted != AuthType.NONE:
        yield _Problem(
            f"{at}.auth_secret_ref",
            f": {part.provider} wants a key",
            "name it as env:NAME, file:PATH or sealed:ID, or set auth_type to none",
        )
    if part.auth_secret_ref is not None and part.auth_type == AuthType.NONE:
        yield _Problem(f"{at}.auth_type", "='none': a key is named, and would not be sent")


def _url_problems(at: str, part: EndpointPart, profile: Profile) -> Iterator[_Problem]:
    text, path = part.endpoint_url or profile.url, f"{at}.endpoint_url"
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        yield _Problem(path, f"{_NOT_SHOWN}: this is no URL")
        return
    if parts.username or parts.password or parts.query or parts.fragment:
        yield _Problem(
            path,
            f"{_NOT_SHOWN}: a user, a password, a query or a fragment has no place in it",
            "put the key where auth_secret_ref points to",
        )
    elif parts.scheme not in {"https", "http"} or not host:
        remedy = "give the base URL up to and including the version, beginning with https://"
        yield _Problem(path, f"{_quoted(text)}: this is no web address", remedy)
    elif not part.private_address:
        yield from _public_problems(path, parts)


def _public_problems(path: str, parts: SplitResult) -> Iterator[_Problem]:
    host = parts.hostname or ""
    if is_private(host):
        yield _Problem(
            path,
            f"={host!r}: this address is not public",
            "set private_address to true if this server is meant",
        )
    elif parts.scheme == "http":
        yield _Problem(
            path,
            f"={host!r}: without TLS a key and every prompt would travel in the clear",
            "use https://, or set private_address to true for a server of your own network",
        )


def is_private(host: str) -> bool:
    """Tell whether a host is plainly not public; names are looked up where they are used."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return False


def _param_problems(at: str, part: EndpointPart) -> Iterator[_Problem]:
    given, path = part.default_params, f"{at}.default_params"
    if given.timeout_ms is not None and part.timeouts.total_ms != TimeoutsPart().total_ms:
        yield _Problem(f"{path}.timeout_ms", ": timeouts.total_ms says the same; give one of them")
    for field in given.extra:
        if field in OWN_PARAMS:
            yield _Problem(f"{path}.extra.{field}", f": write it as default_params.{field}")
        elif field in _NEVER_DEFAULTS:
            yield _Problem(f"{path}.extra.{field}", ": this is the caller's to say")
        elif field.lower() in _KEY_FIELDS:
            remedy = "name the key in auth_secret_ref as env:NAME, file:PATH or sealed:ID"
            yield _Problem(f"{path}.extra.{field}", f"{_NOT_SHOWN}: no key stands here", remedy)


def _price_problems(at: str, row: PricePart) -> Iterator[_Problem]:
    try:
        begun = datetime.fromisoformat(row.valid_from)
    except ValueError:
        begun = None
    if begun is None or begun.tzinfo is None:
        told = f"{_quoted(row.valid_from)}: this is no ISO 8601 instant with its offset"
        yield _Problem(f"{at}.valid_from", told, 'write it as "2026-11-01T00:00:00+08:00"')


def _alias_problems(document: ModelsDocument, names: Mapping[str, int]) -> Iterator[_Problem]:
    known = _aliases(document)
    for alias, settings in document.aliases.items():
        at = f"aliases.{alias}"
        if alias not in known:
            yield _Problem(at, ": no endpoint serves this alias", "add one, or leave it out")
        for index, also in enumerate(settings.also):
            if also.endpoint not in names:
                path = f"{at}.also[{index}].endpoint"
                yield _Problem(path, f"{_quoted(also.endpoint)}: no endpoint has this name")
    for alias in known:
        targets = _targets(alias, document)
        yield from _target_problems(alias, targets, document, names)


def _target_problems(
    alias: str, targets: Sequence[Target], document: ModelsDocument, names: Mapping[str, int]
) -> Iterator[_Problem]:
    at = f"aliases.{alias}"
    ours = [target for target in targets if target.endpoint in names]
    if len({target.endpoint for target in ours}) != len(ours):
        yield _Problem(at, ": an endpoint serves it twice", "name each endpoint once")
    enabled = [one for one in ours if document.endpoints[names[one.endpoint]].enabled]
    if ours and not enabled:
        yield _Problem(
            at,
            ": every endpoint of it is disabled, so that no call could be answered",
            "enable one, or remove them with `caopan models rm`",
        )
    elif enabled and not any(one.weight for one in enabled):
        yield _Problem(at, ": every enabled endpoint has weight 0", "give one a weight above 0")
    for one in enabled:
        if one.fallback is Fallback.LISTED and len(ours) == 1:
            yield _Problem(
                f"endpoints[{names[one.endpoint]}].routing.fallback",
                "='listed': the alias has no other endpoint to fall back to",
                "add another endpoint, or set it to none",
            )


# --- document to snapshot -------------------------------------------------------------------------


def _name(part: EndpointPart) -> str:
    return part.name or f"{part.alias}-{part.provider}"


def _aliases(document: ModelsDocument) -> list[str]:
    also = (alias for alias, settings in document.aliases.items() if settings.also)
    return sorted({*(part.alias for part in document.endpoints), *also})


def _targets(alias: str, document: ModelsDocument) -> tuple[Target, ...]:
    own = [_target(_name(part), part.routing) for part in document.endpoints if part.alias == alias]
    settings = document.aliases.get(alias)
    if settings is not None:
        own += [_target(also.endpoint, also) for also in settings.also]
    return tuple(sorted(own, key=lambda target: (target.priority, target.endpoint)))


def _target(name: str, routing: RoutingPart) -> Target:
    return Target(name, routing.priority, routing.weight, Fallback(routing.fallback))


def _route(alias: str, document: ModelsDocument) -> Route:
    settings = document.aliases.get(alias) or AliasPart()
    return Route(
        alias=alias,
        targets=_targets(alias, document),
        sticky=settings.sticky,
        buffered=settings.buffered,
        strict_audit=settings.strict_audit,
        deadline_ms=settings.deadline_ms,
        budget=_budget(settings.budget),
    )


def _endpoint(part: EndpointPart, profiles: Mapping[str, Profile]) -> Endpoint:
    profile = profiles.get(part.provider)
    openai = part.kind == EndpointKind.OPENAI
    url = part.endpoint_url or (profile.url if openai and profile is not None else "")
    timeouts = Timeouts(**part.timeouts.model_dump())
    if part.default_params.timeout_ms is not None:
        fields = {**asdict(timeouts), "total_ms": part.default_params.timeout_ms}
        timeouts = Timeouts(**fields)
    return Endpoint(
        name=_name(part),
        provider=part.provider,
        model=part.model,
        kind=EndpointKind(part.kind),
        url=url.rstrip("/"),
        auth=_auth(part, profile),
        secret_ref=part.auth_secret_ref,
        default_params=_params(part.default_params),
        structured=_structured(part.capabilities),
        stream_usage=part.capabilities.stream_usage,
        timeouts=timeouts,
        retry=Retry(part.retry.max_attempts, part.retry.backoff.base_ms, part.retry.backoff.cap_ms),
        breaker=BreakerSettings(**part.circuit_breaker.model_dump()),
        rate_limit=RateLimit(**part.rate_limit.model_dump()),
        budget=_budget(part.budget),
        prices=tuple(_price(row, part.model) for row in part.prices),
        unknown_price_mtok=_units(part.unknown_price_mtok_cny),
        private_address=part.private_address,
        enabled=part.enabled,
    )


def _auth(part: EndpointPart, profile: Profile | None) -> AuthType:
    if part.auth_secret_ref is None:
        return AuthType.NONE
    told = part.auth_type or (profile.auth if profile is not None else AuthType.BEARER)
    return AuthType(told)


def _params(given: DefaultParams) -> dict[str, Any]:
    own = {name: getattr(given, name) for name in OWN_PARAMS}
    return {**{name: value for name, value in own.items() if value is not None}, **given.extra}


def _structured(part: CapabilitiesPart) -> StructuredOutput | None:
    if part.json_schema is None and part.json_object is None:
        return None
    if part.json_schema:
        return StructuredOutput.JSON_SCHEMA
    if part.json_object:
        return StructuredOutput.JSON_OBJECT
    return StructuredOutput.TOOL if part.tools else StructuredOutput.PROMPT


def _budget(part: BudgetPart) -> Budget:
    return Budget(_units(part.daily_cny), _units(part.per_decision_cny), part.soft_share)


def _price(row: PricePart, model: str) -> PriceRule:
    fields: dict[str, Any] = {**row.model_dump(), "model": row.model or model}
    return PriceRule(**fields)


def _units(text: str | None) -> int | None:
    return None if text is None else int(Decimal(text) * CNY)
