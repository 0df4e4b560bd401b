"""A recorded action on its way through the product: raw reply, reader, rule checker, gate.

Owns the observation, account and policy that the product is shown: lots by day of purchase, limits
where bars tell the close before, every cap as loose as it goes, no exit plan asked for. Must never
judge anything itself.
"""

from __future__ import annotations

import json
from collections import deque
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from tests.integration.actor.plain_rules import Verdict
from tests.integration.actor.recorded_runs import Case, Closes

from caopan.adapters.calendar.xshg import load_calendar
from caopan.adapters.rules.book import RuleBook, load_rules
from caopan.application.file_fields import Node
from caopan.application.gate_file import GateFiles, GateRules, check_files
from caopan.application.reply_file import judge_reply
from caopan.domain.accounting.bookings import BroughtLot, brought_in, deposit
from caopan.domain.accounting.journal import Book
from caopan.domain.market.phases import Phase
from caopan.domain.market.price_limits import LimitCase
from caopan.domain.market.reference import Instrument
from caopan.domain.market.symbols import Listing, parse_symbol
from caopan.kernel.clock import SHANGHAI
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units, yuan
from caopan.testing.samples import sample_id

POLICY = {
    "exit_plan_required": False,
    "limits": {
        "single_order_cap": "100000000000",
        "symbol_nav_cap": "1",
        "gross_cap": "1",
        "max_positions": 10_000,
        "max_open_orders": 1_000,
        "orders_per_day": 2_000,
        "daily_loss_halt_pct": "1",
        "max_drawdown_halt_pct": "1",
        "min_order_value": "0",
    },
}
"""The caps off, as far as a policy lets them."""


def asked(case: Case, at: datetime, closes: Closes) -> Verdict:
    """Return what the product says of a record that is decided at `at`, exchange time."""
    moment = at.replace(tzinfo=SHANGHAI)
    observation = _observation(case, moment, closes)
    read = judge_reply(Node("observation", "", observation), reply_text(case, observation))
    if read["decision"] is None:
        return Verdict(read["outcome"])
    files = GateFiles(
        Node("observation", "", observation),
        Node("decision", "", read["decision"]),
        Node("account", "", _account(observation)),
        Node("policy", "", POLICY),
    )
    judged = check_files(files, _gate_rules())
    return Verdict(
        "no_op" if read["decision"]["actions"][0]["type"] == "no_op" else "order",
        frozenset(reason["code"] for reason in read["checker"]["reasons"]),
        frozenset(reason["code"] for one in judged["verdicts"] for reason in one["reasons"]),
    )


def reply_text(case: Case, observation: dict[str, Any]) -> str:
    """Return the record as a model answers: JSON in a fence, what it does not tell as null."""
    record = case.record
    if record.action in ("buy", "sell"):
        qty = record.amount
        action = {
            "type": "place_order",
            "symbol": record.symbol,
            "side": record.action,
            "order_type": "limit",
            "price": None if record.price is None else f"{record.price:f}",
            "qty": int(qty) if qty is not None and qty == int(qty) else qty and str(qty),
        }
    else:
        action = {"type": "no_op" if record.action == "no_trade" else record.action}
    answer = {
        "observation_ref": observation["observation_id"],
        "account_view": {name: observation["account"][name] for name in ("nav", "cash")},
        "actions": [action],
    }
    return f"```json\n{json.dumps(answer)}\n```"


def _observation(case: Case, moment: datetime, closes: Closes) -> dict[str, Any]:
    book = _book(case, moment)
    prices = {symbol: yuan(units(price)) for symbol, price in case.prices.items()}
    worth = {symbol: qty * units(prices.get(symbol, "0")) for symbol, qty in case.holdings.items()}
    nav = yuan(book.cash_free + sum(worth.values()))
    wanted = {case.record.symbol} & prices.keys()
    listings = {name: found for name in wanted if name and (found := _listing(name)) is not None}
    return {
        "observation_id": str(sample_id(1)),
        "generated_at": moment.isoformat(),
        "clock": {"trading_day": moment.date().isoformat(), "phase": _phase(moment).value},
        "account": {
            "account_id": "recorded",
            "nav": nav,
            "cash": yuan(book.cash_free),
            "available_cash": yuan(book.cash_free),
        },
        "positions": [
            {
                "symbol": symbol,
                "qty": qty,
                "sellable_qty": book.sellable(symbol, moment.date(), t_plus_one=True),
                "market_value": yuan(worth[symbol]),
                "lots": [
                    {"qty": lot.qty, "bought_on": lot.bought_on.isoformat()}
                    for lot in book.lots(symbol)
                ],
            }
            for symbol, qty in case.holdings.items()
        ],
        "open_orders": [],
        "universe": sorted(listings),
        "features": {
            symbol: {"last": prices[symbol], "as_of": moment.isoformat(), "risk_flags": []}
            for symbol in listings
        },
        "market_rules": {
            symbol: _market_rules(listing, case.record.day, closes.before(symbol, case.record.day))
            for symbol, listing in listings.items()
        },
    }


def _market_rules(listing: Listing, day: date, close: Decimal | None) -> dict[str, Any]:
    rules = _rules().market
    quantities = rules.quantities.rule(listing.exchange, listing.board, day)
    up, down = None, None
    if close is not None:
        case = LimitCase(listing.exchange, listing.board, day, is_st=False)
        found = rules.limits.limits(case, units(close))
        up, down = found.up, found.down
    return {
        "tick_size": yuan(rules.limits.tick_size(listing.exchange, day, Instrument.STOCK)),
        "lot_size": quantities.lot_size,
        "min_buy_qty": quantities.min_buy_qty,
        "qty_step": quantities.qty_step,
        "max_order_qty": quantities.max_limit_qty,
        # null: none applies. Where no bar tells the close before, none is held against a price.
        "limit_up": None if up is None else yuan(up),
        "limit_down": None if down is None else yuan(down),
        "t_plus_one": True,
        "trading_status": "normal",
    }


def _phase(moment: datetime) -> Phase:
    rules = _gate_rules()
    session = rules.calendar.is_session(moment.date())
    return rules.market.phases.phase_of(moment, session=session)


def _account(observation: dict[str, Any]) -> dict[str, Any]:
    told = observation["account"]
    return {
        "account": {
            **told,
            "venue": "sandbox",
            "nav_day_open": told["nav"],
            "nav_peak": told["nav"],
            "risk_posture": "normal",
        },
        "positions": observation["positions"],
        "open_orders": [],
        "today": {"orders": 0},
    }


def _book(case: Case, moment: datetime) -> Book:
    """Return the account in the product's own books, its lots told again from the records."""
    brought = [
        BroughtLot(symbol, qty, 0, day)
        for symbol in case.holdings
        for day, qty in _lots(case, symbol)
    ]
    book = Book()
    book.post(deposit(sample_id(2), units(case.cash), moment))
    book.post(brought_in(sample_id(3), brought, moment))
    return book


def _lots(case: Case, symbol: str) -> list[tuple[date, int]]:
    """Return what is left of each day's purchases; the oldest shares are sold first."""
    lots: deque[tuple[date, int]] = deque()
    before = 0
    for day, holdings in case.past:
        held = holdings.get(symbol, 0)
        if held > before:
            lots.append((day, held - before))
        sold = before - held
        while sold > 0:
            bought_on, qty = lots.popleft()
            if qty > sold:
                lots.appendleft((bought_on, qty - sold))
            sold -= qty
        before = held
    return list(lots)


def _listing(symbol: str) -> Listing | None:
    """Return what a code names, None where it is no share: no observation offers that."""
    try:
        return parse_symbol(symbol)
    except ConfigInvalid:
        return None


@cache
def _rules() -> RuleBook:
    return load_rules()


@cache
def _gate_rules() -> GateRules:
    return GateRules(_rules().market, _rules().fees, load_calendar())
