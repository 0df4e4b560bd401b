"""Call auctions: the price by each exchange's rule, worked by hand, and naive search beside it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.domain.market.reference import Exchange
from caopan.domain.matching.auction import AuctionOrder, allocate, auction_price

TICK = 100
SH, SZ, BJ = Exchange.SH, Exchange.SZ, Exchange.BJ


def side(*orders):
    """Orders as (ticks, shares), in order of arrival."""
    return [AuctionOrder(key, ticks * TICK, qty) for key, (ticks, qty) in enumerate(orders)]


def price(buys, sells, exchange, reference=1000):
    found = auction_price(
        side(*buys), side(*sells), exchange=exchange, reference=reference * TICK, tick=TICK
    )
    return found and found.price // TICK


def test_the_greatest_volume_decides_before_anything_else():
    # At 1002 only 300 trade, at 1001 500 do, at 1000 400 do.
    buys = [(1002, 300), (1001, 200), (1000, 600)]
    sells = [(1000, 400), (1001, 100), (1002, 500)]
    assert [price(buys, sells, exchange) for exchange in Exchange] == [1001] * 3


def test_smallest_imbalance_breaks_a_tie_of_volume():
    # 1000 and 1001 trade 400 each; at 1001 fewer sells are left over.
    buys = [(1001, 400), (1000, 300)]
    sells = [(1000, 400), (1001, 100)]
    assert price(buys, sells, SH) == 1001
    assert price(buys, sells, SZ, reference=1) == 1001


def test_tie_of_both_shanghai_takes_the_middle_shenzhen_the_nearest_to_the_reference():
    buys, sells = [(1006, 500)], [(1000, 500)]
    assert price(buys, sells, SH, reference=1005) == 1003
    for exchange in (SZ, BJ):
        assert price(buys, sells, exchange, reference=1005) == 1005
        assert price(buys, sells, exchange, reference=900) == 1000
        assert price(buys, sells, exchange, reference=1100) == 1006


def test_half_a_tick_of_the_middle_is_rounded_up():
    assert price([(1001, 500)], [(1000, 500)], SH) == 1001


def test_a_price_between_the_orders_prices_may_be_best():
    # 1000 and 1010 leave 50 over on one side; between them nothing is left over.
    buys, sells = [(1010, 100), (1000, 50)], [(1000, 100), (1010, 50)]
    assert price(buys, sells, SH) == 1005
    assert price(buys, sells, SZ, reference=1000) == 1001


def test_no_meeting_no_price():
    assert price([(999, 100)], [(1000, 100)], SH) is None
    assert price([], [(1000, 100)], SZ) is None
    assert price([], [], BJ) is None


def test_shares_go_by_price_then_by_arrival():
    buys = side((1000, 300), (1001, 200), (1000, 400))
    assert allocate(buys, 600, buying=True) == {1: 200, 0: 300, 2: 100}
    sells = side((1000, 300), (999, 200))
    assert allocate(sells, 200, buying=False) == {1: 200}


books = st.lists(
    st.tuples(st.integers(1, 12), st.integers(1, 9).map(lambda n: n * 100)), max_size=7
)


@settings(deadline=None, max_examples=300)
@given(buys=books, sells=books, exchange=st.sampled_from(Exchange), reference=st.integers(1, 14))
def test_a_naive_search_over_every_tick_agrees(buys, sells, exchange, reference):
    found = auction_price(
        side(*buys), side(*sells), exchange=exchange, reference=reference * TICK, tick=TICK
    )
    met = {}
    for tick in range(1, 13):
        bids = sum(qty for at, qty in buys if at >= tick)
        asks = sum(qty for at, qty in sells if at <= tick)
        met[tick] = (min(bids, asks), abs(bids - asks))
    most = max(traded for traded, _ in met.values())
    if not most:
        assert found is None
        return
    assert found is not None
    # Everything better than the price trades in full.
    lawful = {
        tick: left
        for tick, (traded, left) in met.items()
        if traded == most
        and sum(qty for at, qty in buys if at > tick) <= most
        and sum(qty for at, qty in sells if at < tick) <= most
    }
    tied = [tick for tick, left in lawful.items() if left == min(lawful.values())]
    if exchange is SH:
        expected = (tied[0] + tied[-1] + 1) // 2
    else:
        expected = min(tied, key=lambda tick: (abs(tick - reference), -tick))
    assert found.price == expected * TICK
    assert found.volume == most
    assert min(found.unmatched_buy, found.unmatched_sell) == 0


@pytest.mark.parametrize("exchange", list(Exchange))
def test_orders_in_another_order_make_the_same_price(exchange):
    buys, sells = [(1003, 200), (1001, 700)], [(1000, 300), (1002, 100)]
    assert price(buys, sells, exchange) == price(buys[::-1], sells[::-1], exchange)
