"""Symbols: how a security is named, and which exchange and board its code belongs to.

Owns the code ranges of Shanghai, Shenzhen and Beijing. Must never guess: a code outside the known
ranges is refused, and what a fund holds is told by whoever knows it, not by its code. Tests:
tests/unit/domain/market/test_symbols.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from caopan.domain.market.reference import Board, Exchange, FundKind, Instrument
from caopan.kernel.errors import ConfigInvalid

SYMBOL_INVALID = "SYMBOL_INVALID"


@dataclass(frozen=True, slots=True)
class Listing:
    """Where a share is listed, as its code tells."""

    symbol: str
    code: str
    exchange: Exchange
    board: Board


_SHARES: tuple[tuple[Exchange, str, Board], ...] = (
    (Exchange.SH, "60", Board.MAIN),
    (Exchange.SH, "688", Board.STAR),
    # Depositary receipts trade by the rules of the STAR market.
    (Exchange.SH, "689", Board.STAR),
    (Exchange.SZ, "00", Board.MAIN),
    # 300, 301 and 302 are in use.
    (Exchange.SZ, "30", Board.CHINEXT),
    (Exchange.BJ, "92", Board.BSE),
    # Codes of Beijing shares until they were exchanged for 920xxx (around 2025-10-09).
    (Exchange.BJ, "43", Board.BSE),
    (Exchange.BJ, "83", Board.BSE),
    (Exchange.BJ, "87", Board.BSE),
)

_NOT_SHARES: tuple[tuple[Exchange, str, str], ...] = (
    (Exchange.SH, "900", "a B share (B股)"),
    (Exchange.SZ, "200", "a B share (B股)"),
    (Exchange.SH, "000", "an index (指数)"),
    (Exchange.SZ, "399", "an index (指数)"),
    (Exchange.BJ, "899", "an index (指数)"),
    (Exchange.SH, "5", "a fund or ETF (基金)"),
    (Exchange.SZ, "15", "a fund or ETF (基金)"),
    (Exchange.SZ, "16", "a fund or ETF (基金)"),
    (Exchange.SZ, "18", "a fund or REIT (基金)"),
    (Exchange.SH, "11", "a convertible bond (可转债)"),
    (Exchange.SZ, "12", "a convertible bond (可转债)"),
    (Exchange.SH, "204", "a repo (回购)"),
    (Exchange.SZ, "131", "a repo (回购)"),
    (Exchange.SH, "01", "a bond (债券)"),
    (Exchange.SH, "02", "a bond (债券)"),
    (Exchange.SZ, "10", "a bond (债券)"),
    (Exchange.SZ, "11", "a bond (债券)"),
    (Exchange.BJ, "82", "a preference share (优先股)"),
)

_CANONICAL = re.compile(r"(\d{6})\.(SH|SZ|BJ)")
_VENDOR_SUFFIX = re.compile(r"(\d{6})\.([A-Z]{2,4})")
_VENDOR_PREFIX = re.compile(r"([A-Z]{2})\.?(\d{6})")
_VENDOR_EXCHANGES = {
    "SH": Exchange.SH,
    "SS": Exchange.SH,
    "XSHG": Exchange.SH,
    "SZ": Exchange.SZ,
    "XSHE": Exchange.SZ,
    "BJ": Exchange.BJ,
    "BSE": Exchange.BJ,
    "BJSE": Exchange.BJ,
}


_FUNDS_AND_BONDS: tuple[tuple[Exchange, str, Board | None], ...] = (
    (Exchange.SH, "508", Board.REIT),
    # STAR-market funds: their holdings may move 20 %.
    (Exchange.SH, "588", Board.ETF20),
    (Exchange.SH, "589", Board.ETF20),
    # Other funds: the code does not tell whether 10 % or 20 %.
    (Exchange.SH, "50", None),
    (Exchange.SH, "51", None),
    (Exchange.SH, "52", None),
    (Exchange.SH, "53", None),
    (Exchange.SH, "55", None),
    (Exchange.SH, "56", None),
    (Exchange.SH, "58", None),
    (Exchange.SZ, "180", Board.REIT),
    (Exchange.SZ, "15", None),
    (Exchange.SZ, "16", None),
    (Exchange.SZ, "184", None),
    (Exchange.SH, "110", Board.CONVERTIBLE),
    (Exchange.SH, "111", Board.CONVERTIBLE),
    (Exchange.SH, "113", Board.CONVERTIBLE),
    (Exchange.SH, "118", Board.CONVERTIBLE),
    (Exchange.SZ, "123", Board.CONVERTIBLE),
    (Exchange.SZ, "127", Board.CONVERTIBLE),
    (Exchange.SZ, "128", Board.CONVERTIBLE),
)


@dataclass(frozen=True, slots=True)
class Security:
    """A listing of any kind whose rules are known, with what its code alone does not tell."""

    listing: Listing
    fund_kind: FundKind | None
    """None for everything that is no fund, and for a fund whose kind was not given."""

    @property
    def instrument(self) -> Instrument:
        """Return the kind of security."""
        return self.listing.board.instrument


def parse_security(
    symbol: str, *, board: Board | None = None, fund_kind: FundKind | None = None
) -> Security:
    """Return what `symbol` names: a share, a fund, a REIT or a convertible bond.

    Whether a fund moves 10 % (`Board.ETF`) or 20 % (`Board.ETF20`) is given as `board`, unless its
    code tells it.

    Raises:
        ConfigInvalid: SYMBOL_INVALID as `parse_symbol`; SECURITY_KIND if the code leaves the board
            open and none is given, or if what is given contradicts the code.
    """
    match = _CANONICAL.fullmatch(symbol)
    told = None if match is None else _fund_or_bond(match[1], Exchange(match[2]))
    if match is None or told is None:
        listing = parse_symbol(symbol)
        told = listing.board
    else:
        by_code = told if isinstance(told, Board) else board
        if by_code is None:
            raise ConfigInvalid(
                "SECURITY_KIND",
                f"symbol {symbol!r} is a fund; its code does not tell if it moves 10 % or 20 %",
                remedy="give its board: etf (10 %) or etf20 (20 %)",
            )
        listing = Listing(symbol, match[1], Exchange(match[2]), by_code)
    wrong_board = board is not None and board is not listing.board
    if wrong_board or (told is _OPEN and listing.board.instrument is not Instrument.FUND):
        raise ConfigInvalid(
            "SECURITY_KIND",
            f"symbol {symbol!r} is of the board"
            f" {'etf or etf20' if told is _OPEN else listing.board}, not {board}",
            remedy="leave the board away, or give the one its code belongs to",
        )
    if fund_kind is not None and listing.board.instrument is not Instrument.FUND:
        raise ConfigInvalid(
            "SECURITY_KIND",
            f"symbol {symbol!r} is no fund, so it has no fund kind ({fund_kind} is given)",
            remedy="leave the fund kind away",
        )
    return Security(listing, fund_kind)


def is_fund_code(symbol: str) -> bool:
    """Return whether `symbol` is a fund whose board its code leaves open."""
    match = _CANONICAL.fullmatch(symbol)
    return match is not None and _fund_or_bond(match[1], Exchange(match[2])) is _OPEN


def instrument_of(symbol: str) -> Instrument:
    """Return the kind of security a code in canonical form names; it decides what a trade costs.

    Whatever is no known fund, REIT or convertible bond counts as a share: shares pay the most.
    """
    match = _CANONICAL.fullmatch(symbol)
    told = None if match is None else _fund_or_bond(match[1], Exchange(match[2]))
    if told is None:
        return Instrument.STOCK
    return told.instrument if isinstance(told, Board) else Instrument.FUND


class _Open:
    """Stands for a fund whose board its code leaves open."""


_OPEN = _Open()


def _fund_or_bond(code: str, exchange: Exchange) -> Board | _Open | None:
    for known, prefix, board in _FUNDS_AND_BONDS:
        if known is exchange and code.startswith(prefix):
            return _OPEN if board is None else board
    return None


@lru_cache(maxsize=16_384)
def parse_symbol(symbol: str) -> Listing:
    """Return where `symbol` (such as "600519.SH") is listed.

    Raises:
        ConfigInvalid: SYMBOL_INVALID if it is not written so, if its code belongs to the other
            exchange, or if it names something other than an A share; nothing can be traded by it.
    """
    match = _CANONICAL.fullmatch(symbol)
    if match is None:
        raise ConfigInvalid(
            SYMBOL_INVALID,
            f"symbol {symbol!r} is not six digits, a dot and SH, SZ or BJ",
            remedy='write it as "600519.SH"',
        )
    code, exchange = match[1], Exchange(match[2])
    for known, prefix, board in _SHARES:
        if known is exchange and code.startswith(prefix):
            return Listing(symbol, code, exchange, board)
    raise ConfigInvalid(
        SYMBOL_INVALID, f"symbol {symbol!r} {_what_it_is(code, exchange)}", remedy=_remedy(code)
    )


def canonical_symbol(text: str) -> str:
    """Return the symbol for how a vendor writes it: sh.600519, 600519.XSHG, SH600519, 600519.

    Raises:
        ConfigInvalid: SYMBOL_INVALID if it cannot be read as an A share.
    """
    upper = text.strip().upper()
    if _CANONICAL.fullmatch(upper):
        return parse_symbol(upper).symbol
    if match := _VENDOR_SUFFIX.fullmatch(upper):
        code, place = match[1], _VENDOR_EXCHANGES.get(match[2])
    elif match := _VENDOR_PREFIX.fullmatch(upper):
        code, place = match[2], _VENDOR_EXCHANGES.get(match[1])
    else:
        code, place = upper, _exchange_of_code(upper)
    if place is None:
        # Neither form: the strict parser words the refusal.
        return parse_symbol(text).symbol
    return parse_symbol(f"{code}.{place}").symbol


def _exchange_of_code(code: str) -> Exchange | None:
    if not re.fullmatch(r"\d{6}", code):
        return None
    return next((place for place, prefix, _ in _SHARES if code.startswith(prefix)), None)


def _what_it_is(code: str, exchange: Exchange) -> str:
    for known, prefix, what in _NOT_SHARES:
        if known is exchange and code.startswith(prefix):
            return f"is {what}; only A shares can be traded here"
    elsewhere = _exchange_of_code(code)
    if elsewhere is not None:
        return f"has a code of the exchange {elsewhere}"
    return "has a code in no known range of A shares"


def _remedy(code: str) -> str:
    elsewhere = _exchange_of_code(code)
    if elsewhere is not None:
        return f'if the share is meant, write it as "{code}.{elsewhere}"'
    return (
        "use a code of the main boards (60, 00), ChiNext (30), STAR (688, 689) or Beijing "
        "(920; formerly 43, 83, 87)"
    )
