"""A decision's actions before the gate, in order, against the account as it would then stand.

Owns what the gate is asked for each type of action and how a verdict on one bears on the next. Must
never judge by itself: every word comes from domain/risk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from caopan.application import records
from caopan.application.account import AccountCache
from caopan.application.desk import Desk
from caopan.application.intents import proposed_of, question_of
from caopan.domain.decision.shapes import Action, ActionType, ActionVerdict, Decision, Reason
from caopan.domain.market.reference import Reference
from caopan.domain.orders.order import Order
from caopan.domain.risk.gate import judge_order, reserve
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.question import Question, Standing

_CHANGES = frozenset({ActionType.CANCEL_ORDER, ActionType.MODIFY_ORDER})


def judge_actions(
    desk: Desk,
    account: AccountCache,
    references: Mapping[str, Reference],
    standing: Standing,
    decision: Decision,
    now: datetime,
) -> list[ActionVerdict]:
    """Return the verdict on each action that asks for something; `standing` moves along."""
    verdicts: list[ActionVerdict] = []
    for action in decision.actions:
        if action.type is ActionType.NO_OP:
            continue
        failed = {verdict.action_index for verdict in verdicts if not verdict.passed}
        if action.depends_on in failed:
            reason = Reason(
                "RISK_DEPENDENCY",
                action.index,
                f"action {action.depends_on}, which must fill first, was refused",
            )
            verdicts.append(ActionVerdict(action.index, (reason,)))
            continue
        asked = as_order(action, account)
        if asked is None:
            verdicts.append(_no_such_order(action))
        elif action.type is ActionType.CANCEL_ORDER:
            verdicts.append(ActionVerdict(action.index, ()))
        else:
            question = question_of(desk, proposed_of(asked), references, standing, decision, now)
            if action.type is ActionType.MODIFY_ORDER:
                question = _as_change(question, target_of(action, account))
            verdict = judge_order(question)
            verdicts.append(verdict)
            if verdict.passed and action.type is ActionType.PLACE_ORDER:
                reserve(standing, question)
    return all_or_none(desk.policy, verdicts)


def _as_change(question: Question, target: Order | None) -> Question:
    """Ask about a change: the order keeps the exit plan of the one it takes the place of."""
    planned = target is not None and target.exit_plan_id is not None
    return replace(question, order=replace(question.order, has_exit_plan=planned), modifies=True)


def as_order(action: Action, account: AccountCache) -> Action | None:
    """Return a change of an order as the whole order it asks for; None if there is no such order.

    A change names what is new; the rest is the order's own.
    """
    if action.type not in _CHANGES:
        return action
    target = target_of(action, account)
    if target is None or target.is_terminal:
        return None
    return completed(action, target)


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


def target_of(action: Action, account: AccountCache) -> Order | None:
    """Return the order of the day that an action names, ended or not."""
    known = (*account.working.values(), *account.day_orders.values())
    return next((order for order in known if str(order.order_id) == action.target_order_id), None)


def all_or_none(policy: RiskPolicy, verdicts: Sequence[ActionVerdict]) -> list[ActionVerdict]:
    """Return the verdicts; where the policy says all or none, one refusal refuses all."""
    refused = [verdict.action_index for verdict in verdicts if not verdict.passed]
    if not policy.all_or_none or not refused:
        return list(verdicts)
    return [
        verdict
        if not verdict.passed
        else ActionVerdict(
            verdict.action_index,
            (
                Reason(
                    "RISK_DEPENDENCY",
                    verdict.action_index,
                    f"the policy says all or none, and action {refused[0]} was refused",
                ),
            ),
            verdict.suggestion,
        )
        for verdict in verdicts
    ]


def exit_plans_of(decision: Decision, orders: Sequence[Order]) -> dict[str, Mapping[str, Any]]:
    """Return, by symbol, the exit plans that go with `orders` of a decision."""
    actions = {action.index: action for action in decision.actions}
    plans = {order.symbol: actions[order.action_index].exit_plan for order in orders}
    return {
        symbol: records.exit_plan_json(plan) for symbol, plan in plans.items() if plan is not None
    }


def _no_such_order(action: Action) -> ActionVerdict:
    detail = f"there is no open order {action.target_order_id} of this account"
    return ActionVerdict(action.index, (Reason("CHECKER_UNKNOWN_REF", action.index, detail),))
