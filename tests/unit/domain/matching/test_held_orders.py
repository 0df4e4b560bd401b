"""ChiNext 2020-08-24 to 2023-04-09: an order beyond the cage waits until the market comes near."""

from __future__ import annotations

import json
from datetime import date, timedelta
from fractions import Fraction

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fee_terms import NO_FEES
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.choice import POLICIES, policy_named
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.models import FixedLatency
from caopan.domain.matching.snapshot import export, rebuild
from caopan.domain.matching.terms import Bar, DayQuote, EventKind, SecurityTerms, Status
from caopan.domain.orders.order import Side

TICK, NAME = 100, "300001.SZ"
TERMS = SecurityTerms(NAME, Exchange.SZ, Board.CHINEXT, TICK, 100, 100, 100, 300_000, 150_000)
FEES = dict.fromkeys(Exchange, NO_FEES)
RULES = DayRules(load_rules().market)
HELD_DAY = date(2022, 6, 1)
BUY = Side.BUY


def ms(hour: int, minute: int = 0, second: int = 0) -> int:
    return ((hour * 60 + minute) * 60 + second) * 1000


def floor(policy="next_bar_open", day=HELD_DAY, **changes):
    """A day at 1000 ticks, limits 800 to 1200, whose first bar closed at 1000."""
    terms = ExchangeTerms(policy_named(policy), Fraction(1, 10), rules=RULES, **changes)
    account = TradingAccount(10**12, day - timedelta(days=1))
    exchange = SandboxExchange(terms, [TERMS], account, FEES)
    exchange.open_day(day, [DayQuote(NAME, 1000 * TICK, 1200 * TICK, 800 * TICK)])
    flat(exchange, ms(9, 25), ms(9, 35))
    return exchange


def flat(exchange, start, end, ticks=1000):
    price = ticks * TICK
    exchange.on_bar(NAME, Bar(start, end, price, price, price, price, 10**6))


def place(exchange, at, ticks=1050, qty=1000):
    return exchange.place(at, NAME, BUY, qty, ticks * TICK)


def trades(exchange):
    return [
        (e.at_ms, e.qty, e.price // TICK) for e in exchange.events if e.kind is EventKind.TRADED
    ]


@pytest.mark.parametrize(
    ("day", "held"),
    [(date(2020, 8, 24), True), (date(2023, 4, 7), True), (date(2023, 4, 10), False)],
)
def test_held_by_date_and_refused_since(day, held):
    exchange = floor(day=day)
    order = place(exchange, ms(9, 40))
    assert (order.status is Status.LIVE) is held
    assert held == (exchange.events[-1].code == "held")
    assert held or "beyond the price cage" in order.code


def test_it_takes_part_once_the_last_price_lets_it_and_not_before():
    exchange = floor()
    order = place(exchange, ms(9, 40))
    flat(exchange, ms(9, 45), ms(9, 50), 1020)
    # 102 % of 1028 is 1048.56, by the tick 1049; of 1029 it is 1049.58, by the tick 1050.
    flat(exchange, ms(9, 50), ms(9, 55), 1028)
    flat(exchange, ms(9, 55), ms(10), 1029)
    assert trades(exchange) == []
    flat(exchange, ms(10), ms(10, 5), 1031)
    assert trades(exchange) == [(ms(10, 5), 1000, 1031)]
    assert order.status is Status.FILLED


def test_the_midday_break_lets_nothing_through():
    exchange = floor()
    order = place(exchange, ms(11, 20))
    flat(exchange, ms(11, 25), ms(11, 30))
    flat(exchange, ms(13), ms(13, 1))
    assert (trades(exchange), order.status) == ([], Status.LIVE)


@pytest.mark.parametrize("policy", ["book", "bar_close"])
@pytest.mark.parametrize("start", [ms(14, 45), ms(14, 57)])
def test_the_closing_auction_has_no_cage(policy, start):
    exchange = floor(policy)
    place(exchange, ms(14, 40))
    flat(exchange, start, ms(15))
    assert trades(exchange) == [(ms(15), 1000, 1000)]


def test_the_auction_that_ends_a_halt_has_no_cage():
    exchange = floor()
    exchange.close_day()
    exchange.open_day(HELD_DAY + timedelta(days=1), [DayQuote(NAME, 1000 * TICK, None, None)])
    flat(exchange, ms(9, 25), ms(9, 35))
    order = place(exchange, ms(9, 36), ticks=1350)
    assert exchange.events[-1].code == "held"
    # 30 % above the opening price: a halt of ten minutes, until 9:50.
    flat(exchange, ms(9, 39), ms(9, 40), 1300)
    flat(exchange, ms(9, 50), ms(9, 51), 1310)
    assert trades(exchange) == [(ms(9, 51), 1000, 1310)]
    assert order.status is Status.FILLED


@pytest.mark.parametrize("policy", [one.name for one in POLICIES])
def test_no_policy_serves_a_held_order(policy):
    exchange = floor(policy)
    order = place(exchange, ms(9, 40), qty=2000)
    for minute in range(40, 55):
        flat(exchange, ms(9, minute), ms(9, minute + 1))
    assert (trades(exchange), order.queue_ahead) == ([], -1)
    assert exchange.account.cash_frozen == 2000 * 1050 * TICK
    assert exchange.cancel(ms(10), order.number) is EventKind.CANCELED
    assert exchange.account.cash_frozen == 0
    other = place(exchange, ms(10))
    exchange.close_day()
    assert other.status is Status.EXPIRED


def test_a_snapshot_brings_it_in_and_it_trades_at_once():
    exchange = floor("book")
    order = place(exchange, ms(9, 40), ticks=1025)
    exchange.on_book(NAME, ms(9, 41), [(1000 * TICK, 100)], [(1004 * TICK, 400)])
    assert trades(exchange) == []
    exchange.on_book(NAME, ms(9, 42), [(1000 * TICK, 100)], [(1005 * TICK, 400)])
    assert (trades(exchange), order.open) == ([(ms(9, 42), 400, 1005)], 600)


def test_a_restart_and_a_long_way_change_nothing():
    logs = []
    for cut in (False, True):
        exchange = floor(latency=FixedLatency(1_500_000, 0))
        place(exchange, ms(9, 40))
        if cut:
            log = exchange.take_events()
            records = json.loads(json.dumps(export(exchange)))
            exchange = rebuild(exchange.terms, [TERMS], FEES, records)
            exchange.events = log
        flat(exchange, ms(9, 45), ms(9, 50), 1040)
        # It comes inside at 9:50 and reaches the exchange at 10:05.
        flat(exchange, ms(9, 55), ms(10), 1040)
        assert trades(exchange) == []
        flat(exchange, ms(10, 5), ms(10, 10), 1040)
        assert trades(exchange) == [(ms(10, 10), 1000, 1040)]
        logs.append([event.line() for event in exchange.events])
    assert logs[0] == logs[1]
