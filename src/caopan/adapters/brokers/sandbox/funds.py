"""What a person does to a sandbox account outside the market: money in and out, shares brought in.

Owns the changes themselves and their form in the venue's journal. Must never touch what an order
holds back. Tests: tests/unit/adapters/brokers/test_sandbox_funds.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from caopan.adapters.brokers.sandbox.register import BROUGHT_IN, DEPOSIT
from caopan.application.ports.broker import VenueMovement
from caopan.domain.accounting.bookings import BroughtLot
from caopan.domain.accounting.holdings import Holding, LotState
from caopan.domain.accounting.trading_account import TradingAccount
from caopan.domain.market.reference import Exchange
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units, yuan


def cash_body(key: str, cash: int) -> dict[str, Any]:
    """Return the journal's body of money in or out.

    Raises:
        ConfigInvalid: CASH_INVALID if it is not more than nothing.
    """
    if cash <= 0:
        raise ConfigInvalid(
            "CASH_INVALID", f"cash {yuan(cash)} is not above 0", remedy="name an amount above 0"
        )
    return {"key": key, "cash": yuan(cash)}


def lots_body(key: str, lots: Sequence[BroughtLot], today: date) -> dict[str, Any]:
    """Return the journal's body of lots brought in, oldest first.

    Raises:
        ConfigInvalid: HOLDINGS_INVALID naming the lot and what is wrong with it.
    """
    for lot in lots:
        wrong = (
            (lot.qty <= 0 and f"qty {lot.qty} is not above 0")
            or (lot.cost < 0 and f"cost {yuan(lot.cost)} is below 0")
            or (lot.bought_on > today and f"bought_on {lot.bought_on} lies after {today}")
            or (lot.symbol[-3:-2] != "." and "a symbol is written as 600519.SH")
            or (lot.symbol[-2:] not in tuple(Exchange) and f"{lot.symbol[-2:]} is no exchange")
        )
        if wrong:
            raise ConfigInvalid("HOLDINGS_INVALID", f"{lot.symbol}: {wrong}")
    ordered = sorted(lots, key=lambda lot: (lot.symbol, lot.bought_on))
    return {
        "key": key,
        "lots": [[one.symbol, one.qty, yuan(one.cost), str(one.bought_on)] for one in ordered],
    }


def told(kind: str, at: datetime, body: Mapping[str, Any]) -> VenueMovement:
    """Return one such event as the counter's statement shows it."""
    if kind == BROUGHT_IN:
        lots = tuple(
            BroughtLot(symbol, int(qty), units(cost), date.fromisoformat(bought_on))
            for symbol, qty, cost, bought_on in body["lots"]
        )
        return VenueMovement(str(body["key"]), 0, at, lots)
    cash = units(body["cash"])
    return VenueMovement(str(body["key"]), cash if kind == DEPOSIT else -cash, at)


def change(account: TradingAccount, kind: str, body: Mapping[str, Any]) -> None:
    """Apply one such event to the account."""
    if kind == BROUGHT_IN:
        for symbol, qty, cost, bought_on in body["lots"]:
            _bring_in(account, symbol, int(qty), units(cost), date.fromisoformat(bought_on))
    else:
        cash = units(body["cash"])
        account.cash_free += cash if kind == DEPOSIT else -cash


def _bring_in(account: TradingAccount, symbol: str, qty: int, cost: int, day: date) -> None:
    holding = account.holdings.setdefault(symbol, Holding(symbol))
    lot = next((lot for lot in holding.lots if (lot.bought_on, lot.listed_on) == (day, None)), None)
    if lot is None:
        later = (i for i, one in enumerate(holding.lots) if one.bought_on > day)
        holding.lots.insert(next(later, len(holding.lots)), LotState(day, qty, 0, cost))
    else:
        lot.add(qty, cost)
    holding.qty += qty
    if day < account.today:
        holding.sellable += qty
    elif all(one is not holding for one in account.unsettled):
        account.unsettled.append(holding)
