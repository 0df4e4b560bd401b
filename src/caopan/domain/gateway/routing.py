"""Which endpoint answers a call, and who may stand in for it.

Owns the order of a route's endpoints for one call and the choice among those that can be asked.
Must never send a call to another model than its route allows, nor forget why an endpoint was
passed over. Chance is given. Tests: tests/property/domain/gateway/test_routing.py,
tests/unit/domain/gateway/test_routing.py.

A route is ranked once per call, by configuration alone: tiers by priority, inside a tier by
weight. An endpoint may be asked only if every endpoint ranked before it that failed, or cannot be
asked, lets it stand in (`Target.fallback`): so a call never changes its model because an endpoint
is ill, unless the route says that it may.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import log

from caopan.domain.gateway.breaker import BreakerState, Gate, Phase, may_pass, shut
from caopan.domain.gateway.endpoint import Endpoint, Fallback, Route, Target
from caopan.domain.gateway.outcome import CONSEQUENCES, After, FailureClass

_FLOAT_BITS = 53
_HASH_BYTES = 8


class PassedOver(StrEnum):
    """Why an endpoint of a route is not asked."""

    UNKNOWN = "unknown"
    """The route names it, the configuration has no such endpoint."""
    DISABLED = "disabled"
    OPEN = "open"
    """Its breaker is open, or its probes are taken."""
    RATE_LIMITED = "rate_limited"
    FAILED = "failed"
    """It was asked for this call."""
    NOT_ALLOWED = "not_allowed"
    """An endpoint before it may not be replaced by this one."""
    NOT_NEEDED = "not_needed"
    """Another was asked."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether an endpoint can be asked now."""

    reason: PassedOver | None = None
    """Why not; None: it can."""
    until: int | None = None
    """When that may change (Unix milliseconds), where it is known."""
    share: float = 1.0
    """Part of its weight that it has, in (0, 1]."""


WELL = Health()


def health_of(endpoint: Endpoint, breaker: BreakerState, gate: Gate, now: int) -> Health:
    """Return whether an endpoint can be asked at `now` (Unix milliseconds)."""
    if not endpoint.enabled:
        return Health(PassedOver.DISABLED)
    if not may_pass(breaker, endpoint.breaker, now):
        until = breaker.last.until if breaker.phase is Phase.OPEN else None
        return Health(PassedOver.OPEN, until)
    if shut(gate, now):
        return Health(PassedOver.RATE_LIMITED, gate.until)
    if endpoint.breaker.enabled and breaker.ramp and breaker.phase is Phase.CLOSED:
        return Health(share=breaker.share)
    return WELL


@dataclass(frozen=True, slots=True)
class Place:
    """A target's place in the order of one call."""

    target: Target
    endpoint: Endpoint
    resort: tuple[bool, int]
    """Those without weight come last of all; then the tier."""
    lot: float
    """-ln of a uniform number: divided by its weight, the least goes first."""

    def score(self, share: float) -> tuple[bool, int, float]:
        """Return what the order goes by, where `share` of the weight is left."""
        weight = self.target.weight * share
        return *self.resort, self.lot / weight if weight else self.lot


@dataclass(frozen=True, slots=True)
class Ranking:
    """The order of one call, by configuration alone."""

    places: tuple[Place, ...]
    """First choice first."""
    unknown: tuple[str, ...] = ()
    """Names the route has and the configuration has not."""


def rank(
    route: Route,
    endpoints: Mapping[str, Endpoint],
    draw: Callable[[], float],
    sticky_key: str | None = None,
) -> Ranking:
    """Return the order of one call; `draw` gives uniform numbers in [0, 1).

    With a `sticky_key` on a sticky route the order follows from the key: weighted rendezvous
    hashing, so that an endpoint more or less moves only its own keys.
    """
    sticky = sticky_key if route.sticky else None
    places = list[Place]()
    unknown = list[str]()
    for target in route.targets:
        endpoint = endpoints.get(target.endpoint)
        if endpoint is None:
            unknown.append(target.endpoint)
            continue
        uniform = draw() if sticky is None else _hashed(sticky, target.endpoint)
        # 1 - uniform lies in (0, 1], where the logarithm is finite.
        places.append(
            Place(target, endpoint, (target.weight <= 0, target.priority), -log(1.0 - uniform))
        )
    places.sort(key=lambda place: place.score(1.0))
    return Ranking(tuple(places), tuple(unknown))


@dataclass(frozen=True, slots=True)
class Failed:
    """An endpoint that was asked for this call."""

    endpoint: str
    failure: FailureClass


@dataclass(frozen=True, slots=True)
class Skipped:
    """An endpoint that is not asked, for the caller and the record."""

    endpoint: str
    reason: PassedOver
    until: int | None = None
    failure: FailureClass | None = None
    """Its last one in this call."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is asked next."""

    endpoint: Endpoint | None
    """None: nobody."""
    again: bool = False
    """It has failed in this call before: rest first."""
    skipped: tuple[Skipped, ...] = ()
    """Every other endpoint of the route."""
    retry_at: int | None = None
    """Where nobody is asked: when the first rate limit that stands in the way ends."""


def choose(
    ranking: Ranking, health: Callable[[Endpoint], Health], failed: Sequence[Failed] = ()
) -> Choice:
    """Return who is asked next, after the attempts that failed so far, oldest first.

    `health` is asked once per endpoint. One that has failed is asked again only where no other
    may be, and only after a failure that may pass.
    """
    told = {place.endpoint.name: health(place.endpoint) for place in ranking.places}
    tries = _tries(failed)
    fresh, again, limits = list[Place](), list[Place](), list[int]()
    skipped = [Skipped(name, PassedOver.UNKNOWN) for name in ranking.unknown]
    for place in ranking.places:
        name = place.endpoint.name
        state = told[name]
        reason = _reason(place, ranking.places, told, tries)
        may_follow = _may_follow(name, failed, tries)
        if reason is None and may_follow:
            (again if name in tries else fresh).append(place)
        elif reason is PassedOver.RATE_LIMITED and may_follow and state.until is not None:
            limits.append(state.until)
        if reason is None:
            reason = PassedOver.FAILED if name in tries else PassedOver.NOT_NEEDED
        until = state.until if reason is state.reason else None
        skipped.append(Skipped(name, reason, until, tries[name][-1] if name in tries else None))
    chosen = _first(fresh, told, tries) or _first(again, told, tries)
    if chosen is None:
        return Choice(None, skipped=tuple(skipped), retry_at=min(limits, default=None))
    endpoint = chosen.endpoint
    others = tuple(one for one in skipped if one.endpoint != endpoint.name)
    return Choice(endpoint, endpoint.name in tries, others)


def _reason(
    place: Place,
    places: Sequence[Place],
    told: Mapping[str, Health],
    tries: Mapping[str, list[FailureClass]],
) -> PassedOver | None:
    reason = told[place.endpoint.name].reason
    if reason is PassedOver.DISABLED or _allowed(place, places, told, tries):
        return reason
    return PassedOver.NOT_ALLOWED


def _may_follow(
    name: str, failed: Sequence[Failed], tries: Mapping[str, list[FailureClass]]
) -> bool:
    """Tell whether an endpoint may be asked after what has failed."""
    if not failed:
        return True
    last = failed[-1]
    elsewhere = After.ELSEWHERE in CONSEQUENCES[last.failure].after
    if name not in tries:
        return elsewhere
    may_pass_by_itself = After.AGAIN in CONSEQUENCES[tries[name][-1]].after
    return may_pass_by_itself and (elsewhere or name == last.endpoint)


def _tries(failed: Sequence[Failed]) -> dict[str, list[FailureClass]]:
    tries = dict[str, list[FailureClass]]()
    for one in failed:
        tries.setdefault(one.endpoint, []).append(one.failure)
    return tries


def _allowed(
    place: Place,
    places: Sequence[Place],
    told: Mapping[str, Health],
    tries: Mapping[str, list[FailureClass]],
) -> bool:
    """Tell whether everyone whose turn it would have been lets `place` stand in."""
    before = True
    for other in places:
        if other is place:
            before = False
            continue
        name = other.endpoint.name
        state = told[name]
        if state.reason is PassedOver.DISABLED:
            # Who was switched off by hand is not part of the route.
            continue
        replaced = name in tries or (before and (state.reason is not None or state.share < 1.0))
        if replaced and not _stands_in(other, place):
            return False
    return True


def _stands_in(ill: Place, place: Place) -> bool:
    match ill.target.fallback:
        case Fallback.SAME_MODEL:
            return ill.endpoint.model == place.endpoint.model
        case Fallback.LISTED:
            return True
        case Fallback.NONE:
            return False


def _first(
    places: Sequence[Place],
    told: Mapping[str, Health],
    tries: Mapping[str, list[FailureClass]],
) -> Place | None:
    """Return the one asked least so far, then the first by what is left of its weight."""
    return min(
        places,
        key=lambda place: (
            len(tries.get(place.endpoint.name, ())),
            place.score(told[place.endpoint.name].share),
        ),
        default=None,
    )


def _hashed(key: str, name: str) -> float:
    """Return a number in [0, 1) that follows from both, evenly spread."""
    text = f"{len(key)}:{key}{name}".encode()
    digest = hashlib.blake2b(text, digest_size=_HASH_BYTES).digest()
    # As many bits as a float holds: more might round up to 1.
    return (int.from_bytes(digest) >> (8 * _HASH_BYTES - _FLOAT_BITS)) / 2**_FLOAT_BITS
