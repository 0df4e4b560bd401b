"""Orders and fills: what a change keeps, sets and forgets."""

from __future__ import annotations

from datetime import timedelta

import pytest

from caopan.domain.orders.order import Fill, OrderStatus, Side, moved, with_fill
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import units
from caopan.testing.samples import DAY, NOW, SYMBOL, sample_id, sample_order

LATER = NOW + timedelta(seconds=3)


def test_sending_sets_the_time_of_submission_and_nothing_else_does():
    sending = moved(sample_order(), OrderStatus.SENDING, NOW)
    accepted = moved(sending, OrderStatus.ACCEPTED, LATER, broker_order_id="S1")
    assert accepted.submitted_at == NOW
    assert accepted.updated_at == LATER
    assert accepted.broker_order_id == "S1"
    assert moved(accepted, OrderStatus.EXPIRED, LATER).broker_order_id == "S1"


def test_a_refused_move_names_order_and_states():
    with pytest.raises(CorruptState) as caught:
        moved(sample_order(), OrderStatus.FILLED, NOW)
    order = sample_order()
    assert caught.value.code == "ORDER_EDGE"
    for part in (order.client_order_id, "created", "filled"):
        assert part in caught.value.message


def test_an_answer_that_was_lost_and_found_leaves_no_reject_code():
    lost = moved(
        moved(sample_order(), OrderStatus.SENDING, NOW),
        OrderStatus.UNKNOWN,
        NOW,
        reject_code="BROKER_TIMEOUT",
    )
    assert lost.reject_code == "BROKER_TIMEOUT"
    found = moved(lost, OrderStatus.ACCEPTED, LATER, broker_order_id="S1")
    assert found.reject_code is None
    assert with_fill(found, 1_000, units(10), LATER).reject_code is None


def test_a_late_fill_keeps_why_the_order_had_ended():
    order = moved(sample_order(), OrderStatus.SENDING, NOW)
    order = moved(order, OrderStatus.ACCEPTED, NOW)
    ended = moved(order, OrderStatus.CANCELED, NOW, reject_code="WHY")
    assert with_fill(ended, 100, units(10), LATER).reject_code == "WHY"


def test_an_order_that_has_traded_is_never_refused():
    order = moved(sample_order(), OrderStatus.SENDING, NOW)
    order = with_fill(order, 100, units(10), NOW)
    order = moved(order, OrderStatus.PENDING_CANCEL, NOW)
    order = moved(order, OrderStatus.ACCEPTED, NOW)
    with pytest.raises(CorruptState):
        moved(order, OrderStatus.REJECTED, NOW)


def test_fees_of_a_fill_are_the_sum_of_their_parts():
    fill = Fill(
        fill_id=sample_id(1),
        order_id=sample_id(2),
        decision_id=sample_id(3),
        broker="sandbox",
        broker_fill_id="T1",
        trading_day=DAY,
        symbol=SYMBOL,
        side=Side.SELL,
        qty=100,
        price=units(10),
        commission=1,
        stamp_duty=20,
        transfer_fee=300,
        other_fees=4_000,
        filled_at=NOW,
    )
    assert fill.fees == 4_321
