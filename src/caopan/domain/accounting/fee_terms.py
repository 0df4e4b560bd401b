"""The fees of one account on one day, as plain integers for a matching loop.

Owns FeeTerms: rates as integer ratios, the minimum commission, and the step each component is
rounded to. Must never look a rate up or round per fill: every component is taken on the ORDER's
total so far, and a further fill pays the difference. Tests:
tests/unit/domain/accounting/test_fee_terms.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from caopan.domain.accounting.fees import FeeKind, FeeSchedule
from caopan.domain.market.reference import Exchange, Instrument
from caopan.kernel.money import UNITS_PER_FEN

EXACT_STEP = 1
"""Rounding to the smallest unit (0.0001 yuan), for fees that are not rounded to the fen."""


@dataclass(frozen=True, slots=True)
class FeeTerms:
    """Rates of the amount traded, the least commission (units), the rounding step (units)."""

    commission_rate: Fraction
    commission_min: int
    stamp_duty_sell: Fraction
    transfer_fee: Fraction
    step: int = UNITS_PER_FEN

    def commission(self, amount: int) -> int:
        """Return the commission on an order's whole amount (> 0)."""
        return max(_share(amount, self.commission_rate, self.step), self.commission_min)

    def stamp_duty(self, amount: int) -> int:
        """Return the stamp duty on a sale's whole amount."""
        return _share(amount, self.stamp_duty_sell, self.step)

    def transfer(self, amount: int) -> int:
        """Return the transfer fee on an order's whole amount."""
        return _share(amount, self.transfer_fee, self.step)

    def buy_bound(self, amount: int) -> int:
        """Return all fees of a buy of `amount`; fees grow with the amount, so this is the most."""
        return self.commission(amount) + self.transfer(amount)


NO_FEES = FeeTerms(Fraction(0), 0, Fraction(0), Fraction(0))
"""Nothing is charged."""


def fee_terms(
    schedule: FeeSchedule,
    day: date,
    exchange: Exchange,
    instrument: Instrument = Instrument.STOCK,
) -> FeeTerms:
    """Return what `schedule` charges on `day` at `exchange`, rounded to the fen.

    Raises:
        Denied: RISK_RULES_UNKNOWN or DATA_RULES_MISMATCH where the table gives no rate.
    """
    return FeeTerms(
        commission_rate=schedule.commission_rate,
        commission_min=schedule.commission_min,
        stamp_duty_sell=schedule.table.rate(exchange, FeeKind.STAMP_DUTY_SELL, day, instrument),
        transfer_fee=schedule.table.rate(exchange, FeeKind.TRANSFER_FEE, day, instrument),
    )


def _share(amount: int, share: Fraction, step: int) -> int:
    numerator = share.numerator
    if not numerator:
        return 0
    scaled = share.denominator * step
    return (2 * amount * numerator + scaled) // (2 * scaled) * step
