"""A neutral scenario through the sandbox exchange: securities, bars and orders in, answers out.

Owns the format of answers and the order of one scenario day: corporate actions, the day's bar, its
orders, the close. Must never read a file or repair an input. Tests: tests/integration/exchange/.

A scenario tells days, not moments, so phases are not asked: a day's orders are placed in the order
of `n` when that day's bar has finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from typing import Any

from caopan.application.exchange.scenario_actions import apply_actions
from caopan.application.exchange.scenario_file import Scenario, read_scenario
from caopan.application.exchange.scenario_values import refuse
from caopan.domain.accounting.dividend_tax import DividendTaxTable
from caopan.domain.accounting.journal import Book
from caopan.domain.accounting.movements import transaction
from caopan.domain.accounting.trading_account import TradingAccount, prove
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.domain.market.reference import Exchange
from caopan.domain.matching.engine import SandboxExchange
from caopan.domain.matching.terms import CLOSE_MS, Event, EventKind
from caopan.kernel.errors import CorruptState

__all__ = ["Scenario", "ScenarioRun", "read_scenario", "run_scenario"]


@dataclass(slots=True)
class ScenarioRun:
    """What came of a scenario."""

    answers: dict[str, Any]
    """orders, fills, days; and actions, where some were more than an entitlement."""
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
        refuse("matching.dividend_tax", "true, but no rates of dividend tax were given")
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
    done: list[dict[str, Any]] = []
    recorded_on: date | None = None
    for day in scenario.days:
        exchange.open_day(day, [quote for quote, _ in scenario.bars[day]])
        done.extend(apply_actions(account, scenario.actions.get(day, ()), recorded_on))
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
    answers = _answers(scenario, events, numbers, days)
    if done:
        answers["actions"] = done
    return ScenarioRun(answers, events, booked)


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
