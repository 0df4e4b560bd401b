"""Which budgets a call must fit into, and the day they count for.

Owns BudgetClaim and how it follows from the figures of snapshot, route, endpoint and caller. Must
never know what has been spent. Tests: tests/unit/domain/gateway/test_budget.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import lru_cache

from caopan.domain.gateway.endpoint import Budget, Endpoint, Route, Snapshot
from caopan.kernel.clock import shanghai

ALL = "all"
"""Scope of every call together."""


@dataclass(frozen=True, slots=True)
class BudgetClaim:
    """One budget a call must fit into."""

    scope: str
    """`all`, `alias:NAME`, `endpoint:NAME`, `client:ID` or `decision:ID`."""
    limit: int
    """In 1e-8 CNY."""
    soft: int
    """Where an alert is due."""


def budget_claims(
    snapshot: Snapshot,
    route: Route,
    endpoint: Endpoint,
    *,
    client: tuple[str, int | None],
    decision_id: str | None,
) -> tuple[BudgetClaim, ...]:
    """Return every budget that bounds one attempt at `endpoint`; those without a bound are none.

    `client` is the caller's id and its own daily bound in 1e-8 CNY, which alerts at the share of
    the budget of all calls. A decision has one counter over all its calls, so the least bound of
    those that name one holds.
    """
    client_id, client_daily = client
    claims = [
        _claim(scope, limit, budget)
        for scope, limit, budget in (
            (ALL, snapshot.budget.daily, snapshot.budget),
            (f"alias:{route.alias}", route.budget.daily, route.budget),
            (f"endpoint:{endpoint.name}", endpoint.budget.daily, endpoint.budget),
            (f"client:{client_id}", client_daily, snapshot.budget),
        )
        if limit is not None
    ]
    if decision_id is not None:
        claims += sorted(_of_decision(snapshot, route, endpoint, decision_id), key=_limit)[:1]
    return tuple(claims)


def beijing_day(at: datetime) -> str:
    """Return the day (YYYY-MM-DD, Beijing) whose budgets a call at the aware instant counts for."""
    return shanghai(at).date().isoformat()


def _of_decision(
    snapshot: Snapshot, route: Route, endpoint: Endpoint, decision_id: str
) -> Iterator[BudgetClaim]:
    for budget in (snapshot.budget, route.budget, endpoint.budget):
        if budget.per_decision is not None:
            yield _claim(f"decision:{decision_id}", budget.per_decision, budget)


def _claim(scope: str, limit: int, budget: Budget) -> BudgetClaim:
    share = _exact(budget.soft_share)
    return BudgetClaim(scope, limit, limit * share.numerator // share.denominator)


@lru_cache(maxsize=64)
def _exact(share: float) -> Fraction:
    # A share is configured as a decimal such as 0.8, which no binary fraction is.
    return Fraction(str(share))


def _limit(claim: BudgetClaim) -> tuple[int, int]:
    return claim.limit, claim.soft
