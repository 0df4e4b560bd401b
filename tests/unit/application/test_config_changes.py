"""A change of the policy is in the ledger, whole, before anything is done by it."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.config_changes import note_policy
from caopan.domain.ledger.chain import Stage
from caopan.domain.risk.policy import RiskPolicy
from caopan.testing.sim_loop import simulate
from caopan.testing.table_desk import POLICY, TableDesk

POLICIES = [POLICY, RiskPolicy(), RiskPolicy(orders_per_day=3), replace(POLICY, orders_per_day=3)]


async def changes(desk: TableDesk) -> list[dict]:
    async with desk.pipeline.seat.begin() as uow:
        told = [body async for _, body in uow.ledger.entries(stage=Stage.CONFIG_CHANGE)]
    return [json.loads(body) for body in told if body][1:]


async def by(desk: TableDesk, policy: RiskPolicy) -> bool:
    desk.policy = policy
    await desk.restart()
    return await note_policy(desk.pipeline.seat)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(POLICIES), max_size=8))
def test_every_change_is_recorded_once_with_what_was_before(sequence):
    async def program() -> None:
        desk = await TableDesk().open()
        expected: list[RiskPolicy] = []
        for policy in sequence:
            is_new = not expected or expected[-1].version != policy.version
            assert await by(desk, policy) is is_new
            if is_new:
                expected.append(policy)
        told = await changes(desk)
        assert [one["version"] for one in told] == [one.version for one in expected]
        assert [one["body"] for one in told] == [one.as_json() for one in expected]
        before = [None, *(one.version for one in expected)]
        assert [one["old_version"] for one in told] == before[: len(told)]
        assert (await desk.report()).verification.verified

    simulate(program())


async def test_a_run_begins_with_its_configuration():
    desk = await TableDesk().open()
    desk.store.database.runs[1].entries.clear()  # type: ignore[attr-defined]
    assert not await note_policy(desk.pipeline.seat)
