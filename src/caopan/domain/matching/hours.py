"""What may be placed and cancelled at a moment of one day, asked many times.

Owns TradingHours: the phase table's answers of one day, kept by phase, exchange and board. Must
never decide a permission itself. Tests: tests/unit/domain/matching/test_engine.py.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, time

from caopan.domain.market.phases import OrderKind, Permit, Phase, PhaseTable
from caopan.domain.matching.terms import CONTINUOUS_MS, SecurityTerms
from caopan.kernel.clock import at_shanghai

_Key = tuple[Phase, OrderKind, str, str]


class TradingHours:
    """The phases of the open day as milliseconds, with their permissions."""

    def __init__(self, table: PhaseTable) -> None:
        """Answer out of `table`; `open_day` comes first."""
        self._table = table
        self._day = date.min
        self._starts: list[int] = []
        self._phases: list[Phase] = []
        self._placing: dict[_Key, Permit] = {}
        self._canceling: dict[_Key, Permit] = {}
        self.continuous_ms = CONTINUOUS_MS

    def open_day(self, day: date) -> None:
        """Turn to `day`, which the caller knows to be a session.

        Raises:
            Denied: RISK_RULES_UNKNOWN where the table does not know the day.
        """
        windows = self._table.windows(day)
        midnight = at_shanghai(day, time(0, 0))
        self._starts = [int((one.start - midnight).total_seconds()) * 1000 for one in windows]
        self._phases = [one.phase for one in windows]
        self._day = day
        self._placing.clear()
        self._canceling.clear()

    def phase(self, at_ms: int) -> Phase:
        """Return the phase of a moment."""
        return self._phases[bisect_right(self._starts, at_ms) - 1]

    def may_place(self, at_ms: int, terms: SecurityTerms, *, is_market: bool) -> Permit:
        """Return what becomes of a new order."""
        phase = self.phase(at_ms)
        kind = OrderKind.MARKET if is_market else OrderKind.LIMIT
        key = (phase, kind, terms.exchange.value, terms.board.value)
        known = self._placing.get(key)
        if known is None:
            known = self._placing[key] = self._table.may_place(
                phase, kind, exchange=terms.exchange, board=terms.board, day=self._day
            )
        return known

    def may_cancel(self, at_ms: int, terms: SecurityTerms) -> Permit:
        """Return what becomes of a cancel of a resting limit order."""
        phase = self.phase(at_ms)
        key = (phase, OrderKind.LIMIT, terms.exchange.value, "")
        known = self._canceling.get(key)
        if known is None:
            known = self._canceling[key] = self._table.may_cancel(
                phase, OrderKind.LIMIT, exchange=terms.exchange, day=self._day
            )
        return known
