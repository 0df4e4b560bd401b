"""The gate: judges orders in turn against the account as it would then stand.

Owns `judge_order` (every rule, every reason), `judge_modify`, `judge_cancel`, `clear` (judgement
and clearance), `reserve` (what a passed order takes from the account before the next is judged),
`release` (what a cancelled one gives back) and `judge_in_turn` (a whole decision). Must never
change a proposed order: corrections are suggested, never applied. Tests:
tests/unit/domain/risk/test_rules.py, tests/property/domain/risk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from caopan.domain.decision.shapes import ActionType, ActionVerdict, Reason
from caopan.domain.orders.order import Order, Side
from caopan.domain.risk.clearance import MISMATCH, Clearance, mint
from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.policy import cautious
from caopan.domain.risk.question import Question, Standing
from caopan.domain.risk.rulebook import RULEBOOK

UNKNOWN_ORDER = "CHECKER_UNKNOWN_REF"
DEPENDENCY = "RISK_DEPENDENCY"
OUTSIDE = "RISK_OUTSIDE_SLEEVE"


@dataclass(frozen=True, slots=True)
class Resting:
    """An open order of the account, as a modification or cancel names it. Money in units."""

    order_id: str
    account_id: str
    symbol: str
    side: Side
    price: int
    open_qty: int
    frozen_cash: int = 0
    """Cash held for a buy, fees included."""
    foreign: bool = False
    """True where it was not placed by us."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One action of a decision as the gate is asked about it."""

    index: int
    type: ActionType
    account_id: str
    question: Question | None = None
    """Of what is placed, and of what a modification puts in the old order's place."""
    target: Resting | None = None
    depends_on: int | None = None
    fault: Reason | None = None
    """Why the action cannot be judged at all."""


def judge_order(question: Question) -> ActionVerdict:
    """Return the verdict of the whole rulebook on one order."""
    asked = question
    if question.posture is not Posture.NORMAL and not question.leaves:
        # flat_only too, or the tighter posture would let through what the other one refuses.
        asked = replace(question, policy=cautious(question.policy))
    found = [rule.judge(asked) for rule in RULEBOOK]
    return ActionVerdict(
        question.order.action_index, tuple([reason for reason in found if reason is not None])
    )


def judge_cancel(target: Resting | None, *, account_id: str, action_index: int) -> ActionVerdict:
    """Return the verdict on a cancel: refused only where the order is unknown or not ours."""
    fault = _not_ours(target, account_id, action_index)
    return ActionVerdict(action_index, () if fault is None else (fault,))


def judge_modify(question: Question, target: Resting | None, *, account_id: str) -> ActionVerdict:
    """Return the verdict on cancelling `target` for the order of `question`.

    It is judged as that order with the reservation of `target` given back, and counted as a cancel.
    The standing of `question` is left as it was.
    """
    index = question.order.action_index
    fault = _not_ours(target, account_id, index)
    if fault is not None or target is None:
        return ActionVerdict(index, () if fault is None else (fault,))
    if (target.symbol, target.side) != (question.order.symbol, question.order.side):
        reason = Reason(
            UNKNOWN_ORDER,
            index,
            f"order {target.order_id} is a {target.side} of {target.symbol}: a modification keeps"
            " both",
        )
        return ActionVerdict(index, (reason,))
    return judge_order(modified(question, target))


def modified(question: Question, target: Resting) -> Question:
    """Return `question` as it stands with `target` cancelled for it, on a standing of its own."""
    standing = copied(question.standing)
    release(standing, target)
    return replace(question, standing=standing, modifies=True)


def judge_in_turn(
    asked: Sequence[Asked],
    *,
    all_or_none: bool = False,
    suggest: Callable[[Question, ActionVerdict], Mapping[str, Any] | None] | None = None,
) -> list[ActionVerdict]:
    """Return the verdicts on a decision's actions, each on the account as the ones before leave it.

    All questions hold the same standing, which is changed by what passes. An action that depends on
    a refused one, or with `all_or_none` any action beside a refused one, is RISK_DEPENDENCY.
    `suggest` (correction.py) gives each refused order the correction that goes with its verdict.
    """
    verdicts: dict[int, ActionVerdict] = {}
    for one in asked:
        verdict = _dependent(one, verdicts) or _judged(one)
        if suggest is not None and not verdict.passed:
            verdict = _corrected(one, verdict, suggest)
        verdicts[one.index] = verdict
        if verdict.passed:
            _take(one)
    found = list(verdicts.values())
    first = next((verdict for verdict in found if not verdict.passed), None)
    if not all_or_none or first is None:
        return found
    return [
        verdict
        if not verdict.passed
        else _with(verdict.action_index, first, "all or none: action {} was refused")
        for verdict in found
    ]


def clear(question: Question, order: Order) -> tuple[ActionVerdict, Clearance | None]:
    """Judge an order right before it is sent and mint its clearance if every rule passes.

    Without a clearance the verdict always names a reason.
    """
    verdict = judge_order(question)
    if not verdict.passed:
        return verdict, None
    asked = question.order
    proposed = (asked.symbol, asked.side, asked.order_type, asked.price, asked.qty)
    if proposed != (order.symbol, order.side, order.order_type, order.price, order.qty):
        reason = question.no(MISMATCH, f"order {order.client_order_id} is not the one judged")
        return ActionVerdict(verdict.action_index, (reason,)), None
    expires_at: datetime = min(order.not_after, question.valid_until)
    return verdict, mint(order, question.policy.version, expires_at)


def reserve(standing: Standing, question: Question) -> None:
    """Take from `standing` what the passed order may use: cash or shares, exposure and counts."""
    order, value = question.order, question.value
    key = (order.symbol, order.side)
    standing.open_orders += 1
    standing.orders_today += 1
    standing.working.add(key)
    if standing.ordered_today is not None:
        standing.ordered_today[key] = standing.ordered_today.get(key, 0) + order.qty
    rests = standing.resting.get(key)
    if order.side is Side.BUY:
        if standing.opened_today is not None and not standing.holds(order.symbol):
            standing.opened_today.add(order.symbol)
        standing.cash_free -= question.cost_bound
        standing.exposure[order.symbol] = standing.exposure.get(order.symbol, 0) + value
        if standing.bought_value is not None:
            standing.bought_value += value
        best = order.price if rests is None else max(rests, order.price)
    else:
        standing.sellable[order.symbol] = standing.sellable.get(order.symbol, 0) - order.qty
        standing.selling_value += value
        best = order.price if rests is None else min(rests, order.price)
    standing.resting[key] = best


def release(standing: Standing, target: Resting) -> None:
    """Give back to `standing` what the open order `target` holds, and count its cancel."""
    key, value = (target.symbol, target.side), target.price * target.open_qty
    standing.open_orders -= 1
    standing.working.discard(key)
    standing.resting.pop(key, None)
    if standing.cancels_today is not None:
        standing.cancels_today += 1
    if standing.ordered_today is not None:
        standing.ordered_today[key] = max(0, standing.ordered_today.get(key, 0) - target.open_qty)
    if target.side is Side.BUY:
        standing.cash_free += target.frozen_cash
        standing.exposure[target.symbol] = standing.exposure.get(target.symbol, 0) - value
        if standing.bought_value is not None:
            standing.bought_value -= value
    else:
        held = standing.held.get(target.symbol, 0)
        given = standing.sellable.get(target.symbol, 0) + target.open_qty
        standing.sellable[target.symbol] = min(given, held)
        standing.selling_value = max(0, standing.selling_value - value)


def copied(standing: Standing) -> Standing:
    """Return a standing that can be changed without changing `standing`."""
    ordered, opened = standing.ordered_today, standing.opened_today
    return replace(
        standing,
        sellable=dict(standing.sellable),
        exposure=dict(standing.exposure),
        working=set(standing.working),
        resting=dict(standing.resting),
        ordered_today=None if ordered is None else dict(ordered),
        opened_today=None if opened is None else set(opened),
    )


def _judged(one: Asked) -> ActionVerdict:
    if one.fault is not None:
        return ActionVerdict(one.index, (one.fault,))
    if one.type is ActionType.CANCEL_ORDER:
        return judge_cancel(one.target, account_id=one.account_id, action_index=one.index)
    if one.type is ActionType.NO_OP:
        return ActionVerdict(one.index, ())
    if one.question is None:
        # Without a question there is nothing to pass: an unknown target, or a type not planned yet.
        reason = _not_ours(one.target, one.account_id, one.index) or Reason(
            UNKNOWN_ORDER, one.index, f"{one.type} without the order it asks for"
        )
        return ActionVerdict(one.index, (reason,))
    if one.type is ActionType.MODIFY_ORDER:
        return judge_modify(one.question, one.target, account_id=one.account_id)
    return judge_order(one.question)


def _corrected(
    one: Asked,
    verdict: ActionVerdict,
    suggest: Callable[[Question, ActionVerdict], Mapping[str, Any] | None],
) -> ActionVerdict:
    question = one.question
    if question is None:
        return verdict
    if one.type is ActionType.MODIFY_ORDER and one.target is not None:
        question = modified(question, one.target)
    return replace(verdict, suggestion=suggest(question, verdict))


def _take(one: Asked) -> None:
    if one.question is None:
        return
    if one.type is ActionType.MODIFY_ORDER and one.target is not None:
        release(one.question.standing, one.target)
    reserve(one.question.standing, one.question)


def _dependent(one: Asked, before: dict[int, ActionVerdict]) -> ActionVerdict | None:
    if one.depends_on is None:
        return None
    needed = before.get(one.depends_on)
    if needed is None:
        reason = Reason(
            UNKNOWN_ORDER, one.index, f"depends on action {one.depends_on}, which does not precede"
        )
        return ActionVerdict(one.index, (reason,))
    if needed.passed:
        return None
    return _with(one.index, needed, "depends on action {}, which was refused")


def _with(index: int, other: ActionVerdict, detail: str) -> ActionVerdict:
    reason = Reason(DEPENDENCY, index, detail.format(other.action_index))
    return ActionVerdict(index, (reason,))


def _not_ours(target: Resting | None, account_id: str, index: int) -> Reason | None:
    if target is None:
        return Reason(UNKNOWN_ORDER, index, "no open order of that id")
    if target.account_id != account_id or target.foreign:
        return Reason(OUTSIDE, index, f"order {target.order_id} is not one of ours")
    return None
