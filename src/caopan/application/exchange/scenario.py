"""A neutral scenario through the sandbox exchange: securities, bars and orders in, answers out.

Owns the format of scenarios and answers and the order of one scenario day: ex-dates, the day's
bar, its orders, the close. Must never repair an input: a field that is missing or contradicts
another is refused by name. Tests: tests/integration/exchange/.

A scenario tells days, not moments, so phases are not asked: a day's orders are placed in the order
of `n` when that day's bar has finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn, cast

from caopan.domain.accounting.dividend_tax import DividendTaxTable
from caopan.domain.accounting.fee_terms import EXACT_STEP, FeeTerms
from caopan.domain.accounting.journal import Book
from caopan.domain.accounting.movements import transaction
from caopan.domain.accounting.trading_account import TradingAccount, prove
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.bars import read_count, read_price
from caopan.domain.matching.choice import policy_named
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.terms import (
    CLOSE_MS,
    OPENING_PRINT_MS,
    Bar,
    DayQuote,
    Event,
    EventKind,
    SecurityTerms,
)
from caopan.domain.orders.order import Side
from caopan.kernel.errors import ConfigInvalid, CorruptState
from caopan.kernel.money import UNITS_PER_FEN, rate

_TICK = 100
_LOT = 100
_NO_CEILING = 1 << 40
"""Scenarios know no largest order."""
_BAR_FIELDS = ("date", "open", "high", "low", "close", "volume", "limit_up", "limit_down")
_ROUNDING = {"none": EXACT_STEP, "fen": UNITS_PER_FEN}
_MARKET_FREEZE = ("close", "limit_up")

Row = Mapping[str, Any]


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
class Action:
    """What one share receives on an ex-date; cash in units."""

    symbol: str
    cash_per_share: int
    share_factor: Fraction
    bonus: Fraction
    """Of the new shares per share, those taxed as income at par (送股)."""
    pay_date: date | None
    """When the cash comes; None for the ex-date itself."""


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
    top = _object(document, "scenario")
    securities = tuple(
        _security(_object(row, f"securities[{i}]"), f"securities[{i}]")
        for i, row in enumerate(_list(top, "securities", "scenario"))
    )
    known = {one.symbol for one in securities}
    if len(known) < len(securities):
        _refuse("securities", "a symbol stands there twice")
    bars = _bars(_object(_field(top, "bars", "scenario"), "bars"), known)
    days = tuple(sorted(bars))
    orders: dict[date, list[ScenarioOrder]] = {}
    numbers: set[int] = set()
    for i, row in enumerate(_list(top, "orders", "scenario")):
        order = _order(_object(row, f"orders[{i}]"), f"orders[{i}]", known)
        if order.number in numbers:
            _refuse(f"orders[{i}].n", f"{order.number} was given before")
        numbers.add(order.number)
        orders.setdefault(order.day, []).append(order)
    for placed in orders.values():
        placed.sort(key=lambda order: order.number)
    matching = _object(_field(top, "matching", "scenario"), "matching")
    return Scenario(
        cash=read_price(_object(_field(top, "account", "scenario"), "account"), "cash", "account"),
        fees=_fees(_object(_field(top, "fees", "scenario"), "fees")),
        terms=_terms(matching),
        securities=securities,
        days=days,
        bars=bars,
        actions=_actions(_list(top, "corporate_actions", "scenario"), known, days),
        orders=orders,
        numbers=tuple(sorted(numbers)),
        taxes_dividends=matching["dividend_tax"],
    )


@dataclass(slots=True)
class ScenarioRun:
    """What came of a scenario."""

    answers: dict[str, Any]
    """The shape of the expected files: orders, fills, days."""
    events: list[Event]
    transactions: int
    """How many balanced transactions prove the account."""


def run_scenario(scenario: Scenario, rates: DividendTaxTable | None = None) -> ScenarioRun:
    """Run a scenario; after every day the account is proved against its double-entry book.

    Raises:
        ConfigInvalid: SCENARIO_INVALID if it taxes dividends and there are no `rates`.
        CorruptState: BOOKS_DIFFER or JOURNAL_UNBALANCED if the books are wrong: a fault of ours.
    """
    if scenario.taxes_dividends and rates is None:
        _refuse("matching.dividend_tax", "true, but no rates of dividend tax were given")
    account = TradingAccount(
        scenario.cash,
        scenario.days[0] if scenario.days else date.min,
        rates if scenario.taxes_dividends else None,
    )
    charged = dict.fromkeys(Exchange, scenario.fees)
    exchange = SandboxExchange(scenario.terms, scenario.securities, account, charged)
    book = Book()
    booked = 0
    numbers: dict[int, int] = {}
    events: list[Event] = []
    days: list[dict[str, Any]] = []
    recorded_on: date | None = None
    for day in scenario.days:
        exchange.open_day(day, [quote for quote, _ in scenario.bars[day]])
        for action in scenario.actions.get(day, ()):
            account.entitle(
                action.symbol,
                action.cash_per_share,
                action.share_factor,
                action.bonus,
                recorded_on,
                action.pay_date,
            )
        for quote, bar in scenario.bars[day]:
            exchange.on_bar(quote.symbol, bar)
        for order in scenario.orders.get(day, ()):
            kind = (
                ExchangeOrderType.LIMIT
                if order.price is not None
                else ExchangeOrderType.MARKET_BEST5_CANCEL
            )
            taken = exchange.place(
                CLOSE_MS, order.symbol, order.side, order.qty, order.price or 0, kind
            )
            numbers[taken.number] = order.number
        exchange.close_day()
        events.extend(exchange.take_events())
        for row in account.take_movements():
            booked += 1
            book.post(transaction(booked, row))
        prove(account, book)
        days.append(_day_answer(day, account))
        # The record date of an ex-date is the session before it.
        recorded_on = day
    return ScenarioRun(_answers(scenario, events, numbers, days), events, booked)


def _answers(
    scenario: Scenario,
    events: Sequence[Event],
    numbers: Mapping[int, int],
    days: list[dict[str, Any]],
) -> dict[str, Any]:
    traded = [event for event in events if event.kind is EventKind.TRADED]
    filled = dict.fromkeys(scenario.numbers, 0)
    amounts = dict.fromkeys(scenario.numbers, 0)
    fills: list[dict[str, Any]] = []
    for event in traded:
        number = numbers[event.order]
        filled[number] += event.qty
        amounts[number] += event.qty * event.price
        fills.append(
            {
                "n": number,
                "date": event.day.isoformat(),
                "symbol": event.symbol,
                "side": event.side.value,
                "qty": event.qty,
                "price": _yuan(event.price),
                "commission": _yuan(event.fees[0]),
                "stamp_duty": _yuan(event.fees[1]),
            }
        )
    wanted = {order.number: order.qty for placed in scenario.orders.values() for order in placed}
    orders: list[dict[str, Any]] = []
    for number in scenario.numbers:
        done = filled[number]
        outcome = "filled" if done == wanted[number] else "partially_filled"
        orders.append(
            {
                "n": number,
                "outcome": outcome if done else "not_filled",
                "filled": done,
                "avg_price": _yuan(Fraction(amounts[number], done)) if done else 0,
            }
        )
    return {"orders": orders, "fills": fills, "days": days}


def _day_answer(day: date, account: TradingAccount) -> dict[str, Any]:
    if account.cash_frozen:
        raise CorruptState("BOOKS_DIFFER", f"{day}: cash is frozen after the close")
    return {
        "date": day.isoformat(),
        "cash": _yuan(account.cash_free),
        "positions": {
            held.symbol: {"qty": held.qty, "sellable": held.sellable}
            for held in account.holdings.values()
        },
    }


def _yuan(amount: int | Fraction) -> int | float:
    """Return units as a JSON number: the shortest decimal of the exact amount."""
    value = Fraction(amount, 10_000)
    return int(value) if value.denominator == 1 else value.numerator / value.denominator


# --- reading --------------------------------------------------------------------------------------


def _fees(row: Row) -> FeeTerms:
    rounding = row.get("rounding", "none")
    if rounding not in _ROUNDING:
        _refuse("fees.rounding", f"{rounding!r} is none of {', '.join(_ROUNDING)}")
    return FeeTerms(
        commission_rate=_rate(row, "commission_rate", "fees"),
        commission_min=read_price(row, "commission_min", "fees"),
        stamp_duty_sell=_rate(row, "stamp_duty_sell", "fees"),
        transfer_fee=_rate(row, "transfer_fee", "fees"),
        step=_ROUNDING[rounding],
    )


def _terms(row: Row) -> ExchangeTerms:
    if _field(row, "price_cage", "matching") is not False:
        _refuse("matching.price_cage", f"{row['price_cage']!r}: a scenario is run without it")
    if not isinstance(_field(row, "dividend_tax", "matching"), bool):
        _refuse("matching.dividend_tax", f"{row['dividend_tax']!r} is neither true nor false")
    freeze = _field(row, "market_order_freeze", "matching")
    if freeze not in _MARKET_FREEZE:
        _refuse("matching.market_order_freeze", f"{freeze!r} is none of {_MARKET_FREEZE}")
    share = _rate(row, "volume_share", "matching")
    if not 0 < share <= 1:
        _refuse("matching.volume_share", f"{row['volume_share']!r} is not a share above 0")
    return ExchangeTerms(
        policy=policy_named(str(_field(row, "fill", "matching"))),
        participation=share,
        freeze_market_at_close=freeze == "close",
    )


def _security(row: Row, where: str) -> SecurityTerms:
    symbol = str(_field(row, "symbol", where))
    suffix = symbol.rpartition(".")[2]
    if suffix not in tuple(Exchange):
        _refuse(f"{where}.symbol", f"{symbol!r} does not end with .SH, .SZ or .BJ")
    name = _field(row, "board", where)
    if name not in tuple(Board):
        _refuse(f"{where}.board", f"{name!r} is none of {', '.join(Board)}")
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
            _refuse(f"bars.{symbol}", "unknown symbol: it is not among the securities")
        last, pre_close = date.min, 0
        for i, values in enumerate(_rows(series, f"bars.{symbol}")):
            where = f"bars.{symbol}[{i}]"
            if len(values) != len(_BAR_FIELDS):
                _refuse(where, f"{len(values)} values, not {len(_BAR_FIELDS)}")
            row: Row = dict(zip(map(str, _BAR_FIELDS), values, strict=True))
            day = _day(row["date"], f"{where}.date")
            if day <= last:
                _refuse(f"{where}.date", f"{day} does not come after {last}: bars out of order")
            quote, bar = _bar(symbol, row, where, pre_close)
            found.setdefault(day, []).append((quote, bar))
            last, pre_close = day, bar.close
    return found


def _bar(symbol: str, row: Row, where: str, pre_close: int) -> tuple[DayQuote, Bar]:
    first, high, low, close = (read_price(row, n, where) for n in _BAR_FIELDS[1:5])
    if not 0 < low <= min(first, close) <= max(first, close) <= high:
        name = "high" if high < max(first, close) else "low"
        _refuse(f"{where}.{name}", f"{row[name]} does not enclose open, high, low and close")
    limits = [
        None if row[name] is None else read_price(row, name, where)
        for name in ("limit_up", "limit_down")
    ]
    bar = Bar(OPENING_PRINT_MS, CLOSE_MS, first, high, low, close, read_count(row, "volume", where))
    # The first bar of a series has no day before it; its limits are given, so nothing hangs on it.
    return DayQuote(symbol, pre_close or first, limits[0], limits[1]), bar


def _actions(
    rows: Sequence[Any], known: set[str], days: Sequence[date]
) -> dict[date, list[Action]]:
    found: dict[date, list[Action]] = {}
    for i, value in enumerate(rows):
        where = f"corporate_actions[{i}]"
        row = _object(value, where)
        symbol = _symbol(row, where, known)
        ex_date = _day(_field(row, "ex_date", where), f"{where}.ex_date")
        factor = _rate(row, "share_factor", where)
        if factor <= 0:
            _refuse(f"{where}.share_factor", f"{factor} is not above 0")
        bonus = _rate(row, "bonus", where) if "bonus" in row else Fraction(0)
        if bonus and bonus > factor - 1:
            _refuse(f"{where}.bonus", f"{bonus} is more than the {factor - 1} new shares a share")
        pay_date = _day(row["pay_date"], f"{where}.pay_date") if "pay_date" in row else None
        if pay_date is not None and pay_date < ex_date:
            _refuse(f"{where}.pay_date", f"{pay_date} lies before the ex-date {ex_date}")
        # An ex-date without a session takes effect on the next one.
        day = next((one for one in days if one >= ex_date), None)
        if day is not None:
            cash = read_price(row, "cash_per_share", where)
            found.setdefault(day, []).append(Action(symbol, cash, factor, bonus, pay_date))
    return found


def _order(row: Row, where: str, known: set[str]) -> ScenarioOrder:
    side, kind = _field(row, "side", where), _field(row, "type", where)
    if side not in tuple(Side):
        _refuse(f"{where}.side", f"{side!r} is neither buy nor sell")
    if kind not in ("limit", "market"):
        _refuse(f"{where}.type", f"{kind!r} is neither limit nor market")
    price = None
    if kind == "limit":
        price = read_price(row, "price", where)
    elif row.get("price") is not None:
        _refuse(f"{where}.price", "a market order has none")
    return ScenarioOrder(
        number=read_count(row, "n", where),
        day=_day(_field(row, "at", where), f"{where}.at"),
        symbol=_symbol(row, where, known),
        side=Side(side),
        qty=read_count(row, "qty", where),
        price=price,
    )


def _symbol(row: Row, where: str, known: set[str]) -> str:
    symbol = str(_field(row, "symbol", where))
    if symbol not in known:
        _refuse(f"{where}.symbol", f"{symbol!r} is not among the securities")
    return symbol


def _rate(row: Row, name: str, where: str) -> Fraction:
    value = _field(row, name, where)
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        _refuse(f"{where}.{name}", f"{value!r} is no number")
    try:
        found = rate(str(value))
    except ConfigInvalid as error:
        _refuse(f"{where}.{name}", error.message)
    if found < 0:
        _refuse(f"{where}.{name}", f"{value!r} is negative")
    return found


def _day(value: object, where: str) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        _refuse(where, f"{value!r} is no date; write it as 2024-01-02")


def _field(row: Row, name: str, where: str) -> Any:  # noqa: ANN401 - JSON
    if name not in row:
        _refuse(f"{where}.{name}", "missing")
    return row[name]


def _object(value: object, where: str) -> Row:
    if not isinstance(value, dict):
        _refuse(where, "not an object")
    return cast("Row", value)


def _rows(value: object, where: str) -> list[list[Any]]:
    if not isinstance(value, list):
        _refuse(where, "not a list")
    rows = cast("list[Any]", value)
    if not all(isinstance(row, list) for row in rows):
        _refuse(where, "not a list of lists")
    return rows


def _list(row: Row, name: str, where: str) -> list[Any]:
    value = _field(row, name, where)
    if not isinstance(value, list):
        _refuse(f"{where}.{name}", "not a list")
    return cast("list[Any]", value)


def _refuse(where: str, why: str) -> NoReturn:
    raise ConfigInvalid(
        "SCENARIO_INVALID",
        f"{where}: {why}",
        remedy="correct the scenario; nothing of it was run",
    )
