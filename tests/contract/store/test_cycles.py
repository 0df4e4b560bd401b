"""Decisions and how far each is recorded; what they saw and whom they asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caopan.domain.decision.cycle import advanced, closed
from caopan.domain.decision.shapes import CycleStage, DecisionStatus, Origin
from caopan.kernel.errors import Conflict, CorruptState
from caopan.testing.store_samples import sample_cycle, sample_id, sample_model_call, sample_time


async def test_cycles_come_back_oldest_first_with_their_last_stage(store, run_id, kept):
    later, earlier = sample_cycle(2), sample_cycle(1)
    observed = replace(
        advanced(earlier, CycleStage.OBSERVED),
        observation_id=sample_id("observation", 1),
        valid_until=sample_time(1),
    )
    ended = closed(observed, DecisionStatus.NO_OP, sample_time(1), "MODEL_PARSE_FAIL")

    async def live(uow):
        await uow.cycles.add(later)
        await uow.cycles.add(earlier)
        await uow.cycles.save(observed)

    await kept(live)
    async with store.begin(run_id) as uow:
        assert await uow.cycles.all() == [observed, later]
        assert await uow.cycles.unfinished() == [observed, later]
        assert await uow.cycles.last() == later
        assert await uow.cycles.get(earlier.decision_id) == observed
        assert await uow.cycles.get(sample_id("decision", 9)) is None
    await kept(lambda uow: uow.cycles.save(ended))
    async with store.begin(run_id) as uow:
        assert await uow.cycles.unfinished() == [later]
        assert (await uow.cycles.all())[0] == ended


async def test_the_newest_closed_decisions_of_a_model_come_first(store, run_id, kept):
    ended = [
        closed(sample_cycle(number), DecisionStatus.NO_OP, sample_time(number))
        for number in range(1, 5)
    ]
    by_hand = closed(
        replace(sample_cycle(5), origin=Origin.OPERATOR), DecisionStatus.CANCELED, sample_time(5)
    )
    for cycle in (*ended, by_hand, sample_cycle(6)):
        await kept(lambda uow, cycle=cycle: uow.cycles.add(cycle))
    async with store.begin(run_id) as uow:
        assert await uow.cycles.recent(2, sample_time(9)) == [ended[3], ended[2]]
        assert await uow.cycles.recent(9, ended[2].opened_at) == [ended[1], ended[0]]


async def test_who_decided_is_kept_and_only_a_model_needs_an_observation(store, run_id, kept):
    cycles = [
        replace(
            sample_cycle(number),
            origin=origin,
            stage=CycleStage.ORDERED,
            observation_id=sample_id("o") if origin is Origin.MODEL else None,
        )
        for number, origin in enumerate(Origin)
    ]
    for cycle in cycles:
        await kept(lambda uow, cycle=cycle: uow.cycles.add(cycle))
    async with store.begin(run_id) as uow:
        assert await uow.cycles.all() == cycles


async def test_a_slot_of_a_day_is_decided_once(store, run_id, kept):
    await kept(lambda uow: uow.cycles.add(sample_cycle()))
    twin = replace(sample_cycle(), decision_id=sample_id("decision", 5))
    for again in (sample_cycle(), twin):
        with pytest.raises(Conflict, match="CYCLE_EXISTS"):
            await kept(lambda uow, again=again: uow.cycles.add(again))
    await kept(lambda uow: uow.cycles.add(replace(twin, slot="review")))


async def test_the_same_slot_of_another_run_is_free(backend, kept):
    await kept(lambda uow: uow.cycles.add(sample_cycle()))
    other = await backend.new_run()
    async with backend.store.lease(other.run_id), backend.store.begin(other.run_id) as uow:
        await uow.cycles.add(sample_cycle())
        await uow.commit()
        assert await uow.cycles.all() == [sample_cycle()]


async def test_saving_a_cycle_that_is_not_stored_is_refused(kept):
    with pytest.raises(CorruptState, match="CYCLE_MISSING"):
        await kept(lambda uow: uow.cycles.save(sample_cycle()))


async def test_model_calls_come_back_whole(store, run_id, kept):
    first = sample_model_call()
    strange = 'x not JSON \x00 "with" ☃ \ud800 {"'
    second = replace(
        first,
        call_id=sample_id("call", 3),
        attempt=2,
        response=strange,
        usage_raw=None,
        cost_cny=None,
        outcome="failed",
        error_code="MODEL_PARSE_FAIL",
        ttft_ms=3,
        price_version="2026-11",
    )

    async def ask(uow):
        await uow.cycles.add(sample_cycle())
        await uow.model_calls.add(second)
        await uow.model_calls.add(first)

    await kept(ask)
    async with store.begin(run_id) as uow:
        assert await uow.model_calls.of_decision(first.decision_id) == [first, second]
        assert await uow.model_calls.of_decision(sample_id("decision", 1)) == []
