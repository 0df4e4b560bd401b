"""The actor: one question, one answer, and a recorded reason where there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from caopan.application.contracts.decision import REPLY_SCHEMA
from caopan.application.decision_cycle import actor
from caopan.application.decision_cycle.actor import Answer
from caopan.application.decision_cycle.asking import Question
from caopan.application.decision_cycle.observe import Observation
from caopan.application.ports.model import Model, ModelReply, ModelRequest
from caopan.domain.decision.cycle import Cycle
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.errors import CaopanError, CorruptState, Unavailable
from caopan.kernel.ids import derived_uuid
from caopan.testing.models import Script, ScriptedModel, buy_action, decision_json
from caopan.testing.samples import DAY, NOW, sample_id

UNTIL = NOW + timedelta(minutes=4)
VALUES = {"account": {"nav": "1000000.00", "cash": "1000000.00"}}
BODY = canonical(VALUES)
SEEN = Observation(sample_id(3), VALUES, BODY, sha256_hex(BODY))
CYCLE = Cycle(sample_id(1), sample_id(2), "sandbox", DAY, "open_auction", NOW)


class Watch:
    """A stopwatch that a model's slowness moves."""

    def __init__(self) -> None:
        self.ms = 1_000.0

    def __call__(self) -> float:
        return self.ms


class Slow(ScriptedModel):
    """A language model that takes its time for each answer."""

    is_language_model = True

    def __init__(self, script: Script, watch: Watch, took_ms: float = 750.5) -> None:
        super().__init__(script)
        self._watch, self._took_ms = watch, took_ms

    async def complete(self, request: ModelRequest) -> ModelReply:
        self._watch.ms += self._took_ms
        return await super().complete(request)


async def asked(model: Model, *, watch: Watch | None = None, repair_attempts: int = 0) -> Answer:
    question = Question(
        role="actor",
        model=model,
        cycle=CYCLE,
        observation=SEEN,
        prompt=None,
        reply_schema=REPLY_SCHEMA,
        deadline_ms=5_000,
        config_version="policy-1",
        now=NOW,
    )
    return await actor.ask(
        question,
        valid_until=UNTIL,
        monotonic_ms=watch or Watch(),
        repair_attempts=repair_attempts,
    )


def saying(text: str) -> ScriptedModel:
    return ScriptedModel(lambda _request: text)


def in_turn(*texts: str | CaopanError) -> Script:
    """Return a script that gives one answer after the other."""
    rest = iter(texts)
    return lambda _request: next(rest)


GOOD = decision_json(
    ModelRequest(
        "actor", CYCLE.decision_id, CYCLE.trace_id, VALUES, SEEN.content_hash, BODY.decode(), {}, 0
    ),
    {"type": "no_op"},
)


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
        trace_id=CYCLE.trace_id,
        observation=VALUES,
        observation_hash=SEEN.content_hash,
        observation_json=BODY.decode(),
        reply_schema=REPLY_SCHEMA,
        deadline_ms=5_000,
    )
    (call,) = answer.calls
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
    assert (answer.calls[0].outcome, answer.calls[0].error_code) == ("invalid", "MODEL_PARSE_FAIL")


@pytest.mark.parametrize(
    "code", ["MODEL_TIMEOUT", "MODEL_AUTH", "MODEL_RATE_LIMIT", "MODEL_UNAVAILABLE"]
)
async def test_no_answer_is_recorded_with_its_code_and_waiting_time(code):
    watch = Watch()
    answer = await asked(Slow(in_turn(Unavailable(code, "out of order")), watch), watch=watch)
    assert answer.decision is None
    assert answer.code == code
    assert answer.evidence["outcome"] == code
    assert answer.evidence["detail"] == "out of order"
    assert canonical(answer.evidence)
    (call,) = answer.calls
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
    assert answer.calls[0].response.encode()
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
    assert answer.calls[0].model_served.encode()


async def test_a_stored_reply_reads_the_same_again():
    model = ScriptedModel(lambda r: decision_json(r, buy_action("600001.SH", 100, "10.00")))
    answer = await asked(model)
    again, fixes, code, detail = actor.read(answer.evidence["reply"], CYCLE.decision_id, NOW, UNTIL)
    assert again == answer.decision
    assert (fixes, code, detail) == ((), None, "")


async def test_an_unreadable_answer_is_shown_its_errors_and_asked_for_again():
    watch = Watch()
    model = Slow(in_turn('{"actions": []}', GOOD), watch)
    answer = await asked(model, watch=watch, repair_attempts=1)
    assert answer.code is None
    assert answer.decision is not None
    first, second = model.requests
    assert (first.previous, first.deadline_ms) == ((), 5_000)
    (unread,) = second.previous
    assert unread.text == '{"actions": []}'
    assert any(error.startswith("observation_ref: ") for error in unread.errors)
    assert second.deadline_ms == 5_000 - 750
    assert replace(second, previous=(), deadline_ms=5_000) == first


async def test_every_attempt_is_recorded_and_the_evidence_lists_all():
    watch = Watch()
    answer = await asked(
        Slow(in_turn("no", "nor this", GOOD), watch), watch=watch, repair_attempts=2
    )
    assert [(call.attempt, call.outcome, call.error_code) for call in answer.calls] == [
        (1, "invalid", "MODEL_PARSE_FAIL"),
        (2, "invalid", "MODEL_PARSE_FAIL"),
        (3, "ok", None),
    ]
    assert len({call.call_id for call in answer.calls}) == 3
    assert answer.evidence["reply"] == GOOD
    assert [one["reply"] for one in answer.evidence["earlier"]] == ["no", "nor this"]
    assert [one["call_id"] for one in (*answer.evidence["earlier"], answer.evidence)] == [
        str(call.call_id) for call in answer.calls
    ]
    assert canonical(answer.evidence)


async def test_re_asks_are_bounded_and_end_in_a_recorded_no_op():
    watch = Watch()
    model = Slow(lambda _request: "still prose", watch, took_ms=1)
    answer = await asked(model, watch=watch, repair_attempts=2)
    assert (answer.decision, answer.code) == (None, "MODEL_PARSE_FAIL")
    assert len(model.requests) == len(answer.calls) == 3
    assert [len(request.previous) for request in model.requests] == [0, 1, 2]


async def test_a_readable_answer_is_never_asked_for_again():
    watch = Watch()
    model = Slow(in_turn(GOOD), watch)
    assert (await asked(model, watch=watch, repair_attempts=3)).decision is not None


async def test_a_built_in_trader_is_never_asked_again():
    model = saying("no")
    assert (await asked(model, repair_attempts=3)).code == "MODEL_PARSE_FAIL"
    assert len(model.requests) == 1


@pytest.mark.parametrize("code", ["MODEL_TIMEOUT", "BUDGET_EXCEEDED", "MODEL_UNAVAILABLE"])
async def test_a_re_ask_that_gets_no_answer_says_why(code):
    watch = Watch()
    model = Slow(in_turn("no", Unavailable(code, "none")), watch)
    answer = await asked(model, watch=watch, repair_attempts=3)
    assert (answer.decision, answer.code) == (None, code)
    assert [call.error_code for call in answer.calls] == ["MODEL_PARSE_FAIL", code]
    assert answer.evidence["outcome"] == code
    assert answer.evidence["earlier"][0]["outcome"] == "MODEL_PARSE_FAIL"


async def test_nobody_is_asked_again_once_the_deadline_is_near():
    watch = Watch()
    model = Slow(in_turn("no"), watch, took_ms=4_001)
    answer = await asked(model, watch=watch, repair_attempts=1)
    assert answer.code == "MODEL_PARSE_FAIL"
    assert "earlier" not in answer.evidence


async def test_an_answer_after_the_deadline_is_kept_and_not_read():
    watch = Watch()
    answer = await asked(Slow(in_turn(GOOD), watch, took_ms=5_001), watch=watch, repair_attempts=1)
    assert (answer.decision, answer.code) == (None, "MODEL_TIMEOUT")
    assert answer.evidence["reply"] == GOOD
    assert "5000 ms" in answer.evidence["detail"]
    (call,) = answer.calls
    assert (call.outcome, call.error_code) == ("failed", "MODEL_TIMEOUT")


async def test_the_deadline_is_that_of_all_attempts_together():
    watch = Watch()
    answer = await asked(
        Slow(in_turn("no", GOOD), watch, took_ms=2_600), watch=watch, repair_attempts=1
    )
    assert answer.code == "MODEL_TIMEOUT"


async def test_of_a_long_answer_the_part_that_was_read_is_kept():
    text = f"<think>{'白' * 200_000}</think>{GOOD}"
    answer = await asked(saying(text))
    assert answer.code is None
    assert answer.evidence["reply"] == GOOD
    assert answer.evidence["reply_bytes"] == len(text.encode())
    assert answer.evidence["reply_sha256"] == sha256_hex(text.encode())
    again, *_ = actor.read(answer.evidence["reply"], CYCLE.decision_id, NOW, UNTIL)
    assert again == answer.decision
    assert answer.calls[0].response == GOOD


async def test_of_a_long_answer_that_cannot_be_read_the_beginning_is_kept():
    text = "操" * 400_000
    watch = Watch()
    model = Slow(in_turn(text, GOOD), watch)
    answer = await asked(model, watch=watch, repair_attempts=1)
    (earlier,) = answer.evidence["earlier"]
    assert text.startswith(earlier["reply"])
    assert actor.MOST_STORED - 3 < len(earlier["reply"].encode()) <= actor.MOST_STORED
    assert earlier["reply_bytes"] == 1_200_000
    assert len(model.requests[1].previous[0].text) == 8_000
