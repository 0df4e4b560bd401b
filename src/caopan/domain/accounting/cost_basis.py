"""What a holding cost, as Chinese brokers show it: 持仓成本 and 摊薄成本.

Owns CostBasis, a fold over one symbol's trades and entitlements. Must never feed a booking: the
journal's lots are the truth, these are two ways of showing it. Tests:
tests/unit/domain/accounting/test_cost_basis.py.

持仓成本 (holding cost): what the shares still held cost, fees included. A sale takes its share of
it along, so the price of the rest does not move. Value less this is what the rest has won.

摊薄成本 (diluted cost): all that was paid since the holding was opened, less all that came back
(sales after fees, cash dividends). Gains dilute it, also below nothing. Value less this is what
the whole holding has won.

Both begin anew when the last share is sold. Brokers describe them so (portal explainers of 2022,
secondary sources; each broker's own terminal decides): some leave fees out, some let a cash
dividend lower the holding cost too. Here fees count in both, and cash dividends in the diluted
cost only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from caopan.kernel.errors import CorruptState


@dataclass(frozen=True, slots=True)
class CostBasis:
    """One symbol's costs in units, for `qty` shares, and what sales and dividends have brought."""

    qty: int = 0
    holding_cost: int = 0
    diluted_cost: int = 0
    realised: int = 0
    """Gain of all sales over the holding cost, after fees, since the first purchase ever."""
    dividends: int = 0

    def bought(self, qty: int, amount: int, fees: int) -> CostBasis:
        """Return the basis after a purchase, or after rights were taken up."""
        _positive("bought", qty)
        paid = amount + fees
        return replace(
            self,
            qty=self.qty + qty,
            holding_cost=self.holding_cost + paid,
            diluted_cost=self.diluted_cost + paid,
        )

    def sold(self, qty: int, amount: int, fees: int) -> CostBasis:
        """Return the basis after a sale; the last share takes the whole rest of the cost along.

        Raises:
            CorruptState: SHARES_MISSING if fewer are held.
        """
        _positive("sold", qty)
        if qty > self.qty:
            raise CorruptState("SHARES_MISSING", f"{qty} shares sold, {self.qty} held")
        gone = self.holding_cost * qty // self.qty
        gained = amount - fees
        left = self.qty - qty
        return replace(
            self,
            qty=left,
            holding_cost=self.holding_cost - gone,
            diluted_cost=self.diluted_cost - gained if left else 0,
            realised=self.realised + gained - gone,
        )

    def entitled(self, cash: int, share_factor: Fraction) -> CostBasis:
        """Return the basis after an ex-date: `cash` units for all shares, then the multiplication.

        Bonus shares, converted reserves and splits only spread the cost; part shares are dropped.
        """
        if not self.qty:
            return self
        return replace(
            self,
            qty=int(self.qty * share_factor),
            diluted_cost=self.diluted_cost - cash,
            dividends=self.dividends + cash,
        )

    def taxed(self, tax: int) -> CostBasis:
        """Return the basis after dividend tax taken at a sale."""
        return replace(
            self,
            diluted_cost=self.diluted_cost + tax if self.qty else 0,
            dividends=self.dividends - tax,
        )

    def written_off(self) -> CostBasis:
        """Return the basis after the shares became worthless (退市)."""
        return self.sold(self.qty, 0, 0) if self.qty else self

    @property
    def holding_price(self) -> Fraction | None:
        """Return the holding cost of one share in units, exact; None where none is held."""
        return Fraction(self.holding_cost, self.qty) if self.qty else None

    @property
    def diluted_price(self) -> Fraction | None:
        """Return the diluted cost of one share in units, exact; it may be negative."""
        return Fraction(self.diluted_cost, self.qty) if self.qty else None

    def unrealised(self, price: int) -> int:
        """Return what the shares still held have won at `price`."""
        return self.qty * price - self.holding_cost

    def won(self, price: int) -> int:
        """Return what the present holding, sales and dividends included, has won at `price`."""
        return self.qty * price - self.diluted_cost


def _positive(what: str, qty: int) -> None:
    if qty <= 0:
        raise CorruptState("QUANTITY_INVALID", f"{qty} shares {what}")
