"""What stands against trading, and how our books compared with the venue's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caopan.domain.risk.kill_switch import Control, KillLevel, Posture
from caopan.kernel.errors import Conflict, CorruptState
from caopan.testing.store_samples import sample_control, sample_reconciliation


async def test_the_newest_control_is_in_force(store, run_id, kept):
    async with store.begin(run_id) as uow:
        assert await uow.controls.get() == Control()
    first, second = sample_control(1), sample_control(2, KillLevel.OFF)
    await kept(lambda uow: uow.controls.put(first))
    async with store.begin(run_id) as uow:
        assert await uow.controls.get() == first
    await kept(lambda uow: uow.controls.put(second))
    async with store.begin(run_id) as uow:
        assert await uow.controls.get() == second


async def test_a_control_belongs_to_its_run(backend, kept):
    await kept(lambda uow: uow.controls.put(sample_control()))
    other = await backend.new_run()
    async with backend.store.begin(other.run_id) as uow:
        assert await uow.controls.get() == Control()


@pytest.mark.parametrize("version", [1, 3])
async def test_a_control_that_is_not_the_next_one_is_refused(store, run_id, kept, version):
    await kept(lambda uow: uow.controls.put(sample_control(1)))
    with pytest.raises(Conflict, match="CONTROL_VERSION"):
        await kept(lambda uow: uow.controls.put(sample_control(version, KillLevel.OFF)))
    async with store.begin(run_id) as uow:
        assert await uow.controls.get() == sample_control(1)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("ck_control_version", {"version": 0}),
        ("ck_control_reason", {"reason": ""}),
        ("ck_control_set_by", {"by": ""}),
        ("NULL_VIOLATION", {"at": None}),
    ],
)
async def test_a_control_says_who_why_and_when(kept, rule, change):
    with pytest.raises(CorruptState, match=rule):
        await kept(lambda uow: uow.controls.put(replace(sample_control(), **change)))


async def test_all_accounts_have_one_control_of_their_own(backend, run_id):
    store = backend.store
    before = await store.system_control()
    mine = replace(sample_control(before.version + 1), posture=Posture.NORMAL)
    await store.put_system_control(mine)
    assert await backend.other.system_control() == mine
    for version in (mine.version, mine.version + 2):
        with pytest.raises(Conflict, match="CONTROL_VERSION"):
            await store.put_system_control(replace(mine, version=version))
    async with store.begin(run_id) as uow:
        assert await uow.controls.get() == Control()
    # The database is shared with other tests: a halt of everybody would stop theirs.
    await store.put_system_control(replace(mine, version=mine.version + 1, level=KillLevel.OFF))


async def test_comparisons_come_back_oldest_first(store, run_id, kept):
    failed = sample_reconciliation(1)
    passed = replace(sample_reconciliation(2), trigger="request", passed=True, differences=())
    for one in (passed, failed):
        await kept(lambda uow, one=one: uow.reconciliations.add(one))
    async with store.begin(run_id) as uow:
        assert await uow.reconciliations.all() == [failed, passed]
    odd = replace(sample_reconciliation(3), trigger="whim")
    with pytest.raises(CorruptState, match="ck_reconciliation_cause"):
        await kept(lambda uow: uow.reconciliations.add(odd))
    with pytest.raises(Conflict, match="DB_DUPLICATE"):
        await kept(lambda uow: uow.reconciliations.add(failed))
