"""Matching against a finished bar: never a fill the day could not have given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.brokers.sandbox.daily_policy import BAR_START_MS, DailyBars, was_at_open
from caopan.adapters.brokers.sandbox.funds import change
from caopan.adapters.brokers.sandbox.register import BROUGHT_IN
from caopan.domain.accounting.fee_terms import NO_FEES
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.reference import Board, DailyBar, Exchange
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.terms import CLOSE_MS, Bar, DayQuote, EventKind, SecurityTerms
from caopan.domain.orders.order import Side
from caopan.kernel.money import units
from caopan.testing.samples import DAY, SYMBOL

QUICK = settings(deadline=None, max_examples=200)
TICK = 100
TENTH = Fraction(1, 10)
MANY = 10**9


class FillMoment(StrEnum):
    """When within the day a trade happened; the venue tells them apart by their price."""

    OPENING_AUCTION = "opening_auction"
    INTRADAY = "intraday"


OPENING, INTRADAY = FillMoment.OPENING_AUCTION, FillMoment.INTRADAY


@dataclass(frozen=True)
class RestingOrder:
    """One order placed before the opening auction."""

    client_order_id: str
    side: Side
    price: int
    open_qty: int
    lot_size: int


@dataclass(frozen=True)
class Match:
    """One trade of a day."""

    client_order_id: str
    qty: int
    price: int
    moment: FillMoment


def match_day(orders: Sequence[RestingOrder], bar: DailyBar, share: Fraction) -> list[Match]:
    """Return what the exchange does on one day with orders of an account that can pay for all."""
    lot = orders[0].lot_size if orders else 100
    account = TradingAccount(10**15, DAY)
    before = str(DAY - timedelta(days=1))
    change(account, BROUGHT_IN, {"lots": [[SYMBOL, MANY, "0", before]]})
    terms = SecurityTerms(SYMBOL, Exchange.SH, Board.MAIN, TICK, lot, 1, 1, MANY, MANY)
    exchange = SandboxExchange(
        ExchangeTerms(policy=DailyBars(), participation=share),
        [terms],
        account,
        {Exchange.SH: NO_FEES},
    )
    exchange.open_day(DAY, [DayQuote(SYMBOL, bar.open, bar.limit_up, bar.limit_down)])
    tags: dict[int, str] = {}
    for order in orders:
        placed = exchange.place(0, SYMBOL, order.side, order.open_qty, order.price)
        assert not placed.code
        tags[placed.number] = order.client_order_id
    prices = (bar.open, bar.high, bar.low, bar.close)
    day_bar = Bar(BAR_START_MS, CLOSE_MS, *prices, bar.volume)
    if not bar.suspended:
        exchange.on_bar(SYMBOL, day_bar)
    listing = exchange.listing(SYMBOL)
    moments = {True: OPENING, False: INTRADAY}
    return [
        Match(
            tags[e.order],
            e.qty,
            e.price,
            moments[was_at_open(listing, day_bar, e.price, e.side)],
        )
        for e in exchange.take_events()
        if e.kind is EventKind.TRADED
    ]


@st.composite
def bars(draw) -> DailyBar:
    """Return a consistent bar inside its limits, sealed at one of them now and then."""
    down = draw(st.integers(1, 200))
    up = down + draw(st.integers(1, 60))
    low, high = sorted(draw(st.tuples(st.integers(down, up), st.integers(down, up))))
    low, high = draw(st.sampled_from([(low, high), (low, high), (up, up), (down, down)]))
    within = st.integers(low, high)
    return DailyBar(
        symbol=SYMBOL,
        day=DAY,
        open=draw(within) * TICK,
        high=high * TICK,
        low=low * TICK,
        close=draw(within) * TICK,
        volume=draw(st.integers(0, 30_000)),
        amount=None,
        limit_up=draw(st.sampled_from([up * TICK, up * TICK, None])),
        limit_down=draw(st.sampled_from([down * TICK, down * TICK, None])),
        suspended=draw(st.sampled_from([False] * 9 + [True])),
    )


@st.composite
def books(draw, bar: DailyBar) -> list[RestingOrder]:
    """Return orders the exchange would have taken: on tick and inside the limits."""
    least = (bar.limit_down or TICK) // TICK
    most = (bar.limit_up or bar.high + 20 * TICK) // TICK
    lot = draw(st.sampled_from([100, 100, 1]))
    return [
        RestingOrder(
            client_order_id=f"C{number}",
            side=draw(st.sampled_from(Side)),
            price=draw(st.integers(least, most)) * TICK,
            open_qty=draw(st.integers(1, 50)) * 100 + draw(st.sampled_from([0, 0, 37])),
            lot_size=lot,
        )
        for number in range(draw(st.integers(0, 5)))
    ]


@st.composite
def days(draw) -> tuple[list[RestingOrder], DailyBar, Fraction]:
    bar = draw(bars())
    share = draw(st.sampled_from([TENTH, Fraction(0), Fraction(1), Fraction(1, 3)]))
    return draw(books(bar)), bar, share


@QUICK
@given(days())
def test_fills_keep_to_bar_limits_and_quantities(day):
    orders, bar, share = day
    by_tag = {order.client_order_id: order for order in orders}
    matches = match_day(orders, bar, share)
    for match in matches:
        order = by_tag[match.client_order_id]
        assert bar.low <= match.price <= bar.high
        if order.side is Side.BUY:
            assert match.price <= order.price
        else:
            assert match.price >= order.price
        assert bar.limit_down is None or match.price >= bar.limit_down
        assert bar.limit_up is None or match.price <= bar.limit_up
        assert 0 < match.qty <= order.open_qty
        if match.qty < order.open_qty:
            assert match.qty % order.lot_size == 0
        if match.moment is OPENING:
            assert match.price == bar.open
    assert sum(match.qty for match in matches) <= bar.volume * share
    assert len({match.client_order_id for match in matches}) == len(matches)
    tags = [order.client_order_id for order in orders]
    assert [m.client_order_id for m in matches] == [
        tag for tag in tags if tag in {m.client_order_id for m in matches}
    ]


@QUICK
@given(days())
def test_nothing_trades_on_a_day_without_trading(day):
    orders, bar, share = day
    assert match_day(orders, replace(bar, suspended=True), share) == []
    assert match_day(orders, replace(bar, volume=0), share) == []
    assert match_day(orders, bar, Fraction(0)) == []


@QUICK
@given(days())
def test_later_orders_change_nothing_for_earlier_ones(day):
    orders, bar, share = day
    whole = match_day(orders, bar, share)
    assert match_day(orders, bar, share) == whole
    for count in range(len(orders)):
        earlier = {order.client_order_id for order in orders[:count]}
        assert match_day(orders[:count], bar, share) == [
            match for match in whole if match.client_order_id in earlier
        ]


@QUICK
@given(days())
def test_a_sealed_day_gives_the_queue_nothing(day):
    orders, bar, share = day
    for limit, side in (("limit_up", Side.BUY), ("limit_down", Side.SELL)):
        price = getattr(bar, limit)
        if price is None:
            continue
        sealed = replace(bar, open=price, high=price, low=price, close=price)
        tags = {order.client_order_id for order in orders if order.side is side}
        assert not tags & {m.client_order_id for m in match_day(orders, sealed, share)}


@QUICK
@given(days(), st.integers(1, 20))
def test_a_keener_price_never_trades_less(day, ticks):
    orders, bar, share = day
    for order in orders:
        if order.side is Side.BUY:
            keener = min(order.price + ticks * TICK, bar.limit_up or bar.high)
            keener = max(keener, order.price)
        else:
            keener = max(order.price - ticks * TICK, bar.limit_down or TICK)
            keener = min(keener, order.price)
        alone = match_day([order], bar, share)
        better = match_day([replace(order, price=keener)], bar, share)
        assert sum(m.qty for m in alone) <= sum(m.qty for m in better)


def bar(open_: str, high: str, low: str, close: str, *, volume: int = 100_000) -> DailyBar:
    return DailyBar(
        symbol=SYMBOL,
        day=DAY,
        open=units(open_),
        high=units(high),
        low=units(low),
        close=units(close),
        volume=volume,
        amount=None,
        limit_up=units("11.00"),
        limit_down=units("9.00"),
        suspended=False,
    )


def resting(side: Side, price: str, qty: int = 1_000) -> RestingOrder:
    return RestingOrder("C1", side, units(price), qty, 100)


USUAL = bar("10.00", "10.40", "9.70", "10.20")
UP_ALL_DAY = bar("11.00", "11.00", "11.00", "11.00")
UP_BROKE = bar("11.00", "11.00", "10.80", "11.00")
UP_LATER = bar("10.50", "11.00", "10.40", "11.00")
DOWN_ALL_DAY = bar("9.00", "9.00", "9.00", "9.00")
DOWN_BROKE = bar("9.00", "9.20", "9.00", "9.00")


@pytest.mark.parametrize(
    ("day", "side", "price", "expected"),
    [
        (USUAL, Side.BUY, "10.00", ("10.00", OPENING)),
        (USUAL, Side.BUY, "10.30", ("10.00", OPENING)),
        (USUAL, Side.BUY, "9.99", ("9.99", INTRADAY)),
        (USUAL, Side.BUY, "9.71", ("9.71", INTRADAY)),
        # Touched only: whoever stood in the queue before had the shares.
        (USUAL, Side.BUY, "9.70", None),
        (USUAL, Side.BUY, "9.69", None),
        (USUAL, Side.SELL, "10.00", ("10.00", OPENING)),
        (USUAL, Side.SELL, "9.10", ("10.00", OPENING)),
        (USUAL, Side.SELL, "10.39", ("10.39", INTRADAY)),
        (USUAL, Side.SELL, "10.40", None),
        (USUAL, Side.SELL, "10.41", None),
        (UP_ALL_DAY, Side.BUY, "11.00", None),
        (UP_ALL_DAY, Side.SELL, "11.00", ("11.00", OPENING)),
        (UP_BROKE, Side.BUY, "11.00", ("11.00", INTRADAY)),
        (UP_BROKE, Side.BUY, "10.80", None),
        (UP_LATER, Side.BUY, "11.00", ("10.50", OPENING)),
        (DOWN_ALL_DAY, Side.SELL, "9.00", None),
        (DOWN_ALL_DAY, Side.BUY, "9.00", ("9.00", OPENING)),
        (DOWN_BROKE, Side.SELL, "9.00", ("9.00", INTRADAY)),
        (DOWN_BROKE, Side.SELL, "9.20", None),
    ],
)
def test_one_order_against_known_days(day, side, price, expected):
    found = match_day([resting(side, price)], day, TENTH)
    if expected is None:
        assert found == []
    else:
        assert found == [Match("C1", 1_000, units(expected[0]), expected[1])]


@pytest.mark.parametrize(
    ("volume", "expected"), [(9_999, 900), (10_000, 1_000), (1_099, 100), (990, None)]
)
def test_a_part_of_an_order_fills_in_whole_lots(volume, expected):
    found = match_day([resting(Side.BUY, "10.00")], replace(USUAL, volume=volume), TENTH)
    assert [match.qty for match in found] == ([] if expected is None else [expected])


def test_an_odd_lot_is_sold_whole_or_not_at_all():
    odd = resting(Side.SELL, "10.00", 37)
    assert [m.qty for m in match_day([odd], replace(USUAL, volume=370), TENTH)] == [37]
    assert match_day([odd], replace(USUAL, volume=369), TENTH) == []


def test_orders_share_the_volume_in_order_of_arrival():
    orders = [
        replace(resting(Side.BUY, "10.00", qty), client_order_id=tag)
        for tag, qty in (("first", 700), ("second", 700), ("third", 100))
    ]
    found = match_day(orders, replace(USUAL, volume=10_000), TENTH)
    assert [(m.client_order_id, m.qty) for m in found] == [("first", 700), ("second", 300)]


def test_without_limits_nothing_is_sealed():
    free = replace(USUAL, limit_up=None, limit_down=None)
    assert match_day([resting(Side.BUY, "10.00")], free, TENTH)[0].price == units("10.00")
