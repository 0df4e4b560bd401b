"""One gateway process as it is shown: state, counts, last error and percentiles of each endpoint.

Owns Overview, what is gathered for showing, and `shown`, its plain form. Must never hold a key, a
prompt or an answer. Tests: tests/unit/application/gateway/test_overview.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from caopan.application.gateway.breakers import Standing
from caopan.application.gateway.tallies import EndpointTally, Histogram, Tallies
from caopan.domain.gateway.budget import ALL
from caopan.domain.gateway.endpoint import Endpoint, Snapshot, cny
from caopan.domain.gateway.outcome import Outcome
from caopan.kernel.clock import iso

_Key = TypeVar("_Key", str, tuple[str, str])
_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Overview:
    """What one process can tell of itself now."""

    snapshot: Snapshot
    tallies: Tallies
    standings: Mapping[str, Standing]
    spent: Mapping[str, int]
    """What each budget has used and claimed today, in 1e-8 CNY, by scope."""
    started_at: datetime
    is_shared: bool
    """Whether limits and budgets are counted with the other processes at the moment."""
    audit_waiting: int
    loop_lag_ms: float
    config_error: str
    """Why a newer version of the configuration is not in force; "" where there is none."""


def daily_budgets(snapshot: Snapshot) -> dict[str, int]:
    """Return every configured bound of a day, in 1e-8 CNY, by scope."""
    found = {
        ALL: snapshot.budget.daily,
        **{f"alias:{one.alias}": one.budget.daily for one in snapshot.routes.values()},
        **{f"endpoint:{one.name}": one.budget.daily for one in snapshot.endpoints.values()},
    }
    return {scope: limit for scope, limit in found.items() if limit is not None}


def shown(overview: Overview) -> dict[str, Any]:
    """Return the overview as JSON: times in milliseconds, money as decimal strings."""
    tallies, snapshot = overview.tallies, overview.snapshot
    budgets = daily_budgets(snapshot)
    return {
        "config_version": snapshot.version,
        "config_error": overview.config_error or None,
        "started_at": iso(overview.started_at),
        "limits_shared": overview.is_shared,
        "audit_waiting": overview.audit_waiting,
        "event_loop_lag_ms": round(overview.loop_lag_ms, 3),
        "endpoints": [_endpoint(overview, one) for one in snapshot.endpoints.values()],
        "budgets": [
            {
                "scope": scope,
                "daily_cny": cny(limit),
                "spent_cny": cny(overview.spent.get(scope, 0)),
                "left_cny": cny(max(0, limit - overview.spent.get(scope, 0))),
            }
            for scope, limit in budgets.items()
        ],
        "refused": _rows(tallies.refused, "alias", "code"),
        "retries": _rows(tallies.retries, "endpoint", "code"),
        "fallbacks": _rows(tallies.fallbacks, "from", "to", "code"),
    }


def _endpoint(overview: Overview, endpoint: Endpoint) -> dict[str, Any]:
    name, standing = endpoint.name, overview.standings[endpoint.name]
    parts = [one for (_, of), one in overview.tallies.endpoints.items() if of == name]
    outcomes = _summed(part.outcomes for part in parts)
    by_outcome: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    for (outcome, code), count in outcomes.items():
        by_outcome[outcome] += count
        if code and outcome != Outcome.OK:
            errors[code] += count
    return {
        "endpoint": name,
        "aliases": sorted(
            alias
            for alias, route in overview.snapshot.routes.items()
            if any(target.endpoint == name for target in route.targets)
        ),
        "provider": endpoint.provider,
        "model": endpoint.model,
        "enabled": endpoint.enabled,
        **_standing(standing),
        "under_way": sum(part.under_way for part in parts),
        "attempts": dict(by_outcome),
        "errors": dict(errors),
        "last_error": _last_error(parts),
        "first_token_ms": _times(part.first_token for part in parts),
        "total_ms": _times(part.total for part in parts),
        "overhead_ms": _times(part.overhead for part in parts),
        "tokens": dict(_summed(part.tokens for part in parts)),
        "quality": dict(_summed(part.quality for part in parts)),
        "cost_cny": cny(sum(part.cost for part in parts)),
        "unpriced": sum(part.unpriced for part in parts),
        "estimated": sum(part.estimated for part in parts),
    }


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "state": standing.phase.value,
        "reason": standing.reason,
        "since": _instant(standing.since or None),
        "until": _instant(standing.until),
        "limited_until": _instant(standing.limited_until),
        "share": standing.share,
        "history": [
            {"at": _instant(move.at), "to": move.after.value, "reason": move.reason.value}
            for move in standing.moves
        ],
    }


def _last_error(parts: Iterable[EndpointTally]) -> dict[str, Any] | None:
    told = [part.last_error for part in parts if part.last_error is not None]
    if not told:
        return None
    last = max(told, key=lambda error: error.at)
    return {"at": iso(last.at), "code": last.code, "detail": last.detail}


def _times(parts: Iterable[Histogram]) -> dict[str, Any]:
    whole = merged(parts)
    shares = {name: whole.percentile(share) for name, share in _SHARES.items()}
    return {"count": whole.count, **shares}


def merged(parts: Iterable[Histogram]) -> Histogram:
    """Return one histogram of all."""
    whole = Histogram()
    for part in parts:
        whole.counts = [a + b for a, b in zip(whole.counts, part.counts, strict=True)]
        whole.count += part.count
        whole.total_ms += part.total_ms
    return whole


def _summed(parts: Iterable[Counter[_Key]]) -> Counter[_Key]:
    whole: Counter[_Key] = Counter()
    for part in parts:
        whole.update(part)
    return whole


def _rows(counts: Mapping[tuple[str, ...], int], *names: str) -> list[dict[str, Any]]:
    return [
        {**dict(zip(names, place, strict=True)), "count": count} for place, count in counts.items()
    ]


def _instant(milliseconds: int | None) -> str | None:
    if milliseconds is None:
        return None
    return iso(datetime.fromtimestamp(milliseconds / 1000, UTC))
