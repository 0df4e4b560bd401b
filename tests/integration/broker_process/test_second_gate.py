"""What the first gate was made to let through, the broker's own process stops."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import time, timedelta
from typing import cast

import pytest

from caopan.adapters.kill_switch.flag_file import Flag, flag_path, write_flag
from caopan.adapters.postgres.store import PostgresStore
from caopan.application.execution import controller, hand
from caopan.application.pipeline import Pipeline
from caopan.application.ports.kill_switch import Released
from caopan.domain.decision.shapes import Action, ActionType, Decision
from caopan.domain.orders.order import OrderStatus, OrderType, Side, moved
from caopan.domain.risk import gate
from caopan.domain.risk.clearance import mint
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import Denied
from caopan.kernel.money import units
from caopan.testing.broker_life import DAYS, FILLS, STAYS, desk_of
from caopan.testing.samples import sample_order

RICH = units(1_000_000_000)


def buy(index: int = 0, *, qty: int = 100, price: str = "9.90", symbol: str = STAYS) -> Action:
    return Action(
        index=index,
        type=ActionType.PLACE_ORDER,
        symbol=symbol,
        side=Side.BUY,
        order_type=OrderType.LIMIT,
        price=units(price),
        qty=qty,
    )


@asynccontextmanager
async def ungated(theatre, monkeypatch):
    """Give a stage and a pipeline over the line whose first gate lets everything through."""
    monkeypatch.setattr(gate, "RULEBOOK", ())
    monkeypatch.setattr(controller.Controller, "_keep_pace", _no_pace)
    stage = await theatre.stage()
    theatre.broker(stage)
    clock = stage.clock()
    client = stage.client(clock)
    async with PostgresStore(stage.url) as store, store.lease(stage.run_id):
        run = next(run for run in await store.runs() if run.run_id == stage.run_id)
        try:
            await client.connect()
            await client.deposit("opening", RICH)
            pipeline = Pipeline(desk_of(run, store, client, clock, Released()))
            await pipeline.start(RICH)
            yield stage, pipeline, client, clock
        finally:
            await client.close()


async def _no_pace(_self) -> None:
    """Wait for nothing."""


async def asked(pipeline, *actions):
    """Return the orders that came of what a person asks for, and the venue's of the day."""
    cycle = await pipeline.operate(f"{len(actions)} {actions[0].qty}", actions, "anna", "drill")
    async with pipeline.seat.begin() as uow:
        orders = list(await uow.orders.of_decision(cycle.decision_id))
    return orders, await pipeline.desk.broker.orders(DAYS[0])


async def test_too_many_orders_in_a_second(theatre, monkeypatch):
    async with ungated(theatre, monkeypatch) as (_, pipeline, _, _):
        orders, taken = await asked(pipeline, *[buy(index) for index in range(105)])
        assert [one.status for one in orders].count(OrderStatus.ACCEPTED) == 100
        blocked = [one for one in orders if one.reject_code == "BROKER_BLOCKED"]
        assert len(blocked) == 5
        assert len(taken) == 100
        assert not {one.client_order_id for one in taken} & {o.client_order_id for o in blocked}
        await pipeline.controller.cancel_all()
        assert (await pipeline.reconcile("request")).passed


async def test_an_order_too_large(theatre, monkeypatch):
    async with ungated(theatre, monkeypatch) as (_, pipeline, _, _):
        huge = buy(0, qty=1_000_000, price="10.10", symbol=FILLS)
        [order], taken = await asked(pipeline, huge)
        assert (order.status, order.reject_code) == (OrderStatus.REJECTED, "BROKER_BLOCKED")
        assert taken == []
        fits = buy(0, qty=900_000, price="10.10", symbol=FILLS)
        [order], taken = await asked(pipeline, fits)
        assert order.status is OrderStatus.ACCEPTED
        assert len(taken) == 1


@pytest.mark.parametrize("moment", [time(12, 0), time(8, 55)])
async def test_an_order_outside_the_hours(theatre, monkeypatch, moment):
    async with ungated(theatre, monkeypatch) as (_stage, pipeline, client, clock):
        if moment > time(9):
            clock.set(at_shanghai(DAYS[0], moment))
            [order], taken = await asked(pipeline, buy())
            assert (order.status, order.reject_code) == (OrderStatus.REJECTED, "BROKER_BLOCKED")
            assert taken == []
            return
        # Of tomorrow, so of no hour of today.
        order = sample_order(
            symbol=STAYS, trading_day=DAYS[1], not_after=clock.now() + timedelta(days=2)
        )
        with pytest.raises(Denied, match=r"BROKER_BLOCKED.*it is for"):
            await client.submit(order, mint(order, "policy"))


async def test_a_tag_or_a_clearance_used_before(theatre, monkeypatch):
    async with ungated(theatre, monkeypatch) as (_stage, _, client, clock):
        first = sample_order(
            symbol=STAYS, trading_day=DAYS[0], not_after=clock.now() + timedelta(minutes=3)
        )
        await client.submit(first, mint(first, "policy"))
        tag_again = replace(first, clearance_id=first.order_id)
        clearance_again = replace(first, client_order_id="CANOTHER")
        for order, word in ((tag_again, "its tag"), (clearance_again, "its clearance")):
            with pytest.raises(Denied, match=f"BROKER_BLOCKED.*{word}"):
                await client.submit(order, mint(order, "policy"))
        assert [one.client_order_id for one in await client.orders(DAYS[0])] == [
            first.client_order_id
        ]


async def test_an_order_while_the_file_says_halt(theatre, monkeypatch):
    """The trader's own switch is blind here; the broker's process reads the file."""
    async with ungated(theatre, monkeypatch) as (stage, pipeline, client, clock):
        [before], _ = await asked(pipeline, buy(qty=200))
        assert before.status is OrderStatus.ACCEPTED
        write_flag(
            flag_path(stage.home, stage.run_id),
            Flag(KillLevel.NO_ORDERS, "drill", "test", clock.now()),
        )
        for turn in range(200):
            order = sample_order(
                turn + 1,
                symbol=STAYS,
                qty=100,
                trading_day=DAYS[0],
                not_after=clock.now() + timedelta(minutes=3),
            )
            await clock.pause(timedelta(milliseconds=20))
            try:
                await client.submit(order, mint(order, "policy"))
            except Denied as denied:
                refusal = denied.message
                break
        else:
            pytest.fail("200 orders passed a halt")
        assert "kill switch" in refusal
        seen = len(await client.orders(DAYS[0]))
        [after], taken = await asked(pipeline, buy(qty=300))
        assert (after.status, after.reject_code) == (OrderStatus.REJECTED, "BROKER_BLOCKED")
        assert len(taken) == seen
        assert (await pipeline.controller.cancel(before)).status in {
            OrderStatus.CANCELED,
            OrderStatus.PENDING_CANCEL,
        }


async def test_past_its_end_every_layer_refuses_an_order_by_itself(theatre, monkeypatch):
    async with ungated(theatre, monkeypatch) as (_stage, pipeline, client, clock):
        order = sample_order(
            symbol=STAYS, trading_day=DAYS[0], not_after=clock.now() + timedelta(seconds=30)
        )
        clearance = mint(order, "policy")
        late = order.not_after + timedelta(microseconds=1)
        # The controller, before it asks anybody: the gate's own rule is tested beside the others.
        [waiting], _ = await asked(pipeline, buy(qty=400))
        assert waiting.status is OrderStatus.ACCEPTED
        clock.set(late)
        fresh = replace(order, client_order_id="CLATE")
        decision = cast("Decision", None)  # it is not looked at any more
        assert (await pipeline.controller._send(fresh, decision)).status is OrderStatus.EXPIRED
        # The hand.
        sending = moved(order, OrderStatus.SENDING, late)
        sent = await hand.send(sending, clearance, client, late, Released())
        assert (sent.status, sent.reject_code) == (OrderStatus.NOT_SENT, "RISK_EXPIRED")
        # The broker's process.
        with pytest.raises(Denied, match="BROKER_BLOCKED"):
            await client.submit(order, clearance)
        tags = {one.client_order_id for one in await client.orders(DAYS[0])}
        assert not tags & {order.client_order_id, fresh.client_order_id}
