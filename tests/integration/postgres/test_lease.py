"""One trader per run, across processes, whatever becomes of them."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from caopan.adapters.postgres.store import PostgresStore
from caopan.kernel.errors import Conflict
from caopan.testing.store_samples import sample_draft

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
def holder(clean_database, run_id):
    words = [sys.executable, "-c", HOLDER, clean_database, str(run_id)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


async def test_a_run_held_by_another_process_is_busy_until_that_is_killed(store, run_id, holder):
    with pytest.raises(Conflict, match="RUN_BUSY"):
        async with store.lease(run_id):
            pass
    holder.kill()
    holder.wait()
    for _ in range(500):
        # The server notices the closed socket in its own time.
        try:
            async with store.lease(run_id):
                return
        except Conflict:
            await asyncio.sleep(0.01)
    pytest.fail("the lease of a killed process was never freed")


async def test_a_holder_that_lost_its_lease_can_append_nothing_more(
    clean_database, store, run_id, superuser
):
    async with store.lease(run_id):
        await _append(store, run_id)
        superuser.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks"
            " WHERE locktype = 'advisory' AND classid = x'63616f70'::int"
        )
        async with PostgresStore(clean_database) as successor, successor.lease(run_id):
            with pytest.raises(Conflict, match="RUN_FENCED"):
                await _append(store, run_id)
            await _append(successor, run_id)
    async with store.begin(run_id) as uow:
        assert (await uow.ledger.head()).seq == 2


async def _append(store, run_id) -> None:
    async with store.begin(run_id) as uow:
        await uow.ledger.append([sample_draft()])
        await uow.commit()
