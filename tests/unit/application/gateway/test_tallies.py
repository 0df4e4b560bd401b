"""What a process tells of its calls is what the record of their attempts says."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.application.gateway.tallies import BOUNDS_MS, Histogram, MeteredLog, Tallies
from caopan.application.ports.gateway import AttemptBegan, AttemptEnded, Path
from caopan.domain.gateway.outcome import Outcome
from caopan.domain.gateway.usage import Tokens
from caopan.kernel.errors import Unavailable

AT = datetime(2026, 11, 20, tzinfo=UTC)


def began(call: int = 1, attempt: int = 1, endpoint: str = "a") -> AttemptBegan:
    return AttemptBegan(
        call_id=UUID(int=call),
        attempt=attempt,
        trace_id="t",
        decision_id=None,
        role="actor",
        client="c",
        path=Path.CHAT,
        alias="actor",
        endpoint=endpoint,
        provider="p",
        model_asked="m",
        prompt_hash="h",
        prompt_version="",
        config_version=1,
        stream=False,
        at=AT,
        request=b"",
        adapted=(),
        claimed=0,
        scopes=(),
    )


def ended(
    call: int = 1,
    attempt: int = 1,
    outcome: Outcome = Outcome.OK,
    code: str | None = None,
    tokens: Tokens | None = None,
    cost: int | None = 5,
    latency_ms: int = 40,
) -> AttemptEnded:
    return AttemptEnded(
        call_id=UUID(int=call),
        attempt=attempt,
        at=AT,
        outcome=outcome,
        error_code=code,
        detail="why",
        status=200,
        model_served="m",
        tokens=tokens or Tokens(10, 4, 3, 2),
        usage_raw=None,
        cost=cost,
        price_version=None,
        ttft_ms=20,
        latency_ms=latency_ms,
        overhead_ms=0.4,
        breaker="closed",
        quality=None,
        response=b"",
    )


def test_an_attempt_counts_by_outcome_tokens_money_and_time():
    tallies = Tallies()
    tallies.began(began())
    found = tallies.endpoints["actor", "a"]
    assert found.under_way == 1
    tallies.ended(ended())
    assert found.under_way == 0
    assert found.outcomes == {("ok", ""): 1}
    assert found.tokens == {"prompt": 10, "completion": 4, "cached": 3, "reasoning": 2}
    assert (found.cost, found.unpriced) == (5, 0)
    assert found.total.count == found.first_token.count == found.overhead.count == 1


def test_an_unknown_price_is_counted_and_is_no_zero():
    tallies = Tallies()
    tallies.began(began())
    tallies.ended(ended(cost=None))
    assert (tallies.endpoints["actor", "a"].cost, tallies.endpoints["actor", "a"].unpriced) == (
        0,
        1,
    )


def test_a_second_attempt_is_a_retry_or_a_fallback_for_the_reason_of_the_first():
    tallies = Tallies()
    for call, endpoint in ((1, "a"), (2, "b")):
        tallies.began(began(call))
        tallies.ended(ended(call, outcome=Outcome.FAILED, code="MODEL_TIMEOUT", cost=None))
        tallies.began(began(call, 2, endpoint))
        tallies.ended(ended(call, 2))
    assert tallies.retries == {("a", "MODEL_TIMEOUT"): 1}
    assert tallies.fallbacks == {("a", "b", "MODEL_TIMEOUT"): 1}
    last = tallies.endpoints["actor", "a"].last_error
    assert last is not None
    assert last.code == "MODEL_TIMEOUT"


def test_a_call_refused_before_any_endpoint_is_counted_apart():
    tallies = Tallies()
    tallies.began(began(attempt=0, endpoint=""))
    tallies.ended(ended(attempt=0, outcome=Outcome.REFUSED, code="BUDGET_EXCEEDED"))
    assert tallies.refused == {("actor", "BUDGET_EXCEEDED"): 1}
    assert tallies.endpoints == {}


class Failing:
    waiting = 3

    def began(self, attempt):
        raise Unavailable("AUDIT_UNAVAILABLE", "full")

    def ended(self, attempt):
        pass

    async def durable(self, call_id):
        pass


def test_what_could_not_be_kept_is_not_counted():
    tallies = Tallies()
    log = MeteredLog(Failing(), tallies)
    with pytest.raises(Unavailable):
        log.began(began())
    log.ended(ended())
    assert tallies.endpoints == {}
    assert log.waiting == 3


@given(
    st.lists(st.floats(0.1, BOUNDS_MS[-1]), min_size=1, max_size=200),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_a_percentile_is_the_true_one_or_at_most_a_tenth_above(times, share):
    histogram = Histogram()
    for time in times:
        histogram.add(time)
    ordered = sorted(times)
    index = next(n for n in range(len(ordered)) if n + 1 >= share * len(ordered))
    told = histogram.percentile(share)
    assert told is not None
    assert ordered[index] - 0.05 <= told <= ordered[index] * 1.1 + 0.06


def test_no_percentile_before_the_first():
    assert Histogram().percentile(0.5) is None
