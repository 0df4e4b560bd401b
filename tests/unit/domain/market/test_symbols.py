"""Symbols: code ranges to exchange and board, and clear refusals."""

import pytest

from caopan.domain.market.reference import Board, Exchange, FundKind, Instrument
from caopan.domain.market.symbols import (
    canonical_symbol,
    instrument_of,
    parse_security,
    parse_symbol,
)
from caopan.kernel.errors import ConfigInvalid


@pytest.mark.parametrize(
    ("symbol", "exchange", "board"),
    [
        ("600519.SH", Exchange.SH, Board.MAIN),
        ("601398.SH", Exchange.SH, Board.MAIN),
        ("605499.SH", Exchange.SH, Board.MAIN),
        ("688981.SH", Exchange.SH, Board.STAR),
        ("689009.SH", Exchange.SH, Board.STAR),
        ("000001.SZ", Exchange.SZ, Board.MAIN),
        ("002594.SZ", Exchange.SZ, Board.MAIN),
        ("003816.SZ", Exchange.SZ, Board.MAIN),
        ("300750.SZ", Exchange.SZ, Board.CHINEXT),
        ("301269.SZ", Exchange.SZ, Board.CHINEXT),
        ("302132.SZ", Exchange.SZ, Board.CHINEXT),
        ("920047.BJ", Exchange.BJ, Board.BSE),
        ("430047.BJ", Exchange.BJ, Board.BSE),
        ("835185.BJ", Exchange.BJ, Board.BSE),
        ("871981.BJ", Exchange.BJ, Board.BSE),
    ],
)
def test_a_share_code_tells_exchange_and_board(symbol, exchange, board):
    listing = parse_symbol(symbol)
    assert (listing.symbol, listing.exchange, listing.board) == (symbol, exchange, board)
    assert listing.code == symbol[:6]


@pytest.mark.parametrize(
    ("symbol", "says"),
    [
        ("900901.SH", "B share"),
        ("200002.SZ", "B share"),
        ("510300.SH", "fund"),
        ("159915.SZ", "fund"),
        ("113050.SH", "convertible"),
        ("127045.SZ", "convertible"),
        ("000300.SH", "index"),
        ("399006.SZ", "index"),
        ("899050.BJ", "index"),
        ("204001.SH", "repo"),
        ("600519.SZ", "exchange SH"),
        ("000001.BJ", "exchange SZ"),
        ("777777.SH", "no known range"),
        ("600519", "six digits"),
        ("60051.SH", "six digits"),
        ("600519.sh", "six digits"),
        ("", "six digits"),
        ("６００５１９.SH", "no known range"),
    ],
)
def test_anything_else_is_refused_by_name(symbol, says):
    with pytest.raises(ConfigInvalid) as caught:
        parse_symbol(symbol)
    assert caught.value.code == "SYMBOL_INVALID"
    assert repr(symbol) in caught.value.message
    assert says in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    "text",
    ["600519.SH", "600519.sh", "sh.600519", "SH600519", "600519.XSHG", "600519.SS", " 600519 "],
)
def test_vendor_spellings_mean_the_same_symbol(text):
    assert canonical_symbol(text) == "600519.SH"


@pytest.mark.parametrize("text", ["600519.XHKG", "HK00700", "AAPL", "60519", "510300"])
def test_a_vendor_spelling_of_no_a_share_is_refused(text):
    with pytest.raises(ConfigInvalid, match="SYMBOL_INVALID"):
        canonical_symbol(text)


@pytest.mark.parametrize(
    ("symbol", "given_board", "board"),
    [
        ("600519.SH", None, Board.MAIN),
        ("510300.SH", Board.ETF, Board.ETF),
        ("159915.SZ", Board.ETF20, Board.ETF20),
        ("588000.SH", None, Board.ETF20),
        ("508000.SH", None, Board.REIT),
        ("180101.SZ", None, Board.REIT),
        ("113050.SH", None, Board.CONVERTIBLE),
        ("123120.SZ", None, Board.CONVERTIBLE),
    ],
)
def test_funds_and_bonds_are_told_by_code_or_by_whoever_knows(symbol, given_board, board):
    found = parse_security(symbol, board=given_board)
    assert found.listing.board is board
    assert found.instrument is board.instrument is instrument_of(symbol)


@pytest.mark.parametrize("symbol", ["900901.SH", "204001.SH", "777777.SH", "920047.BJ", "AAPL", ""])
def test_what_is_no_known_fund_or_bond_pays_as_a_share_does(symbol):
    assert instrument_of(symbol) is Instrument.STOCK


@pytest.mark.parametrize(
    ("symbol", "board", "kind", "says"),
    [
        ("510300.SH", None, None, "10 % or 20 %"),
        ("510300.SH", Board.MAIN, None, "etf or etf20"),
        ("588000.SH", Board.ETF, None, "etf20, not etf"),
        ("600519.SH", Board.STAR, None, "main, not star"),
        ("600519.SH", None, FundKind.GOLD, "no fund"),
    ],
)
def test_what_contradicts_the_code_or_is_missing_is_refused(symbol, board, kind, says):
    with pytest.raises(ConfigInvalid, match=says) as caught:
        parse_security(symbol, board=board, fund_kind=kind)
    assert caught.value.code == "SECURITY_KIND"
