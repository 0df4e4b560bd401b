"""A second model looks at a proposal: it may stop it, and can do nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from caopan.adapters.prompts.library import PromptLibrary
from caopan.application.decision_cycle.briefing import Prompting
from caopan.application.decision_cycle.model_checker import ModelChecker, concerned
from caopan.application.decision_cycle.outside_text import fence
from caopan.domain.decision.shapes import Action, ActionType, Decision, DecisionStatus, Intent
from caopan.domain.ledger.chain import Stage
from caopan.kernel.errors import Unavailable
from caopan.testing.models import ScriptedModel, buy_action, decision_json
from caopan.testing.samples import NOW, sample_id
from caopan.testing.table_desk import DAY, FIRST, SECOND, TableDesk

LIBRARY = PromptLibrary()
ACTOR = Prompting(LIBRARY, LIBRARY.find("actor", "en"))
CHECKER = Prompting(LIBRARY, LIBRARY.find("checker", "en"))
BUY = buy_action(FIRST, 1_000, "10.00") | {
    "intent": {"rationale": "it is cheap", "confidence": 0.7, "evidence": []}
}
PASS = json.dumps({"verdict": "pass", "reasons": []})
INTENT = Intent("because", 0.5)
DECISION = Decision(sample_id(1), "", 0, 0, (), NOW, NOW)
SMELLS = {"code": "CHECKER_CONFLICT", "action_index": 0, "detail": "the reason is none"}


def refusing(*reasons, verdict="refuse"):
    return json.dumps({"verdict": verdict, "reasons": list(reasons)})


class Bench:
    """A desk whose proposals a scripted checker looks at."""

    def __init__(self, says, *, deadline_ms=1_000, prompting=CHECKER):
        self.model = ScriptedModel(self._say, language=True, alias="second")
        self.says = says
        checker = ModelChecker(self.model, prompting, deadline_ms, "policy-1")
        self.desk = TableDesk().led_by_a_language_model(ACTOR, checker=checker)
        self.ms = 0.0
        self.desk.stopwatch = lambda: self.ms

    def _say(self, request) -> Any:
        return self.says(request) if callable(self.says) else self.says

    async def decide(self, *actions):
        await self.desk.open()
        self.desk.says = lambda request: decision_json(request, *(actions or (BUY,)))
        cycle = await self.desk.pipeline.run_cycle("first", DAY)
        return cycle, await self.desk.evidence(cycle, Stage.CHECKER)

    async def calls(self, cycle):
        found = await self.desk.model_calls(cycle)
        return [call for call in found if call.role == "checker"]


async def test_a_pass_changes_nothing_and_is_recorded():
    bench = Bench(PASS)
    cycle, evidence = await bench.decide()
    assert [order.qty for order in await bench.desk.orders()] == [1_000]
    assert (evidence["pass"], evidence["checker"], evidence["reasons"]) == (
        True,
        "rule+second",
        [],
    )
    told = evidence["model_checker"]
    (request,) = bench.model.requests
    assert request.prompt is not None
    assert (told["pass"], told["outcome"], told["reply"]) == (True, "ok", PASS)
    assert (told["model"], told["prompt_version"]) == ("second", CHECKER.template.name)
    assert (told["prompt_hash"], told["prompt_tokens"]) == (
        request.prompt.digest,
        request.prompt.tokens,
    )
    (call,) = await bench.calls(cycle)
    assert (call.alias, call.outcome, call.response) == ("second", "ok", PASS)
    assert (await bench.desk.report()).trace_coverage == 1.0


async def test_it_sees_the_proposal_and_the_reason_fenced_apart_from_the_actors_mark():
    bench = Bench(PASS)
    cycle, _ = await bench.decide()
    prompt = bench.model.requests[0].prompt
    assert prompt is not None
    system, user = (one.content for one in prompt.messages)
    mark = fence(cycle.trace_id, "checker")
    inside = user.split(mark)[1]
    assert "it is cheap" in inside
    assert f'"symbol": "{FIRST}"' in inside
    assert mark in system
    assert fence(cycle.trace_id) not in system + user
    assert FIRST in user
    assert SECOND not in user, "no security but those of the proposal"


async def test_a_refusal_stops_the_whole_proposal():
    bench = Bench(refusing(SMELLS))
    cycle, evidence = await bench.decide(BUY, buy_action(SECOND, 100, "10.00"))
    assert cycle.status is DecisionStatus.REJECTED_CHECKER
    assert cycle.status_code == "CHECKER_CONFLICT"
    assert evidence["reasons"] == [SMELLS]
    assert evidence["model_checker"]["pass"] is False
    assert not bench.desk.counter.slips


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "pass",
        "{}",
        "null",
        '{"verdict": "pass"}',
        '{"verdict": "PASS", "reasons": []}',
        '{"verdict": "pass", "verdict": "refuse", "reasons": []}',
        '{"verdict": "pass", "reasons": [], "orders": []}',
        '{"verdict": "pass", "reasons": [], "actions": [{"type": "no_op"}]}',
        f"{PASS} {PASS}",
        "{" * 30_000,
        PASS + " " * 50_000,
        '{"verdict": "pass", "reasons": [], "confidence": NaN}',
        "\ud800",
        refusing({"code": "RISK_OK", "detail": "x"}),
        refusing({**SMELLS, "detail": "x" * 400}),
    ],
)
async def test_what_cannot_be_read_is_no_pass(reply):
    bench = Bench(reply)
    cycle, evidence = await bench.decide()
    assert (cycle.status, cycle.status_code) == (
        DecisionStatus.REJECTED_CHECKER,
        "CHECKER_SCHEMA_FAIL",
    )
    assert (evidence["model_checker"]["outcome"], evidence["model_checker"]["pass"]) == (
        "invalid",
        False,
    )
    (call,) = await bench.calls(cycle)
    assert call.outcome == "invalid"
    assert not bench.desk.counter.slips


async def test_a_refusal_without_a_reason_is_one():
    _, evidence = await Bench(refusing()).decide()
    assert [one["code"] for one in evidence["reasons"]] == ["CHECKER_CONFLICT"]


async def test_a_pass_with_reasons_is_a_refusal():
    bench = Bench(refusing(SMELLS, verdict="pass"))
    cycle, evidence = await bench.decide()
    assert cycle.status is DecisionStatus.REJECTED_CHECKER
    assert evidence["reasons"] == [SMELLS]


async def test_it_cannot_change_the_decision():
    """A checker that answers with a decision of its own, in its own words, has only refused."""
    bench = Bench(lambda request: decision_json(request, buy_action(SECOND, 5_000, "10.00")))
    cycle, _ = await bench.decide()
    assert cycle.status is DecisionStatus.REJECTED_CHECKER
    assert not await bench.desk.orders()
    bench = Bench(f"I would rather buy {SECOND}.\n{PASS}")
    await bench.decide()
    assert [(order.symbol, order.qty) for order in await bench.desk.orders()] == [(FIRST, 1_000)]


@pytest.mark.parametrize(
    "code",
    [
        "BUDGET_EXCEEDED",
        "CIRCUIT_BREAKER_OPEN",
        "MODEL_AUTH",
        "MODEL_TIMEOUT",
        "MODEL_UNAVAILABLE",
    ],
)
async def test_no_answer_is_no_pass(code):
    bench = Bench(lambda _: Unavailable(code, "out of order"))
    cycle, evidence = await bench.decide()
    assert (cycle.status, cycle.status_code) == (
        DecisionStatus.REJECTED_CHECKER,
        "CHECKER_TIMEOUT",
    )
    (reason,) = evidence["reasons"]
    assert code in reason["detail"]
    assert (evidence["model_checker"]["outcome"], evidence["model_checker"]["pass"]) == (
        code,
        False,
    )
    (call,) = await bench.calls(cycle)
    assert (call.outcome, call.error_code) == ("failed", code)
    assert not bench.desk.counter.slips
    assert (await bench.desk.report()).trace_coverage == 1.0


async def test_a_pass_that_comes_too_late_is_kept_and_is_none():
    def slow(_):
        bench.ms += 1_001
        return PASS

    bench = Bench(slow)
    cycle, evidence = await bench.decide()
    assert cycle.status_code == "CHECKER_TIMEOUT"
    assert evidence["model_checker"]["reply"] == PASS
    assert evidence["model_checker"]["pass"] is False
    (call,) = await bench.calls(cycle)
    assert (call.outcome, call.error_code, call.response) == ("failed", "MODEL_TIMEOUT", PASS)


async def test_it_is_not_waited_for_beyond_the_observations_life():
    bench = Bench(PASS, deadline_ms=60_000)
    desk = await bench.desk.open()

    def slow(request):
        desk.clock.set(desk.clock.now() + timedelta(seconds=170))
        return decision_json(request, BUY)

    desk.says = slow
    await desk.pipeline.run_cycle("first", DAY)
    assert bench.model.requests[0].deadline_ms == 10_000


async def test_a_pass_does_not_save_an_observation_that_expired_meanwhile():
    def slow(_):
        bench.desk.clock.set(bench.desk.clock.now() + timedelta(seconds=181))
        return PASS

    bench = Bench(slow, deadline_ms=60_000)
    cycle, evidence = await bench.decide()
    assert (cycle.status, cycle.status_code) == (DecisionStatus.REJECTED_CHECKER, "OBS_EXPIRED")
    assert evidence["model_checker"]["pass"] is True


@pytest.mark.parametrize("action", [{"type": "no_op"}, BUY | {"symbol": "600999.SH"}])
async def test_it_is_not_asked_where_nothing_is_proposed_or_rules_have_refused(action):
    bench = Bench(PASS)
    _, evidence = await bench.decide(action)
    assert bench.model.requests == []
    assert evidence["checker"] == "rule"
    assert "model_checker" not in evidence


async def test_a_proposal_that_cannot_be_shown_has_not_passed():
    bench = Bench(PASS, prompting=replace(CHECKER, budget_tokens=100))
    cycle, evidence = await bench.decide()
    assert cycle.status_code == "CHECKER_SCHEMA_FAIL"
    assert evidence["model_checker"]["outcome"] == "PROMPT_TOO_LARGE"
    assert bench.model.requests == []


async def test_a_crash_anywhere_leaves_one_verdict_and_one_call():
    at = 0
    for at in count():
        bench = Bench(refusing(SMELLS))
        desk = await bench.desk.open()
        desk.says = lambda request: decision_json(request, BUY)
        seen = await desk.crashing(at, lambda desk=desk: desk.pipeline.run_cycle("first", DAY))
        for cycle in await desk.cycles():
            assert cycle.status is DecisionStatus.REJECTED_CHECKER
            assert len(await bench.calls(cycle)) == 1
        assert not desk.counter.slips
        if len(seen) <= at:
            break
    assert at > 5


def test_what_it_is_shown_is_about_the_proposal():
    observation = {
        "universe": ["a", "b", "c", "d"],
        "positions": [{"symbol": "a"}],
        "open_orders": [{"order_id": "o-1", "symbol": "b"}, {"order_id": "o-2", "symbol": "d"}],
        "news": [
            {"id": "n-1", "symbol": "a"},
            {"id": "n-2", "symbol": "d"},
            {"id": "n-3", "symbol": "d"},
            {"id": "n-4"},
        ],
    }
    cancel = Action(0, ActionType.CANCEL_ORDER, target_order_id="o-1")
    intent = replace(INTENT, evidence=("n-3", "c.last"))
    target = Action(1, ActionType.SET_TARGET, "c", target_weight="0.1", intent=intent)
    shown = concerned(observation, replace(DECISION, actions=(cancel, target)))
    assert shown["universe"] == ["a", "b", "c"]
    assert [item["id"] for item in shown["news"]] == ["n-1", "n-3", "n-4"]
