"""A language model at a desk: what it is shown, how its votes count, what goes wrong in order."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from caopan.adapters.prompts.library import PromptLibrary
from caopan.application import records
from caopan.application.decision_cycle.briefing import Prompting
from caopan.application.decision_cycle.outside_text import fence
from caopan.domain.decision.shapes import DecisionStatus
from caopan.domain.ledger.chain import Stage
from caopan.domain.orders.order import OrderStatus
from caopan.kernel.errors import CorruptState, Unavailable
from caopan.kernel.money import units
from caopan.testing.models import buy_action, decision_json
from caopan.testing.table_desk import DAY, FIRST, SECOND, TableDesk

LIBRARY = PromptLibrary()
ACTOR = Prompting(LIBRARY, LIBRARY.find("actor", "zh"))
BUY = buy_action(FIRST, 1_000, "10.00")


def desk_of(**changes):
    return TableDesk().led_by_a_language_model(changes.pop("prompting", ACTOR), **changes)


async def decided(desk, says, slot="first"):
    desk.says = says
    return await desk.pipeline.run_cycle(slot, DAY)


def in_turn(*answers):
    """Return a script that gives one answer after the other."""
    rest = iter(answers)

    def say(request):
        answer = next(rest)
        return answer(request) if callable(answer) else answer

    return say


def saying(*actions, **fields):
    return lambda request: decision_json(request, *actions, **fields)


# --- what is asked, and what stays of it ---------------------------------------------------------


async def test_the_prompt_is_evidence_and_its_answer_is_carried_out():
    desk = await desk_of().open()
    cycle = await decided(desk, saying(BUY))
    (request,) = desk.model.requests
    assert request.prompt is not None
    evidence = await desk.evidence(cycle, Stage.ACTOR)
    assert evidence["prompt_version"] == ACTOR.template.name
    assert evidence["prompt_hash"] == request.prompt.digest != ACTOR.template.digest
    assert evidence["prompt_tokens"] == request.prompt.tokens
    assert "left_out" not in evidence
    assert fence(cycle.trace_id) in request.prompt.messages[0].content
    (call,) = await desk.model_calls(cycle)
    assert (call.role, call.attempt, call.outcome) == ("actor", 1, "ok")
    assert (call.prompt_version, call.prompt_hash) == (ACTOR.template.name, request.prompt.digest)
    (order,) = await desk.orders()
    assert (order.symbol, order.qty, order.status) == (FIRST, 1_000, OrderStatus.ACCEPTED)


async def test_the_account_is_nobodys_to_the_model():
    desk = await desk_of().open()
    await decided(desk, saying({"type": "no_op"}))
    prompt = desk.model.requests[0].prompt
    assert prompt is not None
    told = "".join(one.content for one in prompt.messages)
    assert "sandbox" not in told
    assert "1000000.00" in told


async def test_what_was_left_out_is_recorded():
    short = replace(ACTOR, budget_tokens=1_500)
    desk = await desk_of(prompting=short).open()
    for number in range(8):
        await decided(desk, saying(BUY | {"price": "99.00"}), slot=f"slot {number}")
        await desk.settle(timedelta(seconds=1))
    cycle = await decided(desk, saying({"type": "no_op"}), slot="last")
    evidence = await desk.evidence(cycle, Stage.ACTOR)
    assert evidence["prompt_tokens"] <= 1_500
    assert evidence["left_out"]["own_record"] > 0


async def test_a_prompt_that_does_not_fit_is_a_recorded_no_op_without_a_call():
    desk = await desk_of(prompting=replace(ACTOR, budget_tokens=300)).open()
    cycle = await decided(desk, saying(BUY))
    assert (cycle.status, cycle.status_code) == (DecisionStatus.NO_OP, "PROMPT_TOO_LARGE")
    assert "budget is 300" in (await desk.evidence(cycle, Stage.ACTOR))["detail"]
    assert desk.model.requests == []
    assert await desk.model_calls(cycle) == []
    assert (await desk.report()).trace_coverage == 1.0


async def test_a_template_that_cannot_be_rendered_is_a_recorded_no_op():
    body = "=== user\n{{ clock.hour }}"
    broken = replace(ACTOR.template, body=body, variables=frozenset({"clock"}), digest="b" * 64)
    desk = await desk_of(prompting=replace(ACTOR, template=broken)).open()
    cycle = await decided(desk, saying(BUY))
    assert (cycle.status, cycle.status_code) == (DecisionStatus.NO_OP, "PROMPT_VARIABLE")


async def test_a_built_in_trader_is_shown_no_prompt():
    desk = await TableDesk().open()
    desk.prompting = ACTOR
    await desk.restart()
    cycle = await decided(desk, saying({"type": "no_op"}))
    assert desk.model.requests[0].prompt is None
    assert "prompt_tokens" not in await desk.evidence(cycle, Stage.ACTOR)


async def test_a_re_ask_is_a_call_of_its_own_on_the_same_prompt():
    desk = await desk_of().open()
    cycle = await decided(desk, in_turn("no", saying(BUY)))
    first, second = desk.model.requests
    assert first.prompt == second.prompt
    assert [call.attempt for call in await desk.model_calls(cycle)] == [1, 2]
    evidence = await desk.evidence(cycle, Stage.ACTOR)
    assert [one["outcome"] for one in evidence["earlier"]] == ["MODEL_PARSE_FAIL"]


# --- the vote ------------------------------------------------------------------------------------


async def test_what_most_samples_want_is_carried_out_at_its_most_cautious():
    desk = await desk_of(samples=3).open()
    other = buy_action(SECOND, 100, "10.00")
    script = in_turn(saying(BUY | {"qty": 900}, other), saying(BUY), saying({"type": "no_op"}))
    cycle = await decided(desk, script)
    assert [(order.symbol, order.qty) for order in await desk.orders()] == [(FIRST, 900)]
    evidence = await desk.evidence(cycle, Stage.ACTOR)
    assert evidence["vote"] == {
        "agreement": {f"buy {FIRST}": 2, f"buy {SECOND}": 1, "no_op": 1},
        "samples": 3,
    }
    assert [one["outcome"] for one in evidence["samples"]] == ["parsed"] * 3
    assert len(await desk.model_calls(cycle)) == 3
    assert len({request.prompt for request in desk.model.requests}) == 1


async def test_samples_that_disagree_are_a_no_op():
    desk = await desk_of(samples=2).open()
    cycle = await decided(desk, in_turn(saying(BUY), saying(buy_action(SECOND, 100, "10.00"))))
    assert cycle.status is DecisionStatus.NO_OP
    assert not await desk.orders()


async def test_a_sample_without_an_answer_counts_against():
    desk = await desk_of(samples=3).open()
    outage = Unavailable("MODEL_UNAVAILABLE", "down")
    cycle = await decided(desk, in_turn(saying(BUY), outage, outage))
    assert cycle.status is DecisionStatus.NO_OP
    codes = [call.error_code for call in await desk.model_calls(cycle)]
    assert sorted(codes, key=str) == ["MODEL_UNAVAILABLE", "MODEL_UNAVAILABLE", None]


async def test_no_answer_at_all_says_why():
    desk = await desk_of(samples=2).open()
    cycle = await decided(desk, in_turn(*[Unavailable("BUDGET_EXCEEDED", "spent")] * 2))
    assert (cycle.status, cycle.status_code) == (DecisionStatus.NO_OP, "BUDGET_EXCEEDED")


async def test_every_attempt_of_every_sample_is_recorded_once():
    desk = await desk_of(samples=2).open()
    cycle = await decided(desk, lambda r: decision_json(r, BUY) if r.previous else "no")
    calls = await desk.model_calls(cycle)
    assert sorted(call.attempt for call in calls) == [1, 2, 3, 4]
    assert len({call.call_id for call in calls}) == 4
    assert [order.qty for order in await desk.orders()] == [1_000]


@pytest.mark.parametrize("samples", [1, 3])
async def test_a_recorded_answer_reads_back_to_the_same_decision(samples):
    desk = await desk_of(samples=samples).open()
    answers = [BUY | {"qty": 900 - 100 * number} for number in range(samples)]
    cycle = await decided(desk, in_turn(*(saying(one, notes="why") for one in answers)))
    async with desk.pipeline.seat.begin() as uow:
        again = await records.read_decision(uow, cycle)
    assert [(one.symbol, one.qty) for one in again.actions] == [(FIRST, answers[-1]["qty"])]
    assert (again.valid_until, again.notes) == (cycle.valid_until, "why")


@pytest.mark.parametrize("samples", [1, 3])
async def test_a_crash_anywhere_leaves_one_order_and_no_second_question_once_recorded(samples):
    at = 0
    for at in count():
        desk = await desk_of(samples=samples).open()
        desk.says = saying(BUY)
        seen = await desk.crashing(at, lambda desk=desk: desk.pipeline.run_cycle("first", DAY))
        for cycle in await desk.cycles():
            calls = await desk.model_calls(cycle)
            assert len(calls) in {0, samples}
        orders = await desk.orders()
        assert [order.qty for order in orders] in ([], [1_000])
        assert len(desk.counter.slips) <= 1
        assert (await desk.report()).verification.verified
        if len(seen) <= at:
            break
    assert at > 10, "points to die at were met"


async def test_a_broken_invariant_is_told_as_one_however_many_samples_met_it():
    desk = await desk_of(samples=3).open()
    desk.says = lambda _: CorruptState("PROMPT_MISSING", "asked without a prompt")
    with pytest.raises(CorruptState, match="without a prompt"):
        await desk.pipeline.run_cycle("first", DAY)


# --- a model that is slow, down, broke or lying --------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        "AUDIT_UNAVAILABLE",
        "BUDGET_EXCEEDED",
        "CIRCUIT_BREAKER_OPEN",
        "MODEL_AUTH",
        "MODEL_BALANCE",
        "MODEL_RATE_LIMIT",
        "MODEL_TIMEOUT",
        "MODEL_UNAVAILABLE",
    ],
)
@pytest.mark.parametrize("samples", [1, 3])
async def test_an_absent_model_is_a_recorded_no_op_with_its_code(code, samples):
    desk = await desk_of(samples=samples).open()
    cycle = await decided(desk, lambda _: Unavailable(code, "out of order"))
    assert (cycle.status, cycle.status_code) == (DecisionStatus.NO_OP, code)
    calls = await desk.model_calls(cycle)
    assert {(call.outcome, call.error_code) for call in calls} == {("failed", code)}
    assert not desk.counter.slips
    report = await desk.report()
    assert (report.trace_coverage, report.model_failures) == (1.0, {code: 1})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would buy now.",
        "{}",
        '{"actions": [{"type": "buy_everything"}]}',
        "[" * 50_000,
        "\x00\ud800",
        json.dumps({"observation_ref": "x", "account_view": {"nav": 1, "cash": 1}, "actions": []}),
    ],
)
async def test_an_unreadable_model_is_a_recorded_no_op(text):
    desk = await desk_of().open()
    cycle = await decided(desk, lambda _: text)
    assert (cycle.status, cycle.status_code) == (DecisionStatus.NO_OP, "MODEL_PARSE_FAIL")
    assert (await desk.report()).trace_coverage == 1.0


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        (saying(BUY, observation_ref="0" * 64), "CHECKER_UNKNOWN_REF"),
        (saying(BUY, account_view={"nav": "9", "cash": "9"}), "CHECKER_HALLUCINATION"),
        (saying(buy_action("600999.SH", 100, "10.00")), "CHECKER_RANGE"),
        (saying({"type": "cancel_order", "target_order_id": "mine"}), "CHECKER_UNKNOWN_REF"),
    ],
)
async def test_a_lying_model_is_refused(lie, code):
    desk = await desk_of().open()
    cycle = await decided(desk, lie)
    assert (cycle.status, cycle.status_code) == (DecisionStatus.REJECTED_CHECKER, code)
    assert not desk.counter.slips


class Clocks:
    """A desk's clock and stopwatch, which a model's slowness moves together."""

    def __init__(self, desk):
        self.desk, self.ms = desk, 0.0
        desk.stopwatch = lambda: self.ms

    def pass_(self, seconds):
        self.ms += seconds * 1_000
        self.desk.clock.set(self.desk.clock.now() + timedelta(seconds=seconds))


async def test_an_answer_after_its_deadline_is_kept_and_not_acted_on():
    desk = desk_of()
    clocks = Clocks(desk)
    await desk.open()

    def slow(request):
        clocks.pass_(1.5)
        return decision_json(request, BUY)

    cycle = await decided(desk, slow)
    assert (cycle.status, cycle.status_code) == (DecisionStatus.NO_OP, "MODEL_TIMEOUT")
    (call,) = await desk.model_calls(cycle)
    assert FIRST in call.response
    assert not desk.counter.slips


@pytest.mark.parametrize("late_s", [179, 181, 599, 601, 4_000])
async def test_a_decision_is_never_carried_out_past_its_time(late_s):
    desk = desk_of()
    clocks = Clocks(desk)
    await desk.open()

    def slow(request):
        # The stopwatch stands: as if the machine had slept while the answer lay there.
        desk.clock.set(desk.clock.now() + timedelta(seconds=late_s))
        return decision_json(request, BUY)

    cycle = await decided(desk, slow)
    assert clocks.ms == 0
    if late_s <= 180:
        assert all(at <= cycle.valid_until for at, _ in desk.counter.sent)
        assert len(desk.counter.sent) == 1
        return
    assert (cycle.status, cycle.status_code) == (DecisionStatus.REJECTED_CHECKER, "OBS_EXPIRED")
    assert not desk.counter.sent


async def test_a_decision_made_before_a_crash_is_not_carried_out_past_its_time():
    """Whatever stage it died in, what comes back after `valid_until` sends nothing."""
    at = 0
    for at in count():
        desk = await desk_of().open()
        desk.says = saying(BUY)
        real, moved = desk.restart, []

        async def restart(plan=None, desk=desk, real=real, moved=moved):
            if plan is None:
                moved.append(len(desk.counter.sent))
                desk.clock.set(desk.clock.now() + timedelta(minutes=11))
            await real(plan)

        desk.restart = restart
        seen = await desk.crashing(at, lambda desk=desk: desk.pipeline.run_cycle("first", DAY))
        assert len(desk.counter.sent) == moved[-1], f"sent after its time, dead at {at}"
        if len(seen) <= at:
            break
    assert at > 10


async def test_the_price_of_the_decision_is_its_own():
    """Nothing of an answer but its actions is acted on: ids and times are ours."""
    desk = await desk_of().open()
    cycle = await decided(desk, saying(BUY))
    (order,) = await desk.orders()
    assert order.not_after == cycle.valid_until == cycle.opened_at + timedelta(minutes=10)
    assert (order.decision_id, order.price) == (cycle.decision_id, units("10.00"))
