"""What the dated tables say of one board on one day: what they do not tell stays unknown."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from fractions import Fraction

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.order_types import OrderTypeTable
from caopan.domain.market.price_cage import CageTable
from caopan.domain.market.quantity import QuantityTable
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.orders.order import OrderType
from caopan.domain.risk.day_terms import day_terms

RULES = load_rules().market
PLACES = [
    (Exchange.SH, Board.MAIN),
    (Exchange.SH, Board.STAR),
    (Exchange.SZ, Board.CHINEXT),
    (Exchange.BJ, Board.BSE),
]
BEFORE, FROM = date(2025, 7, 4), date(2025, 7, 7)
"""The last session before, and the first of, the figures of programme trading."""


@pytest.mark.parametrize(("exchange", "board"), PLACES)
def test_what_the_tables_say_is_told_as_it_is(exchange, board):
    terms = day_terms(RULES, exchange, board, FROM)
    assert terms.cage == RULES.cages.row(exchange, board, FROM)
    assert terms.quantity == RULES.quantities.rule(exchange, board, FROM)
    assert terms.buy_cap == RULES.quantities.daily_buy_cap(exchange, FROM)
    assert terms.buy_cap_known
    assert terms.order_types is not None
    assert OrderType.LIMIT in terms.order_types
    assert all(row.order_type is kind for kind, row in terms.order_types.items())


def test_the_figures_of_programme_trading_are_told_from_their_first_day():
    told = [day_terms(RULES, Exchange.SH, Board.MAIN, day) for day in (BEFORE, FROM)]
    assert [(one.hft_per_second, one.hft_per_day) for one in told] == [(None, None), (300, 20_000)]


def test_the_cage_is_that_of_the_day():
    changed = date(2023, 4, 10)
    before, after = (
        day_terms(RULES, Exchange.SH, Board.MAIN, day).cage for day in (date(2023, 4, 7), changed)
    )
    assert before is None or before.share is None
    assert after is not None
    assert after.share == Fraction(2, 100)


def test_what_no_table_covers_is_unknown_and_not_free():
    bare = replace(
        RULES, cages=CageTable(()), order_types=OrderTypeTable(()), quantities=QuantityTable(())
    )
    terms = day_terms(bare, Exchange.SH, Board.MAIN, FROM)
    assert (terms.cage, terms.quantity) == (None, None)
    assert not terms.order_types  # none is offered: every type but a limit order is refused
