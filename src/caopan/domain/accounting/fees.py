"""Fees and taxes of an order: commission, stamp duty, transfer fee, by date.

Owns the fee shapes and their rounding. Must never round per fill: every component is taken on the
ORDER's total so far, rounded half up to the fen, so the fee of a further fill is the difference of
two totals and the minimum commission is charged once. Tests:
tests/unit/domain/accounting/test_fees.py.

Handling fee (经手费) and regulatory fee (证管费) are contained in the commission, as brokers quote
it (全佣); `contained_fees` tells that part, it is never charged on top.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction

from caopan.domain.market.dated import DatedRow, require
from caopan.domain.market.reference import Exchange, Instrument
from caopan.domain.orders.order import Side
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import UNITS_PER_FEN, rate, ratio_half_up, units, yuan

DEFAULT_COMMISSION_RATE = "0.00025"
DEFAULT_COMMISSION_MIN = "5"
COMMISSION_CAP = "0.003"
"""Highest lawful commission rate (证监发〔2002〕21号, in force since 2002-05-01)."""


class FeeKind(StrEnum):
    """The statutory components."""

    STAMP_DUTY_SELL = "stamp_duty_sell"
    TRANSFER_FEE = "transfer_fee"
    HANDLING_FEE = "handling_fee"
    REGULATORY_FEE = "regulatory_fee"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeRow(DatedRow):
    """One rate on the amount traded."""

    exchange: Exchange
    instrument: Instrument = Instrument.STOCK
    kind: FeeKind
    rate: Fraction

    def value(self) -> object:
        """Return the rate."""
        return self.rate


class FeeTable:
    """The statutory rates of all exchanges, by date."""

    __slots__ = ("_known", "_rows")

    def __init__(self, rows: Iterable[FeeRow]) -> None:
        self._rows: dict[tuple[Exchange, Instrument, FeeKind], list[FeeRow]] = {}
        for row in rows:
            self._rows.setdefault((row.exchange, row.instrument, row.kind), []).append(row)
        self._known: dict[tuple[Exchange, Instrument, FeeKind, date], FeeRow] = {}

    def rate(
        self,
        exchange: Exchange,
        kind: FeeKind,
        day: date,
        instrument: Instrument = Instrument.STOCK,
    ) -> Fraction:
        """Return the rate in force. Raises as `row`."""
        return self.row(exchange, kind, day, instrument).rate

    def row(self, exchange: Exchange, kind: FeeKind, day: date, instrument: Instrument) -> FeeRow:
        """Return the row that gives the rate in force.

        Raises:
            Denied: RISK_RULES_UNKNOWN if the table does not cover the day, DATA_RULES_MISMATCH if
                its rows contradict each other; nothing is charged or booked then.
        """
        key = (exchange, instrument, kind, day)
        if key not in self._known:
            rows = self._rows.get((exchange, instrument, kind), [])
            self._known[key] = require(rows, day, f"{kind} of a {instrument} on {exchange}")
        return self._known[key]


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """What one account pays: its broker's commission and the statutory table."""

    commission_rate: Fraction
    commission_min: int
    """Units per order over all its fills."""
    table: FeeTable


def fee_schedule(
    table: FeeTable,
    *,
    commission_rate: str = DEFAULT_COMMISSION_RATE,
    commission_min: str = DEFAULT_COMMISSION_MIN,
) -> FeeSchedule:
    """Return the schedule for a rate such as "0.00025" and a minimum in yuan.

    Raises:
        ConfigInvalid: FEES_INVALID if the rate lies outside [0, 0.003] or the minimum is negative;
            MONEY_INVALID if the minimum is no amount.
    """
    share = rate(commission_rate)
    if not 0 <= share <= rate(COMMISSION_CAP):
        raise ConfigInvalid(
            "FEES_INVALID",
            f"commission_rate {commission_rate!r} is outside 0 to {COMMISSION_CAP}",
            remedy='write a fraction of the amount, for example "0.00025"',
        )
    least = units(commission_min)
    if least < 0:
        raise ConfigInvalid("FEES_INVALID", f"commission_min {commission_min!r} is negative")
    return FeeSchedule(share, least, table)


@dataclass(frozen=True, slots=True)
class Fees:
    """Components in units, each a whole number of fen."""

    commission: int = 0
    stamp_duty: int = 0
    transfer_fee: int = 0
    other_fees: int = 0

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.commission + self.stamp_duty + self.transfer_fee + self.other_fees

    def __sub__(self, before: Fees) -> Fees:
        """Return what a further fill adds: the order's fees now less its fees `before` it."""
        return Fees(
            self.commission - before.commission,
            self.stamp_duty - before.stamp_duty,
            self.transfer_fee - before.transfer_fee,
            self.other_fees - before.other_fees,
        )


NO_FEES = Fees()


def order_fees(
    schedule: FeeSchedule,
    side: Side,
    amount: int,
    day: date,
    exchange: Exchange,
    instrument: Instrument = Instrument.STOCK,
) -> Fees:
    """Return the fees of an order whose fills so far amount to `amount` units.

    The fees of the next fill are `order_fees(after) - order_fees(before)`.

    Raises:
        Denied: RISK_RULES_UNKNOWN or DATA_RULES_MISMATCH as `FeeTable.rate`.
    """
    if amount <= 0:
        if amount:
            raise ConfigInvalid("FEES_INVALID", f"amount {yuan(amount)} yuan is negative")
        return NO_FEES
    table = schedule.table
    duty = 0
    if side is Side.SELL:
        duty = _fen(amount, table.rate(exchange, FeeKind.STAMP_DUTY_SELL, day, instrument))
    return Fees(
        commission=max(_fen(amount, schedule.commission_rate), schedule.commission_min),
        stamp_duty=duty,
        transfer_fee=_fen(amount, table.rate(exchange, FeeKind.TRANSFER_FEE, day, instrument)),
    )


def upper_bound(
    schedule: FeeSchedule,
    qty: int,
    limit_price: int,
    day: date,
    exchange: Exchange,
    instrument: Instrument = Instrument.STOCK,
) -> int:
    """Return the units of cash a buy order can cost at most: amount and fees at its limit.

    Fees grow with the amount, so no sequence of fills at or below the limit costs more. A market
    order costs at most its protective price, else the day's limit-up: give that as `limit_price`.

    Raises:
        Denied: as `order_fees`.
    """
    amount = qty * limit_price
    return amount + order_fees(schedule, Side.BUY, amount, day, exchange, instrument).total


def check_commission_floor(
    schedule: FeeSchedule, day: date, exchange: Exchange, instrument: Instrument = Instrument.STOCK
) -> None:
    """Refuse a commission below the handling and regulatory fees it contains (证监发〔2002〕21号).

    Raises:
        ConfigInvalid: FEES_INVALID naming both rates.
        Denied: as `FeeTable.row`.
    """
    kinds = (FeeKind.HANDLING_FEE, FeeKind.REGULATORY_FEE)
    floor = sum(
        (schedule.table.rate(exchange, kind, day, instrument) for kind in kinds), Fraction()
    )
    if schedule.commission_rate < floor:
        raise ConfigInvalid(
            "FEES_INVALID",
            f"commission_rate {float(schedule.commission_rate):.7f} is below the fees it contains,"
            f" {float(floor):.7f}",
            remedy="write the whole commission (全佣), handling and regulatory fee included",
        )


def contained_fees(
    table: FeeTable,
    amount: int,
    day: date,
    exchange: Exchange,
    instrument: Instrument = Instrument.STOCK,
) -> tuple[int, int]:
    """Return the handling and the regulatory fee (units) that the commission on `amount` contains.

    Raises:
        Denied: as `FeeTable.rate`.
    """
    return (
        _fen(amount, table.rate(exchange, FeeKind.HANDLING_FEE, day, instrument)),
        _fen(amount, table.rate(exchange, FeeKind.REGULATORY_FEE, day, instrument)),
    )


def _fen(amount: int, share: Fraction) -> int:
    return ratio_half_up(amount * share.numerator, share.denominator, UNITS_PER_FEN)
