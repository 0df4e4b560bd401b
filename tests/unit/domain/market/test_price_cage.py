"""The price cage: width by board and date, base price, where it applies."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.phases import OrderKind, Phase
from caopan.domain.market.price_cage import (
    CAGE_PHASES,
    Beyond,
    BookTop,
    applies,
    base_price,
    cage_bound,
)
from caopan.domain.market.reference import Board, Exchange
from caopan.kernel.errors import Denied
from caopan.kernel.money import units, yuan

TABLE = load_rules().market.cages
DAY = date(2026, 11, 20)
SH, SZ, BJ = Exchange
CAGED = [
    TABLE.row(exchange, board, DAY)
    for exchange, board in (
        (SH, Board.MAIN),
        (SZ, Board.MAIN),
        (SZ, Board.CHINEXT),
        (SH, Board.STAR),
        (BJ, Board.BSE),
    )
]


@pytest.mark.parametrize(
    ("exchange", "board", "day", "base", "highest", "lowest"),
    [
        (SH, Board.MAIN, DAY, "10.00", "10.20", "9.80"),
        # Below 5 yuan ten ticks are wider than two percent.
        (SH, Board.MAIN, DAY, "3.00", "3.10", "2.90"),
        (SZ, Board.MAIN, DAY, "7.77", "7.93", "7.61"),
        (SH, Board.STAR, DAY, "3.00", "3.06", "2.94"),
        # Two percent of 0.20 round to nothing, but a tick is left.
        (SH, Board.STAR, DAY, "0.20", "0.21", "0.19"),
        (SZ, Board.CHINEXT, DAY, "4.00", "4.10", "3.90"),
        (SZ, Board.CHINEXT, date(2023, 4, 7), "4.00", "4.08", "3.92"),
        (BJ, Board.BSE, DAY, "8.00", "8.40", "7.60"),
        (BJ, Board.BSE, DAY, "1.50", "1.60", "1.40"),
        (SH, Board.MAIN, DAY, "0.05", "0.15", "0.01"),
    ],
)
def test_width(exchange, board, day, base, highest, lowest):
    row = TABLE.row(exchange, board, day)
    found = [yuan(cage_bound(row, units(base), 100, buying=buying)) for buying in (True, False)]
    assert found == [highest, lowest]


def test_since_when_and_what_becomes_of_an_order_beyond():
    assert TABLE.row(SH, Board.MAIN, date(2023, 4, 7)).share is None
    assert TABLE.row(SZ, Board.CHINEXT, date(2020, 8, 21)).share is None
    assert TABLE.row(SZ, Board.CHINEXT, date(2023, 4, 7)).beyond is Beyond.HELD
    assert all(row.beyond is Beyond.VOID for row in CAGED)
    assert TABLE.row(SH, Board.ETF, DAY).share is None
    with pytest.raises(Denied, match="convertible"):
        TABLE.row(SH, Board.CONVERTIBLE, DAY)


def test_only_limit_orders_in_continuous_trading_are_held_to_it():
    row = CAGED[0]
    for phase in Phase:
        assert applies(row, phase, OrderKind.LIMIT) is (phase in CAGE_PHASES)
        assert not applies(row, phase, OrderKind.MARKET)
        assert not applies(row, phase, OrderKind.LIMIT, halted=True)
    assert not applies(TABLE.row(SH, Board.ETF, DAY), Phase.CONTINUOUS_AM, OrderKind.LIMIT)


@pytest.mark.parametrize(
    ("bid", "ask", "last", "buy_base", "sell_base"),
    [
        (99, 101, 100, 101, 99),
        (99, None, 100, 99, 99),
        (None, 101, 100, 101, 101),
        (None, None, 100, 100, 100),
        (None, None, None, 98, 98),
    ],
)
def test_base_price(bid, ask, last, buy_base, sell_base):
    top = BookTop(bid, ask, last, pre_close=98)
    assert base_price(top, buying=True) == buy_base
    assert base_price(top, buying=False) == sell_base


@given(st.sampled_from(CAGED), st.integers(1, 10**6), st.booleans())
def test_the_base_lies_at_least_a_tick_inside_and_on_the_tick(row, ticks, buying):
    bound = cage_bound(row, ticks * 100, 100, buying=buying)
    assert bound % 100 == 0
    assert bound > ticks * 100 if buying else (bound < ticks * 100 or ticks == 1)
    assert bound > 0
