"""Clearance: minted by the gate alone, for one order, until one instant."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from datetime import timedelta

import pytest

from caopan.domain.orders.order import OrderStatus, Side, moved
from caopan.domain.risk.clearance import Clearance, mint, order_hash, verify
from caopan.domain.risk.gate import clear
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.errors import CaopanError, Denied
from caopan.kernel.money import units
from caopan.testing.samples import (
    NOW,
    sample_id,
    sample_order,
    sample_question,
)


def cleared():
    order = sample_order()
    _, clearance = clear(sample_question(), order)
    assert clearance is not None
    return order, clearance


def test_a_passed_order_gets_a_clearance_of_its_own():
    order, clearance = cleared()
    assert clearance.clearance_id == order.clearance_id
    assert clearance.order_hash == order_hash(order)
    assert clearance.policy_version == RiskPolicy().version
    assert clearance.expires_at == order.not_after
    verify(clearance, order, NOW)


def test_a_refused_order_gets_none():
    verdict, clearance = clear(sample_question(may_place=False), sample_order())
    assert not verdict.passed
    assert clearance is None


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "600002.SH"},
        {"side": Side.SELL},
        {"price": units("10.01")},
        {"qty": 1_100},
    ],
)
def test_no_clearance_for_an_order_other_than_the_one_judged(change):
    verdict, clearance = clear(sample_question(), sample_order(**change))
    assert [reason.code for reason in verdict.reasons] == ["CLEARANCE_MISMATCH"]
    assert clearance is None


def test_it_cannot_be_constructed():
    order, clearance = cleared()
    for seal in (None, object(), True, clearance):
        with pytest.raises(Denied) as caught:
            Clearance(order.clearance_id, order_hash(order), "v", NOW, seal)
        assert caught.value.code == "CLEARANCE_FORGED"


def test_it_cannot_be_replaced_copied_or_pickled():
    _, clearance = cleared()
    forgeries = [
        lambda: replace(clearance, order_hash="0" * 64),
        lambda: replace(clearance, expires_at=NOW + timedelta(days=1)),
        lambda: copy.copy(clearance),
        lambda: copy.deepcopy(clearance),
        lambda: copy.deepcopy({"inside": clearance}),
        lambda: pickle.dumps(clearance),
    ]
    for forge in forgeries:
        with pytest.raises((CaopanError, ValueError, TypeError)):
            forge()


def test_it_cannot_be_changed():
    _, clearance = cleared()
    for name in ("order_hash", "expires_at", "clearance_id", "policy_version"):
        with pytest.raises(AttributeError):
            setattr(clearance, name, getattr(clearance, name))
    assert not hasattr(clearance, "seal")


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "600002.SH"},
        {"side": Side.SELL},
        {"price": units("10.01")},
        {"qty": 1_100},
        {"account_id": "another"},
        {"client_order_id": "C" * 23},
        {"clearance_id": sample_id(77)},
    ],
)
def test_verify_refuses_another_or_a_changed_order(change):
    order, clearance = cleared()
    with pytest.raises(Denied) as caught:
        verify(clearance, replace(order, **change), NOW)
    assert caught.value.code == "CLEARANCE_MISMATCH"


def test_verify_accepts_what_does_not_reach_the_venue():
    order, clearance = cleared()
    sending = moved(order, OrderStatus.SENDING, NOW)
    verify(clearance, sending, NOW)


def test_verify_refuses_after_the_end_of_its_time():
    order, clearance = cleared()
    verify(clearance, order, clearance.expires_at)
    with pytest.raises(Denied) as caught:
        verify(clearance, order, clearance.expires_at + timedelta(microseconds=1))
    assert caught.value.code == "RISK_EXPIRED"


def test_a_policy_change_is_a_new_version():
    base = RiskPolicy()
    assert base.version == RiskPolicy().version
    changed = replace(base, max_positions=base.max_positions - 1)
    assert changed.version != base.version
    assert mint(sample_order(), changed.version).policy_version == changed.version


def test_it_ends_with_the_decision_where_the_order_would_live_longer():
    late = sample_order(not_after=NOW + timedelta(days=1))
    _, clearance = clear(sample_question(), late)
    assert clearance is not None
    assert clearance.expires_at == sample_question().valid_until
