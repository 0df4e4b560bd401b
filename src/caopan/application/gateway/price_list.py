"""What calls cost: the configured prices over the price table.

Owns PriceList, which prepares the rules of an endpoint once for each version of the configuration.
Must never take an unknown price for zero. Tests: tests/unit/application/gateway/test_price_list.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from caopan.domain.gateway.endpoint import Endpoint, PriceRule, Snapshot
from caopan.domain.gateway.pricing import ModelPrices, assumed_cost
from caopan.domain.gateway.usage import Tokens

_MOST_PREPARED = 4_096


@dataclass(frozen=True, slots=True)
class Priced:
    """What an attempt cost."""

    cost: int | None
    """In 1e-8 CNY; None: the price is unknown."""
    charged: int
    """What budgets are charged, in 1e-8 CNY."""
    version: str | None
    """Of the price."""


class PriceList:
    """Prices of every endpoint, nearest first: its own, the configuration's, the table's."""

    def __init__(self, table: Callable[[Endpoint], Sequence[PriceRule]]) -> None:
        """Ask `table` for what is published of an endpoint's provider and model."""
        self._table = table
        self._prepared: dict[tuple[int, str], ModelPrices] = {}

    def worst(
        self, snapshot: Snapshot, endpoint: Endpoint, prompt: int, answer: int, at: datetime
    ) -> int | None:
        """Return the most a call of so many tokens may cost, in 1e-8 CNY; None: nobody can say."""
        most = self._of(snapshot, endpoint).most(prompt, answer, at, at)
        if most is not None or endpoint.unknown_price_mtok is None:
            return most
        return assumed_cost(prompt, answer, endpoint.unknown_price_mtok)

    def priced(
        self, snapshot: Snapshot, endpoint: Endpoint, tokens: Tokens, at: datetime
    ) -> Priced:
        """Return what these tokens cost a call that began at the aware instant.

        Of an unknown price budgets are charged what the endpoint says; where it says nothing no
        budget held the call.
        """
        cost = self._of(snapshot, endpoint).cost(tokens, at)
        if cost is not None:
            return Priced(cost.amount, cost.amount, cost.price_version)
        per_mtok = endpoint.unknown_price_mtok or 0
        assumed = assumed_cost(tokens.prompt or 0, tokens.completion or 0, per_mtok)
        return Priced(None, assumed, None)

    def _of(self, snapshot: Snapshot, endpoint: Endpoint) -> ModelPrices:
        place = snapshot.version, endpoint.name
        found = self._prepared.get(place)
        if found is None:
            if len(self._prepared) >= _MOST_PREPARED:
                self._prepared.clear()
            layers = (endpoint.prices, snapshot.prices, self._table(endpoint))
            found = ModelPrices(endpoint.model, layers, usd_cny=snapshot.usd_cny)
            self._prepared[place] = found
        return found
