"""One trader per run, across processes, whatever becomes of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import RunKind
from caopan.domain.orders.order import OrderStatus, moved
from caopan.kernel.errors import Conflict, Unavailable
from caopan.testing.store_samples import sample_draft, sample_order, sample_time

HOLDER = """
import asyncio, sys
from caopan.adapters.postgres.store import PostgresStore

async def hold():
    async with PostgresStore(sys.argv[1]) as store, store.lease(int(sys.argv[2])):
        print("held", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(hold())
"""


@pytest.fixture
def holder(clean_database, unheld):
    words = [sys.executable, "-c", HOLDER, clean_database, str(unheld)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


async def test_a_run_held_by_another_process_is_busy_until_that_is_killed(store, unheld, holder):
    with pytest.raises(Conflict, match="RUN_BUSY"):
        async with store.lease(unheld):
            pass
    holder.kill()
    holder.wait()
    for _ in range(500):
        # The server notices the closed socket in its own time.
        try:
            async with store.lease(unheld):
                return
        except Conflict:
            await asyncio.sleep(0.01)
    pytest.fail("the lease of a killed process was never freed")


async def test_who_comes_second_is_told_who_is_there(clean_database, unheld):
    name = "caopan trader, process 4711"
    async with (
        PostgresStore(clean_database, name=name) as first,
        first.lease(unheld),
        PostgresStore(clean_database) as second,
    ):
        with pytest.raises(Conflict, match=f"held by {name}") as caught:
            async with second.lease(unheld):
                pass
        assert name in caught.value.remedy
        other = await first.create_run(RunKind.REPLAY, "another", {}, "d" * 64, sample_time())
        async with second.lease(other.run_id):
            await second.confirm_lease(other.run_id)


async def test_a_connection_that_broke_is_no_lease(store, unheld, superuser):
    async with store.lease(unheld):
        await store.confirm_lease(unheld)
        break_lease(superuser)
        with pytest.raises(Unavailable, match="DB_UNREACHABLE"):
            await store.confirm_lease(unheld)


async def test_a_holder_that_lost_its_lease_can_append_nothing_more(
    clean_database, store, unheld, superuser
):
    async with store.lease(unheld):
        await _append(store, unheld)
        break_lease(superuser)
        async with PostgresStore(clean_database) as successor, successor.lease(unheld):
            with pytest.raises(Conflict, match="RUN_FENCED"):
                await _append(store, unheld)
            await _append(successor, unheld)
    async with store.begin(unheld) as uow:
        assert (await uow.ledger.head()).seq == 2


async def test_a_stale_trader_cannot_mark_an_order_as_sending(
    clean_database, store, unheld, superuser, owner
):
    """The commit before the wire is refused, so nothing of a former holder reaches a venue."""
    order = sample_order()
    sending = moved(order, OrderStatus.SENDING, sample_time())
    async with store.lease(unheld):
        async with store.begin(unheld) as uow:
            await uow.orders.add([order])
            await uow.commit()
        break_lease(superuser)
        async with PostgresStore(clean_database) as successor, successor.lease(unheld):
            with pytest.raises(Conflict, match="RUN_FENCED"):
                await _save(store, unheld, sending)
            await _save(successor, unheld, moved(order, OrderStatus.CANCELED, sample_time()))
    async with store.begin(unheld) as uow:
        assert [one.status for one in await uow.orders.all()] == [OrderStatus.CANCELED]
    # The token of the intent stays that of the lease it was written under.
    assert owner.execute("SELECT fence FROM trade_order").fetchall() == [(2,)]


async def test_a_successor_waits_for_a_commit_it_would_otherwise_overtake(
    clean_database, store, unheld, superuser
):
    order = sample_order()
    done: list[str] = []

    async def take_over(successor: PostgresStore) -> None:
        async with successor.lease(unheld):
            done.append("taken over")

    async with store.lease(unheld), PostgresStore(clean_database) as successor:
        async with store.begin(unheld) as uow, asyncio.TaskGroup() as group:
            await uow.orders.add([order])
            assert not (await uow.journal.balances()).balances  # sends what is queued
            break_lease(superuser)
            group.create_task(take_over(successor))
            for _ in range(1_000):
                if superuser.execute(_WAITING).fetchall():
                    break
                await asyncio.sleep(0.01)
            else:
                pytest.fail("the successor did not wait")
            # The order of the answers proves nothing: locks are freed before COMMIT is answered.
            assert not done
            await uow.commit()
        async with store.begin(unheld) as uow:
            assert await uow.orders.all() == [order]
    assert done == ["taken over"]


_WAITING = (
    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%ledger_head%'"
)


def break_lease(superuser) -> None:
    """End the connection that holds a lease, as a broken network does."""
    superuser.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks"
        " WHERE locktype = 'advisory' AND classid = x'63616f70'::int"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )


async def _save(store, run_id, order) -> None:
    async with store.begin(run_id) as uow:
        await uow.orders.save([order])
        await uow.commit()


async def _append(store, run_id) -> None:
    async with store.begin(run_id) as uow:
        await uow.ledger.append([sample_draft()])
        await uow.commit()
