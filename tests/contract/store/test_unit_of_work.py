"""One transaction on one run: nothing without commit, everything with it."""

from __future__ import annotations

import asyncio

import pytest

from caopan.domain.ledger.chain import Head, Stage, Verifier
from caopan.kernel.errors import Conflict, CorruptState
from caopan.testing.store_samples import (
    sample_cycle,
    sample_deposit,
    sample_draft,
    sample_id,
    sample_nav,
)


async def test_leaving_without_commit_rolls_back(store, run_id):
    async with store.begin(run_id) as uow:
        await uow.cycles.add(sample_cycle())
        await uow.ledger.append([sample_draft()])
        await uow.journal.post([sample_deposit()])
        await uow.nav.add(sample_nav())
    async with store.begin(run_id) as uow:
        assert await uow.cycles.all() == []
        assert await uow.ledger.head() == Head()
        assert not (await uow.journal.balances()).balances
        assert await uow.nav.all() == []


async def test_an_exception_rolls_back_and_passes_through(store, run_id):
    async def fail() -> None:
        async with store.begin(run_id) as uow:
            await uow.cycles.add(sample_cycle())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with store.begin(run_id) as uow:
        assert await uow.cycles.last() is None


async def test_commit_keeps_everything_and_the_unit_of_work_may_go_on(store, run_id):
    async with store.begin(run_id) as uow:
        await uow.cycles.add(sample_cycle(0))
        await uow.ledger.append([sample_draft(0)])
        await uow.commit()
        await uow.cycles.add(sample_cycle(1))
        await uow.commit()
        await uow.cycles.add(sample_cycle(2))
    async with store.begin(run_id) as uow:
        assert [c.decision_id for c in await uow.cycles.all()] == [
            sample_id("decision", 0),
            sample_id("decision", 1),
        ]
        assert (await uow.ledger.head()).seq == 1


async def test_own_writes_are_seen_before_commit_and_by_nobody_else(backend, run_id):
    async with backend.store.begin(run_id) as uow:
        await uow.cycles.add(sample_cycle())
        head = await uow.ledger.append([sample_draft()])
        assert await uow.cycles.last() == sample_cycle()
        assert await uow.ledger.head() == head
        async with backend.other.begin(run_id) as reader:
            assert await reader.cycles.last() is None
            assert await reader.ledger.head() == Head()


async def test_after_a_refusal_nothing_can_be_committed(store, run_id):
    async with store.begin(run_id) as uow:
        await uow.cycles.add(sample_cycle())
        await uow.commit()
    async with store.begin(run_id) as uow:
        await uow.nav.add(sample_nav())
        with pytest.raises(Conflict, match="CYCLE_EXISTS"):
            await _added_again(uow)
        with pytest.raises(Conflict, match="UOW_FAILED"):
            await uow.commit()
    async with store.begin(run_id) as uow:
        assert await uow.nav.all() == []


async def _added_again(uow) -> None:
    # The refusal may come with the call or with any later one.
    await uow.cycles.add(sample_cycle())
    await uow.cycles.all()


async def test_outside_its_block_a_unit_of_work_is_refused(store, run_id):
    uow = store.begin(run_id)
    with pytest.raises(CorruptState, match="UOW_CLOSED"):
        await uow.cycles.all()
    async with uow:
        await uow.cycles.all()
    with pytest.raises(CorruptState, match="UOW_CLOSED"):
        await uow.cycles.add(sample_cycle())


async def test_writers_on_one_run_queue_up_and_the_chain_stays_whole(backend, run_id):
    async def write(store, stage: Stage) -> None:
        drafts = [sample_draft(stage=stage), sample_draft(stage=stage)]
        for _ in range(5):
            async with store.begin(run_id) as uow:
                await uow.ledger.append(drafts)
                await uow.commit()

    async with backend.store.begin(run_id) as uow:
        await uow.cycles.add(sample_cycle())
        await uow.commit()
    async with asyncio.TaskGroup() as group:
        group.create_task(write(backend.store, Stage.ACTOR))
        group.create_task(write(backend.other, Stage.OPERATOR_ACTION))
        group.create_task(write(backend.store, Stage.CHECKER))
    async with backend.store.begin(run_id) as uow:
        verifier = Verifier()
        async for entry, payload in uow.ledger.entries():
            verifier.feed(entry, payload)
        verdict = verifier.finish(await uow.ledger.head())
    assert (verdict.entries, verdict.verified) == (30, True)


async def test_a_run_that_does_not_exist_is_named(store):
    with pytest.raises(CorruptState, match="RUN_UNKNOWN"):
        async with store.begin(987_654) as uow:
            await uow.run.get()
    with pytest.raises(CorruptState, match="RUN_UNKNOWN"):
        async with store.begin(987_654) as uow:
            await uow.ledger.append([sample_draft(stage=Stage.OPERATOR_ACTION)])
