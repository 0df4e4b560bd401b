"""Order types: where each is offered, and on what conditions."""

from datetime import date

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.order_types import (
    ExchangeOrderType,
    TypeFault,
    check_after_hours_price,
)
from caopan.domain.market.phases import OrderKind
from caopan.domain.market.reference import Board, Exchange

TABLE = load_rules().market.order_types
DAY = date(2026, 11, 20)
SH, SZ, BJ = Exchange
BOARDS = {SH: Board.MAIN, SZ: Board.MAIN, BJ: Board.BSE}


@pytest.mark.parametrize(
    ("order_type", "offered"),
    [
        ("limit", {SH, SZ, BJ}),
        ("market_best5_cancel", {SH, SZ, BJ}),
        ("market_best5_limit", {SH, BJ}),
        ("market_peer_best", {SH, SZ, BJ}),
        ("market_own_best", {SH, SZ, BJ}),
        ("market_ioc", {SZ}),
        ("market_fok", {SZ}),
        ("after_hours_fixed", {SH, SZ}),
    ],
)
def test_where_each_type_is_offered(order_type, offered):
    kind = ExchangeOrderType(order_type)
    found = {place for place in Exchange if TABLE.row(place, BOARDS[place], kind, DAY)}
    assert found == offered


def check(exchange, board, order_type, *, has_limits=True, protection=None, day=DAY):
    found = TABLE.check(
        exchange, board, order_type, day, has_limits=has_limits, protection=protection
    )
    return found and found.fault


def test_shanghai_and_beijing_ask_for_a_protective_price():
    five = ExchangeOrderType.MARKET_BEST5_CANCEL
    for exchange, board in ((SH, Board.STAR), (SH, Board.MAIN), (BJ, Board.BSE)):
        assert check(exchange, board, five) is TypeFault.NO_PROTECTION
        assert check(exchange, board, five, protection=102_000) is None
    assert check(SZ, Board.CHINEXT, five) is None


def test_shenzhen_takes_market_orders_only_where_a_limit_applies():
    five = ExchangeOrderType.MARKET_BEST5_CANCEL
    assert check(SZ, Board.MAIN, five, has_limits=False) is TypeFault.NO_LIMIT_TODAY
    assert check(SH, Board.MAIN, five, has_limits=False, protection=102_000) is None
    assert check(SZ, Board.MAIN, ExchangeOrderType.LIMIT, has_limits=False) is None


def test_bonds_are_offered_no_market_orders_and_nothing_before_the_rules():
    market = [one for one in ExchangeOrderType if one.kind is OrderKind.MARKET]
    for one in market:
        assert check(SH, Board.CONVERTIBLE, one, protection=1) is TypeFault.NOT_OFFERED
    limit = ExchangeOrderType.LIMIT
    assert check(SH, Board.MAIN, limit, day=date(2005, 1, 4)) is TypeFault.NOT_OFFERED
    assert len(TABLE.offered(SZ, Board.MAIN, DAY)) == 7


@pytest.mark.parametrize(
    ("price", "buying", "fits"),
    [(100, True, True), (99, True, False), (100, False, True), (101, False, False)],
)
def test_the_price_of_an_order_at_the_close(price, buying, fits):
    assert (check_after_hours_price(price, 100, buying=buying) is None) is fits
