"""SharedLimits of one process alone: exact, and shared with nobody.

Owns LocalLimits, for a gateway without Valkey and as the measure of the shared one: both pass the
same suite. Must never wait. Tests: tests/contract/gateway/test_shared_limits.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from caopan.adapters.redis.counters import Counters
from caopan.application.ports.gateway import Claim, Granted, Refused
from caopan.domain.gateway.budget import BudgetClaim, beijing_day


class LocalLimits:
    """Exact counters in memory."""

    def __init__(self, now: Callable[[], datetime], monotonic_ms: Callable[[], float]) -> None:
        """Tell days by `now` where a claim does not, minutes by `monotonic_ms`."""
        self._now = now
        self._monotonic_ms = monotonic_ms
        self._counters = Counters()

    async def claim(self, claim: Claim) -> Granted | Refused:
        """Take all of it or nothing."""
        day = beijing_day(claim.at or self._now())
        now_ms = int(self._monotonic_ms())
        refused = self._counters.refusal(claim, day, now_ms, own_rate=_all, used=self._used)
        if refused is not None:
            return refused
        self._counters.take(claim, day, now_ms)
        money = self._counters.money.get(day, {})
        totals = [money[budget.scope] for budget in claim.budgets]
        return Granted(claim, soft_passed(claim, totals))

    def settle(self, granted: Granted, tokens: int, cost: int) -> None:
        """Put what was used in the place of what was claimed; once."""
        self._counters.settle(granted.claim.claim_id, tokens, cost)

    async def spent(self, scopes: Sequence[str], day: str) -> Mapping[str, int]:
        """Return what each scope has used and claimed of `day`."""
        money = self._counters.money.get(day, {})
        return {scope: money.get(scope, 0) for scope in scopes}

    @property
    def is_shared(self) -> bool:
        """Return False: nobody else sees these."""
        return False

    def _used(self, day: str, budget: BudgetClaim) -> tuple[int, int]:
        return self._counters.money.get(day, {}).get(budget.scope, 0), budget.limit


def soft_passed(claim: Claim, totals: Sequence[int]) -> tuple[str, ...]:
    """Return the scopes whose soft bound this claim was the one to reach; `totals` include it."""
    return tuple(
        budget.scope
        for budget, total in zip(claim.budgets, totals, strict=True)
        if total - claim.cost < budget.soft <= total
    )


def _all(bound: int) -> int:
    return bound
