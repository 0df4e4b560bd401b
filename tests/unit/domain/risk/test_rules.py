"""Each rule of the gate at its edge: the last case it lets through and the first it refuses.

Every case is judged by the whole rulebook, so that it also shows which rules stay silent.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import time, timedelta
from fractions import Fraction
from typing import Any

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import Board, Exchange, TradingStatus
from caopan.domain.orders.order import OrderType, Side
from caopan.domain.risk.costs import Costs
from caopan.domain.risk.day_terms import day_terms
from caopan.domain.risk.gate import judge_order
from caopan.domain.risk.kill_switch import Control, KillLevel, Posture
from caopan.domain.risk.policy import PostureSlot, RiskPolicy
from caopan.domain.risk.question import Question, Quote, Stats
from caopan.domain.risk.rulebook import RULEBOOK
from caopan.domain.risk.venue import Permission, ProgramReport, ReportStatus, Venue
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.testing.samples import (
    DAY,
    NOW,
    SYMBOL,
    sample_fees,
    sample_proposal,
    sample_question,
    sample_reference,
    sample_standing,
)

SELL = {"side": Side.SELL, "has_exit_plan": False}
OTHER = "600002.SH"
TERMS = day_terms(load_rules().market, Exchange.SH, Board.MAIN, DAY)
"""Cage: 2 % or ten ticks; 500,000 shares of an ST a day."""
IN_SH = Costs(sample_fees(), DAY, Exchange.SH)
BEST5 = OrderType.MARKET_BEST5_CANCEL
MARKET = {"order_type": BEST5, "price": 0, "venue_types": frozenset(OrderType)}
MARKET |= {"max_market_qty": 1_000_000}
TRADING = {"phase": Phase.CONTINUOUS_AM, "max_drift_bps": 1_000, "quote": Quote(units(10), NOW)}
REPORT = ProgramReport(ReportStatus.CONFIRMED, 5, 100, NOW, "1.0", "abc")
BROKER = {"venue": Venue.BROKER, "permissions": frozenset(), "report": REPORT, "as_of": NOW}
BROKER |= {"requests_last_second": 0}
FIGURES = replace(TERMS, hft_per_day=20_000, hft_per_second=300)
"""As from 2025-07-07."""
LEAVE = {**SELL, "is_exit": True}
TIGHT = {"single_order_cap": 0, "daily_turnover_cap": 0, "participation_cap_pct": Fraction(0)}
TIGHT |= {"vol_impact_cap_bps": 0, "symbol_nav_cap": Fraction(0), "gross_cap": Fraction(0)}
SEEN = {"bought_value": units(50_000), "sold_value": units(20_000)}
USUAL = {"stats": Stats(100_000, Fraction(2, 100)), "ordered_today": {}}


def halt(level, reason=""):
    return {"control": Control(KillLevel(level), reason=reason)}


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
    own = {k: v for k, v in changes.items() if k in of_question}
    return sample_question(**parts | {"terms": TERMS, "costs": IN_SH} | own)


def quote_of(bid: str | None, ask: str | None, last: str = "10") -> Quote:
    """Return a fresh quote with its best prices."""
    best = [None if one is None else units(one) for one in (bid, ask)]
    return Quote(units(last), NOW, *best)


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
    Case("a market order where it is taken", {**MARKET, **TRADING}),
    Case(
        "a market order at a venue of limit orders",
        {**MARKET, **TRADING, "venue_types": None},
        (("RISK_ORDER_TYPE", "limit", "market_best5_cancel"),),
    ),
    Case(
        "a market order without known rules",
        {**MARKET, "terms": None},
        (("RISK_ORDER_TYPE", None, None),),
    ),
    Case(
        "a type of Shenzhen in Shanghai",
        {**MARKET, **TRADING, "order_type": OrderType.MARKET_FOK},
        (
            (
                "RISK_ORDER_TYPE",
                (
                    "after_hours_fixed, limit, market_best5_cancel, market_best5_limit,"
                    " market_own_best, market_peer_best"
                ),
                "market_fok",
            ),
        ),
    ),
    Case(
        "nothing to value a market order at",
        {**MARKET, **TRADING, "limit_up": None, "limit_down": None, "min_order_value": 0},
        (("RISK_ORDER_TYPE", "market_best5_cancel", None),),
    ),
    Case(
        "a protective price where no limit exists",
        {**MARKET, **TRADING, "price": units(10), "limit_up": None, "limit_down": None},
    ),
    Case(
        "a market order counts at limit-up",
        {**MARKET, **TRADING, "single_order_cap": units("10999.99")},
        (("RISK_ORDER_CAP", "10999.99", "11000.00"),),
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
    # --- price cage: 2 % or ten ticks around the best of the other side, in continuous trading
    Case("a buy at the cage", {**TRADING, "quote": quote_of("9.98", "10"), "price": units("10.2")}),
    Case(
        "a buy beyond the cage",
        {**TRADING, "quote": quote_of("9.98", "10"), "price": units("10.21")},
        (("RISK_PRICE_CAGE", "10.20", "10.21"),),
    ),
    Case("a sale at the cage", {**TRADING, "quote": quote_of("10", None), "price": 98_000, **SELL}),
    Case(
        "a sale beyond the cage",
        {**TRADING, "quote": quote_of("10", None), "price": units("9.79"), **SELL},
        (("RISK_PRICE_CAGE", "9.80", "9.79"),),
    ),
    Case(
        "without an ask the bid is the base",
        {**TRADING, "quote": quote_of("9.80", None), "price": units("10.01")},
        (("RISK_PRICE_CAGE", "10.00", "10.01"),),
    ),
    Case("a dear sale has no cage", {**TRADING, "quote": quote_of("9", "9"), **SELL}),
    Case("no cage in an auction", {"quote": quote_of("9", "9"), "max_drift_bps": 2_000}),
    Case("no cage in a halt", {**TRADING, "quote": quote_of("9", "9"), "halted": True}),
    Case(
        "an unknown cage",
        {**TRADING, "terms": None, "quote": quote_of(None, None)},
        (("RISK_PRICE_CAGE", None, None),),
    ),
    # --- collar
    Case("at the collar", {"price_collar_pct": Fraction(1, 100), "price": units("10.10")}),
    Case(
        "beyond the collar",
        {"price_collar_pct": Fraction(1, 100), "price": units("10.11")},
        (("RISK_PRICE_BAND", "1.00%", "1.10%"),),
    ),
    Case(
        "beyond the collar on the careful side",
        {"price_collar_pct": Fraction(1, 100), "price": units("9.89")},
        (("RISK_PRICE_BAND", "1.00%", "1.10%"),),
    ),
    # --- quantity
    Case(
        "the largest market order is another one",
        {**MARKET, **TRADING, "max_market_qty": 900},
        (("RISK_MAX_ORDER_QTY", "900", "1000"),),
    ),
    Case(
        "the largest market order is not known",
        {**MARKET, **TRADING, "max_market_qty": None},
        (("RISK_MAX_ORDER_QTY", "0", "1000"),),
    ),
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
    Case("150 bps since it was seen", {"seen_price": 98_523}),
    Case(
        "151 bps since it was seen",
        {"seen_price": 98_512},
        (("RISK_DRIFT", "150 bps", "151 bps"),),
    ),
    Case("cheaper than it was seen", {"seen_price": units(12)}),
    Case(
        "a sale cheaper than it was seen",
        {"seen_price": units("10.20"), **SELL},
        (("RISK_DRIFT", "150 bps", "196 bps"),),
    ),
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
    Case("over the cap, leaving", {"single_order_cap": units(9_999), "is_exit": True, **SELL}),
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
    Case("an empty whitelist", {"whitelist": frozenset()}, (("RISK_BLACKLIST", None, None),)),
    Case("not whitelisted, sale", {"whitelist": frozenset({OTHER}), **SELL}),
    # --- risk warning
    Case("ST", {"is_st": True, "ordered_today": {}}, (("RISK_ST", None, None),)),
    Case("ST by policy", {"is_st": True, "allow_st": True, "ordered_today": {}}),
    Case(
        "half a million shares of an ST",
        {"is_st": True, "allow_st": True, "ordered_today": {(SYMBOL, Side.BUY): 499_000}},
    ),
    Case(
        "more than half a million shares of an ST",
        {"is_st": True, "allow_st": True, "ordered_today": {(SYMBOL, Side.BUY): 499_100}},
        (("RISK_ST", "500000", "500100"),),
    ),
    Case(
        "an ST without a count of today",
        {"is_st": True, "allow_st": True},
        (("RISK_ST", "500000", None),),
    ),
    Case(
        "an ST without known rules",
        {"is_st": True, "allow_st": True, "terms": None},
        (("RISK_ST", None, None),),
    ),
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
    Case("modified, its plan goes on", {"has_exit_plan": False, "modifies": True}),
    Case("no exit plan by policy", {"has_exit_plan": False, "exit_plan_required": False}),
    # --- duplicate, self trade
    Case(
        "below our own sale",
        {"working": {(SYMBOL, Side.SELL)}, "resting": {(SYMBOL, Side.SELL): units("10.01")}},
    ),
    Case(
        "at our own sale",
        {"working": {(SYMBOL, Side.SELL)}, "resting": {(SYMBOL, Side.SELL): units(10)}},
        (("RISK_SELF_TRADE", "10.00", "10.00"),),
    ),
    Case(
        "a market order beside our own sale",
        {
            "working": {(SYMBOL, Side.SELL)},
            "resting": {(SYMBOL, Side.SELL): units("10.90")},
            **MARKET,
            **TRADING,
        },
        (("RISK_SELF_TRADE", "10.90", "0.00"),),
    ),
    Case(
        "a sale above our own buy",
        {"working": {(SYMBOL, Side.BUY)}, "resting": {(SYMBOL, Side.BUY): 99_900}, **SELL},
    ),
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
    Case("modified in its place", {"open_orders": 40, "modifies": True}),
    Case(
        "a second",
        {"orders_per_second": 3, "requests_last_second": 3},
        (("RISK_ORDER_RATE", "3", "4"),),
    ),
    Case("within a second", {"orders_per_second": 3, "requests_last_second": 2}),
    Case(
        "a second that nobody counted",
        {"orders_per_second": 3},
        (("RISK_ORDER_RATE", "orders_per_second", None),),
    ),
    Case(
        "over the reported rate of a day",
        {**BROKER, "orders_today": 100},
        (("RISK_ORDER_RATE", "100", "101"),),
    ),
    Case(
        "over the reported rate of a second",
        {**BROKER, "requests_last_second": 5},
        (("RISK_ORDER_RATE", "5", "6"),),
    ),
    Case(
        "high-frequency, whatever the policy says",
        {
            "orders_per_day": 10**6,
            "orders_today": 19_000,
            "cancels_today": 999,
            "terms": replace(TERMS, hft_per_day=20_000),
        },
        (("RISK_ORDER_RATE", "19999", "20000"),),
    ),
    Case(
        "at a broker, without the dated rules",
        {**BROKER, "terms": None},
        (("RISK_ORDER_RATE", "hft_per_day", None),),
    ),
    Case(
        "at a broker, without today's cancels",
        {**BROKER, "terms": FIGURES},
        (("RISK_ORDER_RATE", "hft_per_day", None),),
    ),
    Case(
        "at a broker, without what was just sent",
        {
            **BROKER,
            "report": replace(REPORT, status=ReportStatus.REPORTED),
            "terms": FIGURES,
            "cancels_today": 0,
            "requests_last_second": None,
        },
        (
            ("RISK_NOT_REPORTED", "confirmed", "reported"),
            ("RISK_ORDER_RATE", "orders_per_second", None),
        ),
    ),
    Case(
        "at a broker, without report and what was just sent",
        {
            **BROKER,
            "report": None,
            "terms": FIGURES,
            "cancels_today": 0,
            "requests_last_second": None,
        },
        (
            ("RISK_NOT_REPORTED", "confirmed", "not_reported"),
            ("RISK_ORDER_RATE", "hft_per_second", None),
        ),
    ),
    Case("at a broker, counted", {**BROKER, "terms": FIGURES, "cancels_today": 0}),
    Case("at a broker, before there were figures", BROKER),
    Case("in a sandbox nothing asks", {"terms": None}),
    Case("in a sandbox nothing was counted", {"terms": FIGURES}),
    # --- leaving: a sale by which code leaves a position meets the exchange's rules, and no limit
    Case("leaving, far below the quote", {**LEAVE, "price": units("9.00")}),
    Case("leaving, the price fell since", {**LEAVE, "seen_price": units(20)}),
    Case(
        "leaving, below limit-down",
        {**LEAVE, "price": units("8.99")},
        (("RISK_PRICE_BAND", "9.00", "8.99"),),
    ),
    Case(
        "leaving, beyond the cage",
        {**TRADING, **LEAVE, "quote": quote_of("10", None), "price": units("9.79")},
        (("RISK_PRICE_CAGE", "9.80", "9.79"),),
    ),
    Case(
        "leaving, far from the collar",
        {**LEAVE, "price_collar_pct": Fraction(1, 100), "price": units("9.00")},
    ),
    Case("leaving on an old quote", {**TRADING, **LEAVE, "quote": quoted("10", hours=1)}),
    Case("leaving on a quote of the future", {**LEAVE, "quote": quoted("10", seconds=-1)}),
    Case(
        "leaving without any price",
        {**LEAVE, "quote": None},
        (("RISK_STALE_PRICE", None, None),),
    ),
    Case(
        "leaving on unknown limits",
        {**LEAVE, "limits_known": False},
        (("RISK_RULES_UNKNOWN", None, None),),
    ),
    Case("leaving by a second sale", {**LEAVE, "working": {(SYMBOL, Side.SELL)}}),
    Case(
        "leaving more than is left",
        {**LEAVE, "working": {(SYMBOL, Side.SELL)}, "sellable": {SYMBOL: 500}},
        (("RISK_TPLUS1", "500", "1000"),),
    ),
    Case(
        "leaving into our own buy",
        {**LEAVE, "working": {(SYMBOL, Side.BUY)}},
        (("RISK_SELF_TRADE", None, None),),
    ),
    Case(
        "leaving past the rates of the policy",
        {
            **LEAVE,
            "orders_today": 200,
            "open_orders": 40,
            "orders_per_second": 3,
            "requests_last_second": 3,
        },
    ),
    Case(
        "leaving past the reported rate of a day",
        {**LEAVE, **BROKER, "orders_today": 100},
        (("RISK_ORDER_RATE", "100", "101"),),
    ),
    Case(
        "leaving past the reported rate of a second",
        {**LEAVE, **BROKER, "requests_last_second": 5},
        (("RISK_ORDER_RATE", "5", "6"),),
    ),
    Case(
        "leaving, high-frequency",
        {**LEAVE, "terms": FIGURES, "orders_today": 19_999},
        (("RISK_ORDER_RATE", "19999", "20000"),),
    ),
    Case(
        "leaving after a halt cancelled everything",
        {**LEAVE, "cancel_ratio": Fraction(0), "cancels_today": 50, "orders_today": 50},
    ),
    *(
        Case(f"leaving while {posture}", {**LEAVE, **TIGHT, "posture_mode": posture})
        for posture in Posture
    ),
    Case(
        "buying to leave is a buy",
        {"is_exit": True, "open_orders": 40, "price": units("10.16")},
        (("RISK_ORDER_RATE", "40", "41"), ("RISK_DRIFT", "150 bps", "160 bps")),
    ),
    # --- cancel ratio
    Case(
        "half of ten",
        {"cancel_ratio": Fraction(1, 2), "cancels_today": 5, "orders_today": 10},
    ),
    Case(
        "over half of ten",
        {"cancel_ratio": Fraction(1, 2), "cancels_today": 6, "orders_today": 10},
        (("RISK_CANCEL_RATIO", "50.00%", "60.00%"),),
    ),
    Case("all of nine", {"cancel_ratio": Fraction(1, 2), "cancels_today": 9, "orders_today": 9}),
    Case(
        "a modification counts as a cancel",
        {
            "cancel_ratio": Fraction(1, 2),
            "cancels_today": 5,
            "orders_today": 10,
            "modifies": True,
        },
        (("RISK_CANCEL_RATIO", "50.00%", "60.00%"),),
    ),
    Case(
        "cancels nobody counted",
        {"cancel_ratio": Fraction(1)},
        (("RISK_CANCEL_RATIO", "cancel_ratio", None),),
    ),
    # --- industry: 120,000 of a million
    Case(
        "an industry to its cap",
        {
            "industry_nav_cap": Fraction(12, 100),
            "industries": {SYMBOL: "bank", OTHER: "bank"},
            "exposure": {OTHER: units(110_000)},
        },
    ),
    Case(
        "an industry over its cap",
        {
            "industry_nav_cap": Fraction(12, 100),
            "industries": {SYMBOL: "bank", OTHER: "bank"},
            "exposure": {OTHER: units(110_001)},
        },
        (("RISK_INDUSTRY_CAP", "120000.00", "120001.00"),),
    ),
    Case(
        "what is not known counts",
        {
            "industry_nav_cap": Fraction(12, 100),
            "industries": {SYMBOL: "bank"},
            "exposure": {OTHER: units(110_001)},
        },
        (("RISK_INDUSTRY_CAP", "120000.00", "120001.00"),),
    ),
    Case(
        "another industry",
        {
            "industry_nav_cap": Fraction(12, 100),
            "industries": {SYMBOL: "bank", OTHER: "steel"},
            "exposure": {OTHER: units(110_001)},
        },
    ),
    Case(
        "an industry not known",
        {"industry_nav_cap": Fraction(1), "industries": {OTHER: "bank"}},
        (("RISK_INDUSTRY_CAP", "industry_nav_cap", None),),
    ),
    Case("an industry over, sale", {"industry_nav_cap": Fraction(0), "industries": {}, **SELL}),
    # --- net buying and turnover: 50,000 bought and 20,000 sold
    Case("net buying to the cap", {"daily_net_buy_cap": units(40_000), **SEEN}),
    Case(
        "net buying over the cap",
        {"daily_net_buy_cap": units(39_999), **SEEN},
        (("RISK_NET_BUY_CAP", "39999.00", "40000.00"),),
    ),
    Case(
        "net buying not known",
        {"daily_net_buy_cap": units(10**6)},
        (("RISK_NET_BUY_CAP", "daily_net_buy_cap", None),),
    ),
    Case("net buying, sale", {"daily_net_buy_cap": 0, **SELL}),
    Case("turnover to the cap", {"daily_turnover_cap": units(80_000), **SEEN}),
    Case(
        "turnover over the cap, sale",
        {"daily_turnover_cap": units(80_000), "selling_value": 1, **SEEN, **SELL},
        (("RISK_TURNOVER_CAP", "80000.00", "80000.0001"),),
    ),
    Case(
        "turnover over the cap, exit",
        {"daily_turnover_cap": 0, **SEEN, **SELL, "is_exit": True},
    ),
    Case(
        "turnover not known",
        {"daily_turnover_cap": units(10**6)},
        (("RISK_TURNOVER_CAP", "daily_turnover_cap", None),),
    ),
    # --- participation and impact: 100,000 shares a day at 2 %
    Case("one per cent of a day", {"participation_cap_pct": Fraction(1, 100), **USUAL}),
    Case(
        "over one per cent of a day",
        {
            "participation_cap_pct": Fraction(1, 100),
            **USUAL,
            "ordered_today": {(SYMBOL, Side.SELL): 1},
        },
        (("RISK_PARTICIPATION", "1000", "1001"),),
    ),
    Case(
        "a day's volume not known",
        {"participation_cap_pct": Fraction(1), "ordered_today": {}},
        (("RISK_PARTICIPATION", "participation_cap_pct", None),),
    ),
    Case(
        "today's orders not known",
        {"participation_cap_pct": Fraction(1), **USUAL, "ordered_today": None},
        (("RISK_PARTICIPATION", "participation_cap_pct", None),),
    ),
    Case("an impact of 20 bps", {"vol_impact_cap_bps": 20, **USUAL}),
    Case(
        "an impact over 19 bps",
        {"vol_impact_cap_bps": 19, **USUAL},
        (("RISK_IMPACT", "19 bps", "20.0 bps"),),
    ),
    Case("an impact, exit", {"vol_impact_cap_bps": 0, **SELL, "is_exit": True}),
    Case(
        "a volatility not known",
        {"vol_impact_cap_bps": 100, "stats": Stats(100_000)},
        (("RISK_IMPACT", "vol_impact_cap_bps", None),),
    ),
    # --- kill switch
    Case("level 1", halt(1, "drill"), (("RISK_KILL_SWITCH", None, "1"),)),
    Case("level 1, sale", {**halt(1), **SELL}),
    Case("level 2, sale", {**halt(2), **SELL}, (("RISK_KILL_SWITCH", None, "2"),)),
    Case("level 2, exit", {**halt(2), **SELL, "is_exit": True}, (("RISK_KILL_SWITCH", None, "2"),)),
    Case("level 3, sale", {**halt(3), **SELL}, (("RISK_KILL_SWITCH", None, "3"),)),
    Case("level 3, exit", {**halt(3), **SELL, "is_exit": True}),
    Case("level 3, buy", {**halt(3), "is_exit": True}, (("RISK_KILL_SWITCH", None, "3"),)),
    Case("unreadable", {"control": None, **SELL}, (("RISK_KILL_SWITCH", None, None),)),
    # --- posture
    Case(
        "flat only",
        {"control": Control(posture=Posture.FLAT_ONLY), "exposure": {}},
        (("RISK_POSTURE", None, "flat_only"),),
    ),
    Case("flat only, sale", {"posture_mode": Posture.FLAT_ONLY, **SELL}),
    Case(
        "flat only by the hour",
        {
            "posture_schedule": (PostureSlot(time(9, 16), time(9, 17), Posture.FLAT_ONLY),),
            "exposure": {},
        },
        (("RISK_POSTURE", None, "flat_only"),),
    ),
    Case(
        "until that hour",
        {"posture_schedule": (PostureSlot(time(9), time(9, 16), Posture.FLAT_ONLY),)},
    ),
    Case(
        "flat only as the decision asked",
        {"asked_posture": Posture.FLAT_ONLY, "exposure": {}},
        (("RISK_POSTURE", None, "flat_only"),),
    ),
    Case(
        "the decision cannot loosen",
        {
            "asked_posture": Posture.NORMAL,
            "posture_mode": Posture.FLAT_ONLY,
            "exposure": {},
        },
        (("RISK_POSTURE", None, "flat_only"),),
    ),
    Case(
        "cautious halves the caps",
        {"posture_mode": Posture.CAUTIOUS, "exposure": {}, "single_order_cap": units(19_999)},
        (("RISK_ORDER_CAP", "9999.50", "10000.00"),),
    ),
    Case(
        "to half of the caps",
        {"posture_mode": Posture.CAUTIOUS, "exposure": {}, "single_order_cap": units(20_000)},
    ),
    # --- churn
    Case(
        "held for two days",
        {"min_holding_days": 2, "opened_on": {SYMBOL: DAY - timedelta(2)}, **SELL},
    ),
    Case(
        "held for a day",
        {"min_holding_days": 2, "opened_on": {SYMBOL: DAY - timedelta(1)}, **SELL},
        (("RISK_CHURN", "2 days", "1 days"),),
    ),
    Case("held for a day, exit", {"min_holding_days": 2, **SELL, "is_exit": True}),
    Case(
        "held since nobody knows",
        {"min_holding_days": 2, **SELL},
        (("RISK_CHURN", "min_holding_days", None),),
    ),
    Case(
        "sold three days ago",
        {
            "reentry_cooldown_days": 3,
            "exited_on": {SYMBOL: DAY - timedelta(3)},
            "exposure": {},
            "held": {},
        },
    ),
    Case(
        "sold two days ago",
        {
            "reentry_cooldown_days": 3,
            "exited_on": {SYMBOL: DAY - timedelta(2)},
            "exposure": {},
            "held": {},
        },
        (("RISK_CHURN", "3 days", "2 days"),),
    ),
    Case("still held", {"reentry_cooldown_days": 3}),
    Case(
        "sold when nobody knows",
        {"reentry_cooldown_days": 3, "exposure": {}, "held": {}},
        (("RISK_CHURN", "reentry_cooldown_days", None),),
    ),
    Case(
        "the second new one",
        {"max_new_positions_per_day": 2, "exposure": {}, "held": {}, "opened_today": {OTHER}},
    ),
    Case(
        "one new one too many",
        {"max_new_positions_per_day": 1, "exposure": {}, "held": {}, "opened_today": {OTHER}},
        (("RISK_CHURN", "1", "2"),),
    ),
    Case(
        "new ones nobody counted",
        {"max_new_positions_per_day": 1, "exposure": {}, "held": {}},
        (("RISK_CHURN", "max_new_positions_per_day", None),),
    ),
    Case("two losses", {"loss_streak_pause": 3, "loss_streak": 2}),
    Case(
        "three losses",
        {"loss_streak_pause": 3, "loss_streak": 3},
        (("RISK_CHURN", "3", "3"),),
    ),
    Case("three losses, sale", {"loss_streak_pause": 3, "loss_streak": 3, **SELL}),
    Case(
        "losses nobody counted",
        {"loss_streak_pause": 3},
        (("RISK_CHURN", "loss_streak_pause", None),),
    ),
    # Twice 5 yuan, twice 0.10, 5 of stamp duty on 10,000.
    Case("a round trip of 15.2 bps", {"max_round_trip_cost_bps": 16}),
    Case(
        "a round trip over 15 bps",
        {"max_round_trip_cost_bps": 15},
        (("RISK_CHURN", "15 bps", "16 bps"),),
    ),
    Case(
        "fees not known",
        {"max_round_trip_cost_bps": 100, "costs": None},
        (("RISK_CHURN", "max_round_trip_cost_bps", None),),
    ),
    # --- permissions
    Case("a main board needs none", BROKER),
    Case(
        "STAR without its permission",
        {**BROKER, "board": Board.STAR},
        (("RISK_NOT_ENTITLED", "star", "none"),),
    ),
    Case(
        "STAR with its permission",
        {**BROKER, "board": Board.STAR, "permissions": frozenset({Permission.STAR})},
    ),
    Case("STAR, sale", {**BROKER, "board": Board.STAR, **SELL}),
    Case(
        "no list of permissions",
        {**BROKER, "board": Board.BSE, "permissions": None},
        (("RISK_NOT_ENTITLED", "bse", "none"),),
    ),
    Case("no list in a sandbox", {"board": Board.CHINEXT}),
    Case(
        "an empty list in a sandbox",
        {"board": Board.CHINEXT, "permissions": frozenset()},
        (("RISK_NOT_ENTITLED", "chinext", "none"),),
    ),
    Case(
        "ST and delisting",
        {
            **BROKER,
            "is_st": True,
            "allow_st": True,
            "ordered_today": {},
            "trading_status": TradingStatus.DELISTING_PERIOD,
        },
        (("RISK_NOT_ENTITLED", "delisting, st", "none"),),
    ),
    # --- report
    Case(
        "not reported",
        {**BROKER, "report": None, **SELL},
        (("RISK_NOT_REPORTED", "confirmed", "not_reported"),),
    ),
    Case(
        "not confirmed",
        {**BROKER, "report": replace(REPORT, status=ReportStatus.REPORTED)},
        (("RISK_NOT_REPORTED", "confirmed", "reported"),),
    ),
    Case("what was reported", {**BROKER, "software_version": "1.0", "strategy_hash": "abc"}),
    Case(
        "another version",
        {**BROKER, "software_version": "1.1"},
        (("RISK_NOT_REPORTED", "1.0", "1.1"),),
    ),
    Case(
        "another strategy",
        {**BROKER, "strategy_hash": "abd"},
        (("RISK_NOT_REPORTED", "abc", "abd"),),
    ),
    # --- stale account
    Case("an account of 30 s ago", {**BROKER, "as_of": NOW - timedelta(seconds=30)}),
    Case(
        "an account older than 30 s",
        {**BROKER, "as_of": NOW - timedelta(milliseconds=30_001)},
        (("RISK_STALE_ACCOUNT", "30000 ms", "30001 ms"),),
    ),
    Case(
        "an account from the future",
        {"as_of": NOW + timedelta(milliseconds=1)},
        (("RISK_STALE_ACCOUNT", "30000 ms", "-1 ms"),),
    ),
    Case(
        "an account of nobody knows when",
        {**BROKER, "as_of": None},
        (("RISK_STALE_ACCOUNT", None, None),),
    ),
    # --- sleeve
    Case("of the sleeve", {"sleeve_symbols": frozenset({SYMBOL})}),
    Case(
        "outside the sleeve, sale",
        {"sleeve_symbols": frozenset({OTHER}), **SELL},
        (("RISK_OUTSIDE_SLEEVE", None, None),),
    ),
    Case("to the sleeve's money", {"sleeve_cash_cap": units(70_010)}),
    Case(
        "beyond the sleeve's money",
        {"sleeve_cash_cap": units(70_009)},
        (("RISK_OUTSIDE_SLEEVE", "70009.00", "70010.00"),),
    ),
    # --- loss halt
    Case(
        "no base to lose from",
        {"nav_peak": 0},
        (("RISK_LOSS_HALT", "25.00%", "no base"),),
    ),
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
            "ordered_today": {},
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
    found = [(r.code, r.limit, r.actual) for r in verdict.reasons]
    assert sorted(found, key=str) == sorted(case.reasons, key=str)
    assert verdict.passed == (not case.reasons)
    for reason in verdict.reasons:
        assert reason.action_index == 0
        assert reason.detail


def test_every_code_has_a_case():
    refused = {code for case in CASES for code, _, _ in case.reasons}
    assert refused == {code for rule in RULEBOOK for code in rule.codes}
