"""Trading at the close after hours: who may, when, at what price, and what volume there is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fee_terms import NO_FEES
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.choice import policy_named
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.models import FixedLatency
from caopan.domain.matching.terms import Bar, DayQuote, EventKind, SecurityTerms, Status
from caopan.domain.orders.order import Side
from caopan.kernel.errors import ConfigInvalid

TICK = 100
BUY, SELL = Side.BUY, Side.SELL
AT_CLOSE = ExchangeOrderType.AFTER_HOURS_FIXED
STAR, CHINEXT, MAIN, ETF, BSE = (
    SecurityTerms("688001.SH", Exchange.SH, Board.STAR, TICK, 100, 200, 1, 100_000, 50_000),
    SecurityTerms("300001.SZ", Exchange.SZ, Board.CHINEXT, TICK, 100, 100, 100, 300_000, 150_000),
    SecurityTerms("600001.SH", Exchange.SH, Board.MAIN, TICK, 100, 100, 100, 10**6, 10**6),
    SecurityTerms("510300.SH", Exchange.SH, Board.ETF, 10, 100, 100, 100, 10**6, 10**6),
    SecurityTerms("920001.BJ", Exchange.BJ, Board.BSE, TICK, 100, 100, 1, 10**6, 10**6),
)
STAR = replace(STAR, max_after_hours_qty=1_000_000)
ALL = (STAR, CHINEXT, MAIN, ETF, BSE)
RULES = DayRules(load_rules().market)
DAY = date(2024, 1, 2)


def ms(hour: int, minute: int = 0, second: int = 0) -> int:
    return ((hour * 60 + minute) * 60 + second) * 1000


def whole_day(close: int = 1000, volume: int = 100_000) -> Bar:
    low, high = min(close, 1000) * TICK, max(close, 1000) * TICK
    return Bar(ms(9, 25), ms(15), 1000 * TICK, high, low, close * TICK, volume)


def at_close(start: int, end: int, volume: int, close: int = 1000) -> Bar:
    price = close * TICK
    return Bar(start, end, price, price, price, price, volume)


def floor(share: Fraction | int = 0, *, opens: date = DAY, held: int = 0, **changes):
    """An open exchange of 1000 ticks a share; `held` STAR shares were bought the day before."""
    terms = ExchangeTerms(
        policy_named("next_bar_open"),
        Fraction(1, 10),
        after_hours_share=Fraction(share),
        rules=RULES,
        **changes,
    )
    account = TradingAccount(10**12, opens - timedelta(days=1))
    exchange = SandboxExchange(terms, ALL, account, dict.fromkeys(Exchange, NO_FEES))
    if held:
        exchange.open_day(opens - timedelta(days=1), quotes())
        exchange.place(ms(9, 15), STAR.symbol, BUY, held, 1000 * TICK)
        exchange.on_bar(STAR.symbol, whole_day(volume=10**8))
        exchange.close_day()
    exchange.open_day(opens, quotes())
    exchange.take_events()
    return exchange


def quotes(**changes):
    return [
        DayQuote(one.symbol, 1000 * TICK, 1100 * TICK, 900 * TICK)._replace(**changes)
        for one in ALL
    ]


def place(exchange, at, side=BUY, qty=1000, ticks=1000, terms=STAR):
    return exchange.place(at, terms.symbol, side, qty, ticks * TICK, AT_CLOSE)


def trades(exchange):
    """(moment, order, shares, ticks) of every trade."""
    return [
        (event.at_ms, event.order, event.qty, event.price // TICK)
        for event in exchange.events
        if event.kind is EventKind.TRADED
    ]


@pytest.mark.parametrize(
    ("terms", "day", "taken"),
    [
        (STAR, date(2019, 7, 22), True),
        (CHINEXT, date(2020, 8, 21), False),
        (CHINEXT, date(2020, 8, 24), True),
        (MAIN, date(2026, 7, 3), False),
        (MAIN, date(2026, 7, 6), True),
        (ETF, date(2026, 7, 3), False),
        (ETF, date(2026, 7, 6), True),
        (BSE, date(2026, 7, 6), False),
    ],
)
def test_who_trades_at_the_close_and_since_when(terms, day, taken):
    order = place(floor(opens=day), ms(14), terms=terms)
    assert (order.status is Status.LIVE) is taken
    assert taken or order.code.startswith("BROKER_REJECT_SESSION")


@pytest.mark.parametrize(
    ("terms", "at", "taken"),
    [
        (STAR, ms(9, 20), False),
        (CHINEXT, ms(9, 20), True),
        (STAR, ms(9, 30), True),
        (STAR, ms(12), False),
        (STAR, ms(14, 58), True),
        (STAR, ms(15, 2), True),
        (STAR, ms(15, 29, 59), True),
        (STAR, ms(15, 30), False),
    ],
)
def test_when_orders_at_the_close_are_taken_in_and_given_back(terms, at, taken):
    order = place(floor(), at, terms=terms)
    assert (order.status is Status.LIVE) is taken
    exchange = floor()
    order = place(exchange, ms(9, 45), terms=terms)
    if at > ms(9, 45):
        said = exchange.cancel(at, order.number)
        assert said is (EventKind.CANCELED if taken else EventKind.CANCEL_REFUSED)
        assert exchange.account.cash_frozen == (0 if taken else 1000 * 1000 * TICK)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ticks": 0}, "BROKER_REJECT_OTHER: an order at the close needs a price"),
        ({"ticks": 1101}, "BROKER_REJECT_PRICE_LIMIT"),
        ({"qty": 1_000_001}, "BROKER_REJECT_OTHER: 1000001 shares are not between"),
        ({"qty": 300_100, "terms": CHINEXT}, "BROKER_REJECT_OTHER: 300100 shares are not between"),
        ({"qty": 199}, "BROKER_REJECT_OTHER: a buy is for 200"),
        ({"side": SELL}, "BROKER_REJECT_POSITION"),
    ],
)
def test_what_is_refused(wrong, code):
    assert place(floor(), ms(14), **wrong).code.startswith(code)
    assert place(floor(), ms(14), qty=1_000_000).status is Status.LIVE
    # Its price need not lie within the cage: it bids nothing before the close.
    assert place(floor(), ms(14), ticks=1100).status is Status.LIVE


def test_a_suspended_security_takes_none():
    exchange = floor()
    exchange.close_day()
    exchange.open_day(DAY + timedelta(days=1), quotes(suspended=True))
    assert place(exchange, ms(14)).code.endswith("suspended")


def test_a_price_beyond_the_close_is_void():
    exchange = floor(1)
    low, high = place(exchange, ms(14), ticks=1009), place(exchange, ms(14), ticks=1010)
    exchange.on_bar(STAR.symbol, whole_day(1010))
    late = place(exchange, ms(15, 10), ticks=1009)
    assert late.code.startswith("BROKER_REJECT_PRICE_LIMIT: a buy below the close: 10.09")
    assert (low.status, low.code) == (
        Status.CANCELED,
        "a buy below the close: 10.09, close 10.10",
    )
    assert trades(exchange) == [(ms(15, 5), high.number, 1000, 1010)]
    assert exchange.account.cash_frozen == 0


def test_prints_after_hours_serve_in_order_of_time_and_nothing_else_does():
    exchange = floor(held=1000)
    first, second = place(exchange, ms(15, 1)), place(exchange, ms(15, 2), SELL, 500)
    exchange.on_bar(STAR.symbol, whole_day(volume=10**7))
    third = place(exchange, ms(15, 10), qty=700)
    exchange.on_bar(STAR.symbol, at_close(ms(15, 9), ms(15, 10), 12_000))
    exchange.on_print(STAR.symbol, ms(15, 30), 1000 * TICK, 9_000)
    exchange.close_day()
    assert trades(exchange) == [
        (ms(15, 10), first.number, 1000, 1000),
        (ms(15, 10), second.number, 200, 1000),
        (ms(15, 30), second.number, 300, 1000),
        (ms(15, 30), third.number, 600, 1000),
    ]
    assert (third.status, third.open) == (Status.EXPIRED, 100)
    # What was bought is sellable tomorrow.
    assert exchange.account.sellable(STAR.symbol) == 500


def test_a_share_of_the_day_is_there_from_five_past_three_and_bars_add_nothing():
    exchange = floor(Fraction(1, 50))
    first = place(exchange, ms(14), qty=1500)
    exchange.on_bar(STAR.symbol, whole_day(volume=100_000))
    assert trades(exchange) == []
    second = place(exchange, ms(15, 20), qty=1000)
    exchange.on_bar(STAR.symbol, at_close(ms(15, 20), ms(15, 25), 10**6))
    exchange.close_day()
    assert trades(exchange) == [
        (ms(15, 5), first.number, 1500, 1000),
        (ms(15, 20), second.number, 500, 1000),
    ]
    assert second.status is Status.EXPIRED


def test_without_a_close_nothing_trades():
    exchange = floor(1)
    order = place(exchange, ms(14))
    exchange.on_bar(STAR.symbol, whole_day(volume=0))
    with pytest.raises(ConfigInvalid, match=r"field volume: 100 .* the day had none"):
        exchange.on_bar(STAR.symbol, at_close(ms(15, 6), ms(15, 7), 100))
    exchange.close_day()
    assert (trades(exchange), order.status) == ([], Status.EXPIRED)


@pytest.mark.parametrize("share", [0, 1])
def test_at_a_close_at_limit_up_nobody_sells(share):
    exchange = floor(share, held=1000)
    buy, sell = place(exchange, ms(14), ticks=1100), place(exchange, ms(14), SELL)
    exchange.on_bar(STAR.symbol, whole_day(1100))
    exchange.on_bar(STAR.symbol, at_close(ms(15, 5), ms(15, 30), 10**6, 1100))
    assert trades(exchange) == [(ms(15, 30) if not share else ms(15, 5), sell.number, 1000, 1100)]
    assert buy.status is Status.LIVE


def test_an_order_and_a_cancel_on_their_way():
    exchange = floor(1, latency=FixedLatency(1_000, 2_000))
    exchange.on_bar(STAR.symbol, whole_day(volume=2_500))
    gone, stays = place(exchange, ms(15, 4, 59)), place(exchange, ms(15, 6))
    assert exchange.cancel(ms(15, 6), stays.number) is EventKind.CANCEL_TAKEN
    late = place(exchange, ms(15, 7))
    assert exchange.cancel(ms(15, 7), late.number) is EventKind.CANCEL_TAKEN
    exchange.close_day()
    assert [row[:3] for row in trades(exchange)] == [
        (ms(15, 5), gone.number, 1000),
        (ms(15, 6, 1), stays.number, 1000),
        (ms(15, 7, 1), late.number, 500),
    ]
    assert late.status is Status.CANCELED
    assert exchange.events[-1].at_ms == ms(15, 7, 2)


@pytest.mark.parametrize(
    ("bar", "field"),
    [
        (at_close(ms(15, 5), ms(15, 6), 100, 1001), "low"),
        (
            Bar(ms(15, 5), ms(15, 6), 1000 * TICK, 1001 * TICK, 1000 * TICK, 1000 * TICK, 9),
            "high",
        ),
        (at_close(ms(15, 29), ms(15, 31), 100), "end_ms"),
    ],
)
def test_a_bar_of_another_price_or_hour_is_refused(bar, field):
    exchange = floor()
    exchange.on_bar(STAR.symbol, whole_day())
    with pytest.raises(ConfigInvalid, match=f"field {field}"):
        exchange.on_bar(STAR.symbol, bar)


def test_no_bar_of_the_day_follows_the_close():
    exchange = floor()
    place(exchange, ms(15, 10))
    with pytest.raises(ConfigInvalid, match="orders have met the close") as refused:
        exchange.on_bar(STAR.symbol, whole_day())
    assert refused.value.code == "TIME_ORDER"
    # A security without such an order, and one that does not trade so, take theirs.
    exchange.on_bar(CHINEXT.symbol, whole_day())
    exchange.on_bar(MAIN.symbol, at_close(ms(15, 5), ms(15, 6), 100, 1001))
