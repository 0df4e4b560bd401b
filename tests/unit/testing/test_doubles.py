"""The doubles tests rest on: a market that keeps the point-in-time rule, faults as planned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import date, time, timedelta
from typing import Any

import pytest

from caopan.application.contracts.decision import parse_reply
from caopan.application.ports.broker import OrderStatusReport
from caopan.application.ports.model import ModelRequest
from caopan.domain.orders.order import Order, OrderStatus
from caopan.domain.risk.clearance import Clearance, mint
from caopan.domain.risk.gate import judge_order
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import CorruptState, OutcomeUnknown, Unavailable
from caopan.kernel.money import units
from caopan.testing.market import TableMarket, day_bar, flat_bar
from caopan.testing.models import ScriptedModel, buy_action, decision_json, sell_action
from caopan.testing.samples import NOW, sample_id, sample_order, sample_question
from caopan.testing.sim_loop import SimulatedCrash
from caopan.testing.venues import Fault, FaultyBroker

FIRST, SECOND, THIRD = date(2023, 5, 31), date(2023, 6, 1), date(2023, 6, 2)
MINE, OTHER = "600001.SH", "000002.SZ"


def table() -> TableMarket:
    bars = [
        flat_bar(MINE, FIRST, "10.00"),
        day_bar(MINE, SECOND, "10.10", "10.90", "9.90", "10.50"),
    ]
    return TableMarket([FIRST, SECOND, THIRD], [*bars, flat_bar(OTHER, SECOND, "5.00", volume=0)])


def test_the_market_tells_a_day_only_when_it_is_known():
    market = table()
    early, known = at_shanghai(SECOND, time(8, 49, 59)), at_shanghai(SECOND, time(8, 50))
    open_, close = at_shanghai(SECOND, time(14, 59, 59)), at_shanghai(SECOND, time(15))
    for ask in (market.references, market.features, market.market):
        with pytest.raises(CorruptState) as caught:
            ask(SECOND, early)
        assert caught.value.code == "LOOK_AHEAD"
        ask(SECOND, known)
    for question in (
        lambda now: market.bar(MINE, SECOND, now),
        lambda now: market.closes(SECOND, now),
    ):
        with pytest.raises(CorruptState):
            question(open_)
        question(close)


def test_the_market_says_what_was_put_in():
    market, later = table(), at_shanghai(SECOND, time(15))
    references = market.references(SECOND, later)
    assert set(references) == {MINE, OTHER}
    assert references[MINE].pre_close == units(10)
    assert references[OTHER].trading_status == "suspended"
    assert market.closes(SECOND, later) == {MINE: units("10.50"), OTHER: units(5)}
    assert market.closes(FIRST, later) == {MINE: units(10)}
    assert market.bar(OTHER, FIRST, later) is None
    assert market.sessions(SECOND, THIRD) == (SECOND, THIRD)
    # Features look back only: the day's own close is not in them.
    assert market.features(SECOND, later)[MINE]["last"] == "10.00"
    assert market.info.synthetic


class Inner:
    name = "inner"

    def __init__(self):
        self.orders: list[str] = []

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        assert clearance.clearance_id == order.clearance_id
        self.orders.append(order.client_order_id)
        return OrderStatusReport(order.client_order_id, "S1", OrderStatus.ACCEPTED, NOW)

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        found = await self.reports([client_order_id])
        return found[0] if found else None

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[OrderStatusReport]:
        return [
            OrderStatusReport(tag, "S1", OrderStatus.ACCEPTED, NOW)
            for tag in client_order_ids
            if tag in self.orders
        ]


@pytest.mark.parametrize(
    ("fault", "error", "reached"),
    [
        (Fault.NONE, None, 1),
        (Fault.REQUEST_LOST, Unavailable, 0),
        (Fault.REQUEST_VANISHED, OutcomeUnknown, 0),
        (Fault.ANSWER_LOST, OutcomeUnknown, 1),
        (Fault.REQUEST_DELAYED, OutcomeUnknown, 1),
        (Fault.CRASH_BEFORE, SimulatedCrash, 0),
        (Fault.CRASH_AFTER, SimulatedCrash, 1),
    ],
)
async def test_each_fault_loses_what_it_says(fault, error, reached):
    inner: Any = Inner()  # what is asked of it here is all it can answer
    broker = FaultyBroker(inner, [fault])
    order = sample_order()
    if error is None:
        assert (await broker.submit(order, mint(order, "p"))).status is OrderStatus.ACCEPTED
    else:
        with pytest.raises(error):
            await broker.submit(order, mint(order, "p"))
    assert (await broker.find(order.client_order_id) is not None) == bool(reached)
    assert len(inner.orders) == reached
    assert len(await broker.reports([order.client_order_id])) == 2 * reached
    # The plan is used up: the next submission goes through.
    other = sample_order(2)
    await broker.submit(other, mint(other, "p"))
    assert broker.submissions == 2


async def test_a_doubled_request_reaches_the_venue_twice():
    order, inner = sample_order(), Inner()
    line: Any = inner
    broker = FaultyBroker(line, [Fault.REQUEST_DOUBLED])
    await broker.submit(order, mint(order, "p"))
    await broker.find(order.client_order_id)
    assert inner.orders == [order.client_order_id] * 2


def test_every_fault_is_tried_above():
    assert len(Fault) == 8


async def test_a_scripted_model_answers_from_the_request():
    request = ModelRequest(
        role="actor",
        decision_id=sample_id(1),
        trace_id=sample_id(9),
        observation={"account": {"nav": "10.00", "cash": "5.00"}},
        observation_hash="ab" * 32,
        observation_json="{}",
        reply_schema={},
        deadline_ms=1,
    )
    model = ScriptedModel(
        lambda r: decision_json(r, buy_action(MINE, 100, "10.00"), sell_action(OTHER, 5, "5.00"))
    )
    text = (await model.complete(request)).text
    decision, _ = parse_reply(text, decision_id=sample_id(1), made_at=NOW, valid_until=NOW)
    assert decision.observation_ref == request.observation_hash
    assert [action.qty for action in decision.actions] == [100, 5]
    assert model.requests == [request]
    changed = json.loads(decision_json(request, notes="n", account_view={"nav": "1", "cash": "1"}))
    assert changed["notes"] == "n"
    assert changed["account_view"] == {"nav": "1", "cash": "1"}


def test_the_samples_are_unremarkable():
    assert judge_order(sample_question()).passed
    assert sample_order() == sample_order()
    first, second = sample_order(1), sample_order(2)
    for name in ("order_id", "client_order_id", "clearance_id"):
        assert getattr(first, name) != getattr(second, name)
    assert replace(first, qty=7) == sample_order(1, qty=7)
    later = sample_question(now=NOW + timedelta(hours=1))
    assert {reason.code for reason in judge_order(later).reasons} == {"RISK_EXPIRED"}
    assert {field.name for field in fields(Order)} >= {"qty", "price", "status"}
