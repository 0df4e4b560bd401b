"""A desk whose language model answers badly at first: recorded, bounded, and the same again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from caopan.application import records
from caopan.application.pipeline import Pipeline
from caopan.application.ports.model import ModelRequest
from caopan.application.ports.store import ModelCall, RunKind
from caopan.application.replay.runner import SLOT
from caopan.domain.decision.cycle import Cycle
from caopan.domain.ledger.chain import Stage
from caopan.testing.memory_store import MemoryStore, MemoryVenueJournal
from caopan.testing.models import Script, ScriptedModel, buy_action, decision_json
from caopan.testing.samples import NOW
from caopan.testing.scenario import CASH, DAYS, FIRST, open_scenario
from caopan.testing.sim_loop import simulate


class Talker(ScriptedModel):
    """A language model, as far as the desk can tell."""

    is_language_model = True


class Life:
    """One decision of a fresh desk, and what it left behind."""

    def __init__(self, script: Script, config: Mapping[str, Any] | None = None) -> None:
        self.model = Talker(script)
        self.cycle, self.calls, self.evidence, self.head = simulate(self._live(config or {}))

    async def _live(
        self, config: Mapping[str, Any]
    ) -> tuple[Cycle, list[ModelCall], Any, str | None]:
        store = MemoryStore()
        run = await store.create_run(RunKind.REPLAY, "sandbox", config, "a" * 64, NOW)
        scenario = await open_scenario(run, store, MemoryVenueJournal(store.database))
        pipeline = Pipeline(replace(scenario.pipeline.desk, model=self.model))
        scenario.clock.set(NOW)
        await pipeline.start(CASH)
        cycle = await pipeline.run_cycle(SLOT, DAYS[0])
        async with store.begin(run.run_id) as uow:
            calls = await uow.model_calls.of_decision(cycle.decision_id)
            payloads = [
                json.loads(payload or b"null")
                async for entry, payload in uow.ledger.entries(cycle.decision_id)
                if entry.stage is Stage.ACTOR
            ]
            if "reply" in payloads[0] and payloads[0]["outcome"] == "parsed":
                # A process that dies now goes on from what was recorded.
                assert (await records.read_decision(uow, cycle)).actions
            head = await uow.ledger.head()
        (evidence,) = payloads
        return cycle, list(calls), evidence, None if head is None else head.hash


def mends(request: ModelRequest) -> str:
    """Answer with a price in words at first, and mend it once it is told."""
    price = "10.05" if request.previous else "ten yuan"
    return decision_json(request, buy_action(FIRST, 5_000, price))


def test_what_was_mended_is_judged_and_every_attempt_is_recorded():
    life = Life(mends)
    assert life.cycle.status_code is None
    assert [(call.attempt, call.error_code) for call in life.calls] == [
        (1, "MODEL_PARSE_FAIL"),
        (2, None),
    ]
    assert life.evidence["outcome"] == "parsed"
    assert [one["outcome"] for one in life.evidence["earlier"]] == ["MODEL_PARSE_FAIL"]
    (unread,) = life.model.requests[1].previous
    assert "actions.0.price: String should match pattern" in unread.errors[0]
    assert '"ten yuan"' in unread.errors[0]


def test_the_same_answers_leave_the_same_ledger():
    assert Life(mends).head == Life(mends).head
    assert Life(mends).head != Life(lambda request: mends(replace(request, previous=()))).head


@pytest.mark.parametrize(("attempts", "asked"), [(0, 1), (1, 2), (3, 4)])
def test_a_desk_asks_as_often_as_its_recorded_configuration_says(attempts, asked):
    life = Life(lambda _request: "no", {"repair_attempts": attempts})
    assert len(life.model.requests) == len(life.calls) == asked
    assert (life.cycle.status.value, life.cycle.status_code) == ("no_op", "MODEL_PARSE_FAIL")
