"""Records that no model left behind: each rule by an example, and runs drawn by chance.

They keep the comparison of test_recorded_actions.py honest where there is no real data, and for
boards, quantities and broken lines that the recorded models happened not to produce.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.integration.actor.plain_rules import UNREADABLE, expected
from tests.integration.actor.product import asked
from tests.integration.actor.recorded_runs import Closes, Record, Timing, cases_of

BANK, CHIPS, BATTERY, BEIJING, FUND = (
    "600036.SH",
    "688981.SH",
    "300750.SZ",
    "920047.BJ",
    "510300.SH",
)
DAYS = tuple(date(2025, 11, day) for day in (3, 4, 5))
SESSIONS = frozenset(DAYS)
STAMPS = ("10:30:00", "11:30:00", "14:00:00", "15:00:00")
PRICES = {BANK: "40.00", CHIPS: "130.00", BATTERY: "390.00", BEIJING: "20.00", FUND: "4.70"}
CLOSES = Closes(
    {symbol: dict.fromkeys(DAYS, Decimal(PRICES[symbol])) for symbol in (BANK, CHIPS, BATTERY)}
)
EVE = {BANK: 350, CHIPS: 150, BATTERY: 300}
"""Held since the day before."""


def record(session: str, action: str | None, cash: str | None, held: Any, **given: Any) -> Record:
    price, amount = given.get("price"), given.get("amount")
    return Record(
        model="invented",
        cadence="hourly" if " " in session else "daily",
        session=session,
        action=action,
        symbol=given.get("symbol"),
        amount=None if amount is None else Decimal(amount),
        price=None if price is None else Decimal(price),
        cash=None if cash is None else Decimal(cash),
        holdings=held,
    )


def codes(
    action: str | None,
    symbol: str | None,
    amount: str | None,
    price: str | None,
    session: str = "2025-11-04 11:30:00",
) -> set[str]:
    """Return what the product says on 4 November, 200 shares of each having been bought at 9:30.

    The plain rules must say the same.
    """
    bought = {name: qty + 200 for name, qty in EVE.items()}
    run = cases_of(
        [
            record("2025-11-03", None, "500000", EVE),
            record("2025-11-04 10:30:00", "buy", "100000", bought, symbol=BANK, price=PRICES[BANK]),
            record(session, action, None, None, symbol=symbol, amount=amount, price=price),
        ]
    )
    case, at = run[-1], run[-1].record.decided(Timing.AS_TRADED)
    verdict = asked(case, at, CLOSES)
    assert verdict == expected(case, at, CLOSES, SESSIONS)
    return set(verdict.reasons)


@pytest.mark.parametrize(
    ("action", "symbol", "amount", "price", "reasons"),
    [
        ("no_trade", "", "0", None, set()),
        (None, None, None, None, {UNREADABLE}),
        ("hold", BANK, "100", "40.00", {UNREADABLE}),
        ("sell", BANK, "0", None, {UNREADABLE}),
        ("sell", BANK, "100", None, {UNREADABLE}),
        ("buy", BANK, "-100", "40.00", {UNREADABLE}),
        ("buy", BANK, "100.5", "40.00", {UNREADABLE}),
        ("buy", "600036", "100", "40.00", {UNREADABLE}),
        ("buy", BANK, "100", "40.00", set()),
        ("buy", BANK, "150", "40.00", {"RISK_LOT_SIZE"}),
        ("buy", BANK, "100", "40.005", {"RISK_TICK"}),
        ("buy", BANK, "100", "44.00", {"RISK_PRICE_BAND"}),
        ("buy", BANK, "100", "43.99", set()),
        ("sell", BANK, "100", "44.00", set()),
        ("sell", BANK, "100", "35.99", {"RISK_PRICE_BAND"}),
        ("buy", CHIPS, "200", "155.99", set()),
        ("buy", CHIPS, "100", "130.00", {"RISK_LOT_SIZE"}),
        ("buy", BATTERY, "200", "390.00", set()),
        ("buy", BEIJING, "101", "20.00", set()),
        ("buy", BANK, "2500", "40.00", {"RISK_INSUFFICIENT_CASH"}),
        (
            "buy",
            BANK,
            "2600",
            "40.00",
            {"RISK_INSUFFICIENT_CASH", "RISK_GROSS_CAP", "RISK_POSITION_CAP"},
        ),
        ("sell", BANK, "350", "40.00", set()),
        ("sell", BANK, "120", "40.00", {"RISK_LOT_SIZE"}),
        ("sell", BANK, "400", "40.00", {"RISK_TPLUS1"}),
        ("sell", BANK, "600", "40.00", {"RISK_NO_POSITION"}),
        ("sell", CHIPS, "150", "130.00", set()),
        ("sell", CHIPS, "100", "130.00", {"RISK_LOT_SIZE"}),
        ("sell", CHIPS, "350", "130.00", {"RISK_TPLUS1"}),
        ("sell", BEIJING, "100", "20.00", {"RISK_NO_POSITION"}),
        (
            "buy",
            FUND,
            "100",
            "4.70",
            {"CHECKER_RANGE", "RISK_RULES_UNKNOWN", "RISK_SESSION", "RISK_STALE_PRICE"},
        ),
    ],
)
def test_each_rule_by_an_example(action, symbol, amount, price, reasons) -> None:
    assert codes(action, symbol, amount, price) == reasons


@pytest.mark.parametrize(
    ("session", "reasons"),
    [
        ("2025-11-04 12:29:00", set()),
        ("2025-11-04 12:30:00", {"RISK_SESSION"}),
        ("2025-11-04 14:00:00", set()),
        ("2025-11-04 15:59:00", set()),
        ("2025-11-04 16:00:00", {"RISK_SESSION"}),
        ("2025-11-08 11:30:00", {"RISK_SESSION"}),
    ],
)
def test_only_hours_of_trading_pass(session, reasons) -> None:
    assert codes("buy", BANK, "100", "40.00", session) == reasons


def test_shares_bought_today_are_for_sale_on_the_next_session() -> None:
    assert codes("sell", BANK, "550", "40.00", "2025-11-05 11:30:00") == set()


LINES = st.tuples(
    st.sampled_from(STAMPS),
    st.sampled_from(("buy", "buy", "sell", "sell", "sell", "no_trade", "hold", None)),
    st.sampled_from((*PRICES, "600036", "", None)),
    st.one_of(
        st.sampled_from(("100", "200", "300", "500")),
        st.sampled_from((None, "0", "-100", "0.5", "150", "199", "1000001")),
        st.integers(1, 700).map(str),
    ),
    st.one_of(
        st.integers(-250, 250).map(lambda bps: Decimal(bps).scaleb(-3)),
        st.sampled_from((None, Decimal(0), Decimal("0.1"), Decimal("-0.1"), Decimal("0.2"))),
    ),
    st.sampled_from((Decimal("0.01"),) * 6 + (Decimal("0.0001"),)),
    st.integers(0, 30),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(LINES, max_size=6), min_size=3, max_size=3),
    st.sampled_from(("20000", "90000.55", "2000000")),
    st.sampled_from(Timing),
)
def test_runs_drawn_by_chance_get_the_verdicts_of_the_plain_rules(days, cash, timing) -> None:
    for case in cases_of(_run(days, Decimal(cash))):
        at = case.record.decided(timing)
        assert asked(case, at, CLOSES) == expected(case, at, CLOSES, SESSIONS)


def _run(days: list[list[tuple[Any, ...]]], cash: Decimal) -> list[Record]:
    """Return the lines of a broker that fills whatever is paid for and held, on any day."""
    held: Mapping[str, int] = EVE
    run = [record("2025-11-02", None, str(cash), held)]
    for day, lines in zip(DAYS, days, strict=True):
        for stamp, action, symbol, amount, move, tick, luck in sorted(
            lines, key=lambda one: one[0]
        ):
            base = Decimal(PRICES.get(symbol or "", "10"))
            price = None if move is None else (base * (1 + move)).quantize(tick)
            cash, held = _filled(cash, held, action, symbol, amount, price)
            # Now and then a line does not tell what it left.
            told = (None if luck == 0 else str(cash), None if luck == 1 else held)
            given_ = {"symbol": symbol, "amount": amount, "price": price}
            run.append(record(f"{day} {stamp}", action, *told, **given_))
    return run


def _filled(
    cash: Decimal,
    held: Mapping[str, int],
    action: str | None,
    symbol: str | None,
    amount: str | None,
    price: Decimal | None,
) -> tuple[Decimal, Mapping[str, int]]:
    qty = Decimal(amount or 0)
    if price is None or symbol not in PRICES or qty < 1 or qty != int(qty):
        return cash, held
    has = held.get(symbol, 0)
    if action == "buy" and qty * price < cash:
        return cash - qty * price, {**held, symbol: has + int(qty)}
    if action == "sell" and qty <= has:
        left = {**held, symbol: has - int(qty)}
        return cash + qty * price, {name: one for name, one in left.items() if one}
    return cash, held
