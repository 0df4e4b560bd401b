"""The exchange rules a run is judged by, in one value.

Owns MarketRules. Must never load anything: adapters/rules builds it. Tests: as of its parts.
"""

from __future__ import annotations

from dataclasses import dataclass

from caopan.domain.market.halts import HaltTable
from caopan.domain.market.order_types import OrderTypeTable
from caopan.domain.market.phases import PhaseTable
from caopan.domain.market.price_cage import CageTable
from caopan.domain.market.price_limits import PriceLimitTable
from caopan.domain.market.quantity import QuantityTable
from caopan.domain.market.settlement import SettlementTable
from caopan.domain.market.surveillance import SurveillanceTable


@dataclass(frozen=True, slots=True)
class MarketRules:
    """Dated rule tables, with the citation that goes into the ledger of each run."""

    limits: PriceLimitTable
    quantities: QuantityTable
    phases: PhaseTable
    cages: CageTable
    halts: HaltTable
    order_types: OrderTypeTable
    settlement: SettlementTable
    surveillance: SurveillanceTable
    citation: str
    """Names data set, version and digest of every table, so that a run can be repeated exactly."""
