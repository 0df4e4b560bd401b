"""The verdict each recorded action should get, worked out from the written rules alone.

The independent side: plain arithmetic on decimals, no code of the product. Rules as they stand from
2023-08-28 on for shares, with a reference to the section of the written rules each comes from
(market-rules.md; contracts.md where it says so).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise

from tests.integration.actor.recorded_runs import Case, Closes

FROM = date(2023, 8, 28)
FEN = Decimal("0.01")
UNREADABLE = "MODEL_PARSE_FAIL"


@dataclass(frozen=True)
class Verdict:
    """What became of a record: how it was read, and every reason of checker and gate."""

    read: str
    """order, no_op or MODEL_PARSE_FAIL."""
    checker: frozenset[str] = frozenset()
    gate: frozenset[str] = frozenset()

    @property
    def reasons(self) -> frozenset[str]:
        """Return all that stops it."""
        unread = {UNREADABLE} if self.read == UNREADABLE else set[str]()
        return self.checker | self.gate | unread


@dataclass(frozen=True)
class Board:
    """Section 1.1 (daily move) and section 3 (quantities)."""

    move: Decimal
    least: int
    step: int
    most: int


MAIN = Board(Decimal("0.10"), least=100, step=100, most=1_000_000)
CHINEXT = Board(Decimal("0.20"), least=100, step=100, most=300_000)
STAR = Board(Decimal("0.20"), least=200, step=1, most=100_000)
BEIJING = Board(Decimal("0.30"), least=100, step=1, most=1_000_000)
BOARDS: Mapping[str, Board] = {
    **{f"60{digit}.SH": MAIN for digit in range(10)},
    **{f"00{digit}.SZ": MAIN for digit in range(10)},
    **{f"30{digit}.SZ": CHINEXT for digit in range(10)},
    "688.SH": STAR,
    "689.SH": STAR,
    **{f"92{digit}.BJ": BEIJING for digit in range(10)},
}
"""By the first three digits and the exchange."""

COMMISSION, LEAST_COMMISSION, TRANSFER = Decimal("0.00025"), Decimal(5), Decimal("0.00001")
HOURS = ((time(9, 15), time(9, 25)), (time(9, 30), time(11, 30)), (time(13), time(15)))
"""Section 4: when a limit order is taken in, up to and excluding the end."""
SHENZHEN_HOURS = (*HOURS, (time(9, 25), time(9, 30)))
"""Shenzhen also takes in orders that wait for 9:30."""

NO_SHARE = frozenset({"RISK_RULES_UNKNOWN", "RISK_SESSION", "RISK_STALE_PRICE"})
"""What is no share is in no universe (contracts.md, Observation): of its rules, hours and price
nothing is told, and what is not known is refused."""


def board_of(symbol: str) -> Board | None:
    return BOARDS.get(f"{symbol[:3]}{symbol[6:]}")


def sellable(case: Case, symbol: str) -> int:
    """Section 6: what was held as the day began, less what has been sold of it since."""
    held = [(day, holdings.get(symbol, 0)) for day, holdings in case.past]
    begin = next(qty for day, qty in reversed(held) if day < case.record.day)
    sold = sum(
        max(before - after, 0)
        for (_, before), (day, after) in pairwise(held)
        if day == case.record.day
    )
    return max(begin - sold, 0)


def expected(case: Case, at: datetime, closes: Closes, sessions: AbstractSet[date]) -> Verdict:
    """Return the verdict on a record that is decided at `at`, exchange time."""
    record = case.record
    assert record.day >= FROM, "the rules are written down here as they stand since then"
    if record.action == "no_trade":
        return Verdict("no_op")
    if not _is_an_order(case):
        return Verdict(UNREADABLE)
    symbol, qty, price = str(record.symbol), int(record.amount or 0), record.price or Decimal(0)
    board = board_of(symbol)
    buys = record.action == "buy"
    found = _money(case, symbol, qty * price) if buys else _shares(case, symbol, qty)
    if board is None:
        return Verdict("order", frozenset({"CHECKER_RANGE"}), found | NO_SHARE)
    found |= _session(symbol, at, sessions)
    found |= _quantity(board, qty, buys, sellable(case, symbol))
    close = closes.before(symbol, record.day)
    found |= _price(board, price, close, buys)
    return Verdict("order", frozenset(), found)


def _is_an_order(case: Case) -> bool:
    """contracts.md, Decision: an order has a side, a symbol, whole shares and a price above 0."""
    record = case.record
    qty, price = record.amount or Decimal(0), record.price or Decimal(0)
    return (
        record.action in ("buy", "sell")
        and re.fullmatch(r"[0-9]{6}\.(SH|SZ|BJ)", record.symbol or "") is not None
        and qty == int(qty)
        and 1 <= qty <= 10_000_000
        and 0 < price < 10_000_000
    )


def _session(symbol: str, at: datetime, sessions: AbstractSet[date]) -> frozenset[str]:
    hours = SHENZHEN_HOURS if symbol.endswith("SZ") else HOURS
    is_open = any(start <= at.time() < end for start, end in hours)
    return frozenset() if is_open and at.date() in sessions else frozenset({"RISK_SESSION"})


def _quantity(board: Board, qty: int, buys: bool, has: int) -> frozenset[str]:
    """Section 3; one reason at a time, the largest order before the lot."""
    if qty > board.most:
        return frozenset({"RISK_MAX_ORDER_QTY"})
    if buys:
        fits = qty >= board.least and (qty - board.least) % board.step == 0
    elif has < board.least:
        fits = qty >= has  # what is left is sold at once; more than there is, is for section 6
    elif board.step == 1:
        fits = qty >= board.least
    else:
        fits = qty % board.least in (0, has % board.least)
    return frozenset() if fits else frozenset({"RISK_LOT_SIZE"})


def _shares(case: Case, symbol: str, qty: int) -> frozenset[str]:
    """Section 6: shares bought today are held, but not for sale."""
    if qty <= sellable(case, symbol):
        return frozenset()
    held = case.holdings.get(symbol, 0)
    return frozenset({"RISK_TPLUS1" if qty <= held else "RISK_NO_POSITION"})


def _money(case: Case, symbol: str, value: Decimal) -> frozenset[str]:
    """Section 6 with section 7; and the caps, of which 100 % of NAV is the loosest there is."""
    found = set[str]()
    commission = max((value * COMMISSION).quantize(FEN, ROUND_HALF_UP), LEAST_COMMISSION)
    if value + commission + (value * TRANSFER).quantize(FEN, ROUND_HALF_UP) > case.cash:
        found.add("RISK_INSUFFICIENT_CASH")
    worth = {name: qty * case.prices.get(name, Decimal(0)) for name, qty in case.holdings.items()}
    nav = case.cash + sum(worth.values())
    if sum(worth.values()) + value > nav:
        found.add("RISK_GROSS_CAP")
    if worth.get(symbol, Decimal(0)) + value > nav:
        found.add("RISK_POSITION_CAP")
    return frozenset(found)


def _price(board: Board, price: Decimal, close: Decimal | None, buys: bool) -> frozenset[str]:
    """Section 1.2 with the tick of section 3; buying at limit-up is refused by the policy."""
    found = set[str]()
    if price % FEN:
        found.add("RISK_TICK")
    if close is not None:
        up = max((close * (1 + board.move)).quantize(FEN, ROUND_HALF_UP), close + FEN)
        down = min((close * (1 - board.move)).quantize(FEN, ROUND_HALF_UP), close - FEN)
        if price > up or price < max(down, FEN) or (buys and price == up):
            found.add("RISK_PRICE_BAND")
    return frozenset(found)
