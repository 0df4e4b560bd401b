"""The survey's own cases, where the file is at hand: limits, quantities, phases, fees of shares."""

import csv
import os
import re
from dataclasses import replace
from datetime import date, time
from pathlib import Path

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fees import fee_schedule, order_fees
from caopan.domain.market.phases import OrderKind, Permit
from caopan.domain.market.price_limits import LimitCase
from caopan.domain.market.quantity import check_quantity
from caopan.domain.market.reference import Board, Exchange, Reference, TradingStatus
from caopan.domain.orders.order import Side
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units, yuan

ROOT = Path(__file__).parents[4]
DATA = Path(os.environ.get("CAOPAN_REAL_DATA", ROOT.parent / "shared" / "data"))
CASES = DATA.parent / "spec" / "rules-cases.csv"
EXCHANGES = {"SSE": Exchange.SH, "SZSE": Exchange.SZ, "BSE": Exchange.BJ}
BOOK = load_rules()

pytestmark = pytest.mark.skipif(not CASES.is_file(), reason=f"no cases at {CASES}")


def cases(*categories):
    if not CASES.is_file():
        return []
    with CASES.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        pytest.param(row, id=row["case_id"])
        for row in rows
        if row["category"] in categories
        and row["board"] in set(Board)
        and row["instrument"] == "stock"
        and row["confidence"].startswith("V")
        and "/U" not in row["confidence"].replace("/U(取整)", "")
    ]


def limits(row):
    state, day = row["state"], date.fromisoformat(row["date"])
    digits = re.search(r"\d+$", state)
    index = int(digits[0]) if digits else None
    listed_on = day if index == 1 else None
    if index and index > 1:
        listed_on = day.replace(day=day.day - index)
    case = LimitCase(
        EXCHANGES[row["exchange"]],
        Board(row["board"]),
        day,
        is_st="ST" in state,
        listing_day_index=index if state.startswith("new_listing") else None,
        listed_on=listed_on,
        delisting_day_index=index if state.startswith("delisting") else None,
    )
    return BOOK.market.limits.limits(case, units(row["pre_close"]))


@pytest.mark.parametrize("row", cases("price_limit"))
def test_price_limit(row):
    found = limits(row)
    if row["expected"] == "NO_LIMIT":
        assert (found.up, found.down) == (None, None)
    elif row["expected"] == "LIMITS":
        assert (found.up, found.down) == (units(row["exp_up"]), units(row["exp_down"]))
    else:
        price = units(row["price"])
        assert found.up is not None
        assert found.down is not None
        verdict = "ACCEPT"
        if price > found.up:
            verdict = "REJECT:ABOVE_LIMIT_UP"
        elif price < found.down:
            verdict = "REJECT:BELOW_LIMIT_DOWN"
        assert row["expected"] == verdict


@pytest.mark.parametrize("row", cases("quantity"))
def test_quantity(row):
    if row["expected"] == "REJECT:ST_DAILY_BUY_CAP":
        pytest.skip("the daily cap on ST buys comes with the exchange's full rule set")
    day, board = date.fromisoformat(row["date"]), Board(row["board"])
    rule = BOOK.market.quantities.rule(EXCHANGES[row["exchange"]], board, day)
    reference = replace(
        REFERENCE,
        board=board,
        lot_size=rule.lot_size,
        min_buy_qty=rule.min_buy_qty,
        qty_step=rule.qty_step,
        max_limit_qty=rule.max_limit_qty,
    )
    available = re.search(r"available=(\d+)", row["context"])
    found = check_quantity(
        reference,
        int(row["qty"]),
        selling=row["side"] == "SELL",
        sellable=int(available[1]) if available else 0,
    )
    codes = {
        "ACCEPT": None,
        "REJECT:LOT": "RISK_LOT_SIZE",
        "REJECT:ODD_LOT_SPLIT": "RISK_LOT_SIZE",
        "REJECT:MAX_QTY": "RISK_MAX_ORDER_QTY",
    }
    assert (found and found.code) == codes[row["expected"]]


@pytest.mark.parametrize("row", cases("phase_ordertype"))
def test_phase(row):
    kinds = {"LIMIT": OrderKind.LIMIT, "AFTER_HOURS_FIXED": OrderKind.AFTER_HOURS_FIXED}
    kind = kinds.get(row["order_type"], OrderKind.MARKET)
    if row["expected"] in {"REJECT:AFTER_HOURS_PRICE", "HALT_10MIN"}:
        pytest.skip("prices after hours and halts come with the exchange's full rule set")
    day, exchange = date.fromisoformat(row["date"]), EXCHANGES[row["exchange"]]
    phases = BOOK.market.phases
    instant = at_shanghai(day, time.fromisoformat(row["time"]))
    phase = phases.phase_of(instant, session=True, exchange=exchange)
    if "action=CANCEL" in row["context"]:
        found = phases.may_cancel(phase, kind, exchange=exchange, day=day)
    else:
        board = Board(row["board"])
        found = phases.may_place(phase, kind, exchange=exchange, board=board, day=day)
    verdicts = {"ACCEPT": Permit.ACCEPTED, "QUEUE": Permit.QUEUED}
    assert found is verdicts.get(row["expected"], Permit.REFUSED)


@pytest.mark.parametrize("row", cases("fee"))
def test_fee(row):
    if row["side"] == "ROUNDTRIP" or "statutory" in row["order_type"] + row["context"]:
        pytest.skip("worked out in test_fees")
    parts = dict(item.split("=") for item in row["context"].split("; "))
    schedule = fee_schedule(BOOK.fees, commission_rate=parts["rate"], commission_min=parts["min"])
    fees = order_fees(
        schedule,
        Side(row["side"].lower()),
        units(row["price"]) * int(row["qty"]),
        date.fromisoformat(row["date"]),
        EXCHANGES[row["exchange"]],
    )
    expected = dict(item.split("=") for item in row["expected"].split("; "))
    assert yuan(fees.commission) == expected["commission"]
    assert yuan(fees.stamp_duty) == expected["stamp"]
    assert yuan(fees.transfer_fee) == expected["transfer"]
    assert fees.total == units(row["exp_value"])


REFERENCE = Reference(
    symbol="600519.SH",
    day=date(2026, 11, 20),
    board=Board.MAIN,
    pre_close=100_000,
    limit_up=110_000,
    limit_down=90_000,
    limits_known=True,
    tick_size=100,
    lot_size=100,
    min_buy_qty=100,
    qty_step=100,
    max_limit_qty=1_000_000,
    t_plus_one=True,
    trading_status=TradingStatus.NORMAL,
    is_st=False,
    listing_day_index=None,
    action=None,
)
