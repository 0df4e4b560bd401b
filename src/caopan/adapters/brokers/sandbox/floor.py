"""One trading day on the sandbox's floor: the exchange engine over what is known that morning.

Owns DayFloor: the engine of one day, built of the day's references, and what the day's finished
bars do to the orders on it. Must never see a bar before the close, nor keep anything of its own
over the night: the account is the venue's, the orders are in its journal. Tests:
tests/unit/adapters/brokers/test_sandbox_venue.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from typing import Any

from caopan.adapters.brokers.sandbox import register
from caopan.adapters.brokers.sandbox.daily_policy import (
    BAR_START_MS,
    DailyBars,
    UntilTheBar,
    was_at_open,
)
from caopan.application.ports.market_data import MarketData
from caopan.domain.accounting.fee_terms import FeeTerms, fee_terms
from caopan.domain.accounting.fees import FeeSchedule
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.reference import (
    DailyBar,
    Exchange,
    Instrument,
    Reference,
    TradingStatus,
)
from caopan.domain.market.rules import MarketRules
from caopan.domain.market.symbols import instrument_of
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.terms import (
    CLOSE_MS,
    OPENING_PRINT_MS,
    Bar,
    DayQuote,
    EventKind,
    SecurityTerms,
)
from caopan.domain.orders.order import OrderType, Side
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import ConfigInvalid, Denied
from caopan.kernel.money import yuan

OPEN_STATES = (TradingStatus.NORMAL, TradingStatus.DELISTING_PERIOD)
_MILLISECOND = timedelta(milliseconds=1)

_Place = tuple[Exchange, Instrument]
"""Where a security trades and what it is: what its fees go by."""
Fact = tuple[str, datetime, dict[str, Any]]
"""A word of the journal, its moment and its body."""


@dataclass(frozen=True, slots=True)
class FloorTerms:
    """What holds on the floor on every day."""

    rules: MarketRules
    fees: FeeSchedule
    participation: Fraction


class DayFloor:
    """The orders of one day; `close` ends it."""

    def __init__(
        self,
        day: date,
        references: Mapping[str, Reference],
        account: TradingAccount,
        terms: FloorTerms,
    ) -> None:
        """Open the floor; what the rules of the day do not cover is listed, but not traded.

        Raises:
            Denied: RISK_RULES_UNKNOWN where the hours of the day are not known.
        """
        self.day = day
        self._midnight = at_shanghai(day, time())
        self._references = references
        self._latency = UntilTheBar()
        charged = _fees_of(day, references, terms.fees)
        known = [one for one in references.values() if _is_covered(one, charged)]
        self._exchange = SandboxExchange(
            ExchangeTerms(
                policy=DailyBars(),
                participation=terms.participation,
                latency=self._latency,
                rules=DayRules(terms.rules),
            ),
            [_security(one, charged[_place(one)]) for one in known],
            account,
            {},
        )
        self._exchange.open_day(day, [_quote(one) for one in known])
        self._numbers: dict[str, int] = {}
        self._ids: dict[int, str] = {}

    def place(
        self, broker_order_id: str, at: datetime, symbol: str, side: Side, qty: int, price: int
    ) -> None:
        """Take a limit order under the venue's own number.

        Raises:
            Denied: BROKER_REJECT_* as the exchange would refuse it.
        """
        if symbol not in self._references:
            raise Denied("BROKER_REJECT_SESSION", f"{symbol} does not trade on {self.day}")
        if symbol not in self._exchange.listings:
            raise Denied("BROKER_REJECT_OTHER", f"the rules of {symbol} on {self.day} are unknown")
        try:
            order = self._exchange.place(
                self._ms(at), symbol, side, qty, price, OrderType.LIMIT, broker_order_id
            )
        except Denied as unknown:
            raise Denied("BROKER_REJECT_OTHER", unknown.message) from unknown
        self._exchange.take_events()
        if order.code:
            code, _, why = order.code.partition(": ")
            raise Denied(code, f"{symbol}: {why}")
        self._numbers[broker_order_id] = order.number
        self._ids[order.number] = broker_order_id

    def cancel(self, broker_order_id: str, at: datetime) -> str:
        """Return the journal's word for what becomes of a cancel: done, or on its way.

        Raises:
            Denied: BROKER_REJECT_SESSION where the exchange takes no cancels now.
        """
        number, at_ms = self._numbers[broker_order_id], self._ms(at)
        self._latency.aim(self._exchange.live[number], at_ms)
        try:
            answer = self._exchange.cancel(at_ms, number)
        except Denied as unknown:
            raise Denied("BROKER_REJECT_SESSION", unknown.message) from unknown
        self._exchange.take_events()
        if answer is EventKind.CANCELED:
            return register.CANCELED
        if answer is EventKind.CANCEL_TAKEN:
            return register.CANCEL_TAKEN
        raise Denied("BROKER_REJECT_SESSION", f"no cancels are taken at {at:%H:%M:%S} UTC")

    def close(self, market: MarketData, now: datetime) -> list[Fact]:
        """Serve the day's orders by its finished bars, end what is left; return what happened."""
        exchange, faults = self._exchange, dict[str, str]()
        bars: dict[str, Bar] = {}
        for symbol in dict.fromkeys(order.symbol for order in exchange.live.values()):
            bar = market.bar(symbol, self.day, now)
            if bar is None or bar.suspended:
                continue
            bars[symbol] = _bar(bar)
            try:
                exchange.on_bar(symbol, bars[symbol])
            except ConfigInvalid as fault:
                # A row that contradicts the day's limits serves nobody; its orders expire.
                faults[symbol] = f"{fault.code}: {fault.message}"
        exchange.close_day()
        facts: list[Fact] = []
        for event in exchange.take_events():
            body: dict[str, Any] = {"broker_order_id": self._ids[event.order]}
            at_ms = CLOSE_MS
            if event.kind is EventKind.TRADED:
                listing, day_bar = exchange.listing(event.symbol), bars[event.symbol]
                if was_at_open(listing, day_bar, event.price, event.side):
                    at_ms = OPENING_PRINT_MS
                body |= {
                    "qty": event.qty,
                    "price": yuan(event.price),
                    "fees": [yuan(fee) for fee in event.fees],
                }
                facts.append((register.TRADE, self._at(at_ms), body))
            elif event.kind is EventKind.CANCELED:
                facts.append((register.CANCELED, self._at(event.at_ms), body))
            elif event.kind is EventKind.EXPIRED:
                if event.symbol in faults:
                    body["reason"] = faults[event.symbol]
                facts.append((register.EXPIRED, self._at(at_ms), body))
        return sorted(facts, key=lambda fact: fact[1])

    def _ms(self, at: datetime) -> int:
        """Return the moment of the day; a clock that stepped back a little stands still."""
        return max((at - self._midnight) // _MILLISECOND, self._exchange.now_ms)

    def _at(self, at_ms: int) -> datetime:
        return self._midnight + at_ms * _MILLISECOND


def _fees_of(
    day: date, references: Mapping[str, Reference], schedule: FeeSchedule
) -> dict[_Place, FeeTerms]:
    """Return the fees of every kind of security whose rates are known on `day`."""
    found: dict[_Place, FeeTerms] = {}
    for place in sorted({_place(one) for one in references.values()}):
        try:
            found[place] = fee_terms(schedule, day, *place)
        except Denied:
            continue
    return found


def _place(reference: Reference) -> _Place:
    return Exchange(reference.symbol[-2:]), instrument_of(reference.symbol)


def _is_covered(reference: Reference, charged: Mapping[_Place, FeeTerms]) -> bool:
    return reference.limits_known and reference.pre_close > 0 and _place(reference) in charged


def _security(reference: Reference, fees: FeeTerms) -> SecurityTerms:
    return SecurityTerms(
        symbol=reference.symbol,
        exchange=Exchange(reference.symbol[-2:]),
        board=reference.board,
        tick=reference.tick_size,
        lot=reference.lot_size,
        min_buy=reference.min_buy_qty,
        step=reference.qty_step,
        max_limit_qty=reference.max_limit_qty,
        max_market_qty=reference.max_market_qty or 0,
        t_plus_one=reference.t_plus_one,
        fees=fees,
    )


def _quote(reference: Reference) -> DayQuote:
    return DayQuote(
        reference.symbol,
        reference.pre_close,
        reference.limit_up,
        reference.limit_down,
        reference.trading_status not in OPEN_STATES,
    )


def _bar(bar: DailyBar) -> Bar:
    return Bar(BAR_START_MS, CLOSE_MS, bar.open, bar.high, bar.low, bar.close, bar.volume)
