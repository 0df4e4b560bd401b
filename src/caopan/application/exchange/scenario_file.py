"""The format of scenarios: securities, bars, corporate actions and orders, read and checked.

Owns Scenario and `read_scenario`. Must never repair an input: a field that is missing or
contradicts another is refused by name. Tests: tests/integration/exchange/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from caopan.application.exchange.scenario_actions import Action, read_actions
from caopan.application.exchange.scenario_values import (
    Row,
    as_day,
    as_list,
    as_object,
    as_rate,
    as_rows,
    as_symbol,
    field,
    refuse,
)
from caopan.domain.accounting.fee_terms import EXACT_STEP, FeeTerms
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.bars import read_count, read_price
from caopan.domain.matching.choice import POLICIES, policy_named
from caopan.domain.matching.engine import ExchangeTerms
from caopan.domain.matching.terms import CLOSE_MS, OPENING_PRINT_MS, Bar, DayQuote, SecurityTerms
from caopan.domain.orders.order import Side
from caopan.kernel.money import UNITS_PER_FEN

_TICK = 100
_LOT = 100
_NO_CEILING = 1 << 40
"""Scenarios know no largest order."""
_BAR_FIELDS = ("date", "open", "high", "low", "close", "volume", "limit_up", "limit_down")
_ROUNDING = {"none": EXACT_STEP, "fen": UNITS_PER_FEN}
_MARKET_FREEZE = ("close", "limit_up")


@dataclass(frozen=True, slots=True)
class ScenarioOrder:
    """One order of a scenario; price in units, None for a market order."""

    number: int
    day: date
    symbol: str
    side: Side
    qty: int
    price: int | None


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole scenario, read and checked."""

    cash: int
    fees: FeeTerms
    terms: ExchangeTerms
    securities: tuple[SecurityTerms, ...]
    days: tuple[date, ...]
    bars: Mapping[date, Sequence[tuple[DayQuote, Bar]]]
    actions: Mapping[date, Sequence[Action]]
    orders: Mapping[date, Sequence[ScenarioOrder]]
    numbers: tuple[int, ...]
    """Every order's number, in order."""
    taxes_dividends: bool
    """Whether sales owe dividend tax by how long the shares were held."""


def read_scenario(document: object) -> Scenario:
    """Return the scenario in a JSON document whose decimals were parsed as Decimal.

    Raises:
        ConfigInvalid: SCENARIO_INVALID or BARS_INVALID naming the field (and row) at fault.
    """
    top = as_object(document, "scenario")
    securities = tuple(
        _security(as_object(row, f"securities[{i}]"), f"securities[{i}]")
        for i, row in enumerate(as_list(top, "securities", "scenario"))
    )
    known = {one.symbol for one in securities}
    if len(known) < len(securities):
        refuse("securities", "a symbol stands there twice")
    bars = _bars(as_object(field(top, "bars", "scenario"), "bars"), known)
    days = tuple(sorted(bars))
    traded: dict[str, list[date]] = {symbol: [] for symbol in known}
    for day in days:
        for quote, _ in bars[day]:
            traded[quote.symbol].append(day)
    orders: dict[date, list[ScenarioOrder]] = {}
    numbers: set[int] = set()
    for i, row in enumerate(as_list(top, "orders", "scenario")):
        order = _order(as_object(row, f"orders[{i}]"), f"orders[{i}]", known)
        if order.number in numbers:
            refuse(f"orders[{i}].n", f"{order.number} was given before")
        numbers.add(order.number)
        orders.setdefault(order.day, []).append(order)
    for placed in orders.values():
        placed.sort(key=lambda order: order.number)
    matching = as_object(field(top, "matching", "scenario"), "matching")
    return Scenario(
        cash=read_price(as_object(field(top, "account", "scenario"), "account"), "cash", "account"),
        fees=_fees(as_object(field(top, "fees", "scenario"), "fees")),
        terms=_terms(matching),
        securities=securities,
        days=days,
        bars=bars,
        actions=read_actions(as_list(top, "corporate_actions", "scenario"), traded, days),
        orders=orders,
        numbers=tuple(sorted(numbers)),
        taxes_dividends=matching["dividend_tax"],
    )


def _fee_rate(row: Row, name: str) -> Fraction:
    found = as_rate(row, name, "fees")
    if found >= 1:
        refuse(f"fees.{name}", f"{row[name]!r} would take the whole amount; write 0.00025")
    return found


def _fees(row: Row) -> FeeTerms:
    rounding = row.get("rounding", "none")
    if rounding not in tuple(_ROUNDING):
        refuse("fees.rounding", f"{rounding!r} is none of {', '.join(_ROUNDING)}")
    return FeeTerms(
        commission_rate=_fee_rate(row, "commission_rate"),
        commission_min=read_price(row, "commission_min", "fees"),
        stamp_duty_sell=_fee_rate(row, "stamp_duty_sell"),
        transfer_fee=_fee_rate(row, "transfer_fee"),
        step=_ROUNDING[rounding],
    )


def _terms(row: Row) -> ExchangeTerms:
    if field(row, "price_cage", "matching") is not False:
        refuse("matching.price_cage", f"{row['price_cage']!r}: a scenario is run without it")
    if not isinstance(field(row, "dividend_tax", "matching"), bool):
        refuse("matching.dividend_tax", f"{row['dividend_tax']!r} is neither true nor false")
    freeze = field(row, "market_order_freeze", "matching")
    if freeze not in _MARKET_FREEZE:
        refuse("matching.market_order_freeze", f"{freeze!r} is none of {_MARKET_FREEZE}")
    share = as_rate(row, "volume_share", "matching")
    if not 0 < share <= 1:
        refuse("matching.volume_share", f"{row['volume_share']!r} is not a share above 0")
    fill, policies = field(row, "fill", "matching"), [policy.name for policy in POLICIES]
    if fill not in policies:
        refuse("matching.fill", f"{fill!r} is none of {', '.join(policies)}")
    return ExchangeTerms(
        policy=policy_named(fill),
        participation=share,
        freeze_market_at_close=freeze == "close",
    )


def _security(row: Row, where: str) -> SecurityTerms:
    symbol = str(field(row, "symbol", where))
    suffix = symbol.rpartition(".")[2]
    if suffix not in tuple(Exchange):
        refuse(f"{where}.symbol", f"{symbol!r} does not end with .SH, .SZ or .BJ")
    name = field(row, "board", where)
    if name not in tuple(Board):
        refuse(f"{where}.board", f"{name!r} is none of {', '.join(Board)}")
    board = Board(name)
    least = 200 if board is Board.STAR else 100
    step = 1 if board in (Board.STAR, Board.BSE) else 100
    return SecurityTerms(
        symbol=symbol,
        exchange=Exchange(suffix),
        board=board,
        tick=_TICK,
        lot=_LOT,
        min_buy=least,
        step=step,
        max_limit_qty=_NO_CEILING,
        max_market_qty=_NO_CEILING,
    )


def _bars(rows: Mapping[str, Any], known: set[str]) -> dict[date, list[tuple[DayQuote, Bar]]]:
    found: dict[date, list[tuple[DayQuote, Bar]]] = {}
    for symbol, series in rows.items():
        if symbol not in known:
            refuse(f"bars.{symbol}", "unknown symbol: it is not among the securities")
        last, pre_close = date.min, 0
        for i, values in enumerate(as_rows(series, f"bars.{symbol}")):
            where = f"bars.{symbol}[{i}]"
            if len(values) != len(_BAR_FIELDS):
                refuse(where, f"{len(values)} values, not {len(_BAR_FIELDS)}")
            row: Row = dict(zip(map(str, _BAR_FIELDS), values, strict=True))
            day = as_day(row["date"], f"{where}.date")
            if day <= last:
                refuse(f"{where}.date", f"{day} does not come after {last}: bars out of order")
            quote, bar = _bar(symbol, row, where, pre_close)
            found.setdefault(day, []).append((quote, bar))
            last, pre_close = day, bar.close
    return found


def _bar(symbol: str, row: Row, where: str, pre_close: int) -> tuple[DayQuote, Bar]:
    first, high, low, close = (read_price(row, n, where) for n in _BAR_FIELDS[1:5])
    if not 0 < low <= min(first, close) <= max(first, close) <= high:
        name = "high" if high < max(first, close) else "low"
        refuse(f"{where}.{name}", f"{row[name]} does not enclose open, high, low and close")
    limits = [
        None if row[name] is None else read_price(row, name, where)
        for name in ("limit_up", "limit_down")
    ]
    bar = Bar(OPENING_PRINT_MS, CLOSE_MS, first, high, low, close, read_count(row, "volume", where))
    _check_limits(row, where, bar, *limits)
    # The first bar of a series has no day before it; its limits are given, so nothing hangs on it.
    return DayQuote(symbol, pre_close or first, limits[0], limits[1]), bar


def _check_limits(row: Row, where: str, bar: Bar, up: int | None, down: int | None) -> None:
    if (up is None) != (down is None):
        name = "limit_up" if up is None else "limit_down"
        refuse(f"{where}.{name}", "missing: a day has both limits, or null for both")
    if up is None or down is None:
        return
    if not 0 < down <= up:
        refuse(f"{where}.limit_down", f"{row['limit_down']} is not in (0, {row['limit_up']}]")
    # Where nothing traded, the price is only carried along.
    if bar.volume and bar.high > up:
        refuse(f"{where}.high", f"{row['high']} lies above limit_up {row['limit_up']}")
    if bar.volume and bar.low < down:
        refuse(f"{where}.low", f"{row['low']} lies below limit_down {row['limit_down']}")


def _order(row: Row, where: str, known: set[str]) -> ScenarioOrder:
    side, kind = field(row, "side", where), field(row, "type", where)
    if side not in tuple(Side):
        refuse(f"{where}.side", f"{side!r} is neither buy nor sell")
    if kind not in ("limit", "market"):
        refuse(f"{where}.type", f"{kind!r} is neither limit nor market")
    price = None
    if kind == "limit":
        price = read_price(row, "price", where)
    elif row.get("price") is not None:
        refuse(f"{where}.price", "a market order has none")
    return ScenarioOrder(
        number=read_count(row, "n", where),
        day=as_day(field(row, "at", where), f"{where}.at"),
        symbol=as_symbol(row, where, known),
        side=Side(side),
        qty=read_count(row, "qty", where),
        price=price,
    )
