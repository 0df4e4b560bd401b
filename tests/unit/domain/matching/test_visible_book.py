"""Quote snapshots: what orders trade against, which queue they join, what the cage stands on."""

from __future__ import annotations

import json
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fee_terms import NO_FEES
from caopan.domain.accounting.journal import Book as Journal
from caopan.domain.accounting.movements import transaction
from caopan.domain.accounting.trading_account import TradingAccount, prove
from caopan.domain.market.order_types import ExchangeOrderType as Kind
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.choice import policy_named
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.models import FixedLatency
from caopan.domain.matching.snapshot import export, rebuild
from caopan.domain.matching.sweep import Resting, sweep
from caopan.domain.matching.terms import Bar, DayQuote, EventKind, SecurityTerms, Status
from caopan.domain.orders.order import Side
from caopan.kernel.errors import ConfigInvalid

TICK, DAY = 100, date(2024, 1, 2)
NAME = "000001.SZ"
TERMS = SecurityTerms(NAME, Exchange.SZ, Board.MAIN, TICK, 100, 100, 100, 10**6, 10**6)
FEES = dict.fromkeys(Exchange, NO_FEES)
RULES = DayRules(load_rules().market)
BUY, SELL = Side.BUY, Side.SELL
BIDS = [(999, 300), (998, 500), (997, 100), (995, 100), (994, 700)]
ASKS = [(1001, 200), (1002, 400), (1003, 100), (1004, 100), (1005, 100)]


def ms(hour: int, minute: int = 0, second: int = 0) -> int:
    return ((hour * 60 + minute) * 60 + second) * 1000


def terms(**changes) -> ExchangeTerms:
    return ExchangeTerms(policy_named("book"), Fraction(1, 10), **{"rules": RULES, **changes})


def floor(policy="book", **changes):
    """An open exchange at 1000 ticks; the account holds 10,000 shares it may sell."""
    made = terms(**changes)
    if policy != "book":
        made = ExchangeTerms(policy_named(policy), Fraction(1, 10), rules=RULES)
    account = TradingAccount(10**12, DAY - timedelta(days=1))
    exchange = SandboxExchange(made, [TERMS], account, FEES)
    for day in (DAY - timedelta(days=1), DAY):
        exchange.open_day(day, [DayQuote(NAME, 1000 * TICK, 1100 * TICK, 900 * TICK)])
        if day < DAY:
            exchange.place(ms(9, 15), NAME, BUY, 10_000, 1000 * TICK)
            exchange.on_bar(
                NAME,
                Bar(ms(9, 25), ms(15), 1000 * TICK, 1000 * TICK, 1000 * TICK, 1000 * TICK, 10**6),
            )
            exchange.close_day()
    exchange.take_events()
    return exchange


def show(exchange, at, bids=BIDS, asks=ASKS):
    sides = ([(price * TICK, qty) for price, qty in side] for side in (bids, asks))
    exchange.on_book(NAME, at, *sides)


def place(exchange, at, side=BUY, qty=1000, ticks=0, kind=Kind.LIMIT):
    return exchange.place(at, NAME, side, qty, ticks * TICK, kind)


def trades(exchange, order=None):
    """(shares, ticks) of every trade, or of those of one order."""
    return [
        (event.qty, event.price // TICK)
        for event in exchange.events
        if event.kind is EventKind.TRADED and (order is None or event.order == order.number)
    ]


def test_an_order_trades_at_once_with_what_is_seen_and_what_it_took_is_gone():
    exchange = floor()
    show(exchange, ms(10))
    first = place(exchange, ms(10, 0, 1), qty=500, ticks=1002)
    assert trades(exchange, first) == [(200, 1001), (300, 1002)]
    second = place(exchange, ms(10, 0, 2), qty=500, ticks=1002)
    assert trades(exchange, second) == [(100, 1002)]
    assert (second.status, second.open, second.queue_ahead) == (Status.LIVE, 400, 0)
    sold = place(exchange, ms(10, 0, 2), SELL, 400, ticks=998)
    assert trades(exchange, sold) == [(300, 999), (100, 998)]


@pytest.mark.parametrize(
    ("kind", "qty", "done", "status"),
    [
        (Kind.MARKET_BEST5_CANCEL, 1000, 900, Status.CANCELED),
        (Kind.MARKET_IOC, 1000, 900, Status.CANCELED),
        (Kind.MARKET_FOK, 900, 900, Status.FILLED),
        (Kind.MARKET_FOK, 1000, 0, Status.CANCELED),
        (Kind.MARKET_PEER_BEST, 500, 200, Status.LIVE),
        (Kind.MARKET_OWN_BEST, 500, 0, Status.LIVE),
    ],
)
def test_every_type_ends_as_the_sweep_says(kind, qty, done, status):
    exchange = floor()
    show(exchange, ms(10))
    order = place(exchange, ms(10), qty=qty, kind=kind)
    assert (order.filled, order.status) == (done, status)
    if status is Status.LIVE:
        own = kind is Kind.MARKET_OWN_BEST
        assert (order.price // TICK, order.queue_ahead) == ((999, 300) if own else (1001, 0))


@pytest.mark.parametrize(("ticks", "ahead"), [(999, 300), (1000, 0), (996, 0), (990, 700)])
def test_what_stays_joins_the_queue_that_is_seen(ticks, ahead):
    exchange = floor()
    show(exchange, ms(10))
    order = place(exchange, ms(10), ticks=ticks)
    assert order.queue_ahead == ahead
    # Who stood before it may leave; who comes later stands behind.
    show(exchange, ms(10, 0, 3), bids=[(999, 100), (990, 9_000)])
    assert order.queue_ahead == {999: 100, 990: 700}.get(ticks, 0)


def test_an_order_that_the_market_comes_to_trades_at_its_own_price():
    exchange = floor()
    show(exchange, ms(10))
    order = place(exchange, ms(10), ticks=1000)
    show(exchange, ms(10, 0, 3), bids=[(997, 100)], asks=[(998, 300), (1000, 200), (1001, 100)])
    assert trades(exchange, order) == [(300, 1000), (200, 1000)]


def test_an_order_on_its_way_meets_the_next_snapshot_and_a_bar_does_not_invent_levels():
    exchange = floor(latency=FixedLatency(2_000, 0))
    show(exchange, ms(10, 0, 1))
    order = place(exchange, ms(10, 0, 1), qty=300, ticks=1002)
    assert trades(exchange) == []
    show(exchange, ms(10, 0, 2))
    assert trades(exchange) == []
    show(exchange, ms(10, 1, 30))
    assert trades(exchange, order) == [(200, 1001), (100, 1002)]
    # Snapshots have ended: later bars stand in for them.
    late = place(exchange, ms(10, 2), qty=300, ticks=1010)
    exchange.on_bar(
        NAME, Bar(ms(10, 3), ms(10, 4), 1000 * TICK, 1009 * TICK, 1000 * TICK, 1000 * TICK, 10**5)
    )
    assert trades(exchange, late) == [(300, 1001)]


def test_outside_continuous_trading_no_book_is_traded_against():
    exchange = floor()
    show(exchange, ms(9, 20))
    assert exchange.listing(NAME).book is None
    show(exchange, ms(14, 56, 59))
    order = place(exchange, ms(14, 57), ticks=1005)
    assert (trades(exchange), order.status) == ([], Status.LIVE)


@pytest.mark.parametrize("policy", ["bar_close", "next_bar_open", "auction_then_touch"])
def test_policies_without_a_book_take_it_for_the_cage_alone(policy):
    exchange = floor(policy)
    show(exchange, ms(10), asks=[(1050, 100)])
    # 102 % of the best ask 1050 is 1071; of the previous close it would be 1020.
    assert place(exchange, ms(10), ticks=1071).status is Status.LIVE
    assert "beyond the price cage 10.71" in place(exchange, ms(10), ticks=1072).code
    # Without asks the base is the best bid: 999.
    show(exchange, ms(10, 0, 3), asks=[])
    assert "beyond the price cage 10.19" in place(exchange, ms(10, 0, 3), ticks=1020).code
    assert trades(exchange) == []


@pytest.mark.parametrize(
    ("bids", "asks", "named"),
    [
        ([(999, 100), (999, 100)], [], "bids level 2"),
        ([], [(1001, 100), (1000, 100)], "asks level 2"),
        ([(1001, 100)], [(1001, 100)], "crosses"),
        ([(899, 100)], [], "outside the limits"),
        ([(999, -1)], [], "is negative"),
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(bids, asks, named):
    with pytest.raises(ConfigInvalid, match=named) as refused:
        show(floor(), ms(10), bids, asks)
    assert refused.value.code == "BARS_INVALID"


def test_levels_that_a_feed_pads_with_zeros_are_none():
    exchange = floor()
    show(exchange, ms(10), [(0, 0), (0, 0)], [(1001, 100), (0, 0)])
    order = place(exchange, ms(10), SELL, 500, kind=Kind.MARKET_BEST5_CANCEL)
    assert (trades(exchange), order.status) == ([], Status.CANCELED)


sides = st.lists(st.integers(1, 500), max_size=7)


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from([one for one in Kind if one is not Kind.AFTER_HOURS_FIXED]),
    side=st.sampled_from(Side),
    qty=st.integers(1, 20).map(lambda lots: lots * 100),
    ticks=st.integers(990, 1010),
    asks=sides,
    bids=sides,
)
def test_the_engine_and_a_rules_case_agree_on_a_given_book(kind, side, qty, ticks, asks, bids):
    """What `sweep` answers to a case with a book is what an order meets on the floor."""
    exchange = floor(rules=None)
    levels = (
        [(999 - i, n) for i, n in enumerate(bids)],
        [(1001 + i, n) for i, n in enumerate(asks)],
    )
    show(exchange, ms(10), *levels)
    price = ticks if kind is Kind.LIMIT else 0
    order = place(exchange, ms(10), side, qty, price, kind)
    buying = side is BUY
    own, opposite = levels if buying else reversed(levels)
    book = [Resting("", at * TICK, n) for at, n in opposite]
    best = own[0][0] * TICK if own else None
    swept = sweep(kind, price * TICK or None, qty, book, best, buying=buying)
    assert trades(exchange) == [(trade.qty, trade.price // TICK) for trade in swept.trades]
    stays = order.price if order.status is Status.LIVE else None
    assert (order.open, stays) == (swept.left, swept.price)
    # The state goes through text, the journal balances, the day ends with nothing held back.
    records = json.loads(json.dumps(export(exchange)))
    journal = Journal()
    for number, row in enumerate(exchange.account.take_movements()):
        journal.post(transaction(number, row))
    prove(exchange.account, journal)
    assert export(rebuild(exchange.terms, [TERMS], FEES, records)) == export(exchange)
    exchange.close_day()
    assert exchange.account.cash_frozen == 0
