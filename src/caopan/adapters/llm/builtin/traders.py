"""The built-in traders: momentum and mean reversion, both sized by volatility.

Owns their rules. They answer in the very JSON a model would and are labelled "not a language
model" wherever they are shown. They are naive on purpose about cash and caps: the gate's refusals
are part of the demonstration. Must never draw a random number.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar

from caopan.adapters.llm.builtin.sizing import Budget, Candidate, answer, buy, candidates, sell
from caopan.application.ports.model import ModelReply, ModelRequest
from caopan.kernel.canonical import content_hash

_CHASE = Decimal("0.01")
_BUYS_A_DAY = 2


class BuiltinTrader(ABC):
    """A deterministic rule that reads the observation and nothing else."""

    alias: str
    is_language_model: bool = False

    @property
    def prompt_version(self) -> str:
        """Return the version of the rule."""
        return f"{self.alias}@1"

    @property
    def prompt_hash(self) -> str:
        """Return a hash that names the rule."""
        return content_hash({"rule": self.prompt_version})

    async def complete(self, request: ModelRequest) -> ModelReply:
        """Return the rule's answer as JSON text."""
        actions = self.decide(request.observation)
        return ModelReply(
            text=answer(request.observation, request.observation_hash, actions),
            endpoint=self.alias,
            provider="builtin",
            model_asked=self.alias,
            model_served=self.prompt_version,
            request={"observation_hash": request.observation_hash},
            latency_ms=0,
        )

    @abstractmethod
    def decide(self, observation: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the actions wanted."""


class MomentumTrader(BuiltinTrader):
    """Holds the strongest 60-day performers; lets go of what falls out of the upper half."""

    alias = "builtin/momentum"
    slots: ClassVar[int] = 10
    feature: ClassVar[str] = "ret_60d"

    def decide(self, observation: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Sell what has lost its strength, then buy the strongest not held."""
        ranked = sorted(candidates(observation, self.feature), key=lambda c: (-c.score, c.symbol))
        place = {candidate.symbol: rank for rank, candidate in enumerate(ranked)}
        by_symbol = {candidate.symbol: candidate for candidate in ranked}
        keep_to = max(len(ranked) // 3, self.slots)
        actions: list[dict[str, Any]] = []
        held: set[str] = set()
        for position in observation["positions"]:
            symbol = position["symbol"]
            held.add(symbol)
            weak = place.get(symbol, 0) > keep_to or self._stopped(position, by_symbol.get(symbol))
            if weak and position["sellable_qty"] and symbol in by_symbol:
                why = "fell out of the strongest third, or through its stop"
                actions.append(
                    sell(by_symbol[symbol], position["sellable_qty"], _CHASE, why, self.feature)
                )
        actions.extend(self._buys(ranked, held, observation))
        return actions

    def _buys(
        self, ranked: list[Candidate], held: set[str], observation: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        budget = Budget.of(observation)
        found: list[dict[str, Any]] = []
        for candidate in ranked[: self.slots]:
            rising = candidate.score > 0 and self._above_average(candidate, observation)
            if candidate.symbol in held or not rising or len(found) == _BUYS_A_DAY:
                continue
            why = f"60-day return {candidate.score:+.1%} is among the strongest {self.slots}"
            wanted = buy(candidate, budget, _CHASE, why, self.feature)
            if wanted is not None:
                found.append(wanted)
        return found

    def _above_average(self, candidate: Candidate, observation: Mapping[str, Any]) -> bool:
        return observation["features"][candidate.symbol].get("ma20_gap", 0) > 0

    def _stopped(self, position: Mapping[str, Any], candidate: Candidate | None) -> bool:
        plan = position.get("exit_plan")
        return (
            plan is not None
            and candidate is not None
            and candidate.last <= Decimal(plan["stop_price"])
        )


class MeanReversionTrader(BuiltinTrader):
    """Buys sharp five-day falls of liquid stocks and sells the rebound or after ten days."""

    alias = "builtin/mean_reversion"
    feature: ClassVar[str] = "ret_5d"
    fall: ClassVar[float] = -0.06
    rebound: ClassVar[Decimal] = Decimal("1.04")
    days: ClassVar[int] = 14

    def decide(self, observation: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Sell what has rebounded or grown old, then buy the deepest falls."""
        budget = Budget.of(observation)
        ranked = sorted(candidates(observation, self.feature), key=lambda c: (c.score, c.symbol))
        by_symbol = {candidate.symbol: candidate for candidate in ranked}
        actions: list[dict[str, Any]] = []
        held: set[str] = set()
        for position in observation["positions"]:
            held.add(position["symbol"])
            candidate = by_symbol.get(position["symbol"])
            if candidate is None or not position["sellable_qty"]:
                continue
            rebounded = candidate.last >= Decimal(position["avg_price"]) * self.rebound
            if rebounded or position["days_held"] > self.days:
                why = "the rebound came, or did not come in time"
                actions.append(sell(candidate, position["sellable_qty"], _CHASE, why, self.feature))
        bought = 0
        for candidate in ranked:
            if candidate.score > self.fall or bought == _BUYS_A_DAY:
                break
            if candidate.symbol in held:
                continue
            why = f"five-day return {candidate.score:+.1%}: a fall this sharp tends to rebound"
            wanted = buy(candidate, budget, Decimal(0), why, self.feature)
            if wanted is not None:
                actions.append(wanted)
                bought += 1
        return actions


BUILTIN: dict[str, type[BuiltinTrader]] = {
    trader.alias: trader for trader in (MomentumTrader, MeanReversionTrader)
}
