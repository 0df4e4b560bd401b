"""What the dated rules say on one day, asked for every order.

Owns DayRules: the answers of the phase, order type, price cage and halt tables, kept by what
they hang on. Must never decide a rule itself. Tests:
tests/unit/domain/matching/test_exchange_rules.py.
"""

from __future__ import annotations

from bisect import bisect_right
from datetime import date, time

from caopan.domain.market.halts import AuctionRangeRow, HaltRow
from caopan.domain.market.order_types import ExchangeOrderType, TypeRefusal
from caopan.domain.market.phases import OrderKind, Permit, Phase
from caopan.domain.market.price_cage import (
    CAGE_PHASES,
    Beyond,
    CageRow,
    applies,
)
from caopan.domain.market.rules import MarketRules
from caopan.domain.matching.terms import SecurityTerms
from caopan.kernel.clock import at_shanghai

_Key = tuple[Phase, OrderKind, str, str]


class DayRules:
    """The rules of the open day, by moment of the day in milliseconds."""

    def __init__(self, market: MarketRules) -> None:
        """Answer out of `market`; `open_day` comes first."""
        self._market = market
        self._day = date.min
        self._starts: list[int] = []
        self._phases: list[Phase] = []
        self._placing: dict[_Key, Permit] = {}
        self._canceling: dict[_Key, Permit] = {}
        self._cages: dict[tuple[str, str], CageRow] = {}

    def open_day(self, day: date) -> None:
        """Turn to `day`, which the caller knows to be a session.

        Raises:
            Denied: RISK_RULES_UNKNOWN where the phases of the day are not known.
        """
        windows = self._market.phases.windows(day)
        midnight = at_shanghai(day, time(0, 0))
        self._starts = [int((one.start - midnight).total_seconds()) * 1000 for one in windows]
        self._phases = [one.phase for one in windows]
        self._day = day
        for known in (self._placing, self._canceling, self._cages):
            known.clear()

    def phase(self, at_ms: int) -> Phase:
        """Return the phase of a moment."""
        return self._phases[bisect_right(self._starts, at_ms) - 1]

    def may_place(self, at_ms: int, terms: SecurityTerms, kind: OrderKind) -> Permit:
        """Return what becomes of a new order.

        Raises:
            Denied: RISK_RULES_UNKNOWN where the tables do not know the case.
        """
        phase = self.phase(at_ms)
        key = (phase, kind, terms.exchange.value, terms.board.value)
        known = self._placing.get(key)
        if known is None:
            known = self._placing[key] = self._market.phases.may_place(
                phase, kind, exchange=terms.exchange, board=terms.board, day=self._day
            )
        return known

    def may_cancel(self, at_ms: int, terms: SecurityTerms, kind: OrderKind) -> Permit:
        """Return what becomes of a cancel of an order of `kind`."""
        phase = self.phase(at_ms)
        key = (phase, kind, terms.exchange.value, "")
        known = self._canceling.get(key)
        if known is None:
            known = self._canceling[key] = self._market.phases.may_cancel(
                phase, kind, exchange=terms.exchange, day=self._day
            )
        return known

    def after_hours(self, terms: SecurityTerms) -> bool:
        """Return whether the security trades at the close after hours today."""
        return self._market.phases.after_hours(terms.exchange, terms.board, self._day)

    def type_refusal(
        self,
        kind: ExchangeOrderType,
        terms: SecurityTerms,
        *,
        has_limits: bool,
        protection: int | None,
    ) -> TypeRefusal | None:
        """Return why the order's type is refused, or None."""
        return self._market.order_types.check(
            terms.exchange,
            terms.board,
            kind,
            self._day,
            has_limits=has_limits,
            protection=protection,
        )

    def halts(self, terms: SecurityTerms) -> HaltRow:
        """Return the temporary halts of a security that has no price limit today.

        Raises:
            Denied: RISK_RULES_UNKNOWN where the table does not know the board.
        """
        return self._market.halts.row(terms.exchange, terms.board, self._day)

    def halted_range(self, at_ms: int, terms: SecurityTerms) -> AuctionRangeRow | None:
        """Return the prices taken during a temporary halt, None where none is known."""
        return self._market.halts.auction_range(
            terms.exchange, self.phase(at_ms), self._day, halted=True
        )

    def protects(self, kind: ExchangeOrderType, terms: SecurityTerms) -> bool:
        """Return whether an order of `kind` carries a protective price."""
        row = self._market.order_types.row(terms.exchange, terms.board, kind, self._day)
        return row is not None and row.needs_protection

    def cage(self, at_ms: int, terms: SecurityTerms) -> CageRow | None:
        """Return the price cage that limit orders are held to now, None where there is none.

        Raises:
            Denied: RISK_RULES_UNKNOWN where the table does not know the board.
        """
        row = self._cage(terms)
        return row if applies(row, self.phase(at_ms), OrderKind.LIMIT) else None

    def holds_beyond_cage(self, terms: SecurityTerms) -> bool:
        """Return whether the exchange keeps an order beyond the cage until it lies inside."""
        return self._cage(terms).beyond is Beyond.HELD

    def is_continuous(self, at_ms: int) -> bool:
        """Return whether a moment lies in continuous trading."""
        return self.phase(at_ms) in CAGE_PHASES

    def _cage(self, terms: SecurityTerms) -> CageRow:
        key = (terms.exchange.value, terms.board.value)
        row = self._cages.get(key)
        if row is None:
            row = self._cages[key] = self._market.cages.row(terms.exchange, terms.board, self._day)
        return row
