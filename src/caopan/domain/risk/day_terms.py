"""What the dated tables say for one board on one day, looked up once.

Owns DayTerms and `day_terms`. Must never fill a gap: what a table does not cover is None, and the
rule that needs it refuses. Tests: tests/unit/domain/risk/test_day_terms.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TypeVar

from caopan.domain.market.order_types import OrderTypeRow
from caopan.domain.market.price_cage import CageRow
from caopan.domain.market.quantity import DailyBuyCapRow, QuantityRow
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.market.rules import MarketRules
from caopan.domain.market.surveillance import Figure
from caopan.domain.orders.order import OrderType
from caopan.kernel.errors import Denied

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class DayTerms:
    """The rules of one board on one day; None where the tables do not tell."""

    cage: CageRow | None
    order_types: Mapping[OrderType, OrderTypeRow] | None
    quantity: QuantityRow | None
    buy_cap: DailyBuyCapRow | None
    """None where there is no cap (`buy_cap_known`)."""
    buy_cap_known: bool
    hft_per_second: int | None
    """Orders and cancels in a second that make an account high-frequency; None before there was
    such a figure."""
    hft_per_day: int | None


@lru_cache(maxsize=1024)
def day_terms(rules: MarketRules, exchange: Exchange, board: Board, day: date) -> DayTerms:
    """Return the terms of `board` on `day`. Raises nothing: what is unknown is None."""
    offered = _known(lambda: rules.order_types.offered(exchange, board, day))
    cap_known, cap = True, None
    try:
        cap = rules.quantities.daily_buy_cap(exchange, day)
    except Denied:
        cap_known = False
    per_second = _known(lambda: rules.surveillance.figure(Figure.HFT_PER_SECOND, day))
    per_day = _known(lambda: rules.surveillance.figure(Figure.HFT_PER_DAY, day))
    return DayTerms(
        cage=_known(lambda: rules.cages.row(exchange, board, day)),
        order_types=None if offered is None else {row.order_type: row for row in offered},
        quantity=_known(lambda: rules.quantities.rule(exchange, board, day)),
        buy_cap=cap,
        buy_cap_known=cap_known,
        hft_per_second=None if per_second is None else int(per_second),
        hft_per_day=None if per_day is None else int(per_day),
    )


def _known(ask: Callable[[], _Found]) -> _Found | None:
    try:
        return ask()
    except Denied:
        return None
