"""Asking without acting: what is told of each answer, and how far several agree."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import UUID

import pytest

from caopan.adapters.prompts.library import PromptLibrary
from caopan.adapters.prompts.sample import sample_observation
from caopan.application.decision_cycle.briefing import Prompting
from caopan.application.decision_cycle.deciding import Actor
from caopan.application.decision_cycle.model_checker import ModelChecker
from caopan.application.decision_cycle.observe import Observation
from caopan.application.rehearsing import rehearse
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.clock import iso
from caopan.kernel.errors import Unavailable
from caopan.testing.models import ScriptedModel, buy_action, decision_json
from caopan.testing.samples import NOW

LIBRARY = PromptLibrary()
VALUES = sample_observation()
SEEN = Observation(UUID(int=5), VALUES, canonical(VALUES), sha256_hex(canonical(VALUES)))
BUY = buy_action("600002.SH", 100, "10.00", stop="9.00")
OTHER = buy_action("600003.SH", 100, "10.00", stop="9.00")
NO_OP = {"type": "no_op"}
PASS = json.dumps({"verdict": "pass", "reasons": []})
REFUSE = json.dumps(
    {"verdict": "refuse", "reasons": [{"code": "CHECKER_RANGE", "detail": "too much"}]}
)


def saying(*answers):
    """Return a language model that gives one answer after the other, a decision for actions."""
    rest = iter(answers)

    def say(request):
        answer = next(rest)
        is_actions = isinstance(answer, list)
        return decision_json(request, *answer) if is_actions else answer

    return ScriptedModel(say, language=True)


async def rehearsed(model, *, repeat=1, second=None, samples=1):
    prompting = Prompting(LIBRARY, LIBRARY.find("actor", "en"))
    checker = None
    if second is not None:
        of_checker = Prompting(LIBRARY, LIBRARY.find("checker", "en"))
        checker = ModelChecker(second, of_checker, 1_000, "none")
    actor = Actor(model, 1_000, "none", prompting, repair_attempts=1, samples=samples)
    return await rehearse(actor, checker, SEEN, NOW, repeat=repeat, monotonic_ms=lambda: 0.0)


async def test_one_answer_is_told_whole():
    model = saying([BUY])
    told = await rehearsed(model)
    (one,) = told["decisions"]
    assert (one["pass"], one["outcome"], one["errors"]) == (True, "parsed", [])
    assert one["decision"]["actions"][0]["qty"] == 100
    assert one["decision"]["timestamp"] == iso(NOW)
    assert one["decision"]["valid_until"] == iso(NOW + timedelta(minutes=10))
    prompt = model.requests[0].prompt
    assert prompt is not None
    assert one["prompt_hash"] == prompt.digest
    assert one["prompt_tokens"] == prompt.tokens
    assert [call["attempt"] for call in one["calls"]] == [1]
    assert told["observation"]["content_hash"] == SEEN.content_hash
    assert (told["sent"], told["recorded"]) == (False, False)
    assert "agreement" not in told
    assert json.dumps(told)


async def test_every_asking_is_the_same_question_of_a_decision_of_its_own():
    model = saying([BUY], [BUY], [BUY])
    await rehearsed(model, repeat=3)
    assert len({request.prompt for request in model.requests}) == 1
    assert len({request.trace_id for request in model.requests}) == 1
    assert len({request.decision_id for request in model.requests}) == 3


async def test_agreement_is_counted_over_all_that_were_asked():
    outage = Unavailable("MODEL_UNAVAILABLE", "down")
    told = await rehearsed(saying([BUY], [BUY, OTHER], [BUY], outage, [NO_OP]), repeat=5)
    assert told["agreement"] == {
        "asked": 5,
        "valid": 4,
        "valid_share": 0.8,
        "by_action": {"buy 600002.SH": 0.6, "buy 600003.SH": 0.2, "no_op": 0.2},
        "unanimous": False,
        "unanimous_share": 0.0,
        "majority": told["decisions"][0]["decision"]["actions"],
    }
    assert [one["outcome"] for one in told["decisions"]].count("MODEL_UNAVAILABLE") == 1


async def test_a_unanimous_model_is_one():
    told = await rehearsed(saying(*[[BUY, OTHER]] * 4), repeat=4)
    found = told["agreement"]
    assert (found["unanimous"], found["unanimous_share"], found["valid_share"]) == (True, 1.0, 1.0)
    assert len(found["majority"]) == 2


async def test_a_half_agreed_decision_is_half_unanimous():
    told = await rehearsed(saying([BUY, OTHER], [BUY]), repeat=2)
    found = told["agreement"]
    assert (found["unanimous"], found["unanimous_share"]) == (False, 0.5)
    assert [one["symbol"] for one in found["majority"]] == ["600002.SH"]


async def test_nothing_readable_is_no_agreement():
    told = await rehearsed(saying(*["no"] * 4), repeat=2)
    assert told["agreement"] == {"asked": 2, "valid": 0, "valid_share": 0.0}
    assert [one["outcome"] for one in told["decisions"]] == ["MODEL_PARSE_FAIL"] * 2
    assert all(len(one["calls"]) == 2 and one["errors"] for one in told["decisions"])


@pytest.mark.parametrize(("reply", "passed"), [(PASS, True), (REFUSE, False), ("?", False)])
async def test_a_model_checker_has_its_word(reply, passed):
    told = await rehearsed(saying([BUY]), second=saying(reply))
    (one,) = told["decisions"]
    assert (one["pass"], one["model_checker"]["pass"]) == (passed, passed)
    assert one["checker"]["checker"] == "rule+scripted"
    assert len(one["model_checker"]["calls"]) == 1


async def test_a_model_checker_is_not_asked_for_nothing():
    told = await rehearsed(saying([NO_OP]), second=saying())
    assert "model_checker" not in told["decisions"][0]


async def test_the_rule_checker_refuses_here_as_at_a_desk():
    told = await rehearsed(saying([BUY | {"symbol": "600999.SH"}]))
    (one,) = told["decisions"]
    assert one["pass"] is False
    assert [reason["code"] for reason in one["checker"]["reasons"]] == ["CHECKER_RANGE"]


async def test_a_vote_is_rehearsed_as_it_is_taken():
    told = await rehearsed(saying([BUY], [BUY], [OTHER]), samples=3)
    (one,) = told["decisions"]
    assert [action["symbol"] for action in one["decision"]["actions"]] == ["600002.SH"]
    assert len(one["calls"]) == 3
