"""A decision's actions before the gate, in order, against the account as it would then stand.

Owns what the gate is asked for each type of action, and what it is told of the market beside it.
Must never judge by itself: every verdict comes from domain/risk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from statistics import pstdev
from typing import Any, Final, TypeVar

from caopan.application.account import AccountCache
from caopan.application.contracts.decision_json import exit_plan_json
from caopan.application.desk import Desk
from caopan.application.intents import Surroundings, proposed_of, question_of
from caopan.domain.accounting.journal import CASH_FROZEN
from caopan.domain.decision.shapes import Action, ActionType, ActionVerdict, Decision
from caopan.domain.market.reference import DailyBar, Reference
from caopan.domain.orders.order import Order, OrderType, Side
from caopan.domain.risk.correction import suggest
from caopan.domain.risk.gate import Asked, Resting, judge_in_turn
from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.question import Question, Standing, Stats

_Maybe = TypeVar("_Maybe", Action, Action | None)
_CHANGES = frozenset({ActionType.CANCEL_ORDER, ActionType.MODIFY_ORDER})
_BPS: Final = 10_000
_STATS_SESSIONS: Final = 20
_LOOK_BACK = timedelta(days=60)
"""Calendar days that hold so many sessions, holidays included."""


def judge_actions(
    desk: Desk,
    account: AccountCache,
    references: Mapping[str, Reference],
    standing: Standing,
    decision: Decision,
    now: datetime,
) -> list[ActionVerdict]:
    """Return the verdict on each action that asks for something; `standing` moves along."""
    if decision.max_new_cash is not None:
        standing.cash_free = min(standing.cash_free, decision.max_new_cash)
    asked_for = [action for action in decision.actions if action.type is not ActionType.NO_OP]
    whole = {
        action.index: protected(completed_for(action, account), references, desk.policy)
        for action in asked_for
    }
    symbols = {one.symbol for one in whole.values() if one is not None and one.symbol is not None}
    around = surroundings(desk, decision, symbols, now)
    asked: list[Asked] = []
    for action in asked_for:
        order = None if action.type is ActionType.CANCEL_ORDER else whole[action.index]
        target = target_of(action, account) if action.type in _CHANGES else None
        open_target = None if target is None or target.is_terminal else target
        question = None
        if order is not None:
            question = question_of(
                desk, proposed_of(order), references, standing, decision, now, around
            )
            if open_target is not None:
                question = as_change(question, open_target)
        asked.append(
            Asked(
                index=action.index,
                type=action.type,
                account_id=desk.run.account_id,
                question=question,
                target=None if open_target is None else resting(open_target, account),
                depends_on=action.depends_on,
            )
        )
    # A change of an order that is not there has no question: the gate says so by its target.
    asked = [
        replace(one, type=ActionType.CANCEL_ORDER)
        if one.type is ActionType.MODIFY_ORDER and one.question is None
        else one
        for one in asked
    ]
    return judge_in_turn(asked, all_or_none=desk.policy.all_or_none, suggest=suggest)


def surroundings(
    desk: Desk, decision: Decision, symbols: Iterable[str], now: datetime
) -> Surroundings:
    """Return what the gate is told beside the account, for these symbols."""
    policy, stats = desk.policy, dict[str, Stats]()
    if policy.participation_cap_pct is not None or policy.vol_impact_cap_bps is not None:
        day = desk.calendar.on_or_before(now.date())
        stats = {symbol: _stats(desk, symbol, day, now) for symbol in sorted(symbols)}
    posture = Posture(decision.asked_posture)
    return Surroundings(rules=desk.rules, stats=stats, asked_posture=posture)


def as_change(question: Question, target: Order) -> Question:
    """Ask about a change: the order keeps the exit plan of the one it takes the place of."""
    kept = replace(question.order, has_exit_plan=target.exit_plan_id is not None)
    return replace(question, order=kept, modifies=True)


def completed_for(action: Action, account: AccountCache) -> Action | None:
    """Return a change of an order as the whole order it asks for; None if there is no such order.

    A change names what is new; the rest is the order's own.
    """
    if action.type not in _CHANGES:
        return action
    target = target_of(action, account)
    return None if target is None or target.is_terminal else completed(action, target)


def protected(action: _Maybe, references: Mapping[str, Reference], policy: RiskPolicy) -> _Maybe:
    """Give a market order a protective price: as far as the policy lets the price drift.

    It lies within the day's limits. The most the order can cost is then known, and reserved.
    """
    if action is None or action.price is not None or action.order_type is OrderType.LIMIT:
        return action
    reference = references.get(action.symbol or "")
    if reference is None:
        return action
    base, tick = reference.pre_close, reference.tick_size
    room = base * policy.max_drift_bps // _BPS
    if action.side is Side.BUY:
        bound = (base + room) // tick * tick
        bound = bound if reference.limit_up is None else min(bound, reference.limit_up)
    else:
        bound = -(-(base - room) // tick) * tick
        bound = bound if reference.limit_down is None else max(bound, reference.limit_down)
    return replace(action, price=bound)


def completed(action: Action, target: Order) -> Action:
    """Return `action` with what it leaves open taken from `target`."""
    return replace(
        action,
        symbol=target.symbol,
        side=target.side,
        order_type=target.order_type,
        price=target.price if action.price is None else action.price,
        qty=action.qty or target.open_qty,
    )


def as_seen(action: Action, account: AccountCache) -> Action:
    """Return a person's action with what had filled of its target when it was asked for."""
    target = target_of(action, account) if action.type in _CHANGES else None
    return action if target is None else replace(action, seen_filled=target.filled_qty)


def in_lots(qty: int, side: Side, reference: Reference | None) -> int:
    """Return the largest quantity up to `qty` that the board takes for a buy; 0 if none.

    What a cancelled buy traded on its way leaves no whole lot; a sale may be of what is left.
    """
    if reference is None or side is Side.SELL:
        return max(qty, 0)
    over = qty - reference.min_buy_qty
    return reference.min_buy_qty + over - over % reference.qty_step if over >= 0 else 0


def target_of(action: Action, account: AccountCache) -> Order | None:
    """Return the order of the day that an action names, ended or not."""
    known = (*account.working.values(), *account.day_orders.values())
    return next((order for order in known if str(order.order_id) == action.target_order_id), None)


def resting(order: Order, account: AccountCache) -> Resting:
    """Return an open order as the gate knows it."""
    return Resting(
        order_id=str(order.order_id),
        account_id=order.account_id,
        symbol=order.symbol,
        side=order.side,
        price=order.price,
        open_qty=order.open_qty,
        frozen_cash=account.book.balance(f"{CASH_FROZEN}/{order.order_id}"),
        foreign=order.is_foreign,
    )


def exit_plans_of(decision: Decision, orders: Sequence[Order]) -> dict[str, Mapping[str, Any]]:
    """Return, by symbol, the exit plans that go with `orders` of a decision, and their thesis."""
    actions = {action.index: action for action in decision.actions}
    found: dict[str, Mapping[str, Any]] = {}
    for order in orders:
        action = actions[order.action_index]
        if action.exit_plan is not None:
            thesis = {"thesis": action.intent.rationale} if action.intent is not None else {}
            found[order.symbol] = {**exit_plan_json(action.exit_plan), **thesis}
    return found


def _stats(desk: Desk, symbol: str, day: date, now: datetime) -> Stats:
    """Return how `symbol` traded over the sessions before `day`; unknown where too few are."""
    sessions = [one for one in desk.market.sessions(day - _LOOK_BACK, day) if one < day]
    found = (desk.market.bar(symbol, one, now) for one in sessions[-_STATS_SESSIONS:])
    bars: list[DailyBar] = [bar for bar in found if bar is not None]
    if len(bars) < _STATS_SESSIONS // 2:
        return Stats()
    moves = [later.close / earlier.close - 1 for earlier, later in pairwise(bars)]
    return Stats(
        average_volume=sum(bar.volume for bar in bars) // len(bars),
        volatility=Fraction(pstdev(moves)).limit_denominator(1_000_000),
    )
