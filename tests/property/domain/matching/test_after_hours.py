"""Trading at the close under random evenings, beside a naive reading of what must come out."""

from __future__ import annotations

import json
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fee_terms import FeeTerms
from caopan.domain.accounting.journal import Book
from caopan.domain.accounting.movements import transaction
from caopan.domain.accounting.trading_account import TradingAccount, prove
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.choice import policy_named
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.models import SeededLatency
from caopan.domain.matching.snapshot import export, rebuild
from caopan.domain.matching.terms import (
    AFTER_HOURS_END_MS,
    AFTER_HOURS_MS,
    Bar,
    DayQuote,
    EventKind,
    LiveOrder,
    SecurityTerms,
    Status,
)
from caopan.domain.orders.order import Side

TICK, CLOSE = 100, 1003
DAY = date(2024, 1, 3)
NAMES = ("688001.SH", "688002.SH")
STARS = [
    SecurityTerms(name, Exchange.SH, Board.STAR, TICK, 100, 200, 1, 100_000, 50_000)
    for name in NAMES
]
FEES = dict.fromkeys(
    Exchange, FeeTerms(Fraction(1, 4000), 50_000, Fraction(1, 2000), Fraction(1, 100_000))
)
RULES = load_rules().market
QUOTES = [DayQuote(name, 1000 * TICK, 1200 * TICK, 800 * TICK) for name in NAMES]
AT_CLOSE = ExchangeOrderType.AFTER_HOURS_FIXED
NOON, OPENS, HALF_PAST = 46_800_000, AFTER_HOURS_MS, AFTER_HOURS_END_MS - 1
MOMENTS = st.one_of(st.integers(NOON, OPENS), st.integers(OPENS, HALF_PAST))

placed = st.tuples(
    MOMENTS,
    st.sampled_from(NAMES),
    st.sampled_from(Side),
    st.integers(200, 3_000),
    st.integers(CLOSE - 3, CLOSE + 3),
    st.one_of(st.none(), st.integers(0, 600_000)),
)
"""Moment, symbol, side, quantity, ticks, and after how long it is cancelled."""
tape = st.tuples(
    st.integers(OPENS, AFTER_HOURS_END_MS), st.sampled_from(NAMES), st.integers(0, 9_000)
)
"""Moment, symbol and volume of a print after hours."""


class Evening:
    """A day whose requests and prints are brought in the order of time."""

    def __init__(self, share: Fraction, latency: SeededLatency, orders, prints) -> None:
        self.terms = ExchangeTerms(
            policy_named("book"),
            Fraction(1, 4),
            latency=latency,
            after_hours_share=share,
            rules=DayRules(RULES),
        )
        account = TradingAccount(10**10, DAY - timedelta(days=1))
        self.exchange = SandboxExchange(self.terms, STARS, account, FEES)
        self.orders: dict[int, LiveOrder] = {}
        self.log, self.book, self.booked = [], Book(), 0
        plan: list[tuple[Any, ...]] = [(54_000_000, 0, name, 8_000) for name in NAMES]
        plan += [(at, 1, name, volume) for at, name, volume in prints]
        for key, (at, name, side, qty, ticks, wait) in enumerate(orders):
            plan.append((at, 2, key, (name, side, qty, ticks * TICK)))
            if wait is not None and at + wait < AFTER_HOURS_END_MS:
                plan.append((at + wait, 3, key, None))
        self.plan = sorted(plan, key=lambda step: step[:2])
        self._hold_some()

    def _hold_some(self) -> None:
        self.exchange.open_day(DAY - timedelta(days=1), QUOTES)
        for name in NAMES:
            self.exchange.place(33_360_000, name, Side.BUY, 10_000, 1000 * TICK)
        for name in NAMES:
            self.exchange.on_bar(
                name,
                Bar(
                    33_900_000,
                    54_000_000,
                    1000 * TICK,
                    1000 * TICK,
                    1000 * TICK,
                    1000 * TICK,
                    10**7,
                ),
            )
        self.exchange.close_day()
        self.exchange.open_day(DAY, QUOTES)
        self.exchange.take_events()

    def run(self, restart_at: int = -1):
        for number, (at, kind, what, more) in enumerate(self.plan):
            if number == restart_at:
                self._restart()
            if kind == 0:
                low, high = 1000 * TICK, CLOSE * TICK
                self.exchange.on_bar(what, Bar(33_900_000, at, low, high, low, high, more))
            elif kind == 1:
                self.exchange.on_print(what, at, CLOSE * TICK, more)
            elif kind == 2:
                name, side, qty, price = more
                self.orders[what] = self.exchange.place(at, name, side, qty, price, AT_CLOSE)
            else:
                self.exchange.cancel(at, self.orders[what].number)
        self.exchange.close_day()
        self._write()
        assert self.exchange.account.cash_frozen == 0
        return self

    def _restart(self) -> None:
        self._write()
        text = json.dumps(export(self.exchange))
        self.exchange = rebuild(self.terms, STARS, FEES, json.loads(text))
        assert json.dumps(export(self.exchange)) == text
        live = self.exchange.live
        self.orders = {key: live.get(one.number, one) for key, one in self.orders.items()}

    def _write(self) -> None:
        self.log.extend(self.exchange.take_events())
        for row in self.exchange.account.take_movements():
            self.booked += 1
            self.book.post(transaction(self.booked, row))
        prove(self.exchange.account, self.book)

    def traded(self):
        return [one for one in self.log if one.kind is EventKind.TRADED]


evenings = given(
    share=st.sampled_from([Fraction(0), Fraction(1, 2)]),
    latency=st.builds(SeededLatency, st.integers(0, 9), st.just(0), st.sampled_from([0, 900_000])),
    orders=st.lists(placed, min_size=1, max_size=12),
    prints=st.lists(tape, max_size=12),
    data=st.data(),
)


@settings(deadline=None, max_examples=150)
@evenings
def test_at_the_close_in_time_within_the_cap_and_the_same_after_a_restart(
    share, latency, orders, prints, data
):
    evening = Evening(share, latency, orders, prints).run()
    active = {one.number: one.active_ms for one in evening.orders.values()}
    limits = {one.number: one.price for one in evening.orders.values()}
    left: dict[str, Fraction] = dict.fromkeys(NAMES, 8_000 * share)
    for event in evening.traded():
        assert event.price == CLOSE * TICK
        assert max(AFTER_HOURS_MS, active[event.order]) <= event.at_ms <= AFTER_HOURS_END_MS
        buying = event.side is Side.BUY
        assert (
            (limits[event.order] >= event.price)
            if buying
            else (limits[event.order] <= CLOSE * TICK)
        )
        left[event.symbol] -= event.qty
        assert not share or left[event.symbol] >= 0
    if not share:
        at = {(event.at_ms, event.symbol) for event in evening.traded()}
        for moment, name in at:
            volumes = [v for m, n, v in prints if (m, n) == (moment, name)]
            done = [e.qty for e in evening.traded() if (e.at_ms, e.symbol) == (moment, name)]
            assert sum(done) <= sum(volume // 4 for volume in volumes)
    for one in evening.orders.values():
        if one.status is not Status.REJECTED:
            assert one.status in {Status.FILLED, Status.CANCELED, Status.EXPIRED}
    cut = Evening(share, latency, orders, prints)
    cut.run(data.draw(st.integers(0, len(cut.plan) - 1)))
    assert [one.line() for one in cut.log] == [one.line() for one in evening.log]
    assert cut.exchange.account.export() == evening.exchange.account.export()
    assert cut.book.balances == evening.book.balances


def naive(share: Fraction, orders, prints) -> list[tuple[int, int, int]]:
    """Return (moment, order, shares): each volume goes to who is there, the earlier first."""
    volumes = [(at, name, volume // 4) for at, name, volume in sorted(prints, key=lambda p: p[0])]
    if share:
        volumes = [(AFTER_HOURS_MS, name, int(8_000 * share)) for name in NAMES]
    wanted = {one.number: one.qty for one in orders}
    found: list[tuple[int, int, int]] = []
    for at, name, volume in volumes:
        left = volume
        for one in orders:
            # A request of a print's own moment is brought after the print.
            stood = share or (one.active_ms <= at and one.placed_ms < at)
            moment = max(one.active_ms, at)
            if one.symbol != name or not stood or moment > AFTER_HOURS_END_MS:
                continue
            qty = min(wanted[one.number], left)
            if qty < wanted[one.number]:
                qty -= qty % 100
            if qty:
                wanted[one.number] -= qty
                left -= qty
                found.append((moment, one.number, qty))
    return sorted(found)


@settings(deadline=None, max_examples=150)
@evenings
def test_a_naive_reading_of_the_tape_agrees(share, latency, orders, prints, data):
    """Without cancels: each volume goes to the orders there, the earlier arrival first."""
    del data
    evening = Evening(share, latency, [(*one[:5], None) for one in orders], prints).run()
    there = [
        one
        for one in sorted(evening.orders.values(), key=lambda one: (one.active_ms, one.number))
        if not one.code.startswith("BROKER")
        and (one.price >= CLOSE * TICK if one.is_buy else one.price <= CLOSE * TICK)
    ]
    found = [(event.at_ms, event.order, event.qty) for event in evening.traded()]
    assert sorted(found) == naive(share, there, prints)


def test_the_evenings_do_trade():
    """The properties are about something: fills, voids and expiries all happen."""
    orders = [
        (NOON, NAMES[0], Side.BUY, 900, CLOSE, None),
        (NOON, NAMES[0], Side.BUY, 900, CLOSE - 1, None),
    ]
    evening = Evening(Fraction(1, 16), SeededLatency(1, 0, 0), orders, []).run()
    assert [(one.qty, one.price) for one in evening.traded()] == [(500, CLOSE * TICK)]
    assert [one.status for one in evening.orders.values()] == [Status.EXPIRED, Status.CANCELED]
