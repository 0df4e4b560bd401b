"""Runs, their lease, decisions found by a prefix, calendar snapshots, the venue's record."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from caopan.application.ports.store import RunKind, RunStatus, VenueEvent
from caopan.domain.ledger.chain import Stage
from caopan.kernel.errors import Conflict, CorruptState
from caopan.testing.store_samples import sample_cycle, sample_draft, sample_id, sample_time


async def test_runs_come_newest_first_and_are_filtered(backend):
    store = backend.store
    desk = await store.create_run(RunKind.DESK, "own", {"a": [1, 2.5]}, "e" * 64, sample_time())
    replay = await backend.new_run()
    assert replay.run_id > desk.run_id
    mine = [run for run in await store.runs() if run.run_id in (desk.run_id, replay.run_id)]
    assert mine == [replay, desk]
    assert replay not in await store.runs(RunKind.DESK)
    async with store.begin(desk.run_id) as uow:
        assert await uow.run.get() == desk
        await uow.run.finish(RunStatus.FINISHED, sample_time(1), {"nav": "1.00"})
        await uow.commit()
        ended = await uow.run.get()
    assert (ended.status, ended.finished_at) == (RunStatus.FINISHED, sample_time(1))
    assert ended.result == {"nav": "1.00"}
    assert desk.run_id not in [run.run_id for run in await store.runs(unfinished=True)]
    assert replay in await store.runs(unfinished=True)


async def test_a_run_is_finished_once(store, run_id, kept):
    await kept(lambda uow: uow.run.finish(RunStatus.FAILED, sample_time(), {}))
    with pytest.raises(Conflict, match="RUN_CLOSED"):
        await kept(lambda uow: uow.run.finish(RunStatus.FINISHED, sample_time(), {}))


async def test_an_account_has_one_running_desk(backend):
    async def new_desk() -> int:
        run = await backend.other.create_run(RunKind.DESK, "one", {}, "e" * 64, sample_time())
        return run.run_id

    first = await new_desk()
    with pytest.raises(Conflict, match="RUN_EXISTS"):
        await new_desk()
    async with backend.store.begin(first) as uow:
        await uow.run.finish(RunStatus.FINISHED, sample_time(), {})
        await uow.commit()
    second = await new_desk()
    async with backend.store.begin(second) as uow:
        await uow.run.finish(RunStatus.FINISHED, sample_time(), {})
        await uow.commit()


async def test_a_decision_is_found_by_the_beginning_of_its_id(backend, run_id):
    other = (await backend.new_run()).run_id
    decision = sample_id("decision", 3)
    async with backend.store.lease(other):
        for run in (run_id, other):
            async with backend.store.begin(run) as uow:
                await uow.cycles.add(sample_cycle(3))
                await uow.cycles.add(replace(sample_cycle(4), decision_id=sample_id("x", 4)))
                await uow.commit()

    async def found(prefix: str) -> list:
        matches = await backend.store.find_decision(prefix)
        return [match for match in matches if match[0] in (run_id, other)]

    for prefix in (str(decision), str(decision)[:20], decision.hex[:14].upper()):
        assert await found(prefix) == [(other, decision), (run_id, decision)]
    assert len(await found(str(decision)[:1])) == 4
    for nonsense in ("", "%", "zz", str(decision) + "0", "last"):
        assert await found(nonsense) == []


async def test_one_process_holds_a_run(backend, unheld):
    another = (await backend.new_run()).run_id
    async with backend.store.lease(unheld):
        with pytest.raises(Conflict, match="RUN_BUSY"):
            async with backend.other.lease(unheld):
                pass
        async with backend.other.lease(another):
            pass
    async with backend.other.lease(unheld):
        pass
    with pytest.raises(CorruptState, match="RUN_UNKNOWN"):
        async with backend.store.lease(987_654):
            pass


async def test_a_lease_is_freed_when_its_holder_fails(backend, unheld):
    with pytest.raises(ZeroDivisionError):
        async with backend.store.lease(unheld):
            raise ZeroDivisionError
    async with backend.other.lease(unheld):
        pass


async def test_under_a_lease_an_operator_may_append_and_the_holder_follows(backend, run_id):
    async def append(store, stage=Stage.ACTOR) -> int:
        async with store.begin(run_id) as uow:
            head = await uow.ledger.append([sample_draft(stage=stage)])
            await uow.commit()
            return head.seq

    async with backend.store.begin(run_id) as uow:
        await uow.cycles.add(sample_cycle())
        await uow.commit()
    assert await append(backend.store) == 1
    assert await append(backend.other, Stage.OPERATOR_ACTION) == 2
    assert await append(backend.store) == 3
    async with backend.store.begin(run_id) as uow:
        await uow.ledger.append([sample_draft(text="rolled back")])
    assert await append(backend.store) == 4


async def test_the_newest_calendar_counts_and_repeating_it_changes_nothing(backend):
    days = [date(2023, 1, 3), date(2023, 1, 4)]
    store = backend.store
    await store.save_calendar("XSHG", "1", days)
    await store.save_calendar("XSHG", "1", days)
    assert await store.load_calendar() == ("XSHG", "1", tuple(days))
    await store.save_calendar("XSHG", "2", days[:1])
    assert await backend.other.load_calendar() == ("XSHG", "2", (days[0],))


async def test_the_venue_keeps_its_own_record(backend, run_id):
    first = VenueEvent(1, "order", sample_time(), {"id": "A", "price": "10.05", "n": None})
    second = VenueEvent(2, "fill", sample_time(1), {"id": "A"})
    await backend.journal.record(run_id, [])
    await backend.journal.record(run_id, [second, first])
    assert await backend.journal.load(run_id) == [first, second]
    third = VenueEvent(3, "fill", sample_time(1), {})
    with pytest.raises(Conflict, match="VENUE_SEQ"):
        await backend.journal.record(run_id, [third, second])
    assert await backend.journal.load(run_id) == [first, second]
    other = (await backend.new_run()).run_id
    assert await backend.journal.load(other) == []
    with pytest.raises(CorruptState, match="FOREIGN_KEY_VIOLATION"):
        await backend.journal.record(987_654, [first])


async def test_the_venue_does_not_share_the_fate_of_our_books(backend, run_id):
    event = VenueEvent(1, "order", sample_time(), {})
    async with backend.store.begin(run_id) as uow:
        await uow.cycles.add(sample_cycle())
        await uow.cycles.all()
        await backend.journal.record(run_id, [event])
    assert await backend.journal.load(run_id) == [event]
