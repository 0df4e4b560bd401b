"""The actor: one question, one answer, and a recorded reason where there is none."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from caopan.application.contracts.decision import REPLY_SCHEMA
from caopan.application.decision_cycle import actor
from caopan.application.decision_cycle.actor import Answer
from caopan.application.decision_cycle.observe import Observation
from caopan.application.ports.model import Model, ModelReply, ModelRequest
from caopan.domain.decision.cycle import Cycle
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.errors import CorruptState, Unavailable
from caopan.kernel.ids import derived_uuid
from caopan.testing.models import ScriptedModel, buy_action, decision_json
from caopan.testing.samples import DAY, NOW, sample_id

UNTIL = NOW + timedelta(minutes=4)
VALUES = {"account": {"nav": "1000000.00", "cash": "1000000.00"}}
BODY = canonical(VALUES)
SEEN = Observation(sample_id(3), VALUES, BODY, sha256_hex(BODY))
CYCLE = Cycle(sample_id(1), sample_id(2), "sandbox", DAY, "open_auction", NOW)


async def asked(model: Model) -> Answer:
    watch = iter((1_000.0, 1_750.5))
    return await actor.ask(
        model,
        CYCLE,
        SEEN,
        deadline_ms=5_000,
        config_version="policy-1",
        now=NOW,
        valid_until=UNTIL,
        monotonic_ms=lambda: next(watch),
    )


def saying(text: str) -> ScriptedModel:
    return ScriptedModel(lambda _request: text)


async def test_a_decision_and_everything_known_of_the_call():
    model = ScriptedModel(lambda r: decision_json(r, buy_action("600001.SH", 100, "10.00")))
    answer = await asked(model)
    assert answer.code is None
    assert answer.decision is not None
    assert answer.decision.decision_id == CYCLE.decision_id
    assert (answer.decision.made_at, answer.decision.valid_until) == (NOW, UNTIL)
    (request,) = model.requests
    assert request == ModelRequest(
        role="actor",
        decision_id=CYCLE.decision_id,
        observation=VALUES,
        observation_hash=SEEN.content_hash,
        observation_json=BODY.decode(),
        reply_schema=REPLY_SCHEMA,
        deadline_ms=5_000,
    )
    call = answer.call
    assert call.call_id == derived_uuid(NOW, str(CYCLE.decision_id), "model_call", 1)
    assert (call.trace_id, call.decision_id, call.role) == (
        CYCLE.trace_id,
        CYCLE.decision_id,
        "actor",
    )
    assert (call.outcome, call.error_code, call.config_version) == ("ok", None, "policy-1")
    assert call.response == answer.evidence["reply"]
    assert call.cost_cny is None


async def test_the_evidence_holds_only_what_a_replay_gives_again():
    text = '```json\n{"a": 1}\n```'
    first, second = await asked(saying(text)), await asked(saying(text))
    assert first.evidence == second.evidence
    assert canonical(first.evidence)
    assert set(first.evidence) == {
        *("call_id", "detail", "fixes", "is_language_model", "made_at", "model", "model_served"),
        *("observation_ref", "outcome", "prompt_hash", "prompt_version", "reply"),
    }
    assert first.evidence["reply"] == text
    assert first.evidence["observation_ref"] == SEEN.content_hash


async def test_a_fix_is_recorded():
    model = ScriptedModel(lambda r: f"```json\n{decision_json(r, {'type': 'no_op'})}\n```")
    answer = await asked(model)
    assert answer.code is None
    assert answer.evidence["fixes"] == ["code_fence"]


@pytest.mark.parametrize("text", ["", "no", "{}", '{"observation_ref": 1}'])
async def test_an_unreadable_answer_is_no_decision(text):
    answer = await asked(saying(text))
    assert answer.decision is None
    assert answer.code == "MODEL_PARSE_FAIL"
    assert (answer.evidence["outcome"], answer.evidence["reply"]) == ("MODEL_PARSE_FAIL", text)
    assert answer.evidence["detail"]
    assert (answer.call.outcome, answer.call.error_code) == ("invalid", "MODEL_PARSE_FAIL")


@pytest.mark.parametrize(
    "code", ["MODEL_TIMEOUT", "MODEL_AUTH", "MODEL_RATE_LIMIT", "MODEL_UNAVAILABLE"]
)
async def test_no_answer_is_recorded_with_its_code_and_waiting_time(code):
    answer = await asked(ScriptedModel(lambda _request: Unavailable(code, "out of order")))
    assert answer.decision is None
    assert answer.code == code
    assert answer.evidence["outcome"] == code
    assert answer.evidence["detail"] == "out of order"
    assert canonical(answer.evidence)
    call = answer.call
    assert (call.outcome, call.error_code, call.latency_ms) == ("failed", code, 750)
    assert (call.response, call.prompt_hash) == ("", answer.evidence["prompt_hash"])


async def test_a_broken_invariant_is_not_taken_for_an_outage():
    with pytest.raises(CorruptState):
        await asked(ScriptedModel(lambda _request: CorruptState("LOOK_AHEAD", "broken")))


@pytest.mark.parametrize("text", ["\ud800", 'buy "\udfff"', "\udc00\ud800 操"])
async def test_an_answer_that_has_no_utf_8_form_can_still_be_recorded(text):
    answer = await asked(saying(text))
    assert answer.code == "MODEL_PARSE_FAIL"
    stored = json.loads(canonical(answer.evidence))
    assert "\\ud" in stored["reply"]
    assert answer.call.response.encode()
    # What was stored reads the same again.
    again = actor.read(stored["reply"], CYCLE.decision_id, NOW, UNTIL)
    assert again == (None, (), "MODEL_PARSE_FAIL", stored["detail"])


async def test_a_name_that_has_no_utf_8_form_can_still_be_recorded():
    class Odd(ScriptedModel):
        async def complete(self, request: ModelRequest) -> ModelReply:
            reply = await super().complete(request)
            object.__setattr__(reply, "model_served", "m\ud800")
            return reply

    answer = await asked(Odd(lambda r: decision_json(r, {"type": "no_op"})))
    assert canonical(answer.evidence)
    assert answer.call.model_served.encode()


async def test_a_stored_reply_reads_the_same_again():
    model = ScriptedModel(lambda r: decision_json(r, buy_action("600001.SH", 100, "10.00")))
    answer = await asked(model)
    again, fixes, code, detail = actor.read(answer.evidence["reply"], CYCLE.decision_id, NOW, UNTIL)
    assert again == answer.decision
    assert (fixes, code, detail) == ((), None, "")
