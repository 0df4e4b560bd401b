"""What is said to limits.lua, and what it answers.

Owns the JSON of claims, settlements and what a process hands in. Must never hold state. Tests:
tests/contract/gateway/test_shared_limits.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import orjson

from caopan.adapters.redis.counters import NOT_SHARED, Counters, Taken, is_rated
from caopan.application.ports.gateway import Bound, Claim, Refused

EXACT: Final = 2**53 - 1
"""Beyond this a Lua number is no longer exact: about 90 million CNY."""
_BOUNDS: Final = {
    1: Bound.RPM,
    2: Bound.TPM,
    3: Bound.CONCURRENCY,
    4: Bound.BUDGET,
    5: Bound.CLIENT_RPM,
}


class Status(IntEnum):
    """How the script took what it was asked."""

    DONE = 0
    UNKNOWN_EPOCH = 1
    """The counters are not those the process knows: they were lost."""
    INCOMPLETE = 2
    """What was spent before on a day is missing."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What every request says of who asks; `now_ms` -1 is the server's own time."""

    process: str
    now_ms: int


def work(
    caller: Caller,
    epoch: str,
    settlements: Sequence[Any],
    claims: Sequence[tuple[Claim, str]],
    *,
    beat: bool,
) -> bytes:
    """Return the request that settles and claims (each claim with its day)."""
    return orjson.dumps(
        {
            "op": "work",
            "p": caller.process,
            "t": caller.now_ms,
            "e": epoch,
            "b": int(beat),
            "s": settlements,
            "c": [_claim(claim, day) for claim, day in claims],
        }
    )


def settlement(taken: Taken, tokens: int, cost: int) -> list[Any]:
    """Return what settling one claim changes."""
    claim = taken.claim
    counted = is_rated(claim) and taken.shared_second > NOT_SHARED
    return [
        f"e:{claim.endpoint}" if counted else "",
        claim.claim_id.hex,
        taken.shared_second,
        tokens - claim.tokens,
        claim.endpoint if claim.limit.concurrency is not None else "",
        taken.day,
        cost - claim.cost,
        [budget.scope for budget in claim.budgets],
    ]


def join(
    caller: Caller, day: str, counters: Counters, now_ms: int, minutes: Mapping[str, Any]
) -> bytes:
    """Return the request that hands in all a process has taken."""
    under_way = counters.under_way(now_ms)
    return orjson.dumps(
        {
            "op": "join",
            "p": caller.process,
            "t": caller.now_ms,
            "day": day,
            "money": counters.money,
            "busy": {
                endpoint: {claim_id.hex: left for claim_id, left in claims.items()}
                for endpoint, claims in under_way.items()
            },
            "minutes": minutes,
        }
    )


def load(
    caller: Caller,
    day: str,
    today: str,
    epoch: str,
    sums: Mapping[str, Mapping[str, int]],
    *,
    grace_ms: int,
    again: bool,
) -> bytes:
    """Return the request that brings what the database knows of a day.

    `epoch` names the counters if they are new; then budgets wait for `grace_ms`. `again` raises
    shares of counters that stand.
    """
    return orjson.dumps(
        {
            "op": "load",
            "p": caller.process,
            "t": caller.now_ms,
            "day": day,
            "today": today,
            "id": epoch,
            "sums": sums,
            "grace": grace_ms,
            "again": again,
        }
    )


def spent(caller: Caller, day: str, scopes: Sequence[str]) -> bytes:
    """Return the request that asks what scopes have used and claimed of a day."""
    return orjson.dumps(
        {"op": "spent", "p": caller.process, "t": caller.now_ms, "day": day, "scopes": scopes}
    )


def refused(claim: Claim, answer: Sequence[int]) -> Refused:
    """Return the refusal that the script answered a claim with."""
    _, number, nth, used, wait, *_ = answer
    bound = _BOUNDS[number]
    wait_ms = wait if wait >= 0 else None
    if bound is Bound.BUDGET:
        budget = claim.budgets[nth - 1]
        return Refused(bound, budget.scope, budget.limit, used, None)
    if bound is Bound.CLIENT_RPM and claim.client_rpm is not None:
        return Refused(bound, claim.client_rpm[0], claim.client_rpm[1], used, wait_ms)
    limits = {
        Bound.RPM: claim.limit.rpm,
        Bound.TPM: claim.limit.tpm,
        Bound.CONCURRENCY: claim.limit.concurrency,
    }
    return Refused(bound, claim.endpoint, limits.get(bound) or 0, used, wait_ms)


def _claim(claim: Claim, day: str) -> list[Any]:
    limit = claim.limit
    budgets: list[Any] = []
    for budget in claim.budgets:
        budgets += (budget.scope, min(budget.limit, EXACT))
    client, client_rpm = claim.client_rpm or ("", None)
    return [
        claim.endpoint,
        claim.claim_id.hex,
        claim.expires_ms,
        _bound(limit.rpm),
        _bound(limit.tpm),
        _bound(limit.concurrency),
        claim.tokens,
        day,
        min(claim.cost, EXACT),
        budgets,
        client,
        _bound(client_rpm),
    ]


def _bound(limit: int | None) -> int:
    return -1 if limit is None else limit
