"""The exchange's own rules, one by one: hours, cancels, order types, queues, latency, models."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fee_terms import NO_FEES
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.order_types import ExchangeOrderType as OrderType
from caopan.domain.market.phases import OrderKind
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.book_policy import Book
from caopan.domain.matching.choice import POLICIES, policy_named
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.models import (
    BasisPointSlippage,
    FixedLatency,
    SeededLatency,
    SquareRootImpact,
    TickSlippage,
)
from caopan.domain.matching.policies import FillPolicy
from caopan.domain.matching.terms import Bar, DayQuote, EventKind, SecurityTerms, Status
from caopan.domain.orders.order import Side
from caopan.kernel.errors import ConfigInvalid

SH, SZ, STAR = "600001.SH", "000001.SZ", "688001.SH"
TICK = 100
BUY, SELL = Side.BUY, Side.SELL
DAY = date(2024, 1, 2)


def ms(hour: int, minute: int = 0, second: int = 0) -> int:
    return ((hour * 60 + minute) * 60 + second) * 1000


def bar(start, end, first, high, low, close, volume=100_000) -> Bar:
    """A bar whose prices are ticks."""
    return Bar(start, end, first * TICK, high * TICK, low * TICK, close * TICK, volume)


def terms_of(symbol: str, board: Board = Board.MAIN, **changes) -> SecurityTerms:
    made = SecurityTerms(
        symbol, Exchange(symbol[-2:]), board, TICK, 100, 100, 100, 1_000_000, 1_000_000
    )
    return replace(made, **changes)


def floor(
    policy: str | FillPolicy = "auction_then_touch",
    *,
    hours=False,
    t_plus_one=False,
    opens=DAY,
    **changes,
):
    """An open exchange: limits 900 to 1100 ticks, capacity a tenth of volume, no fees."""
    terms = ExchangeTerms(
        policy_named(policy) if isinstance(policy, str) else policy,
        Fraction(1, 10),
        rules=DayRules(load_rules().market) if hours else None,
        **changes,
    )
    star = terms_of(STAR, Board.STAR, min_buy=200, step=1, lot=200, t_plus_one=t_plus_one)
    securities = [
        terms_of(SH, t_plus_one=t_plus_one),
        terms_of(SZ, t_plus_one=t_plus_one),
        star,
    ]
    account = TradingAccount(10**12, opens - timedelta(days=1))
    exchange = SandboxExchange(terms, securities, account, dict.fromkeys(Exchange, NO_FEES))
    exchange.open_day(opens, quotes())
    return exchange


def quotes():
    return [DayQuote(symbol, 1000 * TICK, 1100 * TICK, 900 * TICK) for symbol in (SH, SZ, STAR)]


def trades(exchange):
    """(order, shares, ticks) of every trade."""
    return [
        (event.order, event.qty, event.price // TICK)
        for event in exchange.events
        if event.kind is EventKind.TRADED
    ]


def place(exchange, at, side=BUY, qty=1000, ticks=0, kind=OrderType.LIMIT, symbol=SH):
    return exchange.place(at, symbol, side, qty, ticks * TICK, kind)


# --- hours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "kind", "symbol", "taken"),
    [
        (ms(9, 14, 59), OrderType.LIMIT, SH, False),
        (ms(9, 15), OrderType.LIMIT, SH, True),
        (ms(9, 16), OrderType.MARKET_BEST5_CANCEL, SH, False),
        (ms(9, 22), OrderType.LIMIT, SH, True),
        (ms(9, 27), OrderType.LIMIT, SH, False),
        (ms(9, 27), OrderType.LIMIT, SZ, True),
        (ms(9, 30), OrderType.MARKET_BEST5_CANCEL, SH, True),
        (ms(12), OrderType.LIMIT, SH, False),
        (ms(14, 58), OrderType.LIMIT, SH, True),
        (ms(14, 58), OrderType.MARKET_BEST5_CANCEL, SH, False),
        (ms(15), OrderType.LIMIT, SH, False),
    ],
)
def test_orders_are_taken_in_their_hours_only(at, kind, symbol, taken):
    order = place(
        floor(hours=True),
        at,
        ticks=0 if kind is not OrderType.LIMIT else 1000,
        kind=kind,
        symbol=symbol,
    )
    assert (order.status is Status.LIVE) is taken
    assert taken or order.code.startswith("BROKER_REJECT_SESSION")


@pytest.mark.parametrize(
    ("at", "said"),
    [
        (ms(9, 19), EventKind.CANCELED),
        (ms(9, 20), EventKind.CANCEL_REFUSED),
        (ms(9, 24, 59), EventKind.CANCEL_REFUSED),
        (ms(10), EventKind.CANCELED),
        (ms(14, 57), EventKind.CANCEL_REFUSED),
    ],
)
def test_cancels_have_windows(at, said):
    exchange = floor(hours=True)
    order = place(exchange, ms(9, 15), ticks=950)
    assert exchange.cancel(at, order.number) is said
    assert (order.status is Status.CANCELED) is (said is EventKind.CANCELED)


def test_shenzhen_keeps_what_comes_between_the_auction_and_the_morning():
    exchange = floor(hours=True)
    kept = place(exchange, ms(9, 27), ticks=1050, symbol=SZ)
    leaving = place(exchange, ms(9, 27), ticks=1050, symbol=SZ)
    assert exchange.cancel(ms(9, 28), leaving.number) is EventKind.CANCEL_TAKEN
    # The auction's print and the bar that holds it were before both.
    exchange.on_bar(SZ, bar(ms(9, 25), ms(9, 45), 1000, 1010, 990, 1000))
    assert trades(exchange) == []
    assert leaving.status is Status.CANCELED
    exchange.on_bar(SZ, bar(ms(9, 45), ms(10), 1000, 1010, 990, 1000))
    assert trades(exchange) == [(kept.number, 1000, 1000)]


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"ticks": 1101}, "BROKER_REJECT_PRICE_LIMIT"),
        ({"ticks": 899}, "BROKER_REJECT_PRICE_LIMIT"),
        ({"ticks": 0}, "BROKER_REJECT_OTHER: a limit order needs a price"),
        ({"qty": 150, "ticks": 1000}, "BROKER_REJECT_OTHER: a buy is for 100"),
        ({"qty": 0, "ticks": 1000}, "BROKER_REJECT_OTHER: 0 shares"),
        ({"qty": 1_000_100, "ticks": 1000}, "BROKER_REJECT_OTHER: 1000100 shares"),
        ({"qty": 199, "ticks": 1000, "symbol": STAR}, "BROKER_REJECT_OTHER: a buy is for 200"),
        ({"side": SELL, "ticks": 1000}, "BROKER_REJECT_POSITION: 1000 of 0"),
    ],
)
def test_what_the_exchange_refuses(wrong, code):
    order = place(floor(), ms(10), **wrong)
    assert order.status is Status.REJECTED
    assert order.code.startswith(code)


def test_off_tick_prices_suspended_and_unquoted_securities_are_refused():
    exchange = floor()
    assert "tick" in exchange.place(ms(10), SH, BUY, 100, 1000 * TICK + 1).code
    exchange.close_day()
    suspended = DayQuote(SH, 1000 * TICK, 1100 * TICK, 900 * TICK, suspended=True)
    exchange.open_day(DAY + timedelta(days=1), [suspended])
    for symbol in (SH, SZ):
        assert place(exchange, ms(10), ticks=1000, symbol=symbol).code.endswith("suspended")


def test_time_days_symbols_and_orders_have_their_order():
    exchange = floor()
    place(exchange, ms(10), ticks=1000)
    for code, call in [
        ("TIME_ORDER", lambda: place(exchange, ms(9, 59), ticks=1000)),
        ("SYMBOL_UNKNOWN", lambda: place(exchange, ms(10), ticks=1000, symbol="600009.SH")),
        ("SYMBOL_UNKNOWN", lambda: exchange.on_bar("600009.SH", bar(1, 2, 1, 1, 1, 1))),
        ("ORDER_UNKNOWN", lambda: exchange.cancel(ms(10), 7)),
        ("DAY_ORDER", lambda: exchange.open_day(DAY, quotes())),
    ]:
        with pytest.raises(ConfigInvalid) as refused:
            call()
        assert refused.value.code == code
    exchange.close_day()
    with pytest.raises(ConfigInvalid, match="DAY_ORDER"):
        exchange.open_day(DAY - timedelta(days=1), quotes())
    with pytest.raises(ConfigInvalid, match="pre_close"):
        exchange.open_day(DAY, [DayQuote(SH, 0, None, None)])


# --- policies -------------------------------------------------------------------------------------


def test_policies_are_chosen_by_name_and_say_what_they_assume():
    assert [policy_named(policy.name) for policy in POLICIES] == list(POLICIES)
    assert all(len(policy.assumes) > 80 for policy in POLICIES)
    with pytest.raises(ConfigInvalid, match="bar_close, next_bar_open"):
        policy_named("oracle")


def test_where_each_policy_fills_the_same_order():
    """A buy at 1005 before a bar that opens at 1002, falls to 990 and closes at 1004."""
    found = {}
    for policy in POLICIES:
        exchange = floor(policy)
        place(exchange, ms(9, 40), ticks=1005)
        exchange.on_bar(SH, bar(ms(9, 45), ms(10), 1002, 1006, 990, 1004))
        found[policy.name] = trades(exchange)
    assert found == {
        "bar_close": [(1, 1000, 1004)],
        "next_bar_open": [(1, 1000, 1002)],
        "auction_then_touch": [(1, 1000, 1002)],
        "book": [(1, 1000, 1003)],
    }


@pytest.mark.parametrize("policy", ["next_bar_open", "auction_then_touch", "book"])
@pytest.mark.parametrize("side", list(Side))
def test_a_bar_that_had_begun_does_not_serve_a_later_order(policy, side):
    """Its open, high and low may lie before the order."""
    exchange = floor(policy)
    for started, shares in ((ms(9, 40), 1000), (ms(9, 45), 1000), (ms(9, 50), 0)):
        exchange.close_day()
        exchange.open_day(exchange.day + timedelta(days=1), quotes())
        if side is SELL:
            place(exchange, ms(9, 31), ticks=1100)
            exchange.on_bar(SH, bar(ms(9, 32), ms(9, 33), 1000, 1010, 1000, 1000))
        exchange.take_events()
        place(exchange, started, side, ticks=1050 if side is BUY else 950)
        exchange.on_bar(SH, bar(ms(9, 45), ms(10), 1000, 1010, 990, 1000))
        assert sum(qty for _, qty, _ in trades(exchange)) == shares


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_sealed_limit_fills_nobody_for_free(policy):
    exchange = floor(policy)
    order = place(exchange, ms(9, 40), ticks=1100)
    exchange.on_bar(SH, bar(ms(9, 45), ms(10), 1100, 1100, 1100, 1100))
    exchange.on_bar(SH, bar(ms(10), ms(10, 15), 1100, 1100, 1100, 1100))
    assert trades(exchange) == []
    exchange.on_bar(SH, bar(ms(10, 15), ms(10, 30), 1090, 1100, 1080, 1090))
    assert order.status is Status.FILLED


def test_a_queue_at_limit_up_is_served_when_it_has_traded():
    exchange = floor(Book(seal_queue=2))
    place(exchange, ms(9, 40), ticks=1100)
    for number in range(4):
        start = ms(9, 45) + number * ms(0, 15)
        exchange.on_bar(SH, bar(start, start + ms(0, 15), 1100, 1100, 1100, 1100))
    # It joins behind 200,000; two bars of 100,000 trade that; the next serves it.
    assert trades(exchange) == [(1, 1000, 1100)]
    assert exchange.events[-1].at_ms == ms(10, 45)


def test_orders_share_the_cap_in_order_of_arrival_and_in_whole_lots():
    exchange = floor()
    for _ in range(3):
        place(exchange, ms(9, 40), ticks=1005, qty=500)
    exchange.on_bar(SH, bar(ms(9, 45), ms(10), 1000, 1000, 1000, 1000, volume=8_890))
    assert trades(exchange) == [(1, 500, 1000), (2, 300, 1000)]
    exchange.close_day()
    last = [(event.kind, event.order, event.qty) for event in exchange.events[-2:]]
    assert last == [(EventKind.EXPIRED, 2, 200), (EventKind.EXPIRED, 3, 500)]
    assert exchange.account.cash_frozen == 0


def test_the_closing_auction_serves_those_who_came_for_it():
    exchange = floor("book", hours=True)
    place(exchange, ms(14, 58), ticks=1004)
    place(exchange, ms(14, 58), ticks=1003)
    exchange.on_bar(SH, bar(ms(14, 45), ms(15), 990, 1005, 980, 1004))
    assert trades(exchange) == [(1, 1000, 1004)]


# --- order types ----------------------------------------------------------------------------------


def after_one_bar(kind, qty=1000, ticks=0, symbol=SH, policy="book", volume=20_000, high=1010):
    """A market buy, and what is left of it after a bar that opens at 1000 and rises to `high`.

    The book holds five levels of 400 shares from 1001 on; in all 2,000 may be taken.
    """
    exchange = floor(policy)
    order = place(exchange, ms(9, 40), qty=qty, ticks=ticks, kind=kind, symbol=symbol)
    first = bar(ms(9, 45), ms(10), 1000, high, 1000, 1000, volume=volume)
    exchange.on_bar(symbol, first)
    return [(qty, at) for _, qty, at in trades(exchange)], order


@pytest.mark.parametrize("day", [date(2022, 6, 1), DAY])
@pytest.mark.parametrize("symbol", [SH, SZ, STAR])
@pytest.mark.parametrize("kind", [one for one in OrderType if one.kind is OrderKind.MARKET])
def test_a_type_is_taken_where_and_since_when_the_dated_table_has_it(day, symbol, kind):
    market = load_rules().market
    exchange = floor(hours=True, opens=day)
    board = exchange.listing(symbol).terms.board
    row = market.order_types.row(Exchange(symbol[-2:]), board, kind, day)
    bare = place(exchange, ms(10), kind=kind, symbol=symbol)
    assert (bare.status is Status.LIVE) is (row is not None)
    protected = place(exchange, ms(10), kind=kind, symbol=symbol, ticks=1005)
    assert (protected.status is Status.LIVE) is (row is not None and row.needs_protection)
    assert floor().place(ms(10), symbol, BUY, 1000, 0, kind).status is Status.LIVE


def test_shanghai_takes_best_price_orders_only_since_the_table_says_so():
    kind = OrderType.MARKET_OWN_BEST
    early = place(floor(hours=True, opens=date(2022, 6, 1)), ms(10), kind=kind)
    assert "main on SH takes no market_own_best orders on 2022-06-01" in early.code
    assert place(floor(hours=True), ms(10), kind=kind).status is Status.LIVE


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"kind": OrderType.MARKET_FOK}, "BROKER_REJECT_OTHER: main on SH takes no market_fok"),
        (
            {"kind": OrderType.MARKET_BEST5_LIMIT, "symbol": SZ},
            "BROKER_REJECT_OTHER: main on SZ takes no market_best5_limit",
        ),
        (
            {"kind": OrderType.MARKET_IOC, "ticks": 1000, "symbol": SZ},
            "BROKER_REJECT_OTHER: market_ioc orders on SZ carry no protective price",
        ),
    ],
)
def test_a_refused_type_is_named(wrong, code):
    assert place(floor(hours=True), ms(10), **wrong).code.startswith(code)


def test_best_five_then_cancel():
    assert after_one_bar(OrderType.MARKET_BEST5_CANCEL)[0] == [
        (400, 1001),
        (400, 1002),
        (200, 1003),
    ]
    done, order = after_one_bar(OrderType.MARKET_BEST5_CANCEL, qty=2500)
    assert [at for _, at in done] == [1001, 1002, 1003, 1004, 1005]
    assert order.status is Status.CANCELED
    assert order.open == 500


def test_best_five_then_limit():
    done, order = after_one_bar(OrderType.MARKET_BEST5_LIMIT, qty=900, high=1002)
    assert done == [(400, 1001), (400, 1002), (100, 1002)]
    assert (order.kind, order.price) == (OrderType.LIMIT, 1002 * TICK)


def test_opposite_best_rests_at_the_best_price():
    done, order = after_one_bar(OrderType.MARKET_PEER_BEST, high=1001)
    assert done[0] == (400, 1001)
    assert all(at == 1001 for _, at in done)
    assert (order.kind, order.price) == (OrderType.LIMIT, 1001 * TICK)


def test_own_best_waits_at_its_own_side():
    done, order = after_one_bar(OrderType.MARKET_OWN_BEST)
    assert done == []
    assert (order.status, order.price) == (Status.LIVE, 999 * TICK)


def test_immediate_or_cancel_takes_every_level_there_is():
    done, order = after_one_bar(OrderType.MARKET_IOC, qty=2500, symbol=SZ)
    assert sum(qty for qty, _ in done) == 2000
    assert order.status is Status.CANCELED


def test_fill_or_kill_is_all_or_nothing():
    assert after_one_bar(OrderType.MARKET_FOK, qty=2000, symbol=SZ)[1].status is Status.FILLED
    done, order = after_one_bar(OrderType.MARKET_FOK, qty=2100, symbol=SZ)
    assert (done, order.status) == ([], Status.CANCELED)


def test_a_protective_price_is_not_crossed():
    done, order = after_one_bar(OrderType.MARKET_BEST5_CANCEL, ticks=1002)
    assert done == [(400, 1001), (400, 1002)]
    assert order.status is Status.CANCELED
    for kind in (OrderType.MARKET_BEST5_CANCEL, OrderType.MARKET_PEER_BEST):
        assert after_one_bar(kind, ticks=1000)[0] == []


@pytest.mark.parametrize("policy", ["next_bar_open", "auction_then_touch"])
def test_market_orders_of_policies_without_a_book(policy):
    done, order = after_one_bar(OrderType.MARKET_BEST5_CANCEL, qty=2500, policy=policy)
    assert (done, order.status) == ([(2000, 1000)], Status.CANCELED)
    done, order = after_one_bar(OrderType.MARKET_BEST5_LIMIT, qty=2500, policy=policy)
    assert (done, order.status, order.price) == ([(2000, 1000)], Status.LIVE, 1000 * TICK)
    done, order = after_one_bar(OrderType.MARKET_FOK, qty=2500, policy=policy, symbol=SZ)
    assert (done, order.status) == ([], Status.CANCELED)
    assert after_one_bar(OrderType.MARKET_IOC, policy=policy, symbol=SZ, volume=0)[1].status is (
        Status.CANCELED
    )


# --- latency and prices ---------------------------------------------------------------------------


def test_an_order_on_its_way_misses_the_bar_and_a_cancel_on_its_way_may_come_too_late():
    exchange = floor(latency=FixedLatency(order=2_000, cancel=60_000))
    late = place(exchange, ms(9, 59, 59), ticks=1005)
    exchange.on_bar(SH, bar(ms(10), ms(10, 15), 1000, 1010, 990, 1000))
    assert trades(exchange) == []
    second = place(exchange, ms(10, 15), ticks=950)
    assert exchange.cancel(ms(10, 15), late.number) is EventKind.CANCEL_TAKEN
    assert exchange.cancel(ms(10, 15), second.number) is EventKind.CANCEL_TAKEN
    exchange.on_bar(SH, bar(ms(10, 15), ms(10, 30), 1000, 1010, 990, 1000))
    assert trades(exchange) == [(late.number, 1000, 1000)]
    assert second.status is Status.CANCELED


def test_seeded_latency_hangs_on_seed_and_order_alone():
    one, other = SeededLatency(1, 5, 50), SeededLatency(2, 5, 50)
    drawn = [one.order_ms(number) for number in range(200)]
    assert drawn == [one.order_ms(number) for number in range(200)]
    assert drawn != [other.order_ms(number) for number in range(200)]
    assert drawn != [one.cancel_ms(number) for number in range(200)]
    assert (min(drawn), max(drawn)) == (5, 50)


@pytest.mark.parametrize(
    ("model", "ticks"),
    [
        (TickSlippage(2), 1002),
        (BasisPointSlippage(5), 1001),
        (SquareRootImpact(100), 1002),  # 20 ticks of range × sqrt(1,000 / 100,000)
        (SquareRootImpact(120), 1003),  # 2.4 ticks, rounded up
        (TickSlippage(50), 1010),
    ],
)
def test_slippage_moves_a_taker_inside_the_bar(model, ticks):
    exchange = floor("next_bar_open", slippage=model)
    place(exchange, ms(9, 40), ticks=1050)
    place(exchange, ms(9, 40), ticks=1000)
    exchange.on_bar(SH, bar(ms(9, 45), ms(10), 1000, 1010, 990, 1000))
    # Never beyond the order's own limit.
    assert trades(exchange) == [(1, 1000, ticks), (2, 1000, 1000)]


def test_a_market_buy_reserves_limit_up_or_by_choice_the_last_price():
    kind = OrderType.MARKET_BEST5_CANCEL
    exchange = floor()
    place(exchange, ms(10), kind=kind)
    assert exchange.account.cash_frozen == 1000 * 1100 * TICK
    exchange = floor(freeze_market_at_close=True)
    exchange.on_bar(SH, bar(ms(9, 45), ms(10), 1000, 1010, 990, 1005))
    place(exchange, ms(10), kind=kind)
    assert exchange.account.cash_frozen == 1000 * 1005 * TICK


# --- T+1 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("t_plus_one", [True, False])
def test_shares_bought_today(t_plus_one):
    exchange = floor(t_plus_one=t_plus_one)
    place(exchange, ms(9, 40), ticks=1005)
    exchange.on_bar(SH, bar(ms(9, 45), ms(10), 1000, 1010, 990, 1000))
    sold = place(exchange, ms(10), SELL, ticks=1000)
    assert (sold.status is Status.REJECTED) is t_plus_one
    exchange.close_day()
    exchange.open_day(DAY + timedelta(days=1), quotes())
    assert place(exchange, ms(10), SELL, ticks=1000).status is Status.LIVE
    assert place(exchange, ms(10), SELL, 100, ticks=1000).status is Status.REJECTED


# --- price cage -----------------------------------------------------------------------------------


def test_the_price_cage_holds_in_continuous_trading_around_the_last_price():
    exchange = floor(hours=True)
    assert place(exchange, ms(9, 24), ticks=1090).status is Status.LIVE
    exchange.on_bar(SH, bar(ms(9, 25), ms(9, 45), 1050, 1060, 1040, 1050))
    # 102 % of 1050 is 1071.
    assert place(exchange, ms(9, 45), ticks=1071).status is Status.LIVE
    refused = place(exchange, ms(9, 45), ticks=1072)
    assert refused.code.startswith(
        "BROKER_REJECT_PRICE_LIMIT: price 10.72 is beyond the price cage"
    )
    assert place(exchange, ms(9, 45), ticks=901).status is Status.LIVE
    sold = place(exchange, ms(9, 45), SELL, ticks=1028)
    assert sold.code.startswith("BROKER_REJECT_PRICE_LIMIT")
    assert place(exchange, ms(14, 58), ticks=1090).status is Status.LIVE


def test_a_star_market_order_without_limits_needs_its_protective_price():
    exchange = floor(hours=True)
    exchange.close_day()
    exchange.open_day(DAY + timedelta(days=1), [DayQuote(STAR, 1000 * TICK, None, None)])
    exchange.on_bar(STAR, bar(ms(9, 25), ms(9, 45), 1000, 1000, 1000, 1000))
    kind = OrderType.MARKET_BEST5_CANCEL
    bare = place(exchange, ms(10), kind=kind, symbol=STAR)
    assert "protective price" in bare.code
    assert place(exchange, ms(10), ticks=1010, kind=kind, symbol=STAR).status is Status.LIVE


def test_an_entitlement_reaches_the_account_whole():
    """A dividend paid later is no cash today, and new shares listed later are not sellable."""
    exchange = floor(t_plus_one=True)
    place(exchange, ms(9, 15), qty=1000, ticks=1000)
    exchange.on_bar(SH, bar(ms(9, 25), ms(15), 1000, 1000, 1000, 1000))
    exchange.close_day()
    exchange.open_day(DAY + timedelta(days=1), quotes())
    cash, later = exchange.account.cash_free, DAY + timedelta(days=2)
    exchange.entitle(SH, 500, Fraction(3, 2), Fraction(1, 2), DAY, later, later)
    assert (exchange.account.cash_free, exchange.account.sellable(SH)) == (cash, 1000)
    exchange.close_day()
    exchange.open_day(later, quotes())
    assert exchange.account.cash_free == cash + 1000 * 500
    assert exchange.account.sellable(SH) == 1500
    with pytest.raises(ConfigInvalid, match="SYMBOL_UNKNOWN"):
        exchange.entitle("600009.SH", 500, Fraction(1))


# --- rules only take away -------------------------------------------------------------------------


@settings(deadline=None, max_examples=200)
@given(
    at=st.integers(ms(9), ms(15, 10)),
    side=st.sampled_from(Side),
    qty=st.integers(-100, 3_000),
    ticks=st.one_of(st.just(0), st.integers(880, 1_120)),
    kind=st.sampled_from(OrderType),
    symbol=st.sampled_from([SH, SZ, STAR]),
)
def test_the_dated_rules_never_admit_what_is_refused_without_them(
    at, side, qty, ticks, kind, symbol
):
    ruled, free = RULED, UNRULED
    with_rules, without = (
        one.place(max(at, one.now_ms), symbol, side, qty, ticks * TICK, kind)
        for one in (fresh(ruled), fresh(free))
    )
    if without.status is Status.REJECTED:
        assert with_rules.status is Status.REJECTED


RULED, UNRULED = floor(hours=True), floor()


def fresh(exchange: SandboxExchange) -> SandboxExchange:
    """Begin another day, with nothing resting; loading the rules each time would be slow."""
    exchange.close_day()
    exchange.open_day(exchange.day + timedelta(days=1), quotes())
    return exchange
