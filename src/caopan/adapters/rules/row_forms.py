"""Short forms for writing dated rows down, so that a rule takes a line or two.

Owns no rule and no figure: own_rows.py holds them all. Tests: tests/unit/adapters/rules.
"""

from __future__ import annotations

from datetime import date
from typing import TypedDict, Unpack

from caopan.domain.market.price_cage import Beyond, CageRow
from caopan.domain.market.price_limits import LimitRow, LimitState
from caopan.domain.market.quantity import QuantityRow
from caopan.domain.market.reference import Board, Exchange
from caopan.kernel.money import rate


class Dated(TypedDict):
    """The fields every row has."""

    effective_from: date
    effective_to: date | None
    source: str
    confidence: str


def since(start: date, source: str, confidence: str, until: date | None = None) -> Dated:
    """Return them; `until` is the first day on which the row no longer holds."""
    return Dated(effective_from=start, effective_to=until, source=source, confidence=confidence)


def band(
    exchange: Exchange, board: Board, state: LimitState, share: str | None, **dated: Unpack[Dated]
) -> LimitRow:
    """Return a price limit of the same share up and down; None for no limit."""
    both = None if share is None else rate(share)
    return LimitRow(exchange=exchange, board=board, state=state, up=both, down=both, **dated)


def quantity(
    exchange: Exchange,
    board: Board,
    least: int,
    step: int,
    largest: tuple[int, int | None] | tuple[int, int | None, int | None],
    **dated: Unpack[Dated],
) -> QuantityRow:
    """Return a quantity rule; `largest` limit order, market order and order at the close."""
    _, market, at_close = (*largest, None)[:3]
    return QuantityRow(
        exchange=exchange,
        board=board,
        lot_size=least,
        min_buy_qty=least,
        qty_step=step,
        max_limit_qty=largest[0],
        max_market_qty=market,
        max_after_hours_qty=at_close,
        **dated,
    )


def cage(
    exchange: Exchange,
    board: Board,
    share: str | None,
    ticks: int,
    beyond: Beyond = Beyond.VOID,
    **dated: Unpack[Dated],
) -> CageRow:
    """Return a price cage; None for a board without one."""
    width = None if share is None else rate(share)
    return CageRow(exchange=exchange, board=board, share=width, ticks=ticks, beyond=beyond, **dated)
