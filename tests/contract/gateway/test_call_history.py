"""What was recorded is found again: lists, one call, metrics, costs, recorded answers, spending."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from datetime import datetime, timedelta

import pytest

from caopan.adapters.postgres.call_history import PostgresCallHistory
from caopan.adapters.postgres.call_rows import PostgresCallRows
from caopan.application.ports.gateway import AttemptBegan, AttemptEnded
from caopan.application.ports.model_calls import (
    CallFilter,
    CallRecord,
    CostBy,
    KeptAttempt,
    Percentiles,
)
from caopan.domain.gateway.outcome import Outcome
from caopan.domain.gateway.usage import Tokens
from caopan.kernel.errors import ConfigInvalid
from caopan.testing.gateway_samples import AT, DAY, sample_began, sample_ended

WEEK = AT - timedelta(days=3), AT + timedelta(days=3)


@pytest.fixture
async def history(clean_database):
    opened = PostgresCallHistory(clean_database)
    yield opened
    await opened.close()


@pytest.fixture
def store(clean_database):
    rows = PostgresCallRows(clean_database)

    def keep(began: AttemptBegan, ended: AttemptEnded | None = None, process="gw-1") -> None:
        attempt = KeptAttempt(began.call_id, began.attempt, began.at, process, began, ended)
        assert not rows.write([attempt])

    yield keep
    rows.close()


def ended_with(began: AttemptBegan, outcome: Outcome, code: str | None, **more) -> AttemptEnded:
    return sample_ended(began, outcome=outcome, error_code=code, **more)


async def test_every_field_of_an_attempt_is_recorded(history, store):
    began = sample_began(decision_id="d-1", stream=True)
    ended = sample_ended(began, quality="invalid_json", detail="no \x00 JSON", error_code="X_Y")
    store(began, ended)
    (found,) = await history.call(began.call_id)
    assert (found.request, found.response) == (began.request, ended.response)
    call = found.call
    told = asdict(began) | asdict(ended)
    renamed = {
        "began_at": began.at,
        "ended_at": ended.at,
        "process": "gw-1",
        "tokens": ended.tokens,
        "detail": "no \ufffd JSON",
    }
    for field in fields(CallRecord):
        expected = renamed.get(field.name, told.get(field.name))
        assert getattr(call, field.name) == expected, field.name


async def test_what_is_under_way_has_no_end_and_counts_as_claimed(history, store):
    began = sample_began()
    store(began)
    (found,) = await history.call(began.call_id)
    assert (found.call.outcome, found.call.ended_at, found.response) == (None, None, None)
    assert (found.call.charged, found.call.cost) == (began.claimed, None)
    page = await history.page(CallFilter(under_way=True))
    assert [call.call_id for call in page.calls] == [began.call_id]


@pytest.mark.parametrize(
    ("outcome", "cost", "charged", "expected"),
    [
        (Outcome.OK, 7, 9, 9),
        (Outcome.OK, 7, None, 7),
        (Outcome.FAILED, None, None, 5_000_000),
        (Outcome.LOST, None, None, 5_000_000),
        (Outcome.REFUSED, None, None, 0),
        (Outcome.FAILED, 0, None, 0),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
async def test_what_is_charged_where_nobody_says(
    history, clean_database, outcome, cost, charged, expected, apart
):
    began = sample_began()
    ended = sample_ended(began, outcome=outcome, cost=cost, charged=charged)
    key = began.call_id, began.attempt, began.at, "gw-1"
    rows = PostgresCallRows(clean_database)
    if apart:
        rows.write([KeptAttempt(*key, began, None)])
    rows.write([KeptAttempt(*key, None if apart else began, ended)])
    rows.close()
    (found,) = await history.call(began.call_id)
    assert (found.call.charged, found.call.cost) == (expected, cost)


async def test_pages_are_newest_first_and_lead_on_without_gap_or_repeat(history, store):
    begun = [sample_began(nth, at=AT + timedelta(seconds=nth // 3)) for nth in range(10)]
    for began in begun:
        store(began, sample_ended(began))
    seen, cursor = [], None
    while True:
        page = await history.page(CallFilter(), most=3, cursor=cursor)
        seen += page.calls
        if page.cursor is None:
            break
        cursor = page.cursor
    expected = sorted(begun, key=lambda one: (one.at, one.call_id), reverse=True)
    assert [call.call_id for call in seen] == [one.call_id for one in expected]
    for wrong in ("nonsense", "bm9uc2Vuc2U=", "€"):
        with pytest.raises(ConfigInvalid) as caught:
            await history.page(CallFilter(), cursor=wrong)
        assert caught.value.code == "CURSOR_INVALID"


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (CallFilter(), {0, 1, 2}),
        (CallFilter(alias="other"), {1}),
        (CallFilter(endpoint="qwen", client="desk"), {2}),
        (CallFilter(decision_id="d-1"), {0}),
        (CallFilter(outcome=Outcome.FAILED), {1}),
        (CallFilter(role="checker"), {2}),
        (CallFilter(trace_id="trace-2"), {2}),
        (CallFilter(since=AT + timedelta(milliseconds=1)), {1, 2}),
        (CallFilter(until=AT + timedelta(milliseconds=1)), {0}),
        (CallFilter(client="nobody"), set()),
    ],
)
async def test_a_filter_finds_what_fits_it(history, store, wanted, numbers):
    begun = [
        sample_began(0, decision_id="d-1"),
        sample_began(1, alias="other"),
        sample_began(2, endpoint="qwen", role="checker"),
    ]
    for nth, began in enumerate(begun):
        failed = nth == 1
        store(began, sample_ended(began, outcome=Outcome.FAILED if failed else Outcome.OK))
    found = {call.call_id for call in (await history.page(wanted)).calls}
    assert found == {begun[nth].call_id for nth in numbers}


async def test_metrics_tell_what_became_of_the_attempts_at_each_endpoint(history, store):
    for nth in range(100):
        began = sample_began(nth)
        store(began, sample_ended(began, ttft_ms=nth + 1, latency_ms=10 * (nth + 1), cost=100))
    unpriced, failed, truncated, open_still = (sample_began(nth) for nth in range(100, 104))
    store(unpriced, sample_ended(unpriced, cost=None, ttft_ms=None, latency_ms=500))
    at = AT + timedelta(hours=1)
    store(failed, ended_with(failed, Outcome.FAILED, "MODEL_TIMEOUT", cost=None))
    store(
        truncated,
        ended_with(truncated, Outcome.TRUNCATED, "MODEL_UNAVAILABLE", detail="cut", at=at, cost=3),
    )
    store(open_still)
    other, refused = sample_began(104, endpoint="qwen"), sample_began(105, endpoint="", attempt=0)
    store(other, sample_ended(other, cost=5))
    store(refused, ended_with(refused, Outcome.REFUSED, "BUDGET_EXCEEDED", cost=None))
    deepseek, qwen = await history.endpoint_metrics(*WEEK)
    assert (deepseek.endpoint, deepseek.attempts, deepseek.under_way) == ("deepseek", 104, 1)
    assert deepseek.outcomes == {Outcome.OK: 101, Outcome.FAILED: 1, Outcome.TRUNCATED: 1}
    assert deepseek.last_error_at == at
    assert (deepseek.last_error_code, deepseek.last_error_detail) == ("MODEL_UNAVAILABLE", "cut")
    assert deepseek.ttft_ms == Percentiles(50, 90, 99)
    assert deepseek.latency_ms == Percentiles(500, 900, 990)
    assert (deepseek.cost, deepseek.unpriced) == (100 * 100 + 3, 1)
    assert (deepseek.tokens_prompt, deepseek.tokens_completion) == (103 * 100, 103 * 20)
    assert (qwen.endpoint, qwen.cost, qwen.last_error_at) == ("qwen", 5, None)
    assert list(await history.endpoint_metrics(WEEK[1], WEEK[1])) == []


async def test_costs_by_beijing_day_alias_and_client(history, store):
    evening = AT.replace(hour=15, minute=59)
    for nth, (at, alias, client, cost) in enumerate(
        [
            (evening, "main", "desk", 10),
            (evening + timedelta(minutes=1), "main", "research", 200),
            (evening, "cheap", "desk", None),
        ]
    ):
        began = sample_began(nth, at=at, alias=alias, client=client)
        store(began, sample_ended(began, cost=cost, charged=cost or 7))
    told = {
        by: [
            (line.key, line.attempts, line.cost, line.charged, line.unpriced)
            for line in await history.costs(*WEEK, by)
        ]
        for by in CostBy
    }
    assert told[CostBy.DAY] == [("2026-11-20", 2, 10, 17, 1), ("2026-11-21", 1, 200, 200, 0)]
    assert told[CostBy.ALIAS] == [("cheap", 1, 0, 7, 1), ("main", 2, 210, 210, 0)]
    assert told[CostBy.CLIENT] == [("desk", 2, 10, 17, 1), ("research", 1, 200, 200, 0)]


async def test_a_recorded_answer_is_the_first_whole_one_to_its_prompt(history, store):
    prompt, body = "e" * 64, b"data: {}\r\n\xff\x00"
    failed, first, again = (sample_began(nth, prompt_hash=prompt) for nth in range(3))
    other = sample_began(3, prompt_hash=prompt, model_asked="qwen3")
    store(again, sample_ended(again, response=b"later"))
    store(failed, ended_with(failed, Outcome.FAILED, "X_Y", response=b"half"))
    store(replace(first, stream=True), sample_ended(first, response=body))
    store(other, sample_ended(other, response=b""))
    found = await history.recorded(prompt)
    assert found is not None
    assert (found.call_id, found.response, found.stream) == (first.call_id, body, True)
    assert (found.status, found.tokens) == (200, Tokens(100, 20, 40, 5))
    of_other = await history.recorded(prompt, "qwen3")
    assert of_other is not None
    assert of_other.response == b""
    assert await history.recorded(prompt, "nobody") is None
    assert await history.recorded("f" * 64) is None


async def test_what_each_process_spent_of_a_day_by_scope(history, store):
    evening = AT.replace(hour=15, minute=59)
    for nth, (process, at, charged) in enumerate(
        [("gw-1", AT, 5), ("gw-2", evening, 7), ("gw-1", evening + timedelta(minutes=1), 100)]
    ):
        began = sample_began(nth, at=at, decision_id="d-1", scopes=())
        store(began, sample_ended(began, charged=charged), process)
    store(sample_began(9), None, "gw-2")
    scopes = ["all", "alias:main", "endpoint:deepseek", "client:desk"]
    ended = {
        "gw-1": dict.fromkeys([*scopes, "decision:d-1"], 5),
        "gw-2": dict.fromkeys([*scopes, "decision:d-1"], 7),
    }
    assert await history.spent_of(DAY, under_way=False) == ended
    ended["gw-2"] |= dict.fromkeys(scopes, 5_000_007)
    assert await history.spent_of(DAY, under_way=True) == ended
    assert await history.spent_of("2026-11-22", under_way=True) == {}


async def test_retention_clears_bodies_in_bounded_steps_and_no_row(history, store):
    begun = [sample_began(nth, at=AT + timedelta(days=nth)) for nth in range(5)]
    for began in begun:
        store(began, sample_ended(began))
    before: datetime = AT + timedelta(days=3)
    assert [await history.clear_bodies(before, 2) for _ in range(3)] == [2, 1, 0]
    for nth, began in enumerate(begun):
        (found,) = await history.call(began.call_id)
        assert found.call.outcome is Outcome.OK
        kept = nth >= 3
        assert (found.request, found.response) == (
            (began.request, sample_ended(began).response) if kept else (None, None)
        )
