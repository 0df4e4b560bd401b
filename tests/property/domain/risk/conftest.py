"""Random questions for the gate: values on and beside every edge.

Drawn with a seeded generator, not by hypothesis: tens of thousands a run.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import Board, Exchange, TradingStatus
from caopan.domain.orders.order import OrderType, Side
from caopan.domain.risk.costs import Costs
from caopan.domain.risk.day_terms import day_terms
from caopan.domain.risk.kill_switch import Control, KillLevel, Posture
from caopan.domain.risk.policy import PostureSlot, RiskPolicy
from caopan.domain.risk.question import Question, Quote, Standing, Stats
from caopan.domain.risk.venue import Permission, ProgramReport, ReportStatus, Venue
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.testing.samples import (
    DAY,
    NOW,
    sample_fees,
    sample_proposal,
    sample_reference,
    sample_standing,
)

MINE, OTHER, STAR = "600001.SH", "600002.SH", "688001.SH"
CHINEXT, BSE = "300001.SZ", "830001.BJ"
BOARDS = {
    MINE: (Board.MAIN, 100, 100, 1_000_000, 1_000_000),
    OTHER: (Board.MAIN, 100, 100, 1_000_000, 1_000_000),
    STAR: (Board.STAR, 200, 1, 100_000, 50_000),
    CHINEXT: (Board.CHINEXT, 100, 100, 300_000, 150_000),
    BSE: (Board.BSE, 100, 1, 1_000_000, 1_000_000),
}
MIDNIGHT = at_shanghai(DAY, time())
RULES = load_rules().market
MORNING, FOR_EVER = time(0), time(23, 59)
TYPES = (
    OrderType.MARKET_BEST5_CANCEL,
    OrderType.MARKET_BEST5_LIMIT,
    OrderType.MARKET_PEER_BEST,
    OrderType.MARKET_OWN_BEST,
    OrderType.MARKET_IOC,
    OrderType.MARKET_FOK,
)


class Chance(Random):
    """A seeded generator that keeps to the usual, so that orders pass now and then."""

    usual_share = 0.96

    def mostly(self, usual: Any, *others: Any) -> Any:
        return usual if self.random() < self.usual_share else self.choice(others)

    def maybe(self, *values: Any) -> Any:
        """Return None most of the time: an optional limit that is not set."""
        return None if self.random() < self.usual_share else self.choice(values)


def a_policy(c: Chance) -> RiskPolicy:
    slot = PostureSlot(
        c.choice([MORNING, time(9, 16)]), c.choice([FOR_EVER, time(9, 16, 1)]), Posture.CAUTIOUS
    )
    flat = replace(slot, posture=Posture.FLAT_ONLY)
    return RiskPolicy(
        single_order_cap=c.mostly(units(200_000), units(10_000), units("9999.99"), 0),
        min_order_value=c.mostly(units(2_000), units(10_000), units("10000.01"), 0),
        symbol_nav_cap=c.mostly(Fraction(12, 100), Fraction(7, 100), Fraction(0)),
        gross_cap=c.mostly(Fraction(95, 100), Fraction(1, 100), Fraction(7, 100)),
        max_positions=c.mostly(15, 0, 1, 2),
        max_open_orders=c.mostly(40, 0, 1, 3),
        orders_per_day=c.mostly(200, 0, 1, 5),
        max_drift_bps=c.mostly(150, 0, 99, 100, 1_000),
        daily_loss_halt_pct=c.mostly(Fraction(5, 100), Fraction(0), Fraction(1, 10)),
        max_drawdown_halt_pct=c.mostly(Fraction(25, 100), Fraction(0), Fraction(1, 10)),
        max_quote_age_ms=c.mostly(3_000, 0, 1_000),
        allow_st=c.random() < 0.3,
        new_listing_days_refused=c.mostly(20, 0, 5),
        allow_limit_up_buy=c.random() < 0.2,
        exit_plan_required=c.random() < 0.8,
        blacklist=c.mostly(frozenset(), frozenset({MINE}), frozenset({OTHER})),
        whitelist=c.maybe(frozenset(), frozenset({MINE}), frozenset({MINE, STAR, CHINEXT})),
        price_collar_pct=c.maybe(Fraction(1, 100), Fraction(0), Fraction(1, 10)),
        daily_net_buy_cap=c.choice([None, None, units(10**6), units(60_000), units("40000.01")]),
        daily_turnover_cap=c.maybe(units(100_000), units(80_000), 0),
        industry_nav_cap=c.choice(
            [None, None, None, Fraction(12, 100), Fraction(7, 100), Fraction(1)]
        ),
        participation_cap_pct=c.maybe(Fraction(1, 100), Fraction(2, 100), Fraction(0)),
        vol_impact_cap_bps=c.maybe(20, 19, 100),
        orders_per_second=c.maybe(0, 3, 10),
        cancel_ratio=c.choice([None, Fraction(1, 2), Fraction(1), Fraction(0)]),
        cancel_ratio_from=c.mostly(10, 0, 1),
        max_new_positions_per_day=c.maybe(0, 1, 2),
        min_holding_days=c.maybe(0, 1, 2),
        reentry_cooldown_days=c.maybe(1, 2, 5),
        max_round_trip_cost_bps=c.maybe(15, 16, 100),
        loss_streak_pause=c.maybe(0, 1, 3),
        max_account_age_ms=c.mostly(30_000, 0, 1_000),
        posture_mode=c.mostly(Posture.NORMAL, *Posture),
        posture_schedule=c.mostly((), (slot,), (flat,), (slot, flat)),
    )


def a_reference(c: Chance, symbol: str) -> Any:
    if c.random() < 0.02:
        return None
    board, least, step, most, most_market = BOARDS[symbol]
    return sample_reference(
        symbol,
        board=board,
        limit_up=c.mostly(units(11), None, units("10.10")),
        limit_down=c.mostly(units(9), None, units("9.90")),
        limits_known=c.random() > 0.02,
        tick_size=c.mostly(100, 10, 500),
        min_buy_qty=least,
        qty_step=step,
        max_limit_qty=c.mostly(most, 1_000, 999),
        max_market_qty=c.mostly(most_market, None, 999),
        trading_status=c.mostly(TradingStatus.NORMAL, *TradingStatus),
        is_st=c.random() < 0.06,
        listing_day_index=c.mostly(None, 1, 5, 20, 21, 400),
        problems=c.mostly((), ("DATA_RULES_MISMATCH",)),
    )


def a_venue(c: Chance) -> dict[str, Any]:
    if c.random() < 0.6:
        return {"permissions": c.mostly(None, frozenset())}
    report = ProgramReport(
        c.mostly(ReportStatus.CONFIRMED, *ReportStatus),
        max_per_second=c.mostly(20, 0, 3),
        max_per_day=c.mostly(1_000, 0, 5),
        software_version="1.0",
        strategy_hash="abc",
    )
    age = timedelta(milliseconds=c.mostly(0, 1_000, 30_000, 30_001, -1))
    return {
        "venue": Venue.BROKER,
        "permissions": c.mostly(frozenset(Permission), None, frozenset({Permission.STAR})),
        "report": c.mostly(report, None),
        "as_of": c.mostly(NOW - age, None),
        "software_version": c.mostly(None, "1.0", "1.1"),
        "strategy_hash": c.mostly(None, "abc", "abd"),
    }


def an_account(c: Chance) -> Standing:
    held = {MINE: c.choice([0, 50, 1_150, 6_000]), OTHER: 100, STAR: 1_250, CHINEXT: 0, BSE: 1_150}
    free = {s: max(0, q - c.choice([0, 0, 0, 100, 230])) for s, q in held.items()}
    working = c.mostly(set(), {(MINE, Side.BUY)}, {(MINE, Side.SELL)}, {(OTHER, Side.BUY)})
    prices = (units(10), units("9.90"), units("10.10"), 0)
    days = [DAY - timedelta(days) for days in range(4)]
    known = {MINE: "bank", STAR: "chips", CHINEXT: "drugs", BSE: "steel"}
    if c.random() < 0.5:
        known[OTHER] = c.choice(["bank", "steel"])
    return sample_standing(
        nav=c.choice(
            [
                units(1_000_000),
                units(960_000),
                c.mostly(units(970_000), units(949_999), units(100_000), 0),
            ]
        ),
        nav_day_open=c.mostly(units(1_000_000), units(1_060_000), 0),
        nav_peak=c.mostly(units(1_000_000), units(2_000_000), 0),
        cash_free=c.mostly(units(500_000), 0, units(10_000), units("10005.10"), units("10005.09")),
        held=held,
        sellable=free,
        exposure={
            MINE: c.choice([0, units(60_000), units(110_000)]),
            OTHER: c.mostly(units(1_000), 0, units(880_000), units(940_000)),
        },
        open_orders=len(working) + c.mostly(0, 2, 3, 38, 39, 40),
        orders_today=c.choice([0, 0, 0, 10, c.mostly(0, 4, 5, 199, 200)]),
        working=working,
        resting={key: c.choice(prices) for key in working if c.random() < 0.7},
        ordered_today=c.mostly({}, None, {(MINE, Side.BUY): 499_000}, {(MINE, Side.SELL): 1_000}),
        bought_value=c.mostly(units(50_000), 0, None),
        sold_value=c.mostly(units(20_000), 0, None),
        selling_value=c.mostly(0, units(1_000)),
        cancels_today=c.choice([0, 0, 0, 0, 1, 5, 6, c.mostly(0, None)]),
        requests_last_second=c.mostly(0, None, 3, 9, 20),
        control=c.mostly(
            Control(posture=c.mostly(Posture.NORMAL, *Posture)),
            None,
            *(Control(level) for level in KillLevel),
        ),
        sleeve_symbols=c.mostly(None, frozenset({MINE, STAR}), frozenset()),
        sleeve_cash_cap=c.mostly(None, units(70_010), 0),
        industries=c.mostly(known, None, {OTHER: "bank"}),
        opened_on=c.mostly({s: c.choice(days) for s in held}, None, {}),
        exited_on=c.mostly({s: c.choice(days) for s in (CHINEXT, MINE)}, None, {}),
        opened_today=c.mostly(set(), None, {OTHER}, {OTHER, STAR}),
        loss_streak=c.mostly(0, None, 1, 3),
        **a_venue(c),
    )


def a_quote(c: Chance) -> Quote:
    age = c.mostly(0, 1, 1_000, 3_000, 3_001, -1)
    as_of = c.mostly(NOW - timedelta(milliseconds=age), MIDNIGHT)
    return Quote(
        c.mostly(units(10), units("9.99"), 0),
        c.mostly(as_of, MIDNIGHT - timedelta(milliseconds=1)),
        c.choice([None, units("9.99"), units("9.70"), units("10.30")]),
        c.choice([None, units("10.01"), units("9.80"), units("10.40")]),
    )


def a_question(c: Chance, standing: Standing | None = None, policy: Any = None) -> Question:
    """Return a random question near the edges of every rule."""
    symbol = c.choice([MINE, MINE, MINE, OTHER, STAR, CHINEXT, BSE])
    side = c.choice(list(Side))
    price = c.mostly(units(10), units("10.10"), units("9.90"), units(11), units(9), 0, -100)
    price += c.mostly(0, 100, -100, 2_000, -2_100, 50, 1)
    order_type = c.mostly(OrderType.LIMIT, *TYPES)
    if order_type is not OrderType.LIMIT and c.random() < 0.7:
        price = 0
    quantities = (0, -100, 50, 99, 100, 150, 199, 200, 201, 999, 1_001, 5_000, 11_000, 1_000_100)
    board = BOARDS[symbol][0]
    terms = day_terms(RULES, Exchange(symbol[-2:]), board, DAY)
    # There were no such figures yet on that day; the rule that counts does not look at dates.
    figures = {"hft_per_day": c.choice([20_000, 11]), "hft_per_second": c.choice([300, 4])}
    terms = c.choice([terms, replace(terms, **figures)])
    costs = Costs(sample_fees(), DAY, Exchange(symbol[-2:]))
    question = Question(
        order=sample_proposal(
            symbol=symbol,
            side=side,
            order_type=order_type,
            price=price,
            qty=c.mostly(1_000, *quantities),
            has_exit_plan=c.random() < 0.9,
            is_exit=c.random() < 0.2,
            seen_price=c.mostly(None, units("9.80"), units("10.30"), 0),
        ),
        reference=a_reference(c, symbol),
        quote=c.mostly(a_quote(c), None),
        standing=an_account(c) if standing is None else standing,
        policy=a_policy(c) if policy is None else policy,
        phase=c.mostly(c.choice([Phase.OPEN_AUCTION, Phase.CONTINUOUS_AM]), *Phase),
        may_place=c.random() > 0.03,
        trading_day=c.mostly(DAY, date(2023, 5, 31)),
        now=NOW,
        valid_until=NOW + timedelta(milliseconds=c.mostly(60_000, 0, -1)),
        cost_bound=0,
        terms=c.mostly(terms, None),
        venue_types=c.mostly(frozenset(OrderType), None, frozenset({OrderType.LIMIT})),
        stats=c.mostly(Stats(100_000, Fraction(2, 100)), Stats(), Stats(100_000)),
        costs=c.mostly(costs, None),
        asked_posture=c.mostly(Posture.NORMAL, *Posture),
        halted=c.random() < 0.03,
    )
    bound = costs.of_buy(question.order.qty, question.worst_price) if question.value > 0 else 0
    return replace(question, cost_bound=bound if side is Side.BUY else 0)


@pytest.fixture
def draw() -> Any:
    """Return the maker of random questions: draw(chance, standing=None, policy=None)."""
    return a_question


@pytest.fixture
def seeded() -> Any:
    """Return the maker of seeded generators."""
    return Chance
