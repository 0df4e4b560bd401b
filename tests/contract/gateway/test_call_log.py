"""What is said of a call is kept; it is counted until it is in the database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from caopan.adapters.call_log.spool import SpoolBounds, SpoolCallLog
from caopan.adapters.postgres.call_rows import PostgresCallRows
from caopan.domain.gateway.outcome import Outcome
from caopan.kernel.errors import Unavailable
from caopan.testing.gateway_doubles import MemoryCallLog
from caopan.testing.gateway_samples import sample_began, sample_ended
from caopan.testing.memory_call_rows import MemoryCallRows


@pytest.fixture(params=["memory", "spool", "spool to postgres"])
async def log(request, tmp_path):
    if request.param == "memory":
        yield MemoryCallLog()
        return
    if request.param == "spool":
        sink = MemoryCallRows()
    else:
        sink = PostgresCallRows(request.getfixturevalue("clean_database"))
    spool = SpoolCallLog(
        tmp_path / "spool",
        "gw-1",
        sink,
        lambda: datetime.now(UTC),
        SpoolBounds(batch_s=0.005, patience_s=20),
    )
    async with spool.running():
        yield spool
    if isinstance(sink, PostgresCallRows):
        sink.close()


async def test_nothing_waits_once_a_call_is_durable(log):
    began = sample_began()
    log.began(began)
    log.ended(sample_ended(began))
    await log.durable(began.call_id)
    assert log.waiting == 0


async def test_a_beginning_alone_can_be_durable(log):
    began = sample_began()
    log.began(began)
    await log.durable(began.call_id)
    assert log.waiting == 0
    log.ended(sample_ended(began, outcome=Outcome.CANCELED))
    await log.durable(began.call_id)


async def test_many_wait_at_once_and_all_are_told(log):
    async def call(nth: int) -> None:
        began = sample_began(nth)
        log.began(began)
        await asyncio.sleep(0)
        log.ended(sample_ended(began))
        await log.durable(began.call_id)

    async with asyncio.TaskGroup() as tasks:
        for nth in range(200):
            tasks.create_task(call(nth))
    assert log.waiting == 0


async def test_what_nobody_said_anything_of_is_durable(log):
    await log.durable(sample_began().call_id)


async def test_where_the_database_is_away_a_call_is_kept_and_is_not_durable(tmp_path):
    sink = MemoryCallRows()
    sink.error = Unavailable("DB_UNREACHABLE", "away")
    spool = SpoolCallLog(
        tmp_path, "gw-1", sink, lambda: datetime.now(UTC), SpoolBounds(batch_s=0, patience_s=0.05)
    )
    async with spool.running():
        began = sample_began()
        spool.began(began)
        spool.ended(sample_ended(began))
        with pytest.raises(Unavailable) as caught:
            await spool.durable(began.call_id)
        assert caught.value.code == "AUDIT_UNAVAILABLE"
        assert "away" in caught.value.message
        assert spool.waiting == 2
        assert spool.state.oldest_error == "DB_UNREACHABLE: away"
        stored = asyncio.Event()
        loop = asyncio.get_running_loop()
        sink.after = lambda: void(loop.call_soon_threadsafe(stored.set))
        sink.error = None
        await stored.wait()
    assert spool.waiting == 0
    assert [kept.ended is not None for kept in sink.rows.values()] == [True]


def void(_: object) -> None:
    """Return nothing."""


async def test_before_it_runs_nothing_may_begin(tmp_path):
    spool = SpoolCallLog(tmp_path, "gw-1", MemoryCallRows(), lambda: datetime.now(UTC))
    with pytest.raises(Unavailable) as caught:
        spool.began(sample_began())
    assert caught.value.code == "AUDIT_UNAVAILABLE"
