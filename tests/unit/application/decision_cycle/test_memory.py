"""What the actor is told of its own past."""

from __future__ import annotations

from datetime import timedelta

from caopan.application.decision_cycle.memory import DECISIONS, own_record
from caopan.testing.models import buy_action
from caopan.testing.table_desk import FIRST, TableDesk


async def remembered(desk, before=None):
    async with desk.pipeline.seat.begin() as uow:
        return await own_record(uow, before or desk.clock.now())


async def test_orders_fills_and_refusals_are_remembered_newest_first():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"), slot="one")
    desk.counter.fill(order, 1_000)
    await desk.settle(timedelta(minutes=1))
    await desk.decide(buy_action("999999.SH", 1_000, "10.00"), slot="two")
    await desk.settle(timedelta(minutes=1))
    refused, bought = await remembered(desk)
    assert bought["status"] == "executed"
    assert bought["orders"][0] | {"symbol": FIRST, "filled_qty": 1_000} == bought["orders"][0]
    assert refused["status"] == "rejected_checker"
    assert refused["orders"] == []
    assert "CHECKER_RANGE" in refused["refusals"][0]


async def test_nothing_of_later_is_remembered_and_only_so_much():
    desk = await TableDesk().open()
    opened = []
    for number in range(DECISIONS + 3):
        opened.append(desk.clock.now())
        await desk.decide({"type": "no_op"}, slot=f"slot {number}")
        await desk.settle(timedelta(seconds=1))
    assert len(await remembered(desk)) == DECISIONS
    assert len(await remembered(desk, before=opened[2])) == 2
