"""Every rule that one row can break: both stores refuse it by the same name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caopan.domain.decision.shapes import CycleStage, DecisionStatus
from caopan.domain.orders.order import OrderStatus, OrderType
from caopan.kernel.errors import CorruptState
from caopan.testing.store_samples import (
    PRICE,
    QTY,
    sample_cycle,
    sample_fill,
    sample_id,
    sample_model_call,
    sample_nav,
    sample_order,
    sample_time,
)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("slot", {"slot": ""}),
        ("closed", {"stage": CycleStage.CLOSED, "status": DecisionStatus.NO_OP}),
        ("closed", {"closed_at": sample_time()}),
        ("final", {"stage": CycleStage.CLOSED, "closed_at": sample_time()}),
        ("observed", {"stage": CycleStage.ACTED}),
    ],
)
async def test_decisions(kept, rule, change):
    with pytest.raises(CorruptState, match=f"CHECK_VIOLATION.* ck_decision_{rule}"):
        await kept(lambda uow: uow.cycles.add(replace(sample_cycle(), **change)))


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("client_order_id", {"client_order_id": "C" * 24}),
        ("client_order_id", {"client_order_id": ""}),
        ("client_order_id", {"client_order_id": "订单"}),
        ("client_order_id", {"client_order_id": "two words"}),
        ("action_index", {"action_index": -1}),
        ("qty", {"qty": 0, "status": OrderStatus.FILLED}),
        ("price", {"price": 0}),
        ("price", {"price": 0, "order_type": OrderType.AFTER_HOURS_FIXED}),
        ("price", {"price": -1}),
        ("price", {"price": -1, "order_type": OrderType.MARKET_IOC}),
        ("filled_qty", {"filled_qty": -1, "filled_amount": 1}),
        (
            "filled_qty",
            {"filled_qty": QTY + 1, "filled_amount": 1, "status": OrderStatus.CANCELED},
        ),
        ("filled_amount", {"filled_qty": 1, "status": OrderStatus.CANCELED}),
        ("filled_amount", {"filled_amount": 1}),
        ("filled", {"status": OrderStatus.FILLED}),
        (
            "filled",
            {"filled_qty": QTY, "filled_amount": QTY * PRICE, "status": OrderStatus.CANCELED},
        ),
        ("partially", {"status": OrderStatus.PARTIALLY_FILLED}),
        ("unfilled", {"filled_qty": 1, "filled_amount": PRICE, "status": OrderStatus.REJECTED}),
        ("submitted", {"status": OrderStatus.SENDING}),
        ("version", {"version": 0}),
    ],
)
async def test_orders(kept, rule, change):
    async def add(uow):
        await uow.cycles.add(sample_cycle())
        await uow.orders.add([replace(sample_order(), **change)])

    with pytest.raises(CorruptState, match=f"CHECK_VIOLATION.* ck_trade_order_{rule}:?\\b"):
        await kept(add)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("qty", {"qty": 0}),
        ("price", {"price": 0}),
        ("fees", {"commission": -1}),
        ("fees", {"stamp_duty": -1}),
        ("fees", {"transfer_fee": -1}),
        ("fees", {"other_fees": -1}),
    ],
)
async def test_fills(kept, rule, change):
    async def add(uow):
        await uow.cycles.add(sample_cycle())
        await uow.orders.add([sample_order()])
        await uow.orders.add_fills([replace(sample_fill(sample_order()), **change)])

    with pytest.raises(CorruptState, match=f"CHECK_VIOLATION.* ck_fill_{rule}"):
        await kept(add)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("parts", {"cash_frozen": -1, "cash_free": sample_nav().cash_free + 1}),
        ("nav", {"nav": sample_nav().nav + 1}),
        ("fees_total", {"fees_total": -1}),
        ("benchmark", {"benchmark": -1}),
    ],
)
async def test_snapshots(kept, rule, change):
    with pytest.raises(CorruptState, match=f"CHECK_VIOLATION.* ck_nav_point_{rule}"):
        await kept(lambda uow: uow.nav.add(replace(sample_nav(), **change)))


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("role", {"role": "oracle"}),
        ("outcome", {"outcome": ""}),
        ("prompt_hash", {"prompt_hash": "A" * 64}),
        ("attempt", {"attempt": 0}),
        ("latency_ms", {"latency_ms": -1}),
        ("ttft_ms", {"ttft_ms": -1}),
        ("tokens", {"tokens_cached": -1}),
    ],
)
async def test_model_calls(kept, rule, change):
    async def add(uow):
        await uow.cycles.add(sample_cycle())
        await uow.model_calls.add(replace(sample_model_call(), **change))

    with pytest.raises(CorruptState, match=f"CHECK_VIOLATION.* ck_model_call_{rule}"):
        await kept(add)


async def test_observations(kept):
    async def add(uow):
        await uow.cycles.add(sample_cycle())
        await uow.observations.add(
            sample_id("o"), sample_cycle().decision_id, sample_time(), "no hash", b"{}"
        )

    with pytest.raises(CorruptState, match=r"CHECK_VIOLATION.* ck_observation_content_hash"):
        await kept(add)
