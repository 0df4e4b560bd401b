"""Small valid domain objects, to be changed by `dataclasses.replace` in tests and benchmarks.

Owns one builder per stored shape; every builder is a pure function of the decision's number, so
that two calls give equal objects. Must never be used by production code.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from uuid import UUID

from caopan.application.ports.store import ModelCall, NavPoint, Reconciliation
from caopan.domain.accounting.journal import (
    CAPITAL,
    CASH_FREE,
    CASH_FROZEN,
    CNY,
    Kind,
    Posting,
    Transaction,
)
from caopan.domain.decision.cycle import Cycle
from caopan.domain.ledger.chain import Draft, Stage
from caopan.domain.orders.order import Fill, Order, OrderType, Side
from caopan.domain.risk.kill_switch import Control, KillLevel, Posture
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.clock import at_shanghai
from caopan.kernel.ids import client_order_id, derived_uuid
from caopan.kernel.money import units

ACCOUNT = "sandbox-1"
SYMBOL = "600519.SH"
PRICE = units("1700.50")
QTY = 100
FIRST_DAY = date(2023, 1, 3)


def sample_day(number: int = 0) -> date:
    """Return the day of decision `number`."""
    return FIRST_DAY + timedelta(days=number)


def sample_time(number: int = 0) -> datetime:
    """Return the instant of decision `number`."""
    return at_shanghai(sample_day(number), time(9, 26))


def sample_id(kind: str, number: int = 0) -> UUID:
    """Return the id of the thing of this kind that belongs to decision `number`."""
    return derived_uuid(sample_time(number), "sample", kind, number)


def sample_cycle(number: int = 0) -> Cycle:
    """Return an opened cycle."""
    return Cycle(
        sample_id("decision", number),
        sample_id("trace", number),
        ACCOUNT,
        sample_day(number),
        "open_check",
        sample_time(number),
    )


def sample_draft(number: int = 0, stage: Stage = Stage.ACTOR, text: str = "hold") -> Draft:
    """Return a draft of a ledger entry about decision `number`."""
    return Draft(
        stage,
        sample_time(number),
        {"said": text, "number": number},
        sample_id("decision", number),
        sample_id("trace", number),
    )


def sample_observation(number: int = 0, size: int = 1) -> tuple[UUID, str, bytes]:
    """Return an observation's id, content hash and canonical JSON."""
    body = canonical({"number": number, "closes": [f"{n}.50" for n in range(size)]})
    return sample_id("observation", number), sha256_hex(body), body


def sample_order(number: int = 0, action_index: int = 0) -> Order:
    """Return a created buy order."""
    decision_id = sample_id("decision", number)
    at = sample_time(number)
    return Order(
        order_id=derived_uuid(at, "order", number, action_index),
        client_order_id=client_order_id(decision_id, action_index, 1),
        decision_id=decision_id,
        action_index=action_index,
        account_id=ACCOUNT,
        symbol=SYMBOL,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        price=PRICE,
        qty=QTY,
        broker="sandbox",
        clearance_id=sample_id("clearance", number),
        trading_day=sample_day(number),
        not_after=at + timedelta(minutes=10),
        created_at=at,
        updated_at=at,
    )


def sample_fill(order: Order, number: int = 0, qty: int = QTY) -> Fill:
    """Return a fill of `order`, the venue's own `number`."""
    return Fill(
        fill_id=derived_uuid(order.created_at, "fill", str(order.order_id), number),
        order_id=order.order_id,
        decision_id=order.decision_id,
        broker=order.broker,
        broker_fill_id=f"F{order.client_order_id[:8]}{number}",
        trading_day=order.trading_day,
        symbol=order.symbol,
        side=order.side,
        qty=qty,
        price=order.price,
        commission=units("4.25"),
        stamp_duty=0,
        transfer_fee=units("0.1701"),
        other_fees=0,
        filled_at=order.created_at + timedelta(minutes=4),
    )


def sample_deposit(amount: int = units(1_000_000)) -> Transaction:
    """Return the opening deposit."""
    postings = (Posting(CASH_FREE, CNY, amount), Posting(CAPITAL, CNY, -amount))
    return Transaction(sample_id("deposit"), Kind.DEPOSIT, sample_time(), postings, memo="opening")


def sample_freeze(order: Order) -> Transaction:
    """Return the reservation of an order's cost."""
    amount = order.qty * order.price
    postings = (
        Posting(CASH_FREE, CNY, -amount),
        Posting(f"{CASH_FROZEN}/{order.order_id}", CNY, amount),
    )
    txn_id = derived_uuid(order.created_at, "freeze", str(order.order_id))
    return Transaction(txn_id, Kind.FREEZE, order.created_at, postings, order.order_id)


def sample_nav(number: int = 0) -> NavPoint:
    """Return a day-close snapshot."""
    cash, held = units(900_000), units("100000.0001")
    return NavPoint(
        trading_day=sample_day(number),
        at=at_shanghai(sample_day(number), time(15)),
        nav=cash + held,
        cash_free=cash,
        cash_frozen=0,
        market_value=held,
        fees_total=units("4.42"),
        realised_total=-units("12.5"),
        benchmark=units("999999.9999"),
    )


def sample_control(version: int = 1, level: KillLevel = KillLevel.NO_ORDERS) -> Control:
    """Return a control that somebody set."""
    return Control(level, Posture.FLAT_ONLY, "drill", "operator", sample_time(version), version)


def sample_reconciliation(number: int = 0) -> Reconciliation:
    """Return a comparison that found one difference."""
    return Reconciliation(
        sample_id("reconciliation", number),
        sample_time(number),
        sample_day(number),
        "start",
        passed=False,
        differences=({"kind": "cash", "key": "CNY", "ours": "10.00", "theirs": None},),
    )


def sample_model_call(number: int = 0) -> ModelCall:
    """Return a finished call of a model."""
    return ModelCall(
        call_id=sample_id("call", number),
        trace_id=sample_id("trace", number),
        decision_id=sample_id("decision", number),
        role="actor",
        alias="builtin/momentum",
        endpoint="builtin",
        provider="caopan",
        model_asked="momentum",
        model_served="momentum",
        prompt_hash="a" * 64,
        prompt_version="1",
        config_version="1",
        request={"observation": "b" * 64, "temperature": 0.25},
        response='{"actions": []}',
        outcome="ok",
        created_at=sample_time(number),
        latency_ms=12,
        tokens_prompt=0,
        usage_raw={"total": 0},
        cost_cny="0.0125",
    )
