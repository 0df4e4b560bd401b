"""What a process may claim by itself while Valkey is gone, and what it hands in afterwards.

Owns Alone: of each budget a small share, never more than is left for all that is known of the
others; of each rate the part of one process. The share is for one absence, however often Valkey is
tried meanwhile. Must never count a claim twice, here and where it is shared. Tests:
tests/integration/gateway/test_limits_shared.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from caopan.adapters.redis.counters import DAYS_KEPT, Counters, is_rated
from caopan.adapters.redis.local_limits import soft_passed
from caopan.application.ports.gateway import Claim, Granted, Refused
from caopan.domain.gateway.budget import BudgetClaim

_PERCENT: Final = 100


class Alone:
    """Judges claims by what this process took and what it knows of the others."""

    def __init__(self, counters: Counters, budget_pct: int) -> None:
        """Judge by `counters`; of each budget `budget_pct` may be used in one absence."""
        self._counters = counters
        self._budget_pct = budget_pct
        self.processes = 1
        """How many gateway processes were last seen, this one among them."""
        self.is_left = False
        """Whether Valkey has been away since limits were last shared."""
        self._had: dict[str, dict[str, int]] = {}
        """What this process had taken when it was left alone."""
        self._others: dict[str, dict[str, int]] = {}
        """Day -> scope -> what all others had claimed and spent when they were last seen."""
        self._minutes: dict[str, dict[int, list[int]]] = {}
        """What was taken since: window -> second -> [requests, tokens]."""

    def leave(self) -> None:
        """Begin an absence; within one, nothing begins anew."""
        if not self.is_left:
            self.is_left = True
            self._had = {day: dict(money) for day, money in self._counters.money.items()}
            self._minutes = {}

    def come_back(self) -> None:
        """End an absence: all that was taken is handed in."""
        self.is_left = False
        self._minutes = {}

    def judge(self, claim: Claim, day: str, now_ms: int) -> Granted | Refused:
        """Take all of it or nothing."""
        refused = self._counters.refusal(
            claim, day, now_ms, own_rate=self._own_rate, used=self._room
        )
        if refused is not None:
            return refused
        self._counters.take(claim, day, now_ms)
        second = now_ms // 1000
        if is_rated(claim):
            self._count(f"e:{claim.endpoint}", second, claim.tokens)
        if claim.client_rpm is not None:
            self._count(f"c:{claim.client_rpm[0]}", second, 0)
        totals = [self.known(day, budget.scope) for budget in claim.budgets]
        return Granted(claim, soft_passed(claim, totals))

    def known(self, day: str, scope: str) -> int:
        """Return what others had used when they were last seen, and this process by now."""
        return self.others_of(day).get(scope, 0) + self._own(day, scope)

    def others_of(self, day: str) -> dict[str, int]:
        """Return what others had used of each scope on a day, to be kept up to date."""
        others = self._others.get(day)
        if others is None:
            others = self._others[day] = {}
            for old in sorted(self._others)[:-DAYS_KEPT]:
                if old != day:
                    del self._others[old]
        return others

    def learn(self, day: str, process: str, sums: Mapping[str, Mapping[str, int]]) -> None:
        """Take in what the database knows each process spent; `process` is this one."""
        told: dict[str, int] = {}
        for one, scopes in sums.items():
            for scope, amount in scopes.items():
                if one != process:
                    told[scope] = told.get(scope, 0) + amount
        others = self.others_of(day)
        for scope, amount in told.items():
            others[scope] = max(others.get(scope, 0), amount)

    def minutes(self, second: int) -> dict[str, list[tuple[int, int, int]]]:
        """Return what was taken by window, as (seconds ago, requests, tokens)."""
        return {
            name: [(second - at, used[0], used[1]) for at, used in buckets.items()]
            for name, buckets in self._minutes.items()
        }

    def _own(self, day: str, scope: str) -> int:
        return self._counters.money.get(day, {}).get(scope, 0)

    def _own_rate(self, bound: int) -> int:
        return min(bound, max(1, bound // self.processes))

    def _room(self, day: str, budget: BudgetClaim) -> tuple[int, int]:
        """Return what is known to be used of a budget, and up to where this process may go."""
        used = self.known(day, budget.scope)
        since = self._own(day, budget.scope) - self._had.get(day, {}).get(budget.scope, 0)
        share = budget.limit * self._budget_pct // _PERCENT
        return used, min(budget.limit, used + share - since)

    def _count(self, name: str, second: int, tokens: int) -> None:
        bucket = self._minutes.setdefault(name, {}).setdefault(second, [0, 0])
        bucket[0] += 1
        bucket[1] += tokens
