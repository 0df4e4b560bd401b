"""One order against a visible book: how far each type reaches, and what becomes of its rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.domain.market.order_types import ExchangeOrderType as Kind
from caopan.domain.matching.sweep import Rest, Resting, sweep

SIX_LEVELS = [Resting("", 1_000 + step, 100) for step in range(6)]
books = st.lists(st.tuples(st.integers(900, 1_100), st.integers(1, 500)), max_size=12)


def buy(kind, qty, price=None):
    return sweep(kind, price, qty, SIX_LEVELS, 999, buying=True)


@pytest.mark.parametrize(
    ("kind", "price", "qty", "filled", "rest", "stays"),
    [
        (Kind.LIMIT, 1_001, 150, 150, Rest.NONE, None),
        (Kind.LIMIT, 1_001, 300, 200, Rest.STAYS, 1_001),
        (Kind.LIMIT, 999, 300, 0, Rest.STAYS, 999),
        (Kind.MARKET_BEST5_CANCEL, None, 700, 500, Rest.CANCELLED, None),
        (Kind.MARKET_BEST5_LIMIT, None, 700, 500, Rest.STAYS, 1_004),
        # A protective price stops it earlier.
        (Kind.MARKET_BEST5_CANCEL, 1_001, 700, 200, Rest.CANCELLED, None),
        (Kind.MARKET_IOC, None, 700, 600, Rest.CANCELLED, None),
        (Kind.MARKET_FOK, None, 600, 600, Rest.NONE, None),
        (Kind.MARKET_FOK, None, 601, 0, Rest.CANCELLED, None),
        (Kind.MARKET_PEER_BEST, None, 250, 100, Rest.STAYS, 1_000),
        (Kind.MARKET_OWN_BEST, None, 250, 0, Rest.STAYS, 999),
    ],
)
def test_reach_and_rest(kind, price, qty, filled, rest, stays):
    found = buy(kind, qty, price)
    assert sum(trade.qty for trade in found.trades) == filled
    assert (found.rest, found.left, found.price) == (rest, qty - filled, stays)


def test_of_one_price_the_earlier_order_trades_first_at_its_own_price():
    bids = [Resting("A", 1_000, 300), Resting("B", 1_000, 400), Resting("C", 1_001, 100)]
    found = sweep(Kind.LIMIT, 990, 500, bids, None, buying=False)
    told = [(one.key, one.price, one.qty) for one in found.trades]
    assert told == [("C", 1_001, 100), ("A", 1_000, 300), ("B", 1_000, 100)]


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind.name.startswith("MARKET")])
def test_a_market_order_that_finds_no_price_is_cancelled(kind):
    found = sweep(kind, None, 100, [], None, buying=True)
    assert (found.trades, found.rest, found.left) == ((), Rest.CANCELLED, 100)


@given(st.sampled_from(Kind), books, st.integers(1, 2_000), st.integers(900, 1_100), st.booleans())
def test_nothing_is_lost_and_no_price_is_worse_than_the_limit(kind, book, qty, price, buying):
    resting = [Resting(str(place), *one) for place, one in enumerate(book)]
    found = sweep(kind, price, qty, resting, None, buying=buying)
    assert sum(trade.qty for trade in found.trades) + found.left == qty
    own = {one.key: one for one in resting}
    for trade in found.trades:
        assert 0 < trade.qty <= own[trade.key].qty
        assert trade.price == own[trade.key].price
        reachable = kind is Kind.MARKET_PEER_BEST
        assert reachable or (trade.price <= price if buying else trade.price >= price)
