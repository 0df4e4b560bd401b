"""What an order costs with its fees, at any quantity and price.

Owns Costs: the fee schedule bound to one security and day, so that the gate can try other
quantities. Must never be asked for the fees of a fill. Tests: tests/unit/domain/risk.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from caopan.domain.accounting.fees import FeeSchedule, order_fees, upper_bound
from caopan.domain.market.reference import Exchange, Instrument
from caopan.domain.orders.order import Side


@dataclass(frozen=True, slots=True)
class Costs:
    """The fees of one security on one day."""

    schedule: FeeSchedule
    day: date
    exchange: Exchange
    instrument: Instrument = Instrument.STOCK

    def of_buy(self, qty: int, price: int) -> int:
        """Return the most cash (units) a buy can need. Raises Denied as the fee table."""
        return upper_bound(self.schedule, qty, price, self.day, self.exchange, self.instrument)

    def of_round_trip(self, amount: int) -> int:
        """Return the fees (units) of buying for `amount` and selling for the same again."""
        return sum(
            order_fees(self.schedule, side, amount, self.day, self.exchange, self.instrument).total
            for side in Side
        )
