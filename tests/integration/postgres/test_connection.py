"""One exchange from BEGIN to COMMIT, and the connections it is made on."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from caopan.adapters.postgres.connection import Pool
from caopan.domain.orders.order import OrderStatus, moved
from caopan.kernel.errors import Conflict, CorruptState, OutcomeUnknown, Unavailable
from caopan.testing.store_samples import (
    sample_deposit,
    sample_freeze,
    sample_id,
    sample_nav,
    sample_order,
    sample_time,
)

ORDERS = [sample_order(0, number) for number in range(60)]
CANCELED = [moved(order, OrderStatus.CANCELED, sample_time()) for order in ORDERS]


@pytest.fixture
async def held(store, run_id):
    """Return the run with orders in it, which `store` holds."""
    async with store.begin(run_id) as uow:
        await uow.orders.add(ORDERS)
        await uow.commit()
    return run_id


@pytest.fixture
async def pool(clean_database):
    opened = Pool(clean_database, synchronous_commit=True, size=1, wait_s=5)
    yield opened
    await opened.close()


@pytest.mark.parametrize("stale", [0, 1, 30, 59])
async def test_the_statement_that_met_no_row_is_named_and_commit_does_nothing(store, held, stale):
    """However many statements travel before and behind it, COMMIT the last of them."""
    saved = [*CANCELED]
    saved[stale] = replace(saved[stale], version=7)
    async with store.begin(held) as uow:
        await uow.nav.add(sample_nav())
        await uow.orders.save(saved)
        with pytest.raises(Conflict, match="ORDER_VERSION") as caught:
            await uow.commit()
        assert ORDERS[stale].client_order_id in str(caught.value)
        with pytest.raises(Conflict, match="UOW_FAILED"):
            await uow.commit()
    async with store.begin(held) as uow:
        assert {one.status for one in await uow.orders.all()} == {OrderStatus.CREATED}
        assert await uow.nav.all() == []


async def test_what_commit_itself_refuses_is_not_stored_and_ends_the_unit_of_work(store, held):
    async with store.begin(held) as uow:
        await uow.journal.post([sample_deposit()])
        await uow.orders.save(CANCELED[:1])
        # A booking of an order that is not there: found out when COMMIT checks it.
        await uow.journal.post([sample_freeze(replace(ORDERS[0], order_id=sample_id("nowhere")))])
        with pytest.raises(CorruptState, match="FOREIGN_KEY_VIOLATION"):
            await uow.commit()
        await uow.nav.add(sample_nav())
        with pytest.raises(Conflict, match="UOW_FAILED"):
            await uow.commit()
    async with store.begin(held) as uow:
        assert (await uow.orders.all())[0].status is OrderStatus.CREATED
        assert await uow.nav.all() == []


async def test_lost_with_commit_on_its_way_is_unknown_however_far_it_came(
    store, held, owner, superuser
):
    """The server still waits for a row, but nobody here can tell."""

    async def kill_when_waiting() -> None:
        for _ in range(1_000):
            if superuser.execute(_WAITING).fetchall():
                break
            await asyncio.sleep(0.01)
        superuser.execute(_KILL_WAITING)

    with owner.transaction():
        owner.execute("SELECT 1 FROM trade_order FOR UPDATE")
        async with store.begin(held) as uow, asyncio.TaskGroup() as group:
            await uow.orders.save(CANCELED[:1])
            group.create_task(kill_when_waiting())
            for _ in range(2):
                with pytest.raises(OutcomeUnknown, match="DB_COMMIT_UNKNOWN"):
                    await uow.commit()
    async with store.begin(held) as uow:
        assert (await uow.orders.all())[0].status is OrderStatus.CREATED


async def test_of_what_was_cut_off_in_the_middle_nothing_more_is_committed(store, held, owner):
    """A part may have been sent: it must not become durable as if it were the whole."""
    async with store.begin(held) as uow:
        await uow.orders.save(CANCELED[:1])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(uow._session.run("SELECT pg_sleep(30)"), 0.1)
        with pytest.raises(Conflict, match="UOW_FAILED"):
            await uow.commit()
    with owner.transaction():
        owner.execute("SELECT 1 FROM trade_order FOR UPDATE")
        async with store.begin(held) as uow:
            await uow.orders.save(CANCELED[:1])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(uow.commit(), 0.1)
            with pytest.raises(OutcomeUnknown, match="DB_COMMIT_UNKNOWN"):
                await uow.commit()
    async with store.begin(held) as uow:
        assert (await uow.orders.all())[0].status is OrderStatus.CREATED


async def test_what_is_given_back_open_is_rolled_back_and_lent_again(pool):
    driver = await pool.borrow()
    await driver.execute("BEGIN")
    await driver.execute("CREATE TABLE half_done ()")
    await pool.give_back(driver)
    assert await pool.borrow() is driver
    found = await driver.execute("SELECT to_regclass('half_done')")
    assert await found.fetchone() == (None,)
    await pool.give_back(driver)


async def test_more_are_lent_than_kept(pool):
    first, second = await pool.borrow(), await pool.borrow()
    await pool.give_back(first)
    await pool.give_back(second)
    assert (first.closed, second.closed) == (False, True)
    await pool.close()
    assert first.closed


async def test_a_lost_connection_takes_those_that_idle_with_it(pool):
    lost, idle = await pool.borrow(), await pool.borrow()
    await pool.give_back(idle)
    lost.pgconn.finish()
    await pool.give_back(lost)
    assert idle.closed
    fresh = await pool.borrow()
    await fresh.execute("SELECT 1")
    await pool.give_back(fresh)


async def test_who_is_cancelled_takes_no_turn_along(pool):
    """While it waits for a connection, and in the middle of a statement."""
    for _ in range(3):
        lent = [await pool.borrow(), await pool.borrow()]
        waiting = asyncio.create_task(pool.borrow())
        await asyncio.sleep(0)
        waiting.cancel()
        # Given back in the same breath, so that the turn may already be on its way to the waiter.
        await pool.give_back(lent.pop())
        with pytest.raises(asyncio.CancelledError):
            await waiting
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lent[0].execute("SELECT pg_sleep(30)"), 0.05)
        await pool.give_back(lent.pop())


async def test_a_connection_that_never_came_up_takes_no_turn_along():
    pool = Pool("postgresql://u:p@127.0.0.1:1/d", synchronous_commit=True, size=1, wait_s=0.1)
    for _ in range(3):
        with pytest.raises(Unavailable, match="DB_UNREACHABLE"):
            await pool.borrow()


_WAITING = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND query LIKE '%trade_order%' AND datname = current_database()"
)
_KILL_WAITING = _WAITING.replace("pid", "pg_terminate_backend(pid, 5000)", 1)
