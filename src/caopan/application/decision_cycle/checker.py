"""The rule checker: a proposal is about this observation, in range, fresh, without conflict.

Owns `check` (contracts.md, CheckerResult); what a proposal claims is compared in claims.py. It
always runs. Must never repair a proposal or look at limits of the account (the gate does). Tests:
tests/unit/application/decision_cycle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from caopan.application.decision_cycle import claims
from caopan.application.decision_cycle.observe import TTL_MS, Observation
from caopan.domain.decision.shapes import (
    Action,
    ActionType,
    CheckerResult,
    Decision,
    Reason,
)
from caopan.domain.orders.order import Side
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units, yuan

_WISHES = frozenset({ActionType.PLACE_ORDER, ActionType.SET_TARGET})
_CHANGES = frozenset({ActionType.CANCEL_ORDER, ActionType.MODIFY_ORDER})


def check(
    decision: Decision, observation: Observation, generated_at: datetime, now: datetime
) -> CheckerResult:
    """Return every reason not to trust `decision`; an empty list passes it on to the gate."""
    ttl_ms = observation.values.get("valid_ttl_ms", TTL_MS)
    expired = now > generated_at + timedelta(milliseconds=ttl_ms)
    reasons: list[Reason] = []
    if expired:
        reasons.append(
            Reason(
                "OBS_EXPIRED",
                None,
                "the observation outlived its time to live",
                limit=f"{ttl_ms} ms",
                actual=f"{(now - generated_at) // timedelta(milliseconds=1)} ms",
            )
        )
    # Either is ours and of this observation alone.
    names = (observation.content_hash, observation.values.get("observation_id"))
    if decision.observation_ref not in names:
        reasons.append(
            Reason(
                "CHECKER_UNKNOWN_REF",
                None,
                "the decision names another observation",
                limit=observation.content_hash,
                actual=decision.observation_ref,
            )
        )
    reasons.extend(claims.account_claims(decision, observation.values))
    for action in decision.actions:
        reasons.extend(_action_faults(action, observation.values))
    reasons.extend(_conflicts(decision))
    found = tuple(claims.findings(decision, observation.values))
    return CheckerResult(tuple(reasons), now, observation_expired=expired, findings=found)


def _action_faults(action: Action, observation: Mapping[str, Any]) -> Iterator[Reason]:
    yield from _dependency_faults(action)
    yield from claims.evidence_claims(action, observation)
    if action.type is ActionType.NO_OP:
        return
    if action.type in _CHANGES:
        yield from claims.change_claims(action, observation)
        return
    rules = observation["market_rules"].get(action.symbol)
    if rules is None:
        yield Reason(
            "CHECKER_RANGE", action.index, f"{action.symbol} is not in the observation's universe"
        )
    if action.type is ActionType.SET_TARGET:
        yield from _target_faults(action)
    yield from _plan_faults(action, observation)
    yield from claims.plan_references(action, observation)


def _dependency_faults(action: Action) -> Iterator[Reason]:
    """Refuse to wait for what comes later: it can never fill first."""
    if action.depends_on is None:
        return
    if action.type is not ActionType.PLACE_ORDER or action.depends_on >= action.index:
        yield Reason(
            "CHECKER_UNKNOWN_REF",
            action.index,
            "depends_on is for an order that waits for an earlier action",
            limit=f"below {action.index}",
            actual=str(action.depends_on),
        )


def _target_faults(action: Action) -> Iterator[Reason]:
    """Refuse a target that is no share of the account, or asks for what code does not do yet."""
    if not _is_share(action.target_weight):
        yield Reason(
            "CHECKER_RANGE",
            action.index,
            "a target is a share of NAV",
            limit="0 to 1",
            actual=str(action.target_weight),
        )
    entry = action.entry
    if entry is None:
        return
    if len(entry.tranches) > 1:
        detail = "entry.tranches of more than one part are not supported yet; set a smaller target"
        yield Reason("CHECKER_SCHEMA_FAIL", action.index, detail)
    if entry.cancel_at is not None:
        detail = "entry.cancel_at is not supported yet; what has not traded ends with its day"
        yield Reason("CHECKER_SCHEMA_FAIL", action.index, detail)


def _is_share(weight: str | None) -> bool:
    try:
        return weight is not None and 0 <= Decimal(weight) <= 1
    except InvalidOperation:  # no number, or none that can be compared
        return False


def _plan_faults(action: Action, observation: Mapping[str, Any]) -> Iterator[Reason]:
    plan = action.exit_plan
    if plan is None:
        return
    if plan.min_price is not None and plan.min_price > plan.stop_price:
        yield Reason(
            "CHECKER_RANGE",
            action.index,
            "the exit plan sells at its stop nothing that its min_price lets it sell",
            limit=yuan(plan.stop_price),
            actual=yuan(plan.min_price),
        )
    price = _entry_price(action, observation)
    if price is None:
        return
    if plan.stop_price >= price:
        yield Reason(
            "CHECKER_RANGE",
            action.index,
            "the exit plan's stop is not below the buy price",
            limit=yuan(price),
            actual=yuan(plan.stop_price),
        )
    for target, _ in plan.take_profit:
        if target <= price:
            yield Reason(
                "CHECKER_RANGE",
                action.index,
                "a take-profit is not above the buy price",
                limit=yuan(price),
                actual=yuan(target),
            )


def _entry_price(action: Action, observation: Mapping[str, Any]) -> int | None:
    """Return what an action buys at: a buy's own price, a target's last or its max_price if lower.

    None where nothing is bought, or nobody knows.
    """
    if action.type is not ActionType.SET_TARGET:
        return action.price if action.side is Side.BUY else None
    if not _is_share(action.target_weight) or Decimal(action.target_weight or 0) == 0:
        return None
    last = observation["features"].get(action.symbol, {}).get("last")
    most = None if action.entry is None else action.entry.max_price
    try:
        known = (most, None if last is None else units(str(last)))
    except ConfigInvalid:  # a file may hold anything
        known = (most,)
    return min((price for price in known if price is not None), default=None)


def _conflicts(decision: Decision) -> Iterator[Reason]:
    wishes = [action for action in decision.actions if action.type in _WISHES]
    for symbol, count in Counter(action.symbol for action in wishes).items():
        if count == 1:
            continue
        sides = {action.side for action in wishes if action.symbol == symbol}
        what = "both buys and sells" if sides == set(Side) else "orders twice"
        last = max(action.index for action in wishes if action.symbol == symbol)
        yield Reason("CHECKER_CONFLICT", last, f"the decision {what} {symbol}")
    changes = [action for action in decision.actions if action.type in _CHANGES]
    for target, count in Counter(action.target_order_id for action in changes).items():
        if count > 1:
            last = max(action.index for action in changes if action.target_order_id == target)
            yield Reason("CHECKER_CONFLICT", last, f"the decision changes order {target} twice")
    orders = [action for action in wishes if action.type is ActionType.PLACE_ORDER]
    placed = {action.index for action in orders}
    for action in orders:
        if action.depends_on is not None and action.depends_on not in placed:
            yield Reason(
                "CHECKER_UNKNOWN_REF",
                action.index,
                f"action {action.depends_on}, which must fill first, is no order",
            )
