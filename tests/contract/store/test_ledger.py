"""The append-only chain as a store keeps it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caopan.domain.ledger.chain import Draft, Head, Stage, Verifier, seal
from caopan.kernel.canonical import canonical
from caopan.kernel.errors import Conflict, CorruptState
from caopan.testing.store_samples import (
    sample_cycle,
    sample_draft,
    sample_id,
    sample_observation,
    sample_time,
)


@pytest.fixture(autouse=True)
async def decisions(kept):
    async def add(uow):
        await uow.cycles.add(sample_cycle(0))
        await uow.cycles.add(sample_cycle(1))

    await kept(add)


async def test_entries_come_back_as_sealed_with_their_payloads(store, run_id, kept):
    drafts = [
        sample_draft(0),
        sample_draft(1, Stage.RISK, "拒绝"),
        Draft(Stage.CONFIG_CHANGE, sample_time(), b'{"a":1}'),
        sample_draft(0, Stage.OUTCOME, "long " * 500),
    ]
    await kept(lambda uow: uow.ledger.append(drafts[:1]))
    await kept(lambda uow: uow.ledger.append(drafts[1:]))
    expected, head = seal(Head(), drafts)
    async with store.begin(run_id) as uow:
        assert [pair async for pair in uow.ledger.entries()] == expected
        assert await uow.ledger.head() == head
        of_one = [entry.seq async for entry, _ in uow.ledger.entries(sample_id("decision", 0))]
        of_stage = [e.seq async for e, _ in uow.ledger.entries(stage=Stage.CONFIG_CHANGE)]
        of_both = uow.ledger.entries(sample_id("decision", 0), Stage.OUTCOME)
        assert [(e.seq, body) async for e, body in of_both] == [(4, expected[3][1])]
    assert (of_one, of_stage) == ([1, 4], [3])


async def test_appending_nothing_returns_the_head(store, run_id, kept):
    await kept(lambda uow: uow.ledger.append([sample_draft()]))
    async with store.begin(run_id) as uow:
        assert await uow.ledger.append([]) == await uow.ledger.head()


async def test_an_observation_is_stored_once_and_is_the_payload_of_its_entry(store, run_id, kept):
    observation_id, digest, body = sample_observation(size=300)

    async def observe(uow):
        decision = sample_id("decision")
        await uow.observations.add(observation_id, decision, sample_time(), digest, body)
        await uow.ledger.append([replace(sample_draft(), stage=Stage.OBSERVATION, payload=body)])

    await kept(observe)
    async with store.begin(run_id) as uow:
        [(entry, payload)] = [pair async for pair in uow.ledger.entries()]
        assert payload == body
        assert entry.payload_hash == digest
        assert await uow.observations.get(observation_id) == body
        assert await uow.observations.get(sample_id("other")) is None


async def test_an_observation_that_was_never_stored_is_a_fault_and_not_pruned(store, run_id, kept):
    draft = replace(sample_draft(), stage=Stage.OBSERVATION, payload=canonical({"gone": True}))
    await kept(lambda uow: uow.ledger.append([sample_draft(), draft]))
    async with store.begin(run_id) as uow:
        verifier = Verifier()
        async for entry, payload in uow.ledger.entries():
            verifier.feed(entry, payload)
        verdict = verifier.finish(await uow.ledger.head())
    assert (verdict.first_bad_seq, verdict.pruned) == (2, 0)


async def test_a_reader_may_stop_early_and_read_again(store, run_id, kept):
    await kept(lambda uow: uow.ledger.append([sample_draft(text=str(n)) for n in range(1200)]))
    async with store.begin(run_id) as uow:
        async for entry, _ in uow.ledger.entries():
            if entry.seq == 3:
                break
        seqs = [entry.seq async for entry, _ in uow.ledger.entries()]
    assert seqs == list(range(1, 1201))


async def test_head_and_entries_show_one_instant_while_another_process_appends(backend, run_id):
    async with backend.store.begin(run_id) as uow:
        await uow.ledger.append([sample_draft()])
        await uow.commit()
    async with backend.store.begin(run_id) as reader:
        head = await reader.ledger.head()
        async with backend.other.begin(run_id) as uow:
            await uow.ledger.append([sample_draft(stage=Stage.OPERATOR_ACTION)])
            await uow.commit()
        seen = [entry.seq async for entry, _ in reader.ledger.entries()]
    assert seen[-1] == head.seq == 1


async def test_an_entry_of_an_unknown_decision_is_refused(kept):
    with pytest.raises(CorruptState, match="FOREIGN_KEY_VIOLATION"):
        await kept(lambda uow: uow.ledger.append([sample_draft(7)]))


async def test_writing_onto_a_view_that_is_out_of_date_is_a_conflict(backend, run_id):
    async with backend.store.begin(run_id) as uow:
        await uow.ledger.head()
        async with backend.other.begin(run_id) as first:
            await first.ledger.append([sample_draft(stage=Stage.OPERATOR_ACTION)])
            await first.commit()
        with pytest.raises(Conflict, match="DB_SERIALIZATION"):
            await uow.ledger.append([sample_draft()])
