"""An account rebuilt from what `TradingAccount.export` told.

Owns the reading of that record, value by value. Must never go on with a record that contradicts
itself: it is refused by field. Tests: tests/unit/domain/matching/test_snapshot.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from caopan.domain.accounting.dividend_tax import DividendTaxTable, Income
from caopan.domain.accounting.holdings import Holding, LotState, Receivable
from caopan.domain.accounting.plain_record import PlainRecord
from caopan.domain.accounting.trading_account import TradingAccount

_LOT = ("bought_on", "free", "frozen", "cost")
_LOT_SIZES = (len(_LOT), len(_LOT) + 1, len(_LOT) + 2)
"""Untaxed income and the listing day follow where there are some."""


def rebuilt(
    state: Mapping[str, Any] | PlainRecord, dividend_tax: DividendTaxTable | None = None
) -> TradingAccount:
    """Return the account that `export` described; its reserves are given back by the exchange.

    Raises:
        CorruptState: SNAPSHOT_INVALID naming the field that is missing, or cannot be.
    """
    record = state if isinstance(state, PlainRecord) else PlainRecord(state, "record account")
    account = TradingAccount(0, record.day("today"), dividend_tax)
    account.cash_free = record.whole("cash_free", 0)
    account.cash_frozen = record.whole("cash_frozen", 0)
    for number, held in enumerate(record.listed("holdings")):
        holding = _holding(PlainRecord(held, f"{record.name}, holdings[{number}]"))
        if holding.symbol in account.holdings:
            record.refuse(f"holdings[{number}].symbol", holding.symbol, "stands there twice")
        account.holdings[holding.symbol] = holding
    if record.has("receivables"):
        for number, (day, symbol, cash) in enumerate(record.rows("receivables", 3)):
            where = f"receivables[{number}]"
            if not isinstance(symbol, str):
                record.refuse(where, symbol, "is no symbol")
            due = Receivable(record.as_day(where, day), symbol, record.as_whole(where, cash, 1))
            account.receivables.append(due)
    account.restore_unsettled()
    return account


def _holding(record: PlainRecord) -> Holding:
    symbol, sellable = record.text("symbol"), record.whole("sellable", 0)
    lots: list[LotState] = []
    seen: set[tuple[date, date | None]] = set()
    for number, values in enumerate(record.rows("lots", *_LOT_SIZES)):
        lot = _lot(record, f"lots[{number}]", values)
        if (lot.bought_on, lot.listed_on) in seen:
            record.refuse(f"lots[{number}]", values, "has the day of another lot")
        seen.add((lot.bought_on, lot.listed_on))
        lots.append(lot)
    holding = Holding(symbol, lots, sum(lot.qty for lot in lots), sellable)
    if sellable > holding.settled:
        record.refuse("sellable", sellable, f"is more than the {holding.settled} free shares")
    return holding


def _lot(record: PlainRecord, where: str, values: list[Any]) -> LotState:
    day, free, frozen, cost = values[: len(_LOT)]
    lot = LotState(
        record.as_day(where, day),
        record.as_whole(where, free),
        record.as_whole(where, frozen),
        record.as_whole(where, cost),
    )
    earned: object = values[4] if len(values) > len(_LOT) else []
    inner = PlainRecord({"untaxed": earned}, f"{record.name}, {where}")
    lot.untaxed = tuple(
        Income(inner.as_day("untaxed", on), inner.as_share("untaxed", share))
        for on, share in inner.rows("untaxed", 2)
    )
    if len(values) == _LOT_SIZES[-1]:
        lot.listed_on = record.as_day(where, values[-1])
        if lot.frozen:
            record.refuse(where, values, "is not listed, and yet an order holds of it")
    return lot
