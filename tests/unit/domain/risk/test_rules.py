"""Each rule of the gate at its edge: the last case it lets through and the first it refuses.

Every case is judged by the whole rulebook, so that it also shows which rules stay silent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import time, timedelta
from fractions import Fraction
from typing import Any

import pytest

from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import TradingStatus
from caopan.domain.orders.order import Side
from caopan.domain.risk.gate import judge_order
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.question import Question, Quote
from caopan.domain.risk.rulebook import RULEBOOK
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.testing.samples import (
    DAY,
    NOW,
    SYMBOL,
    sample_proposal,
    sample_question,
    sample_reference,
    sample_standing,
)

SELL = {"side": Side.SELL, "has_exit_plan": False}
OTHER = "600002.SH"


@dataclass
class Case:
    """Changes to a question that passes, and every reason expected: (code, limit, actual)."""

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    reasons: tuple[tuple[str, str | None, str | None], ...] = ()


def asked(changes: dict[str, Any]) -> Question:
    """Return the sample question with changes sorted to the part that has such a field."""
    parts: dict[str, Any] = {
        "order": sample_proposal(),
        "standing": sample_standing(),
        "policy": RiskPolicy(),
        "reference": sample_reference(),
    }
    of_question = {f.name for f in fields(Question)}
    for name, part in parts.items():
        own = ({f.name for f in fields(part)} & changes.keys()) - of_question
        parts[name] = replace(part, **{key: changes[key] for key in own})
    return sample_question(**parts | {k: v for k, v in changes.items() if k in of_question})


def quoted(price: str, **age: float) -> Quote:
    return Quote(units(price), NOW - timedelta(**age))


CASES = [
    Case("the sample passes"),
    # --- expired
    Case("valid to the instant", {"valid_until": NOW}),
    Case(
        "a millisecond late",
        {"valid_until": NOW - timedelta(milliseconds=1)},
        (("RISK_EXPIRED", "2023-06-01T01:15:59.999Z", "2023-06-01T01:16:00.000Z"),),
    ),
    # --- rules known
    Case("no reference", {"reference": None}, (("RISK_RULES_UNKNOWN", None, None),)),
    Case("limits unknown", {"limits_known": False}, (("RISK_RULES_UNKNOWN", None, None),)),
    Case(
        "contradictory rules",
        {"problems": ("DATA_RULES_MISMATCH", "DATA_UNIT")},
        (("RISK_RULES_UNKNOWN", None, "DATA_RULES_MISMATCH,DATA_UNIT"),),
    ),
    Case("no limit today is known and fine", {"limit_up": None, "limit_down": None}),
    # --- session
    Case("not now", {"may_place": False}, (("RISK_SESSION", None, "open_auction"),)),
    # --- suspended
    Case(
        "suspended",
        {"trading_status": TradingStatus.SUSPENDED},
        (("RISK_SUSPENDED", None, "suspended"),),
    ),
    Case(
        "delisted",
        {"trading_status": TradingStatus.DELISTED},
        (("RISK_SUSPENDED", None, "delisted"),),
    ),
    Case(
        "a sale in the delisting period",
        {"trading_status": TradingStatus.DELISTING_PERIOD, **SELL},
    ),
    # --- order type, tick
    Case(
        "no price",
        {"price": 0, "limit_down": None, "min_order_value": 0},
        (("RISK_ORDER_TYPE", "limit", None),),
    ),
    Case("off tick", {"price": units("10.005")}, (("RISK_TICK", "0.01", "10.005"),)),
    # --- price band
    Case("at limit-down", {"price": units("9.00")}),
    Case("under limit-down", {"price": units("8.99")}, (("RISK_PRICE_BAND", "9.00", "8.99"),)),
    Case("under limit-up", {"price": units("10.99"), "max_drift_bps": 1_000}),
    Case(
        "a buy at limit-up",
        {"price": units("11.00"), "max_drift_bps": 1_000},
        (("RISK_PRICE_BAND", "limit_up_buy: refuse", "11.00"),),
    ),
    Case(
        "a buy at limit-up by policy",
        {"price": units("11.00"), "max_drift_bps": 1_000, "allow_limit_up_buy": True},
    ),
    Case("a sale at limit-up", {"price": units("11.00"), **SELL}),
    Case(
        "over limit-up",
        {"price": units("11.01"), "max_drift_bps": 2_000, "allow_limit_up_buy": True},
        (("RISK_PRICE_BAND", "11.00", "11.01"),),
    ),
    Case(
        "over limit-up, sale",
        {"price": units("11.01"), **SELL},
        (("RISK_PRICE_BAND", "11.00", "11.01"),),
    ),
    # --- quantity
    Case("one share too many", {"qty": 1_001}, (("RISK_LOT_SIZE", "100", "1001"),)),
    Case("under a lot", {"qty": 99, "min_order_value": 0}, (("RISK_LOT_SIZE", "100", "99"),)),
    Case("no shares", {"qty": 0, "min_order_value": 0}, (("RISK_LOT_SIZE", "100", "0"),)),
    Case(
        "a negative sale",
        {"qty": -100, **SELL},
        (("RISK_LOT_SIZE", "100", "-100"),),
    ),
    Case("the largest order", {"max_limit_qty": 1_000}),
    Case(
        "over the largest order",
        {"max_limit_qty": 900},
        (("RISK_MAX_ORDER_QTY", "900", "1000"),),
    ),
    Case("an odd lot sold whole", {"qty": 50, "sellable": {SYMBOL: 50}, **SELL}),
    Case(
        "an odd lot sold in parts",
        {"qty": 30, "sellable": {SYMBOL: 50}, **SELL},
        (("RISK_LOT_SIZE", "50", "30"),),
    ),
    Case("a board of single shares", {"min_buy_qty": 200, "qty_step": 1, "qty": 201}),
    # --- T+1, no short
    Case("all that is sellable", {"qty": 5_000, **SELL}),
    Case("bought today", {"qty": 5_100, **SELL}, (("RISK_TPLUS1", "5000", "5100"),)),
    Case("all that is held", {"qty": 6_000, **SELL}, (("RISK_TPLUS1", "5000", "6000"),)),
    Case("more than is held", {"qty": 6_100, **SELL}, (("RISK_NO_POSITION", "6000", "6100"),)),
    Case(
        "nothing held",
        {"sellable": {}, "held": {}, **SELL},
        (("RISK_NO_POSITION", "0", "1000"),),
    ),
    # --- cash
    Case("to the last fen", {"cost_bound": units(500_000)}),
    Case(
        "a fen short",
        {"cost_bound": units("500000.01")},
        (("RISK_INSUFFICIENT_CASH", "500000.00", "500000.01"),),
    ),
    Case("a sale needs no cash", {"cash_free": 0, "cost_bound": 0, **SELL}),
    # --- stale price
    Case("no price known", {"quote": None}, (("RISK_STALE_PRICE", None, None),)),
    Case(
        "a price of zero",
        {"quote": Quote(0, NOW)},
        (("RISK_STALE_PRICE", None, None),),
    ),
    Case("today's reference before the first trade", {"quote": quoted("10", hours=9)}),
    Case(
        "yesterday's reference",
        {"quote": Quote(units(10), at_shanghai(DAY, time()) - timedelta(milliseconds=1))},
        (("RISK_STALE_PRICE", "3000 ms", "33360001 ms"),),
    ),
    Case(
        "a fresh quote in continuous trading",
        {"phase": Phase.CONTINUOUS_AM, "quote": quoted("10", seconds=3)},
    ),
    Case(
        "a stale quote in continuous trading",
        {"phase": Phase.CONTINUOUS_AM, "quote": quoted("10", milliseconds=3_001)},
        (("RISK_STALE_PRICE", "3000 ms", "3001 ms"),),
    ),
    Case(
        "a quote from the future",
        {"quote": quoted("10", seconds=-1)},
        (("RISK_STALE_PRICE", "3000 ms", "-1000 ms"),),
    ),
    # --- drift
    Case("150 bps dearer", {"price": units("10.15")}),
    Case("160 bps dearer", {"price": units("10.16")}, (("RISK_DRIFT", "150 bps", "160 bps"),)),
    Case("a cheap buy", {"price": units("9.10")}),
    Case("150 bps cheaper, sale", {"price": units("9.85"), **SELL}),
    Case(
        "160 bps cheaper, sale",
        {"price": units("9.84"), **SELL},
        (("RISK_DRIFT", "150 bps", "160 bps"),),
    ),
    Case("a dear sale", {"price": units("10.90"), **SELL}),
    # --- order value
    Case("at the cap", {"single_order_cap": units(10_000)}),
    Case(
        "over the cap",
        {"single_order_cap": units("9999.99")},
        (("RISK_ORDER_CAP", "9999.99", "10000.00"),),
    ),
    Case(
        "over the cap, sale",
        {"single_order_cap": units(9_999), **SELL},
        (("RISK_ORDER_CAP", "9999.00", "10000.00"),),
    ),
    Case("at the least value", {"qty": 200}),
    Case("under the least value", {"qty": 100}, (("RISK_MIN_ORDER", "2000.00", "1000.00"),)),
    Case("a small sale", {"qty": 100, **SELL}),
    # --- position cap: 120,000 of a million, of which 60,000 are held
    Case("to the cap", {"qty": 6_000}),
    Case("over the cap", {"qty": 6_100}, (("RISK_POSITION_CAP", "120000.00", "121000.00"),)),
    Case("a sale over the cap", {"exposure": {SYMBOL: units(500_000)}, **SELL}),
    Case("one more position", {"exposure": {OTHER: 1}, "max_positions": 2}),
    Case(
        "too many positions",
        {"exposure": {OTHER: 1, "600003.SH": 1}, "max_positions": 2},
        (("RISK_POSITION_CAP", "2", "3"),),
    ),
    Case("more of what is held", {"max_positions": 1}),
    # --- gross cap: 950,000 of a million
    Case("gross to the cap", {"exposure": {OTHER: units(940_000)}}),
    Case(
        "gross over the cap",
        {"exposure": {OTHER: units("940000.01")}},
        (("RISK_GROSS_CAP", "950000.00", "950000.01"),),
    ),
    Case("a sale when gross is over", {"exposure": {OTHER: units(10**6)}, **SELL}),
    # --- lists
    Case("blacklisted", {"blacklist": frozenset({SYMBOL})}, (("RISK_BLACKLIST", None, None),)),
    Case("blacklisted, sale", {"blacklist": frozenset({SYMBOL}), **SELL}),
    Case("whitelisted", {"whitelist": frozenset({SYMBOL})}),
    Case("not whitelisted", {"whitelist": frozenset({OTHER})}, (("RISK_BLACKLIST", None, None),)),
    Case("not whitelisted, sale", {"whitelist": frozenset({OTHER}), **SELL}),
    # --- risk warning
    Case("ST", {"is_st": True}, (("RISK_ST", None, None),)),
    Case("ST by policy", {"is_st": True, "allow_st": True}),
    Case("ST, sale", {"is_st": True, **SELL}),
    Case(
        "delisting period",
        {"trading_status": TradingStatus.DELISTING_PERIOD},
        (("RISK_ST", None, None),),
    ),
    # --- new listing
    Case("day 20", {"listing_day_index": 20}, (("RISK_NEW_LISTING", "20", "20"),)),
    Case("day 21", {"listing_day_index": 21}),
    Case("day 1, sale", {"listing_day_index": 1, **SELL}),
    # --- exit plan
    Case("no exit plan", {"has_exit_plan": False}, (("RISK_NO_EXIT_PLAN", None, None),)),
    Case("no exit plan by policy", {"has_exit_plan": False, "exit_plan_required": False}),
    # --- duplicate, self trade
    Case("twice", {"working": {(SYMBOL, Side.BUY)}}, (("RISK_DUPLICATE", None, None),)),
    Case("against our own", {"working": {(SYMBOL, Side.SELL)}}, (("RISK_SELF_TRADE", None, None),)),
    Case(
        "a sale against our own buy",
        {"working": {(SYMBOL, Side.BUY)}, **SELL},
        (("RISK_SELF_TRADE", None, None),),
    ),
    Case("beside another symbol", {"working": {(OTHER, Side.BUY), (OTHER, Side.SELL)}}),
    # --- order rate
    Case("the last of the day", {"orders_today": 199}),
    Case("one a day too many", {"orders_today": 200}, (("RISK_ORDER_RATE", "200", "201"),)),
    Case("the last at once", {"open_orders": 39}),
    Case("one at once too many", {"open_orders": 40}, (("RISK_ORDER_RATE", "40", "41"),)),
    # --- loss halt
    Case("a loss of 5 %", {"nav_day_open": units(1_052_631), "gross_cap": Fraction(2)}),
    Case(
        "a loss over 5 %",
        {"nav_day_open": units(1_060_000)},
        (("RISK_LOSS_HALT", "5.00%", "5.66%"),),
    ),
    Case("a drawdown of 25 %", {"nav_peak": units(1_333_333)}),
    Case(
        "a drawdown over 25 %",
        {"nav_peak": units(1_400_000)},
        (("RISK_LOSS_HALT", "25.00%", "28.57%"),),
    ),
    Case("a sale under halt", {"nav_peak": units(5_000_000), **SELL}),
    # --- several at once, every one of them named
    Case(
        "everything wrong",
        {
            "valid_until": NOW - timedelta(seconds=1),
            "may_place": False,
            "price": units("11.015"),
            "qty": 150,
            "cost_bound": units(600_000),
            "has_exit_plan": False,
            "is_st": True,
            "orders_today": 200,
        },
        (
            ("RISK_EXPIRED", "2023-06-01T01:15:59.000Z", "2023-06-01T01:16:00.000Z"),
            ("RISK_SESSION", None, "open_auction"),
            ("RISK_TICK", "0.01", "11.015"),
            ("RISK_PRICE_BAND", "11.00", "11.015"),
            ("RISK_LOT_SIZE", "100", "150"),
            ("RISK_INSUFFICIENT_CASH", "500000.00", "600000.00"),
            ("RISK_DRIFT", "150 bps", "1015 bps"),
            ("RISK_MIN_ORDER", "2000.00", "1652.25"),
            ("RISK_ST", None, None),
            ("RISK_NO_EXIT_PLAN", None, None),
            ("RISK_ORDER_RATE", "200", "201"),
        ),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_reasons(case):
    verdict = judge_order(asked(case.changes))
    assert [(r.code, r.limit, r.actual) for r in verdict.reasons] == list(case.reasons)
    assert verdict.passed == (not case.reasons)
    for reason in verdict.reasons:
        assert reason.action_index == 0
        assert reason.detail


def test_every_code_has_a_case():
    refused = {code for case in CASES for code, _, _ in case.reasons}
    assert refused == {code for rule in RULEBOOK for code in rule.codes}
