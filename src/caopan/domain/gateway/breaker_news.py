"""What processes tell each other of their breakers, as JSON values.

Owns the form and its reading. Must never let a value through that a breaker could not have made:
news of another version or a broken sender are no news. Tests:
tests/property/domain/gateway/test_breaker_news.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from caopan.domain.gateway.breaker import (
    MOST_OTHERS,
    RANK,
    Phase,
    Reason,
    Slice,
    Tally,
    Transition,
)

_MOST = 2**53
_MOST_OPENINGS = 10_000


def transition_body(moved: Transition) -> dict[str, Any]:
    """Return a transition as it is sent, stored and shown; instants are Unix milliseconds."""
    return {
        "endpoint": moved.endpoint,
        "from": moved.before.value,
        "to": moved.after.value,
        "reason": moved.reason.value,
        "at": moved.at,
        "until": moved.until,
        "openings": moved.openings,
    }


def transition_of(body: Mapping[str, Any]) -> Transition | None:
    """Return the transition that was sent, None if it is none."""
    endpoint = body.get("endpoint")
    at, until = _count(body.get("at")), _count(body.get("until"))
    openings = _count(body.get("openings"), _MOST_OPENINGS)
    if not isinstance(endpoint, str) or at is None or until is None or openings is None:
        return None
    try:
        before, after = Phase(body.get("from")), Phase(body.get("to"))
        reason = Reason(body.get("reason"))
    except ValueError:
        return None
    return Transition(at, RANK[after], until, openings, endpoint, before, after, reason)


def tallies_body(endpoint: str, process: str, slices: Iterable[Slice]) -> dict[str, Any]:
    """Return what a process counted of an endpoint, as it is sent."""
    return {"endpoint": endpoint, "process": process, "slices": [list(one) for one in slices]}


def tallies_of(body: Mapping[str, Any]) -> tuple[str, tuple[Tally, ...]] | None:
    """Return the endpoint and what another process counted of it, None if that was not sent."""
    endpoint, process, slices = (body.get(name) for name in ("endpoint", "process", "slices"))
    if not isinstance(endpoint, str) or not isinstance(process, str):
        return None
    if not isinstance(slices, list) or len(cast("list[Any]", slices)) > MOST_OTHERS:
        return None
    counted = [_slice(one) for one in cast("list[Any]", slices)]
    tallies = tuple(Tally(process, one) for one in counted if one is not None)
    return (endpoint, tallies) if len(tallies) == len(counted) else None


def _slice(value: object) -> Slice | None:
    if not isinstance(value, list):
        return None
    counts = [_count(one) for one in cast("list[Any]", value)]
    known = [one for one in counts if one is not None]
    if len(counts) != len(Slice._fields) or len(known) != len(counts):
        return None
    return Slice(*known)


def _count(value: object, most: int = _MOST) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= most else None
