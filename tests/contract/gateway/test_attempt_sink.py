"""Attempts are stored whole batches at a time, once however often they come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from caopan.adapters.postgres.call_history import PostgresCallHistory
from caopan.adapters.postgres.call_rows import PostgresCallRows
from caopan.application.ports.gateway import AttemptBegan, AttemptEnded
from caopan.application.ports.model_calls import AttemptSink, KeptAttempt
from caopan.domain.gateway.outcome import Outcome
from caopan.kernel.errors import CorruptState
from caopan.testing.gateway_samples import sample_began, sample_ended
from caopan.testing.memory_call_rows import MemoryCallRows


class Sink:
    """A sink, and what it holds as (outcome, error code), in order of the call's number."""

    def __init__(self, sink: AttemptSink, history: PostgresCallHistory | None) -> None:
        self._sink = sink
        self._history = history
        self.write = sink.write

    async def outcomes(self, *begun: AttemptBegan) -> list[tuple[str | None, str | None] | None]:
        return [await self._outcome(began) for began in begun]

    async def _outcome(self, began: AttemptBegan) -> tuple[str | None, str | None] | None:
        if self._history is None:
            assert isinstance(self._sink, MemoryCallRows)
            kept = self._sink.rows.get((began.call_id, began.attempt, began.at))
            if kept is None:
                return None
            return (kept.ended.outcome, kept.ended.error_code) if kept.ended else (None, None)
        found = {one.call.attempt: one.call for one in await self._history.call(began.call_id)}
        call = found.get(began.attempt)
        return None if call is None else (call.outcome, call.error_code)


@pytest.fixture(params=["memory", "postgres"])
async def sink(request):
    if request.param == "memory":
        yield Sink(MemoryCallRows(), None)
        return
    url = request.getfixturevalue("clean_database")
    rows, history = PostgresCallRows(url), PostgresCallHistory(url)
    yield Sink(rows, history)
    rows.close()
    await history.close()


def kept(began: AttemptBegan | None, ended: AttemptEnded | None = None, of=None) -> KeptAttempt:
    known = began or of
    assert known is not None
    return KeptAttempt(known.call_id, known.attempt, known.at, "gw-1", began, ended)


async def test_an_attempt_is_stored_when_it_begins_and_completed_when_it_ends(sink):
    began = sample_began()
    assert not sink.write([kept(began)])
    assert await sink.outcomes(began) == [(None, None)]
    assert not sink.write([kept(None, sample_ended(began), began)])
    assert await sink.outcomes(began) == [("ok", None)]


async def test_both_in_one_batch_are_one_row(sink):
    whole, open_still, later = (sample_began(nth) for nth in range(3))
    sink.write([kept(later)])
    batch = [
        kept(whole, sample_ended(whole)),
        kept(open_still),
        kept(None, sample_ended(later, outcome=Outcome.FAILED, error_code="MODEL_TIMEOUT"), later),
    ]
    assert not sink.write(batch)
    assert await sink.outcomes(whole, open_still, later) == [
        ("ok", None),
        (None, None),
        ("failed", "MODEL_TIMEOUT"),
    ]


async def test_storing_again_changes_nothing(sink):
    one, two = sample_began(1), sample_began(2)
    batch = [kept(one, sample_ended(one)), kept(two)]
    for _ in range(3):
        assert not sink.write(batch)
    lost = sample_ended(one, outcome=Outcome.LOST, error_code="GATEWAY_DIED")
    assert not sink.write([kept(None, lost, one)])
    assert not sink.write([kept(one), kept(two, sample_ended(two))])
    assert await sink.outcomes(one, two) == [("ok", None), ("ok", None)]


async def test_attempts_of_one_call_are_rows_of_their_own(sink):
    first = sample_began(1)
    second = replace(first, attempt=2, at=first.at + timedelta(seconds=2))
    failed = sample_ended(first, outcome=Outcome.FAILED, error_code="MODEL_UNAVAILABLE")
    sink.write([kept(first, failed), kept(second, sample_ended(second))])
    assert await sink.outcomes(first, second) == [("failed", "MODEL_UNAVAILABLE"), ("ok", None)]


async def test_an_end_without_a_stored_beginning_is_handed_back(sink):
    known, unknown = sample_began(1), sample_began(2)
    orphan = kept(None, sample_ended(unknown), unknown)
    assert list(sink.write([kept(known, sample_ended(known)), orphan])) == [orphan]
    assert await sink.outcomes(known, unknown) == [("ok", None), None]


async def test_a_row_that_can_never_be_stored_keeps_its_batch_out(sink):
    good, bad = sample_began(1), sample_began(2)
    broken = kept(bad, sample_ended(bad, latency_ms=-1))
    with pytest.raises(CorruptState) as caught:
        sink.write([kept(good, sample_ended(good)), broken])
    assert caught.value.code == "CHECK_VIOLATION"
    assert await sink.outcomes(good, bad) == [None, None]
    assert not sink.write([kept(good, sample_ended(good))])
    assert await sink.outcomes(good) == [("ok", None)]


async def test_nothing_is_nothing(sink):
    assert not sink.write([])
