"""A decision as JSON values, in the form of the contract.

Owns `decision_json` and `exit_plan_json`. What it gives reads back to the same decision. Must never
add what the decision does not say. Tests: tests/property/application/test_parse_reply.py.
"""

from __future__ import annotations

from typing import Any, Final

from caopan.domain.decision.shapes import Action, Decision, Entry, ExitPlan, StopBasis
from caopan.domain.orders.order import OrderType
from caopan.kernel.clock import iso
from caopan.kernel.money import yuan

_ORDER_TYPES: Final = {
    OrderType.LIMIT: {"order_type": "limit"},
    OrderType.MARKET_BEST5_CANCEL: {"order_type": "market"},
    OrderType.MARKET_IOC: {"order_type": "market", "tif": "ioc"},
    OrderType.MARKET_FOK: {"order_type": "market", "tif": "fok"},
}


def decision_json(decision: Decision) -> dict[str, Any]:
    """Return a decision with the times we set; what it leaves open is left out."""
    values: dict[str, Any] = {
        "observation_ref": decision.observation_ref,
        "account_view": {"nav": yuan(decision.nav), "cash": yuan(decision.cash)},
        "timestamp": iso(decision.made_at),
        "valid_until": iso(decision.valid_until),
        "actions": [_action_json(action) for action in decision.actions],
    }
    intent = dict[str, str]()
    if decision.asked_posture != "normal":
        intent["risk_posture"] = decision.asked_posture
    if decision.max_new_cash is not None:
        intent["max_new_cash"] = yuan(decision.max_new_cash)
    if intent:
        values["global_intent"] = intent
    if decision.notes:
        values["notes"] = decision.notes
    return values


def exit_plan_json(plan: ExitPlan) -> dict[str, Any]:
    """Return an exit plan; what it leaves to the default is left out."""
    values: dict[str, Any] = {
        "stop_price": yuan(plan.stop_price),
        "take_profit": [
            {"fraction": fraction, "price": yuan(price)} for price, fraction in plan.take_profit
        ],
    }
    if plan.time_stop_days is not None:
        values["time_stop_days"] = plan.time_stop_days
    if plan.stop_basis is not StopBasis.LAST:
        values["stop_basis"] = plan.stop_basis.value
    if plan.trail_pct is not None:
        values["trail_pct"] = plan.trail_pct
    if plan.invalidation:
        values["invalidation"] = [
            {"feature": one.feature, "op": one.op.value, "value": one.value}
            for one in plan.invalidation
        ]
    if plan.on_event:
        values["on_event"] = [event.value for event in plan.on_event]
    if plan.min_price is not None:
        values["min_price"] = yuan(plan.min_price)
    return values


def _action_json(action: Action) -> dict[str, Any]:
    intent = action.intent
    values: dict[str, Any] = {
        "type": action.type.value,
        "symbol": action.symbol,
        "target_weight": action.target_weight,
        "entry": None if action.entry is None else _entry_json(action.entry),
        "side": None if action.side is None else action.side.value,
        **({} if action.order_type is None else _ORDER_TYPES[action.order_type]),
        "price": None if action.price is None else yuan(action.price),
        "qty": action.qty,
        "target_order_id": action.target_order_id,
        "depends_on": action.depends_on,
        "exit_plan": None if action.exit_plan is None else exit_plan_json(action.exit_plan),
        "intent": None
        if intent is None
        else {
            "rationale": intent.rationale,
            "confidence": intent.confidence,
            "evidence": list(intent.evidence),
        },
    }
    return {name: value for name, value in values.items() if value is not None}


def _entry_json(entry: Entry) -> dict[str, Any]:
    values: dict[str, Any] = {
        "max_price": None if entry.max_price is None else yuan(entry.max_price),
        "max_chase_bps": entry.max_chase_bps,
        "tranches": list(entry.tranches) or None,
        "cancel_at": None if entry.cancel_at is None else iso(entry.cancel_at),
    }
    return {name: value for name, value in values.items() if value is not None}
