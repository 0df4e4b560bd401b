"""Buy-and-hold, the yardstick beside the account's NAV.

Owns BuyAndHold: equal money in every symbol that traded on the first day, dividends reinvested, no
fees, integer units. Must never be traded on.
"""

from __future__ import annotations

from datetime import date, datetime

from caopan.application.ports.market_data import MarketData
from caopan.domain.market.reference import TradingStatus


class BuyAndHold:
    """The value of the yardstick, one day after the other."""

    def __init__(self, market: MarketData, cash: int) -> None:
        """Start with `cash` units, spread at the first day's reference prices."""
        self._market = market
        self._cash = cash
        self._values: dict[str, int] = {}

    def step(self, day: date, now: datetime) -> int:
        """Return the value (units) at the close of `day`; call once a day, in order."""
        references = self._market.references(day, now)
        closes = self._market.closes(day, now)
        if not self._values:
            traded = [
                symbol
                for symbol, reference in references.items()
                if reference.trading_status is TradingStatus.NORMAL
            ]
            if not traded:
                return self._cash
            self._values = dict.fromkeys(sorted(traded), self._cash // len(traded))
        for symbol, value in self._values.items():
            reference = references.get(symbol)
            if reference is not None:
                self._values[symbol] = value * closes[symbol] // reference.pre_close
        return sum(self._values.values())
