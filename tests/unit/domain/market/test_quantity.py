"""Order quantities: lots, steps, odd lots, largest orders."""

from dataclasses import replace
from datetime import date

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.phases import OrderKind
from caopan.domain.market.quantity import QuantityFault, check_daily_buy, check_quantity
from caopan.domain.market.reference import Board, Exchange, Reference, TradingStatus
from caopan.kernel.errors import Denied

DAY = date(2026, 11, 20)


def reference(exchange, board, day=DAY):
    rule = load_rules().market.quantities.rule(exchange, board, day)
    return Reference(
        symbol="600519.SH",
        day=day,
        board=board,
        pre_close=100_000,
        limit_up=110_000,
        limit_down=90_000,
        limits_known=True,
        tick_size=100,
        lot_size=rule.lot_size,
        min_buy_qty=rule.min_buy_qty,
        qty_step=rule.qty_step,
        max_limit_qty=rule.max_limit_qty,
        t_plus_one=True,
        trading_status=TradingStatus.NORMAL,
        is_st=False,
        listing_day_index=None,
        action=None,
        max_market_qty=rule.max_market_qty,
    )


MAIN = reference(Exchange.SH, Board.MAIN)
CHINEXT = reference(Exchange.SZ, Board.CHINEXT)
STAR = reference(Exchange.SH, Board.STAR)
BSE = reference(Exchange.BJ, Board.BSE)


@pytest.mark.parametrize(
    ("board", "qty", "code"),
    [
        (MAIN, 100, None),
        (MAIN, 150, "RISK_LOT_SIZE"),
        (MAIN, 99, "RISK_LOT_SIZE"),
        (MAIN, 0, "RISK_LOT_SIZE"),
        (MAIN, -100, "RISK_LOT_SIZE"),
        (MAIN, 1_000_000, None),
        (MAIN, 1_000_100, "RISK_MAX_ORDER_QTY"),
        (CHINEXT, 300_000, None),
        (CHINEXT, 300_100, "RISK_MAX_ORDER_QTY"),
        (STAR, 199, "RISK_LOT_SIZE"),
        (STAR, 200, None),
        (STAR, 201, None),
        (STAR, 100_001, "RISK_MAX_ORDER_QTY"),
        (BSE, 99, "RISK_LOT_SIZE"),
        (BSE, 101, None),
    ],
)
def test_buy_quantities(board, qty, code):
    found = check_quantity(board, qty, selling=False)
    assert (found and found.code) == code
    assert found is None or (found.detail and found.limit > 0)


@pytest.mark.parametrize(
    ("board", "qty", "sellable", "code"),
    [
        (MAIN, 100, 250, None),
        (MAIN, 150, 250, None),
        (MAIN, 250, 250, None),
        (MAIN, 50, 250, None),
        (MAIN, 120, 250, "RISK_LOT_SIZE"),
        (MAIN, 30, 50, "RISK_LOT_SIZE"),
        (MAIN, 50, 50, None),
        (STAR, 100, 150, "RISK_LOT_SIZE"),
        (STAR, 150, 150, None),
        (STAR, 150, 500, "RISK_LOT_SIZE"),
        (STAR, 299, 500, None),
        (BSE, 50, 50, None),
        (BSE, 50, 150, "RISK_LOT_SIZE"),
        (BSE, 101, 150, None),
        # More than is sellable is the position check's to refuse.
        (MAIN, 300, 0, None),
    ],
)
def test_sell_quantities(board, qty, sellable, code):
    found = check_quantity(board, qty, selling=True, sellable=sellable)
    assert (found and found.code) == code


@pytest.mark.parametrize(
    ("reference", "qty", "code"),
    [
        (STAR, 50_000, None),
        (STAR, 50_001, "RISK_MAX_ORDER_QTY"),
        (replace(STAR, max_market_qty=None), 200, "RISK_MAX_ORDER_QTY"),
    ],
)
def test_market_orders_have_their_own_ceiling(reference, qty, code):
    found = check_quantity(reference, qty, selling=False, market_order=True)
    assert (found and found.code) == code


def test_chinext_kept_the_general_ceiling_before_its_reform():
    before = reference(Exchange.SZ, Board.CHINEXT, date(2020, 8, 21))
    assert before.max_limit_qty == 1_000_000
    assert CHINEXT.max_limit_qty == 300_000


def test_a_day_the_table_does_not_cover_is_refused():
    with pytest.raises(Denied, match="RISK_RULES_UNKNOWN"):
        reference(Exchange.SH, Board.STAR, date(2019, 7, 19))


@pytest.mark.parametrize(
    ("day", "exchange", "bought", "qty", "refused"),
    [
        (DAY, Exchange.SH, 0, 500_000, False),
        (DAY, Exchange.SH, 0, 500_100, True),
        (DAY, Exchange.SZ, 500_000, 100, True),
        (date(2020, 12, 30), Exchange.SZ, 500_000, 100, False),
    ],
)
def test_the_daily_cap_on_risk_warning_shares(day, exchange, bought, qty, refused):
    cap = load_rules().market.quantities.daily_buy_cap(exchange, day)
    assert (check_daily_buy(cap, qty, bought) is not None) is refused


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        (OrderKind.LIMIT, 100_000),
        (OrderKind.MARKET, 50_000),
        (OrderKind.AFTER_HOURS_FIXED, 1_000_000),
    ],
)
def test_the_largest_order_depends_on_its_kind(kind, most):
    rule = load_rules().market.quantities.rule(Exchange.SH, Board.STAR, DAY)
    assert rule.largest(kind) == most
    assert check_quantity(rule, most, selling=False, most=rule.largest(kind)) is None
    over = check_quantity(rule, most + 1, selling=False, most=rule.largest(kind))
    assert over
    assert over.fault is QuantityFault.TOO_LARGE


def test_a_split_odd_lot_is_told_from_a_wrong_lot():
    split = check_quantity(MAIN, 120, selling=True, sellable=250)
    assert split
    assert split.fault is QuantityFault.ODD_LOT_SPLIT
    wrong = check_quantity(STAR, 150, selling=True, sellable=500)
    assert wrong
    assert wrong.fault is QuantityFault.NOT_A_LOT
