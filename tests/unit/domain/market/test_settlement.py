"""T+1 and T+0: by kind of security and date, and what of a holding may go."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.reference import Board, Exchange, FundKind
from caopan.domain.market.settlement import SellFault, check_sale, sellable
from caopan.kernel.errors import Denied

TABLE = load_rules().market.settlement
DAY = date(2026, 11, 20)
SH, SZ, BJ = Exchange
shares = st.integers(0, 10**6)


@pytest.mark.parametrize(
    ("exchange", "board", "kind", "day", "days"),
    [
        (SH, Board.MAIN, None, DAY, 1),
        (BJ, Board.BSE, None, DAY, 1),
        (SH, Board.ETF, FundKind.EQUITY, DAY, 1),
        (SH, Board.ETF20, None, DAY, 1),
        (SH, Board.ETF, FundKind.GOLD, DAY, 0),
        (SZ, Board.ETF, FundKind.CROSSBORDER, date(2015, 1, 16), 1),
        (SZ, Board.ETF, FundKind.CROSSBORDER, date(2015, 1, 19), 0),
        (SZ, Board.ETF, FundKind.COMMODITY, date(2019, 1, 10), 1),
        (SZ, Board.ETF, FundKind.COMMODITY, date(2019, 1, 11), 0),
        (SH, Board.ETF, FundKind.COMMODITY, date(2020, 1, 17), 1),
        (SH, Board.ETF, FundKind.COMMODITY, date(2020, 1, 20), 0),
        (SH, Board.CONVERTIBLE, None, DAY, 0),
    ],
)
def test_how_long_a_purchase_is_held(exchange, board, kind, day, days):
    assert TABLE.row(exchange, board, kind, day).holding_days == days


@pytest.mark.parametrize(
    ("board", "kind", "day", "missing"),
    [
        (Board.ETF, None, DAY, "kind of the fund"),
        # The day in 2013 on which bond funds became T+0 has no source.
        (Board.ETF, FundKind.BOND, date(2014, 6, 3), "bond fund"),
        (Board.MAIN, None, date(1994, 12, 30), "stock"),
    ],
)
def test_what_is_not_known_is_refused_by_name(board, kind, day, missing):
    with pytest.raises(Denied, match=missing) as caught:
        TABLE.row(SH, board, kind, day)
    assert caught.value.code == "RISK_RULES_UNKNOWN"


@given(shares, shares, shares, st.sampled_from((0, 1)), shares)
def test_what_is_sellable_may_be_sold_and_no_share_more(settled, today, frozen, days, more):
    most = sellable(settled, today, frozen, days)
    assert check_sale(most, settled, today, frozen, days) is None
    assert check_sale(most + 1 + more, settled, today, frozen, days) is not None
    assert most <= settled + today


def test_the_reason_tells_bought_today_from_not_held():
    assert check_sale(400, 300, 500, 0, 1) is SellFault.NOT_SETTLED
    assert check_sale(900, 300, 500, 0, 1) is SellFault.NOT_HELD
    assert check_sale(300, 300, 0, 100, 1) is SellFault.NOT_HELD
    assert check_sale(800, 300, 500, 0, 0) is None
