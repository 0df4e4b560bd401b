"""Price limits against an independent calculation in decimals, and their standing properties."""

from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal

from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.price_limits import LimitCase
from caopan.domain.market.reference import Board, Exchange
from caopan.kernel.money import units

TABLE = load_rules().market.limits
DAY = date(2026, 11, 20)
CENT = Decimal("0.01")
BOARDS = {
    Board.MAIN: (Exchange.SH, Exchange.SZ),
    Board.CHINEXT: (Exchange.SZ,),
    Board.STAR: (Exchange.SH,),
    Board.BSE: (Exchange.BJ,),
}
PERCENT = {Board.MAIN: "0.1", Board.CHINEXT: "0.2", Board.STAR: "0.2", Board.BSE: "0.3"}
places = st.sampled_from([(x, board) for board, found in BOARDS.items() for x in found])
ticks = st.integers(20, 500_000)


def limits(place, cents, *, st=False, day=DAY):
    exchange, board = place
    found = TABLE.limits(LimitCase(exchange, board, day, is_st=st), cents * 100)
    assert found.up is not None
    assert found.down is not None
    return found.up, found.down


@given(places, ticks)
def test_limits_equal_the_decimal_calculation(place, cents):
    exchange, board = place
    price, share = Decimal(cents) / 100, Decimal(PERCENT[board])
    inward = exchange is Exchange.BJ
    up = (price * (1 + share)).quantize(CENT, ROUND_FLOOR if inward else ROUND_HALF_UP)
    down = (price * (1 - share)).quantize(CENT, ROUND_CEILING if inward else ROUND_HALF_UP)
    assert limits(place, cents) == (units(up), units(down))


@given(places, st.integers(4, 500_000))
def test_limits_lie_on_ticks_around_the_reference_price(place, cents):
    up, down = limits(place, cents)
    assert up % 100 == down % 100 == 0
    assert 0 < down < cents * 100 < up


@given(places, st.integers(4, 400_000), st.integers(0, 1000))
def test_a_higher_reference_price_never_lowers_a_limit(place, cents, more):
    (low_up, low_down), (high_up, high_down) = limits(place, cents), limits(place, cents + more)
    assert low_up <= high_up
    assert low_down <= high_down


@given(places, st.integers(20, 500_000), st.dates(date(2023, 4, 10), date(2026, 12, 31)))
def test_st_never_widens_the_limits(place, cents, day):
    up, down = limits(place, cents, day=day)
    st_up, st_down = limits(place, cents, st=True, day=day)
    assert down <= st_down
    assert st_up <= up


@given(st.sampled_from(BOARDS[Board.MAIN]), st.integers(1, 9))
def test_shanghai_and_shenzhen_move_out_to_one_tick(exchange, cents):
    up, down = limits((exchange, Board.MAIN), cents)
    assert up >= cents * 100 + 100
    assert down <= max(cents * 100 - 100, 100)
