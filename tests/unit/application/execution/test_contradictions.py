"""What cannot be, said by a venue or by the store: the account stops, the books do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from caopan.application import account_movements as movements
from caopan.domain.decision.shapes import DecisionStatus
from caopan.domain.orders.order import Order, OrderStatus, Side
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.errors import CorruptState, Denied, OutcomeUnknown, Unavailable
from caopan.kernel.money import units
from caopan.testing.memory_store import MemoryUnitOfWork
from caopan.testing.models import buy_action
from caopan.testing.table_desk import CASH, FIRST, SECOND, THIRD, TableDesk

S = OrderStatus


def _too_much(desk: TableDesk, order: Order) -> None:
    desk.counter.fill(order, order.qty + 500)


def _another_share(desk: TableDesk, order: Order) -> None:
    desk.counter.fill(order, 100)
    slip = desk.counter.slip(order)
    slip.fills[0] = replace(slip.fills[0], symbol=THIRD)


def _another_side(desk: TableDesk, order: Order) -> None:
    desk.counter.fill(order, 100)
    slip = desk.counter.slip(order)
    slip.fills[0] = replace(slip.fills[0], side=Side.SELL)


WRONG = pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (_too_much, "ORDER_OVERFILL"),
        (_another_share, "FILL_MISMATCH"),
        (_another_side, "FILL_MISMATCH"),
    ],
)


@WRONG
async def test_one_bad_report_stops_the_account_and_keeps_no_other_fill_from_the_books(wrong, code):
    desk = await TableDesk().open()
    bad, good, waits = await desk.placed(
        buy_action(FIRST, 1_000, "10.00"),
        buy_action(SECOND, 1_000, "10.00"),
        buy_action(THIRD, 1_000, "10.00") | {"depends_on": 1},
    )
    wrong(desk, bad)
    desk.counter.fill(good, 1_000)
    await desk.settle()
    assert (await desk.order(good)).status is S.FILLED
    assert desk.pipeline.account.book.quantities() == {SECOND: 1_000}
    assert (await desk.order(bad)).filled_qty == 0
    # What waited for the good one is not sent any more, in this process as in the next.
    assert (await desk.order(waits)).status is S.CANCELED
    for restart in (False, True):
        if restart:
            await desk.restart()
        with pytest.raises(Denied) as caught:
            await desk.decide(buy_action(THIRD, 1_000, "10.00"), slot=f"again {restart}")
        assert caught.value.code == "RISK_KILL_SWITCH"
    assert len(desk.counter.sent) == 2

    control = await _stored_control(desk)
    assert (control.level, control.by) == (KillLevel.NO_ORDERS, "settlement")
    assert bad.client_order_id in control.reason
    assert code in control.reason
    assert await _told(desk) == [control.reason]
    # Both sides can be compared, and are.
    for _ in range(2):
        await desk.settle(timedelta(seconds=5))
    assert not (await desk.pipeline.reconcile("interval")).passed
    async with desk.pipeline.seat.begin() as uow:
        assert len(await uow.reconciliations.all()) == 1
    # The same word said again and again is one halt.
    assert await _told(desk) == [control.reason]
    assert (await desk.report()).verification.verified


async def test_a_bad_report_lowers_no_halt_that_stands():
    desk = await TableDesk().open()
    (bad,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    async with desk.pipeline.seat.begin() as uow:
        present = replace(
            await uow.controls.get(), level=KillLevel.FLATTEN, by="anna", reason="x", version=1
        )
        await uow.controls.put(replace(present, at=desk.clock.now()))
        await uow.commit()
    _too_much(desk, bad)
    await desk.settle()
    assert (await _stored_control(desk)).by == "anna"
    assert desk.pipeline.seat.level() is KillLevel.FLATTEN


async def _stored_control(desk: TableDesk):
    async with desk.pipeline.seat.begin() as uow:
        return await uow.controls.get()


async def _told(desk: TableDesk) -> list[str]:
    """Return why settling has stopped the account, as the chain has it."""
    async with desk.pipeline.seat.begin() as uow:
        found = [json.loads(payload or b"{}") async for _, payload in uow.ledger.entries()]
    return [one["reason"] for one in found if one.get("by") == "settlement"]


# --- refusals that come late ------------------------------------------------------------------


async def test_refused_by_the_exchange_while_its_cancel_is_on_the_way():
    desk = await TableDesk(cancels_at_once=False).open()
    bad, good = await desk.placed(
        buy_action(FIRST, 1_000, "10.00"), buy_action(SECOND, 1_000, "10.00")
    )
    await desk.pipeline.controller.cancel(bad)
    desk.counter.end(bad, S.REJECTED, "exchange")
    desk.counter.fill(good, 1_000)
    await desk.settle()
    ended = await desk.order(bad)
    assert (ended.status, ended.reject_code) == (S.REJECTED, "exchange")
    assert (await desk.order(good)).status is S.FILLED
    assert desk.pipeline.account.book.cash_frozen == 0
    assert desk.pipeline.seat.level() is KillLevel.OFF
    assert (await desk.pipeline.reconcile("interval")).passed
    assert await desk.agrees()


async def test_a_rest_that_is_refused_after_a_part_has_traded_has_ended():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.counter.fill(order, 300)
    desk.counter.end(order, S.REJECTED, "exchange")
    await desk.settle()
    ended = await desk.order(order)
    assert (ended.status, ended.filled_qty, ended.reject_code) == (S.CANCELED, 300, "exchange")
    assert desk.pipeline.account.book.cash_frozen == 0
    (cycle,) = await desk.cycles()
    assert cycle.status is DecisionStatus.PARTIALLY_EXECUTED
    assert (await desk.pipeline.reconcile("interval")).passed
    assert await desk.agrees()


# --- commits that fail ------------------------------------------------------------------------


@pytest.fixture
def commits(monkeypatch) -> Callable[[bool | None], None]:
    """Return a switch: True, commits are stored and their answer lost; False, they are not."""
    commit, answer = MemoryUnitOfWork.commit, None

    async def lost(self: MemoryUnitOfWork) -> None:
        if answer is False:
            raise Unavailable("DB_UNREACHABLE", "down")
        await commit(self)
        if answer:
            raise OutcomeUnknown("DB_COMMIT_UNKNOWN", "lost")

    def turn(stored: bool | None) -> None:
        nonlocal answer
        answer = stored

    monkeypatch.setattr(MemoryUnitOfWork, "commit", lost)
    return turn


@pytest.mark.parametrize("stored", [True, False])
async def test_after_a_commit_that_failed_only_the_store_is_believed(commits, stored):
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.counter.fill(order, 1_000)
    commits(stored)
    with pytest.raises((OutcomeUnknown, Unavailable)):
        await desk.settle()
    commits(None)
    for work in (desk.settle, lambda: desk.decide(slot="second")):
        with pytest.raises(CorruptState) as caught:
            await work()
        assert caught.value.code == "ACCOUNT_NOT_LOADED"
    await desk.pipeline.seat.reload()
    await desk.settle()
    assert (await desk.order(order)).status is S.FILLED
    assert len(await desk.fills()) == 1
    assert await desk.agrees()
    assert (await desk.pipeline.reconcile("interval")).passed


@pytest.mark.parametrize("stored", [True, False])
async def test_money_that_may_have_been_paid_out_is_not_spent(commits, stored):
    desk = await TableDesk().open()
    commits(stored)
    with pytest.raises((OutcomeUnknown, Unavailable)):
        await movements.pay_out(desk.pipeline.seat, "k", units(950_000), "me")
    commits(None)
    with pytest.raises(CorruptState):
        await desk.decide(buy_action(FIRST, 1_000, "10.00"), slot="second")
    await desk.pipeline.seat.reload()
    paid = units(950_000) if stored else 0
    assert desk.pipeline.account.book.cash_free == CASH - paid
