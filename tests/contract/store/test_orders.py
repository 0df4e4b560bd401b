"""Orders, fills and exit plans."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from caopan.domain.market.phases import OrderKind
from caopan.domain.orders.order import OrderStatus, OrderType, moved, with_fill
from caopan.kernel.errors import Conflict, CorruptState
from caopan.testing.store_samples import (
    QTY,
    sample_cycle,
    sample_day,
    sample_fill,
    sample_id,
    sample_order,
    sample_time,
)


@pytest.fixture(autouse=True)
async def decisions(kept):
    async def add(uow):
        await uow.cycles.add(sample_cycle(0))
        await uow.cycles.add(sample_cycle(1))

    await kept(add)


async def test_orders_come_back_as_they_were(store, run_id, kept):
    first, second, third = sample_order(0, 0), sample_order(0, 1), sample_order(1, 0)
    second = replace(second, exit_plan_id=sample_id("plan"))
    refused = moved(moved(third, OrderStatus.SENDING, sample_time(1)), OrderStatus.REJECTED,
                    sample_time(1), reject_code="BROKER_REJECT_FUNDS")  # fmt: skip
    await kept(lambda uow: uow.orders.add([third, second, first]))

    async def send(uow):
        await uow.orders.save([moved(third, OrderStatus.SENDING, sample_time(1)), refused])

    await kept(send)
    async with store.begin(run_id) as uow:
        assert await uow.orders.all() == [first, second, refused]
        assert await uow.orders.of_decision(first.decision_id) == [first, second]
        assert await uow.orders.of_day(sample_day(1)) == [refused]
        assert await uow.orders.not_terminal() == [first, second]


async def test_every_type_of_the_exchanges_is_stored_and_a_market_order_bids_no_price(
    store, run_id, kept
):
    orders = [
        replace(
            sample_order(0, number),
            order_type=one,
            price=0 if one.kind is OrderKind.MARKET else sample_order().price,
        )
        for number, one in enumerate(OrderType)
    ]
    await kept(lambda uow: uow.orders.add(orders))
    async with store.begin(run_id) as uow:
        assert await uow.orders.all() == orders


async def test_a_client_order_id_is_used_once(kept):
    order = sample_order()
    await kept(lambda uow: uow.orders.add([order]))
    again = replace(order, order_id=sample_id("other"))
    for duplicate in (order, again):
        with pytest.raises(Conflict, match="ORDER_EXISTS"):
            await kept(lambda uow, duplicate=duplicate: uow.orders.add([duplicate]))


async def test_an_order_changed_by_someone_else_is_not_overwritten(store, run_id, kept):
    order = sample_order()
    sending = moved(order, OrderStatus.SENDING, sample_time())
    await kept(lambda uow: uow.orders.add([order]))
    await kept(lambda uow: uow.orders.save([sending]))
    stale = moved(order, OrderStatus.CANCELED, sample_time())
    unknown = moved(sample_order(1), OrderStatus.CANCELED, sample_time())
    for refused in (
        [stale],
        [unknown],
        [moved(sending, OrderStatus.ACCEPTED, sample_time()), stale],
    ):
        with pytest.raises(Conflict, match="ORDER_VERSION"):
            await kept(lambda uow, refused=refused: uow.orders.save(refused))
    async with store.begin(run_id) as uow:
        assert await uow.orders.all() == [sending]


async def test_what_was_cleared_of_an_order_never_changes(store, run_id, kept):
    order = sample_order()
    await kept(lambda uow: uow.orders.add([order]))
    sending = moved(order, OrderStatus.SENDING, sample_time())
    await kept(
        lambda uow: uow.orders.save([replace(sending, qty=900, price=1, symbol="600000.SH")])
    )
    async with store.begin(run_id) as uow:
        assert await uow.orders.all() == [sending]


async def test_a_fill_reported_twice_is_booked_once(store, run_id, kept):
    order = sample_order()
    sending = moved(order, OrderStatus.SENDING, sample_time())
    one, two = sample_fill(order, 1, 40), sample_fill(order, 2, 60)
    two = replace(two, filled_at=two.filled_at + timedelta(seconds=1))
    repeated = replace(one, fill_id=sample_id("other"))
    half = with_fill(sending, one.qty, one.price, sample_time())
    full = with_fill(half, two.qty, two.price, sample_time())
    await kept(lambda uow: uow.orders.add([order]))
    new: list = []

    async def fill(uow):
        await uow.orders.save([sending])
        new.append(await uow.orders.add_fills([one]))
        new.append(await uow.orders.add_fills([repeated, two]))
        new.append(await uow.orders.add_fills([one, two]))
        new.append(await uow.orders.add_fills([]))
        await uow.orders.save([half, full])

    await kept(fill)
    assert [list(part) for part in new] == [[one], [two], [], []]
    async with store.begin(run_id) as uow:
        assert await uow.orders.fills() == [one, two]
        assert await uow.orders.fills(order.decision_id) == [one, two]
        assert await uow.orders.fills(sample_id("decision", 1)) == []
        assert (await uow.orders.all())[0] == full
        assert full.filled_qty == QTY


async def test_fills_and_plans_need_their_order(kept):
    order = sample_order()
    with pytest.raises(CorruptState, match="FOREIGN_KEY_VIOLATION"):
        await kept(lambda uow: uow.orders.add_fills([sample_fill(order)]))
    with pytest.raises(CorruptState, match="FOREIGN_KEY_VIOLATION"):
        await kept(lambda uow: _plan(uow, "plan", order, {}, 0))
    with pytest.raises(CorruptState, match="FOREIGN_KEY_VIOLATION"):
        await kept(lambda uow: uow.orders.add([sample_order(5)]))


async def test_the_newest_exit_plan_of_each_symbol_counts(store, run_id, kept):
    order = sample_order()
    other = replace(sample_order(0, 1), symbol="000001.SZ")

    async def plan(uow):
        await uow.orders.add([order, other])
        await _plan(uow, "new", order, {"stop_price": "1600.00", "take_profit": []}, 1)
        await _plan(uow, "old", order, {"stop_price": "1500.00"}, 0)
        await _plan(uow, "its own", other, {"stop_price": "9.00"}, 0)

    await kept(plan)
    async with store.begin(run_id) as uow:
        assert await uow.exit_plans.latest() == {
            "000001.SZ": {"stop_price": "9.00"},
            order.symbol: {"stop_price": "1600.00", "take_profit": []},
        }


async def _plan(uow, name, order, body, number) -> None:
    await uow.exit_plans.add(
        sample_id(name), order.order_id, order.decision_id, order.symbol, body, sample_time(number)
    )
