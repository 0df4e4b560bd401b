"""What each stage leaves in the ledger, and how it is read back.

Owns the payloads of ledger entries: only facts that a replay would produce again (no measured
times). Must never decide anything. Tests: tests/unit/application/test_records.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from caopan.application.decision_cycle.deciding import read_again
from caopan.application.decision_cycle.model_checker import Opinion
from caopan.application.decision_cycle.observe import Observation
from caopan.application.desk import Desk
from caopan.application.ports.store import NavPoint, Reconciliation, Run, UnitOfWork
from caopan.application.targeting import plan_json
from caopan.domain.accounting.journal import Transaction
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import (
    Action,
    ActionType,
    ActionVerdict,
    CheckerResult,
    Decision,
    Origin,
)
from caopan.domain.ledger.chain import Draft, Stage
from caopan.domain.orders.order import Fill, Order, OrderType, Side
from caopan.domain.planning.targets import Plan
from caopan.domain.risk.kill_switch import Control
from caopan.kernel.canonical import sha256_hex
from caopan.kernel.clock import iso
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import units, yuan


def run_opened(run: Run, opening: Transaction, at: datetime) -> Draft:
    """Return the first entry of a chain: everything its result depends on."""
    payload = {
        "account_id": run.account_id,
        "config": run.config,
        "config_hash": run.config_hash,
        "kind": run.kind.value,
        "opening": transaction_json(opening),
    }
    return Draft(Stage.CONFIG_CHANGE, at, payload)


def observed(cycle: Cycle, observation: Observation, at: datetime) -> Draft:
    """Return the observation itself as evidence."""
    return Draft(Stage.OBSERVATION, at, observation.body, cycle.decision_id, cycle.trace_id)


def acted(cycle: Cycle, evidence: Mapping[str, Any], at: datetime) -> Draft:
    """Return the model's answer, verbatim, or why there is none."""
    return Draft(Stage.ACTOR, at, evidence, cycle.decision_id, cycle.trace_id)


def checked(cycle: Cycle, result: CheckerResult, opinion: Opinion | None = None) -> Draft:
    """Return the checker's verdict, with what a model checker said."""
    payload: dict[str, Any] = {
        "checked_at": iso(result.checked_at),
        "checker": result.checker,
        "observation_expired": result.observation_expired,
        "pass": result.passed,
        "reasons": [reason.as_json() for reason in result.reasons],
    }
    if result.findings:
        payload["findings"] = [finding.as_json() for finding in result.findings]
    if opinion is not None:
        payload["model_checker"] = opinion.evidence
    return Draft(Stage.CHECKER, result.checked_at, payload, cycle.decision_id, cycle.trace_id)


def judged(
    cycle: Cycle,
    verdicts: Sequence[ActionVerdict],
    orders: Sequence[Order],
    desk: Desk,
    at: datetime,
    planned: Plan | None = None,
) -> Draft:
    """Return the gate's verdict on each action and the intents it let through."""
    payload: dict[str, Any] = {
        "evaluated_at": iso(at),
        "orders": [order_json(order) for order in orders],
        "pass": all(verdict.passed for verdict in verdicts),
        "policy_version": desk.policy.version,
        "corrections": [
            {"action_index": verdict.action_index, **verdict.suggestion}
            for verdict in verdicts
            if verdict.suggestion
        ],
        "rules_citation": desk.market.info.rules_citation,
        "verdicts": [
            {
                "action_index": verdict.action_index,
                "pass": verdict.passed,
                "reasons": [reason.as_json() for reason in verdict.reasons],
            }
            for verdict in verdicts
        ],
    }
    if planned is not None:
        payload["planned"] = plan_json(planned)
    return Draft(Stage.RISK, at, payload, cycle.decision_id, cycle.trace_id)


def ordered(order: Order, trace_id: UUID) -> Draft:
    """Return an order as the venue has taken, refused or ended it."""
    return Draft(Stage.ORDER, order.updated_at, order_json(order), order.decision_id, trace_id)


def filled(fill: Fill, trace_id: UUID) -> Draft:
    """Return one fill with its fees."""
    payload = {
        "broker": fill.broker,
        "broker_fill_id": fill.broker_fill_id,
        "commission": yuan(fill.commission),
        "fill_id": str(fill.fill_id),
        "filled_at": iso(fill.filled_at),
        "order_id": str(fill.order_id),
        "other_fees": yuan(fill.other_fees),
        "price": yuan(fill.price),
        "qty": fill.qty,
        "side": fill.side.value,
        "stamp_duty": yuan(fill.stamp_duty),
        "symbol": fill.symbol,
        "trading_day": fill.trading_day.isoformat(),
        "transfer_fee": yuan(fill.transfer_fee),
    }
    return Draft(Stage.FILL, fill.filled_at, payload, fill.decision_id, trace_id)


def outcome(cycle: Cycle, orders: Sequence[Order], fills: Sequence[Fill]) -> Draft:
    """Return what became of a decision."""
    at = cycle.closed_at or cycle.opened_at
    payload: dict[str, Any] = {
        "fills": len(fills),
        "orders": len(orders),
        "status": cycle.status.value,
    }
    if cycle.status_code is not None:
        payload["code"] = cycle.status_code
    return Draft(Stage.OUTCOME, at, payload, cycle.decision_id, cycle.trace_id)


def reconciled(result: Reconciliation) -> Draft:
    """Return a comparison with the venue, both sides of each difference."""
    payload = {
        "differences": [dict(one) for one in result.differences],
        "pass": result.passed,
        "reconciliation_id": str(result.reconciliation_id),
        "trading_day": result.trading_day.isoformat(),
        "trigger": result.trigger,
    }
    return Draft(Stage.RECONCILIATION, result.at, payload)


def controlled(control: Control) -> Draft:
    """Return a change of what stands against the account's trading."""
    if control.at is None:
        raise CorruptState("CONTROL_UNDATED", "a change of controls has no time")
    payload = {
        "by": control.by,
        "level": int(control.level),
        "posture": control.posture.value,
        "reason": control.reason,
        "version": control.version,
    }
    return Draft(Stage.OPERATOR_ACTION, control.at, payload)


def adopted(cycle: Cycle, order: Order, at: datetime) -> Draft:
    """Return an order that was placed outside and is now followed in our books."""
    payload = {"action": "foreign_order", "order": order_json(order)}
    return Draft(Stage.OPERATOR_ACTION, at, payload, cycle.decision_id, cycle.trace_id)


def account_moved(action: str, key: str, transactions: Sequence[Transaction], by: str) -> Draft:
    """Return a movement between the account and the outside: deposit, withdrawal, import."""
    payload = {
        "action": action,
        "by": by,
        "key": key,
        "transactions": [transaction_json(transaction) for transaction in transactions],
    }
    return Draft(Stage.OPERATOR_ACTION, transactions[0].at, payload)


def settled_debt(transaction: Transaction) -> Draft:
    """Return what was owed for fills beyond the cash we knew of, now settled."""
    return Draft(Stage.ACCOUNTING, transaction.at, transaction_json(transaction))


def entitled(transaction: Transaction, day: date, at: datetime) -> Draft:
    """Return what was booked on an ex-date."""
    payload = {"trading_day": day.isoformat(), **transaction_json(transaction)}
    return Draft(Stage.ACCOUNTING, at, payload)


def day_closed(point: NavPoint) -> Draft:
    """Return the account at a day's close."""
    payload: dict[str, Any] = {
        "cash_free": yuan(point.cash_free),
        "cash_frozen": yuan(point.cash_frozen),
        "fees_total": yuan(point.fees_total),
        "market_value": yuan(point.market_value),
        "nav": yuan(point.nav),
        "realised_total": yuan(point.realised_total),
        "trading_day": point.trading_day.isoformat(),
    }
    if point.benchmark is not None:
        payload["benchmark"] = yuan(point.benchmark)
    return Draft(Stage.ACCOUNTING, point.at, payload)


def order_json(order: Order) -> dict[str, Any]:
    """Return an order as JSON values."""
    values: dict[str, Any] = {
        "action_index": order.action_index,
        "broker": order.broker,
        "clearance_id": str(order.clearance_id),
        "client_order_id": order.client_order_id,
        "filled_amount": yuan(order.filled_amount),
        "filled_qty": order.filled_qty,
        "not_after": iso(order.not_after),
        "order_id": str(order.order_id),
        "order_type": order.order_type.value,
        "price": yuan(order.price),
        "qty": order.qty,
        "side": order.side.value,
        "status": order.status.value,
        "symbol": order.symbol,
        "tif": "day",
    }
    if order.broker_order_id is not None:
        values["broker_order_id"] = order.broker_order_id
    if order.reject_code is not None:
        values["reject_code"] = order.reject_code
    if order.exit_plan_id is not None:
        values["exit_plan_id"] = str(order.exit_plan_id)
    return values


def transaction_json(transaction: Transaction) -> dict[str, Any]:
    """Return a journal transaction as JSON values; shares are whole, money is yuan."""
    return {
        "kind": transaction.kind.value,
        "memo": transaction.memo,
        "postings": [
            {
                "account": posting.account,
                "amount": yuan(posting.amount) if posting.asset == "CNY" else str(posting.amount),
                "asset": posting.asset,
            }
            for posting in transaction.postings
        ],
        "txn_id": str(transaction.txn_id),
    }


async def read_observation(uow: UnitOfWork, cycle: Cycle) -> Observation:
    """Return the stored observation of an interrupted cycle.

    Raises:
        CorruptState: OBSERVATION_MISSING if the store does not hold it.
    """
    body = None
    if cycle.observation_id is not None:
        body = await uow.observations.get(cycle.observation_id)
    if body is None or cycle.observation_id is None:
        raise CorruptState("OBSERVATION_MISSING", f"decision {cycle.decision_id} has none stored")
    return Observation(cycle.observation_id, json.loads(body), body, sha256_hex(body))


def operated(cycle: Cycle, decision: Decision, by: str, reason: str) -> Draft:
    """Return a decision that a person, or the code that carries out a halt, made."""
    payload = {
        "action": "orders",
        "actions": [_operator_action_json(action) for action in decision.actions],
        "by": by,
        "made_at": iso(decision.made_at),
        "reason": reason,
    }
    return Draft(
        Stage.OPERATOR_ACTION, decision.made_at, payload, cycle.decision_id, cycle.trace_id
    )


def operator_decision(
    cycle: Cycle, actions: Sequence[Action], made_at: datetime, valid_until: datetime
) -> Decision:
    """Return a decision that rests on no observation and only leaves positions."""
    return Decision(
        decision_id=cycle.decision_id,
        observation_ref="",
        nav=0,
        cash=0,
        actions=tuple(actions),
        made_at=made_at,
        valid_until=valid_until,
        is_exit=True,
    )


def _operator_action_json(action: Action) -> dict[str, Any]:
    """Return an action as JSON values; what it leaves open is left out."""
    values: dict[str, Any] = {
        "depends_on": action.depends_on,
        "order_type": None if action.order_type is None else action.order_type.value,
        "price": None if action.price is None else yuan(action.price),
        "qty": action.qty,
        "seen_filled": action.seen_filled or None,
        "side": None if action.side is None else action.side.value,
        "symbol": action.symbol,
        "target_order_id": action.target_order_id,
        "type": action.type.value,
    }
    return {name: value for name, value in values.items() if value is not None}


def _operator_action(index: int, values: Mapping[str, Any]) -> Action:
    return Action(
        index=index,
        type=ActionType(values["type"]),
        symbol=values.get("symbol"),
        side=Side(values["side"]) if "side" in values else None,
        order_type=OrderType(values["order_type"]) if "order_type" in values else None,
        price=units(values["price"]) if "price" in values else None,
        qty=values.get("qty"),
        depends_on=values.get("depends_on"),
        target_order_id=values.get("target_order_id"),
        seen_filled=values.get("seen_filled", 0),
    )


async def read_passed(uow: UnitOfWork, cycle: Cycle) -> frozenset[int]:
    """Return the actions of an interrupted cycle that the gate passed: its first word on them."""
    async for entry, payload in uow.ledger.entries(cycle.decision_id):
        if entry.stage is Stage.RISK and payload:
            verdicts = json.loads(payload)["verdicts"]
            return frozenset(one["action_index"] for one in verdicts if one["pass"])
    raise CorruptState("VERDICT_MISSING", f"decision {cycle.decision_id} was never judged")


async def read_decision(uow: UnitOfWork, cycle: Cycle) -> Decision:
    """Return the decision of an interrupted cycle by reading its recorded reply again.

    Raises:
        CorruptState: DECISION_UNREADABLE if the recorded reply does not give one.
    """
    source = Stage.ACTOR if cycle.origin is Origin.MODEL else Stage.OPERATOR_ACTION
    async for entry, payload in uow.ledger.entries(cycle.decision_id):
        if entry.stage is not source or not payload or cycle.valid_until is None:
            continue
        evidence = json.loads(payload)
        if cycle.origin is Origin.OPERATOR:
            actions = [_operator_action(n, one) for n, one in enumerate(evidence["actions"])]
            made_at = datetime.fromisoformat(evidence["made_at"])
            return operator_decision(cycle, actions, made_at, cycle.valid_until)
        made_at = datetime.fromisoformat(evidence["made_at"])
        decision = read_again(evidence, cycle, made_at, cycle.valid_until)
        if decision is not None:
            return decision
    raise CorruptState("DECISION_UNREADABLE", f"decision {cycle.decision_id} has no readable reply")
