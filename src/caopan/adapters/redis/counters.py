"""What one process has taken: requests and tokens of a minute, calls under way, money of a day.

Owns Counters. They are exact for a process alone; where limits are shared they are what it hands in
whenever the shared place comes back, and what it goes by meanwhile. Must never know where the
others are counted. Tests: tests/contract/gateway/test_shared_limits.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from caopan.adapters.redis.window import Window
from caopan.application.ports.gateway import Bound, Claim, Refused
from caopan.domain.gateway.budget import BudgetClaim

DAYS_KEPT: Final = 2
NOT_SHARED: Final = -1


@dataclass(slots=True)
class Taken:
    """A claim that was granted and has not been settled."""

    claim: Claim
    day: str
    second: int
    """By this process's clock."""
    expires_ms: int
    shared_second: int = NOT_SHARED
    """By the shared place's clock, where the claim was granted there."""


class Counters:
    """Counts claims; whoever asks says how much of a bound is its own."""

    def __init__(self) -> None:
        """Begin with nothing taken."""
        self.money: dict[str, dict[str, int]] = {}
        """Day -> scope -> claimed and charged, in 1e-8 CNY."""
        self.taken: dict[UUID, Taken] = {}
        self.windows: dict[str, Window] = {}
        """`e:ENDPOINT` and `c:CLIENT`."""
        self._busy: dict[str, dict[UUID, int]] = {}

    def refusal(
        self,
        claim: Claim,
        day: str,
        now_ms: int,
        *,
        own_rate: Callable[[int], int],
        used: Callable[[str, BudgetClaim], tuple[int, int]],
    ) -> Refused | None:
        """Return why a claim does not fit; nothing is taken.

        `own_rate` tells how much of a rate or of concurrency is this process's, `used` what of a
        budget is used on a day and how much this process may bring it to.
        """
        return (
            self._client_refusal(claim, now_ms, own_rate)
            or self._budget_refusal(claim, day, used)
            or self._rate_refusal(claim, now_ms, own_rate)
            or self._busy_refusal(claim, now_ms, own_rate)
        )

    def take(self, claim: Claim, day: str, now_ms: int) -> Taken:
        """Count a claim that was granted, here or elsewhere."""
        second = now_ms // 1000
        taken = Taken(claim, day, second, now_ms + claim.expires_ms)
        self.taken[claim.claim_id] = taken
        if claim.budgets:
            money = self._of_day(day)
            for budget in claim.budgets:
                money[budget.scope] = money.get(budget.scope, 0) + claim.cost
        if is_rated(claim):
            self._window(f"e:{claim.endpoint}", second).add(second, claim.tokens)
        if claim.client_rpm is not None:
            self._window(f"c:{claim.client_rpm[0]}", second).add(second, 0)
        if claim.limit.concurrency is not None:
            self._busy.setdefault(claim.endpoint, {})[claim.claim_id] = taken.expires_ms
        return taken

    def settle(self, claim_id: UUID, tokens: int, cost: int) -> Taken | None:
        """Put what was used in the place of what was claimed; None if that was done before."""
        taken = self.taken.pop(claim_id, None)
        if taken is None:
            return None
        claim = taken.claim
        if claim.budgets and cost != claim.cost:
            money = self._of_day(taken.day)
            for budget in claim.budgets:
                money[budget.scope] = money.get(budget.scope, 0) + cost - claim.cost
        if is_rated(claim):
            self.windows[f"e:{claim.endpoint}"].correct(taken.second, tokens - claim.tokens)
        busy = self._busy.get(claim.endpoint)
        if busy is not None:
            busy.pop(claim_id, None)
        return taken

    def raise_to(self, day: str, least: Mapping[str, int]) -> None:
        """Count at least so much as taken of each scope on a day."""
        money = self._of_day(day)
        for scope, amount in least.items():
            money[scope] = max(money.get(scope, 0), amount)

    def under_way(self, now_ms: int) -> dict[str, dict[UUID, int]]:
        """Return by endpoint the claims that count as under way, with the time they have left."""
        return {
            endpoint: {one: ends - now_ms for one, ends in busy.items() if ends > now_ms}
            for endpoint, busy in self._busy.items()
        }

    def _of_day(self, day: str) -> dict[str, int]:
        money = self.money.get(day)
        if money is None:
            money = self.money[day] = {}
            for old in sorted(self.money)[:-DAYS_KEPT]:
                if old != day:
                    del self.money[old]
                    self.taken = {one: held for one, held in self.taken.items() if held.day != old}
        return money

    def _window(self, key: str, second: int) -> Window:
        window = self.windows.get(key)
        if window is None:
            window = self.windows[key] = Window()
        window.roll(second)
        return window

    def _client_refusal(
        self, claim: Claim, now_ms: int, own_rate: Callable[[int], int]
    ) -> Refused | None:
        if claim.client_rpm is None:
            return None
        client, rpm = claim.client_rpm
        window, own = self._window(f"c:{client}", now_ms // 1000), own_rate(rpm)
        if window.requests < own:
            return None
        wait = window.wait_ms(now_ms, requests=window.requests + 1 - own)
        return Refused(Bound.CLIENT_RPM, client, rpm, window.requests, wait)

    @staticmethod
    def _budget_refusal(
        claim: Claim, day: str, used: Callable[[str, BudgetClaim], tuple[int, int]]
    ) -> Refused | None:
        if claim.cost <= 0:
            return None
        for budget in claim.budgets:
            so_far, most = used(day, budget)
            if so_far + claim.cost > most:
                return Refused(Bound.BUDGET, budget.scope, budget.limit, so_far, None)
        return None

    def _rate_refusal(
        self, claim: Claim, now_ms: int, own_rate: Callable[[int], int]
    ) -> Refused | None:
        if not is_rated(claim):
            return None
        rpm, tpm = claim.limit.rpm, claim.limit.tpm
        window = self._window(f"e:{claim.endpoint}", now_ms // 1000)
        if rpm is not None and window.requests >= own_rate(rpm):
            wait = window.wait_ms(now_ms, requests=window.requests + 1 - own_rate(rpm))
            return Refused(Bound.RPM, claim.endpoint, rpm, window.requests, wait)
        if tpm is not None and window.tokens + claim.tokens > own_rate(tpm):
            wait = window.wait_ms(now_ms, tokens=window.tokens + claim.tokens - own_rate(tpm))
            return Refused(Bound.TPM, claim.endpoint, tpm, window.tokens, wait)
        return None

    def _busy_refusal(
        self, claim: Claim, now_ms: int, own_rate: Callable[[int], int]
    ) -> Refused | None:
        most = claim.limit.concurrency
        busy = self._busy.get(claim.endpoint)
        if most is None or (busy is None and most > 0):
            return None
        busy = busy or {}
        if len(busy) >= own_rate(most):
            for one in [one for one, ends in busy.items() if ends <= now_ms]:
                del busy[one]
        if len(busy) < own_rate(most):
            return None
        return Refused(Bound.CONCURRENCY, claim.endpoint, most, len(busy), None)


def is_rated(claim: Claim) -> bool:
    """Tell whether a claim counts in the minute of its endpoint."""
    return claim.limit.rpm is not None or claim.limit.tpm is not None
