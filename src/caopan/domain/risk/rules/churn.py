"""RISK_CHURN: no hurried round trips.

Minimum holding, time before an exit is re-entered, new positions a day, a pause after losses, cost
of a round trip. What an exit plan or a flattening sells is exempt. Must never trap a position.
"""

from __future__ import annotations

from datetime import date

from caopan.domain.decision.shapes import Reason
from caopan.domain.risk.question import Question, Rule

_BPS = 10_000


def judge(question: Question) -> Reason | None:
    """Refuse hurried sales and buys."""
    if not question.is_buy:
        return _holding(question)
    return (
        _reentry(question) or _new_positions(question) or _losses(question) or _round_trip(question)
    )


def _holding(question: Question) -> Reason | None:
    least, order, standing = question.policy.min_holding_days, question.order, question.standing
    if least is None or order.is_exit:
        return None
    opened = None if standing.opened_on is None else standing.opened_on.get(order.symbol)
    if opened is None:
        return question.unknown("RISK_CHURN", "min_holding_days", f"when {order.symbol} was bought")
    return _too_soon(question, "held", opened, least)


def _reentry(question: Question) -> Reason | None:
    least, standing = question.policy.reentry_cooldown_days, question.standing
    symbol = question.order.symbol
    if least is None or standing.holds(symbol):
        return None
    if standing.exited_on is None:
        return question.unknown("RISK_CHURN", "reentry_cooldown_days", f"when {symbol} was sold")
    exited = standing.exited_on.get(symbol)
    return None if exited is None else _too_soon(question, "sold", exited, least)


def _too_soon(question: Question, what: str, since: date, least: int) -> Reason | None:
    days = (question.trading_day - since).days
    if days >= least:
        return None
    return question.no(
        "RISK_CHURN",
        f"{question.order.symbol} has been {what} for {days} days",
        limit=f"{least} days",
        actual=f"{days} days",
    )


def _new_positions(question: Question) -> Reason | None:
    most, standing = question.policy.max_new_positions_per_day, question.standing
    symbol = question.order.symbol
    if most is None or standing.holds(symbol):
        return None
    opened = standing.opened_today
    if opened is None:
        return question.unknown("RISK_CHURN", "max_new_positions_per_day", "what was opened today")
    if symbol in opened or len(opened) < most:
        return None
    return question.no(
        "RISK_CHURN",
        f"{len(opened)} positions were opened today",
        limit=most,
        actual=len(opened) + 1,
    )


def _losses(question: Question) -> Reason | None:
    most, streak = question.policy.loss_streak_pause, question.standing.loss_streak
    if most is None:
        return None
    if streak is None:
        return question.unknown("RISK_CHURN", "loss_streak_pause", "today's losses in a row")
    if streak < most:
        return None
    return question.no("RISK_CHURN", f"{streak} losses in a row today", limit=most, actual=streak)


def _round_trip(question: Question) -> Reason | None:
    most, value = question.policy.max_round_trip_cost_bps, question.value
    if most is None:
        return None
    if question.costs is None or value <= 0:
        return question.unknown("RISK_CHURN", "max_round_trip_cost_bps", "what the fees are")
    cost = question.costs.of_round_trip(value)
    if cost * _BPS <= most * value:
        return None
    return question.no(
        "RISK_CHURN",
        "the fees of buying and selling again are too large a share of the order",
        limit=f"{most} bps",
        actual=f"{-(-cost * _BPS // value)} bps",
    )


RULE = Rule(
    codes=("RISK_CHURN",),
    exchange=False,
    source="policy limits on churn",
    zh="交易过于频繁：持有期、再买入冷却、当日新开仓数、连亏暂停或往返成本",
    en="Too hurried: holding, cooldown, new positions a day, losses, or round-trip cost",
    judge=judge,
    parameters=(
        "min_holding_days",
        "reentry_cooldown_days",
        "max_new_positions_per_day",
        "loss_streak_pause",
        "max_round_trip_cost_bps",
    ),
)
