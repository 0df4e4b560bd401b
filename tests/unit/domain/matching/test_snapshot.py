"""A rebuilt exchange: taxed lots go on being taxed, and a damaged or older export is refused."""

from __future__ import annotations

import copy
import json
from datetime import date
from fractions import Fraction
from typing import Any

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fee_terms import FeeTerms
from caopan.domain.accounting.journal import DIVIDEND_TAX, Book
from caopan.domain.accounting.movements import transaction
from caopan.domain.accounting.trading_account import TradingAccount, prove
from caopan.domain.market.reference import Board, Exchange
from caopan.domain.matching.choice import policy_named
from caopan.domain.matching.day_rules import DayRules
from caopan.domain.matching.engine import ExchangeTerms, SandboxExchange
from caopan.domain.matching.snapshot import export, rebuild
from caopan.domain.matching.terms import Bar, DayQuote, SecurityTerms
from caopan.domain.orders.order import Side
from caopan.kernel.errors import CaopanError, CorruptState
from caopan.kernel.money import units

RULES = load_rules()
NEW, OLD = "301001.SZ", "600001.SH"
FEES = dict.fromkeys(Exchange, FeeTerms(Fraction(1, 4000), 50_000, Fraction(1, 2000), Fraction(0)))
SECURITIES = [
    SecurityTerms(OLD, Exchange.SH, Board.MAIN, 100, 100, 100, 100, 10**6, 10**6),
    SecurityTerms(NEW, Exchange.SZ, Board.CHINEXT, 100, 100, 100, 100, 300_000, 150_000),
]
QUOTE = DayQuote(OLD, units("10"), units("11"), units("9"))


def terms() -> ExchangeTerms:
    return ExchangeTerms(policy_named("book"), Fraction(1, 4), rules=DayRules(RULES.market))


def bar(start, end, price, volume=100_000) -> Bar:
    flat = units(price)
    return Bar(start, end, flat, flat, flat, flat, volume)


def mid_life() -> SandboxExchange:
    """Taxed and unlisted shares, a dividend due, both sides resting, a halt in progress."""
    account = TradingAccount(units("100000"), date(2026, 6, 4), RULES.dividend_tax)
    exchange = SandboxExchange(terms(), SECURITIES, account, FEES)
    exchange.open_day(date(2026, 6, 5), [QUOTE])
    exchange.place(33_400_000, OLD, Side.BUY, 2000, units("10.5"))
    exchange.on_bar(OLD, bar(33_900_000, 54_000_000, "10"))
    exchange.close_day()
    limitless = DayQuote(NEW, units("20"), None, None)
    exchange.open_day(date(2026, 6, 8), [QUOTE, limitless])
    account.entitle(OLD, units("0.5"), Fraction(1), 0, date(2026, 6, 5))
    account.entitle(
        OLD, units("0.1"), Fraction(3, 2), 0, None, date(2026, 6, 9), listed_on=date(2026, 6, 9)
    )
    exchange.on_bar(OLD, bar(33_900_000, 34_260_000, "10"))
    exchange.on_bar(NEW, bar(33_900_000, 34_260_000, "20"))
    exchange.on_bar(NEW, bar(34_260_000, 34_320_000, "27"))
    exchange.place(34_330_000, OLD, Side.SELL, 800, units("10.1"))
    exchange.place(34_330_000, OLD, Side.BUY, 300, units("9.9"))
    return exchange


def rest_of_life(exchange: SandboxExchange) -> None:
    exchange.on_bar(OLD, bar(34_380_000, 34_440_000, "10.15"))
    exchange.place(34_450_000, OLD, Side.SELL, 700, units("10.1"))
    exchange.on_bar(OLD, bar(34_500_000, 34_560_000, "10.2"))
    exchange.close_day()
    exchange.open_day(date(2026, 6, 9), [QUOTE])
    exchange.place(34_330_000, OLD, Side.SELL, 1500, units("10.1"))
    exchange.on_bar(OLD, bar(34_380_000, 54_000_000, "10.2"))
    exchange.close_day()


def records() -> list[Any]:
    return json.loads(json.dumps(export(mid_life())))


def test_a_restart_amid_taxed_lots_changes_neither_log_nor_books():
    logs, books = [], []
    for restarts in (False, True):
        exchange = mid_life()
        movements = exchange.account.take_movements()
        events = exchange.take_events()
        if restarts:
            text = json.dumps(export(exchange))
            exchange = rebuild(terms(), SECURITIES, FEES, json.loads(text), RULES.dividend_tax)
            assert json.dumps(export(exchange)) == text
        rest_of_life(exchange)
        book = Book()
        for number, row in enumerate([*movements, *exchange.account.take_movements()], start=1):
            book.post(transaction(number, row))
        prove(exchange.account, book)
        logs.append([event.line() for event in [*events, *exchange.take_events()]])
        books.append(book.balances)
        # 2,000 earned 0.60 each, held for three or four days: 20 % of 1,200 yuan.
        assert book.balance(DIVIDEND_TAX) == units("240")
        assert exchange.account.holdings == {}
    assert logs[0] == logs[1]
    assert books[0] == books[1]


def places(value, path=()):
    """Every place within a JSON value, leaves and branches."""
    if path:
        yield path
    inner = enumerate(value) if isinstance(value, list) else ()
    for key, one in value.items() if isinstance(value, dict) else inner:
        yield from places(one, (*path, key))


def refused(damaged) -> CorruptState:
    with pytest.raises(CaopanError) as caught:
        rebuild(terms(), SECURITIES, FEES, damaged, RULES.dividend_tax)
    assert isinstance(caught.value, CorruptState)
    assert caught.value.code == "SNAPSHOT_INVALID"
    assert caught.value.remedy
    return caught.value


def test_a_field_that_is_not_there_is_named():
    for number, record in enumerate(records()):
        for field in record:
            if field == "receivables":  # Stands there only where some are due.
                continue
            damaged = records()
            del damaged[number][field]
            message = refused(damaged).message
            assert f"record {number}" in message
            assert f"field {field} is missing" in message


def test_a_value_of_another_type_is_named_wherever_it_stands():
    wrong = ({"a": 1}, "soon", 1.5, None, [[1]], True, -7)
    said = []
    for path in places(records()):
        for value in wrong:
            damaged = records()
            inner = damaged
            for step in path[:-1]:
                inner = inner[step]
            if inner[path[-1]] == value and type(inner[path[-1]]) is type(value):
                continue
            inner[path[-1]] = copy.deepcopy(value)
            try:
                rebuild(terms(), SECURITIES, FEES, damaged, RULES.dividend_tax)
            except CorruptState as error:  # Anything else is a failure.
                said.append(error)
    assert len(said) > 400
    for error in said:
        assert error.code == "SNAPSHOT_INVALID"
        names = ("record ", "orders hold", "exactly one account")
        assert any(name in error.message for name in names)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda all_: all_.clear(), "not exactly one account"),
        (lambda all_: all_.append(all_[0]), "not exactly one account"),
        (lambda all_: all_.append(all_[-1]), "field number"),
        (lambda all_: all_.append({"record": "weather"}), "field record: 'weather' is none of"),
        (lambda all_: all_[2].update(symbol="600009.SH"), "'600009.SH' is no security"),
        (lambda all_: all_[0].update(cash_frozen=1), "orders hold"),
        (lambda all_: all_[0]["holdings"][0]["lots"][0].__setitem__(2, 799), "orders hold 800"),
        (lambda all_: all_[0]["holdings"][0].update(sellable=10**6), "field sellable"),
        (lambda all_: all_[0]["holdings"].append(all_[0]["holdings"][0]), "stands there twice"),
    ],
)
def test_records_that_contradict_one_another_are_refused(damage, named):
    damaged = records()
    damage(damaged)
    assert named in refused(damaged).message
