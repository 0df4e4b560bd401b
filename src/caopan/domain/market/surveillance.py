"""What the exchanges watch for: programme trading, and patterns with published figures.

Owns the thresholds of high-frequency trading and those abnormal patterns (异常交易) of which the
exchanges published a figure. Must never add a figure of its own: where a rule says only "large" or
"repeatedly", the pattern is reported as soon as its published figures are reached. Tests:
tests/unit/domain/market/test_surveillance.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction

from caopan.domain.market.dated import DatedRow, find, require


class Figure(StrEnum):
    """The published figures."""

    HFT_PER_SECOND = "hft_per_second"
    """Orders and cancels of one account in one second from which it is high-frequency."""
    HFT_PER_DAY = "hft_per_day"
    REPORT_FIRST = "report_first"
    """1 where programme trading is reported, and confirmed by the broker, before it begins."""
    SELF_TRADE_SHARE = "self_trade_share"
    """Own trades with oneself, as a share of the day's volume."""
    PULL_UP_3MIN = "pull_up_3min"
    """Move of the price within any three minutes."""
    SPOOF_DEVIATION = "spoof_deviation"
    """Distance from pre_close of orders in the opening auction."""
    SPOOF_DEVIATION_ST = "spoof_deviation_st"
    SPOOF_CANCELLED = "spoof_cancelled"
    """Cancelled share of what was ordered."""
    LIMIT_PRICE_SHARE = "limit_price_share"
    """Own trades at the limit, as a share of the volume there."""


class Warned(StrEnum):
    """Patterns of which the figures are published."""

    SELF_TRADE_SHARE = "self_trade_share"
    PULL_UP = "pull_up"
    SPOOF_OPEN = "spoof_open"
    LIMIT_PRICE_SHARE = "limit_price_share"


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureRow(DatedRow):
    """One published figure."""

    figure: Figure
    amount: Fraction

    def value(self) -> object:
        """Return the figure."""
        return self.amount


class SurveillanceTable:
    """The published figures, by date."""

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[FigureRow]) -> None:
        self._rows = tuple(rows)

    def figure(self, figure: Figure, day: date) -> Fraction:
        """Return the figure in force. Raises Denied RISK_RULES_UNKNOWN before it was published."""
        rows = (row for row in self._rows if row.figure is figure)
        return require(rows, day, f"published figure {figure}").amount

    def rows(self, day: date) -> tuple[FigureRow, ...]:
        """Return every figure in force on `day`."""
        return tuple(row for row in self._rows if row.in_force(day))

    def must_be_reported(self, day: date) -> bool:
        """Return whether programme trading is allowed only after the broker's confirmation."""
        rows = (row for row in self._rows if row.figure is Figure.REPORT_FIRST)
        return find(rows, day, "reporting of programme trading") is not None

    def high_frequency(self, day: date, *, in_a_second: int = 0, in_the_day: int = 0) -> bool:
        """Return whether so many orders and cancels together make an account high-frequency."""
        return in_a_second >= self.figure(Figure.HFT_PER_SECOND, day) or (
            in_the_day >= self.figure(Figure.HFT_PER_DAY, day)
        )

    def self_trade(self, day: date, own: int, volume: int) -> Warned | None:
        """Warn where an account traded with itself for a large share of the day's `volume`."""
        share = Fraction(own, volume) if volume > 0 else Fraction(0)
        reached = share >= self.figure(Figure.SELF_TRADE_SHARE, day)
        return Warned.SELF_TRADE_SHARE if reached else None

    def pull_up(self, day: date, move: Fraction, own_share: Fraction | None) -> Warned | None:
        """Warn where the price moved so far in three minutes while the account took part in it.

        `own_share` of the volume is called "high" without a figure: any share but 0 counts.
        """
        took_part = own_share is None or own_share > 0
        reached = abs(move) >= self.figure(Figure.PULL_UP_3MIN, day)
        return Warned.PULL_UP if took_part and reached else None

    def spoof_open(
        self, day: date, deviation: Fraction, cancelled: Fraction, *, is_st: bool
    ) -> Warned | None:
        """Warn where orders far from pre_close in the opening auction were mostly cancelled."""
        figure = Figure.SPOOF_DEVIATION_ST if is_st else Figure.SPOOF_DEVIATION
        far = abs(deviation) >= self.figure(figure, day)
        mostly = cancelled >= self.figure(Figure.SPOOF_CANCELLED, day)
        return Warned.SPOOF_OPEN if far and mostly else None

    def limit_price(self, day: date, own_share: Fraction) -> Warned | None:
        """Warn where an account's trades at the limit are a large share of the volume there."""
        reached = own_share >= self.figure(Figure.LIMIT_PRICE_SHARE, day)
        return Warned.LIMIT_PRICE_SHARE if reached else None


@dataclass(frozen=True, slots=True)
class LocalLimits:
    """Limits the desk sets itself, far below the regulator's: a choice of design, no rule."""

    orders_per_second: int = 10
    orders_per_day: int = 2_000
    cancelled_share: Fraction = Fraction(1, 2)

    def broken_by(
        self, *, in_a_second: int = 0, in_the_day: int = 0, cancelled: Fraction = Fraction(0)
    ) -> bool:
        """Return whether these counts, the order in question among them, break a limit."""
        return (
            in_a_second > self.orders_per_second
            or in_the_day > self.orders_per_day
            or cancelled > self.cancelled_share
        )


def trades_with_itself(price: int, own_opposite: int | None, *, buying: bool) -> bool:
    """Return whether an order at `price` would meet the account's own resting order."""
    if own_opposite is None:
        return False
    return price >= own_opposite if buying else price <= own_opposite
