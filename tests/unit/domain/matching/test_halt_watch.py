"""Temporary halts raised from bars and prints of securities without a price limit."""

from __future__ import annotations

import json
from datetime import date, timedelta
from fractions import Fraction

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fee_terms import NO_FEES
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.order_types import ExchangeOrderType as OrderType
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.choice import POLICIES, policy_named
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.snapshot import export, rebuild
from caopan.domain.matching.terms import Bar, DayQuote, EventKind, SecurityTerms, Status
from caopan.domain.orders.order import Side
from caopan.kernel.errors import Denied

NEW, FUND = "301001.SZ", "159001.SZ"
TICK = 100
DAY = date(2024, 1, 2)
RULES = load_rules().market
FEES = dict.fromkeys(Exchange, NO_FEES)
MINUTE = 60_000
SECURITIES = [
    SecurityTerms(symbol, Exchange.SZ, board, TICK, 100, 100, 100, 300_000, 150_000)
    for symbol, board in ((NEW, Board.CHINEXT), (FUND, Board.CONVERTIBLE))
]


def ms(hour, minute=0, second=0):
    return ((hour * 60 + minute) * 60 + second) * 1000


def exchange_terms(policy="book", rules=RULES):
    share = Fraction(1, 10)
    return ExchangeTerms(policy_named(policy), share, rules=rules and DayRules(rules))


def opened(policy="book", limits=(None, None), rules=RULES):
    """A new listing that opens at 1000 ticks, on its first minute."""
    account = TradingAccount(10**12, DAY - timedelta(days=1))
    exchange = SandboxExchange(exchange_terms(policy, rules), SECURITIES, account, FEES)
    exchange.open_day(DAY, [DayQuote(one.symbol, 1000 * TICK, *limits) for one in SECURITIES])
    bring(exchange, ms(9, 25), 1000, end=ms(9, 31))
    return exchange


def bring(exchange, start, *ticks, end=None, volume=100_000):
    """A bar of a minute through these prices, first to last."""
    prices = [one * TICK for one in ticks]
    shape = (prices[0], max(prices), min(prices), prices[-1])
    exchange.on_bar(NEW, Bar(start, start + MINUTE if end is None else end, *shape, volume))


def buy(exchange, at, ticks=0, kind=OrderType.LIMIT, symbol=NEW, qty=1000):
    return exchange.place(at, symbol, Side.BUY, qty, ticks * TICK, kind)


def until(exchange):
    watch = exchange.listing(NEW).halts
    return 0 if watch is None else watch.until_ms


def trades(exchange):
    return [
        (event.order, event.qty, event.price // TICK)
        for event in exchange.events
        if event.kind is EventKind.TRADED
    ]


@pytest.mark.parametrize(
    ("reached", "halts"),
    [(1299, False), (1300, True), (701, False), (700, True), (1600, True), (400, True)],
)
def test_thirty_per_cent_from_the_open_halt_for_ten_minutes(reached, halts):
    exchange = opened()
    bring(exchange, ms(9, 40), 1000, reached)
    assert until(exchange) == (ms(9, 51) if halts else 0)


def test_a_print_halts_from_its_own_moment():
    exchange = opened()
    exchange.on_print(NEW, ms(9, 40, 7), 1300 * TICK, 1000)
    assert until(exchange) == ms(9, 50, 7)


def test_each_direction_and_tier_halts_once():
    exchange = opened()
    found = []
    path = (1300, 1350, 1299, 1301, 1600, 1700, 1000, 700, 690, 701, 400, 300, 1600)
    for number, ticks in enumerate(path):
        before = until(exchange)
        at = ms(9, 40) + number * 11 * MINUTE
        exchange.on_print(NEW, at if at < ms(11, 30) else at + 90 * MINUTE, ticks * TICK, 100)
        if until(exchange) != before:
            found.append(ticks)
    assert found == [1300, 1600, 700, 400]


def test_a_print_that_leaps_over_both_tiers_uses_both():
    exchange = opened()
    exchange.on_print(NEW, ms(9, 40), 1700 * TICK, 100)
    exchange.on_print(NEW, ms(9, 50), 1300 * TICK, 100)
    exchange.on_print(NEW, ms(10), 1700 * TICK, 100)
    assert until(exchange) == ms(9, 50)


@pytest.mark.parametrize(
    ("start", "ends"),
    [
        (ms(11, 24), ms(13, 5)),
        (ms(11, 29), ms(13, 10)),
        (ms(14, 46), ms(14, 57)),
        (ms(14, 50), ms(14, 57)),
        (ms(14, 59), 0),
    ],
)
def test_the_break_does_not_count_and_1457_ends_every_halt(start, ends):
    exchange = opened()
    bring(exchange, start, 1000, 1300)
    assert until(exchange) == ends


def test_orders_come_and_go_during_a_halt_but_market_orders_do_not():
    exchange = opened()
    bring(exchange, ms(9, 40), 1000, 1300)
    # 1430 is 110 % of the last price, beyond the cage that rests meanwhile.
    order = buy(exchange, ms(9, 42), 1430)
    assert order.status is Status.LIVE
    far = buy(exchange, ms(9, 42), 1431)
    assert far.code.startswith("BROKER_REJECT_PRICE_LIMIT: price 14.31 is too far from the last")
    market = buy(exchange, ms(9, 42), kind=OrderType.MARKET_BEST5_CANCEL)
    assert market.code == "BROKER_REJECT_SESSION: temporary halt"
    assert exchange.cancel(ms(9, 43), order.number) is EventKind.CANCELED
    caged = buy(exchange, ms(9, 51), 1430)
    assert "price cage" in caged.code


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_nobody_trades_during_a_halt_and_all_who_reach_it_at_its_end(policy):
    exchange = opened(policy.name)
    bring(exchange, ms(9, 40), 1000, 1300)
    order = buy(exchange, ms(9, 41), 1400)
    for minute in range(41, 51):
        bring(exchange, ms(9, minute), 1300)
    assert trades(exchange) == []
    assert order.status is Status.LIVE
    bring(exchange, ms(9, 51), 1310, 1330, 1310)
    assert trades(exchange) == [(1, 1000, 1310)]


def test_the_book_ends_a_halt_by_auction_and_then_has_its_spread_again():
    exchange = opened()
    bring(exchange, ms(9, 40), 1000, 1300)
    buy(exchange, ms(9, 45), 1320)
    bring(exchange, ms(9, 51), 1310, 1320, 1310)
    buy(exchange, ms(9, 52), 1320)
    bring(exchange, ms(9, 52), 1310, 1320, 1310)
    assert trades(exchange) == [(1, 1000, 1310), (2, 1000, 1311)]


@pytest.mark.parametrize(
    ("limits", "rules"), [((2000 * TICK, 100 * TICK), RULES), ((None, None), None)]
)
def test_no_halt_with_a_limit_or_where_rules_are_not_asked(limits, rules):
    exchange = opened(limits=limits, rules=rules)
    bring(exchange, ms(9, 40), 1000, 1300)
    assert exchange.listing(NEW).halts is None


def test_a_security_whose_halts_are_unknown_is_refused_by_name():
    with pytest.raises(Denied, match=r"temporary halts of convertible on SZ"):
        buy(opened(), ms(10), 1000, symbol=FUND)


def test_a_restart_during_a_halt_changes_nothing():
    logs = []
    for restarts in (False, True):
        exchange = opened()
        bring(exchange, ms(9, 40), 1000, 1300)
        buy(exchange, ms(9, 42), 1320)
        if restarts:
            records = json.loads(json.dumps(export(exchange)))
            exchange = rebuild(exchange_terms(), SECURITIES, FEES, records)
        exchange.take_events()
        bring(exchange, ms(9, 45), 1300)
        bring(exchange, ms(9, 51), 1310, 1600, 1310)
        assert until(exchange) == ms(10, 2)
        bring(exchange, ms(10, 2), 1300, 1600)
        logs.append((until(exchange), [event.line() for event in exchange.take_events()]))
    assert logs[0] == logs[1]
    assert logs[0][0] == ms(10, 2)
