"""The gate with every rule on and every limit set: order verdicts and decisions.

CPU time of this process, medians of RUNS. Orders: one question after another, built beforehand, on
one account; a third of them is refused. Decisions: five actions judged in turn with their
reservations, from their questions to their verdicts.
"""

from __future__ import annotations

import resource
import statistics
from dataclasses import replace
from datetime import date, time, timedelta
from fractions import Fraction
from typing import Any

from caopan.adapters.rules.book import load_rules
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.decision.shapes import ActionType
from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import Board, Exchange, Reference, TradingStatus
from caopan.domain.orders.order import OrderType, Side
from caopan.domain.risk.costs import Costs
from caopan.domain.risk.day_terms import day_terms
from caopan.domain.risk.gate import Asked, copied, judge_in_turn, judge_order
from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.policy import PostureSlot, RiskPolicy
from caopan.domain.risk.question import ProposedOrder, Question, Quote, Standing, Stats
from caopan.domain.risk.venue import Permission, ProgramReport, ReportStatus, Venue
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.settings import Settings

RUNS = 5
ORDERS, DECISIONS, ACTIONS = 20_000, 2_000, 5
DAY = date(2026, 11, 20)
NOW = at_shanghai(DAY, time(10))
SYMBOLS = [f"{600_000 + number}.SH" for number in range(50)]
POLICY = RiskPolicy(
    price_collar_pct=Fraction(5, 100),
    daily_net_buy_cap=units(900_000),
    daily_turnover_cap=units(2_000_000),
    industry_nav_cap=Fraction(3, 10),
    participation_cap_pct=Fraction(1, 100),
    vol_impact_cap_bps=100,
    orders_per_second=10,
    cancel_ratio=Fraction(1, 2),
    max_new_positions_per_day=10,
    min_holding_days=1,
    reentry_cooldown_days=1,
    max_round_trip_cost_bps=50,
    loss_streak_pause=3,
    blacklist=frozenset({"600999.SH"}),
    whitelist=frozenset(SYMBOLS),
    posture_schedule=(PostureSlot(time(14, 50), time(15), Posture.FLAT_ONLY),),
)


def run(settings: Settings) -> dict[str, Any]:
    """Return verdicts a second of CPU and the time of a decision."""
    del settings
    questions = [_question(number, _standing()) for number in range(300)]
    spent = sorted(_orders(questions) for _ in range(RUNS))
    took = sorted(sample for _ in range(RUNS) for sample in _decisions())
    middle = statistics.median(spent)
    return {
        "orders": ORDERS,
        "verdicts_per_s": round(ORDERS / middle),
        "verdicts_per_s_spread": [round(ORDERS / one) for one in (spent[-1], spent[0])],
        "refused": sum(not judge_order(one).passed for one in questions) / len(questions),
        "decision_p50_ms": round(1_000 * statistics.median(took), 3),
        "decision_p95_ms": round(1_000 * took[int(0.95 * len(took))], 3),
    }


def _orders(questions: list[Question]) -> float:
    begun = _cpu_s()
    for number in range(ORDERS):
        judge_order(questions[number % len(questions)])
    return _cpu_s() - begun


def _decisions() -> list[float]:
    base = _standing()
    found: list[float] = []
    for number in range(DECISIONS):
        standing = copied(base)
        begun = _cpu_s()
        asked = [
            Asked(index, ActionType.PLACE_ORDER, "a", _question(number + index, standing))
            for index in range(ACTIONS)
        ]
        judge_in_turn(asked)
        found.append(_cpu_s() - begun)
    return found


def _standing() -> Standing:
    held = SYMBOLS[:10]
    return Standing(
        nav=units(1_000_000),
        nav_day_open=units(1_000_000),
        nav_peak=units(1_000_000),
        cash_free=units(500_000),
        sellable=dict.fromkeys(held, 5_000),
        held=dict.fromkeys(held, 5_000),
        exposure=dict.fromkeys(held, units(30_000)),
        open_orders=0,
        orders_today=0,
        ordered_today={},
        bought_value=0,
        sold_value=0,
        cancels_today=0,
        requests_last_second=0,
        venue=Venue.BROKER,
        permissions=frozenset(Permission),
        report=ProgramReport(ReportStatus.CONFIRMED, 20, 1_000),
        as_of=NOW,
        sleeve_symbols=frozenset(SYMBOLS),
        sleeve_cash_cap=units(950_000),
        industries={symbol: f"industry {number % 7}" for number, symbol in enumerate(SYMBOLS)},
        opened_on=dict.fromkeys(held, DAY - timedelta(3)),
        exited_on={},
        opened_today=set(),
        loss_streak=0,
    )


def _question(number: int, standing: Standing) -> Question:
    symbol = SYMBOLS[number % len(SYMBOLS)]
    side = Side.SELL if number % 5 == 0 and symbol in standing.held else Side.BUY
    # Every other one lies beyond the best price, so that its cage is reckoned.
    price = units(10) + (number % 2) * 100
    # One in three is off its lot, and told so.
    qty = 1_050 if number % 3 == 0 and side is Side.BUY else 1_000
    order = ProposedOrder(0, symbol, side, OrderType.LIMIT, price, qty, has_exit_plan=True)
    costs = Costs(FEES, DAY, Exchange.SH)
    return replace(
        QUESTION,
        order=order,
        standing=standing,
        reference=REFERENCES[symbol],
        costs=costs,
        cost_bound=costs.of_buy(qty, order.price) if side is Side.BUY else 0,
    )


def _reference(symbol: str) -> Reference:
    return Reference(
        symbol=symbol,
        day=DAY,
        board=Board.MAIN,
        pre_close=units(10),
        limit_up=units(11),
        limit_down=units(9),
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


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


FEES = fee_schedule(load_rules().fees)
REFERENCES = {symbol: _reference(symbol) for symbol in SYMBOLS}
QUESTION = Question(
    order=ProposedOrder(0, "", Side.BUY, OrderType.LIMIT, 0, 0, has_exit_plan=True),
    reference=None,
    quote=Quote(units(10), NOW, units("9.99"), units(10)),
    standing=_standing(),
    policy=POLICY,
    phase=Phase.CONTINUOUS_AM,
    may_place=True,
    trading_day=DAY,
    now=NOW,
    valid_until=NOW + timedelta(minutes=4),
    cost_bound=0,
    terms=day_terms(load_rules().market, Exchange.SH, Board.MAIN, DAY),
    stats=Stats(10_000_000, Fraction(2, 100)),
)
