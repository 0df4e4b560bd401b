"""The breaker's and the gate's life in the cases people quote."""

from __future__ import annotations

import pytest

from caopan.domain.gateway.breaker import (
    FIRST_REST_MS,
    LONGEST_GATE_MS,
    MOST_REST_MS,
    Admission,
    BreakerState,
    Gate,
    Phase,
    Reason,
    Slice,
    Tally,
    Transition,
    admit,
    adopt_gate,
    limited,
    may_pass,
    merge,
    new_breaker,
    own_slices,
    release,
    report,
    shut,
    went_through,
)
from caopan.domain.gateway.endpoint import BreakerSettings
from caopan.domain.gateway.outcome import CONSEQUENCES, After, FailureClass

T0 = 1_800_000_000_000
LIMITS = BreakerSettings()
DOWN = FailureClass.SERVER


def ended(
    state: BreakerState,
    *failures: FailureClass | None,
    now: int = T0,
    probe: bool = False,
    latency_ms: int = 10,
    draw: float = 0.0,
) -> tuple[BreakerState, Transition | None]:
    moved = None
    for failure in failures:
        state, moved = report(
            state,
            LIMITS,
            failure=failure,
            latency_ms=latency_ms,
            probe=probe,
            now=now,
            draw=draw,
        )
    return state, moved


def opened(now: int = T0) -> BreakerState:
    state, moved = ended(new_breaker("one"), *[DOWN] * LIMITS.failures, now=now)
    assert moved is not None
    return state


def half_open(state: BreakerState) -> BreakerState:
    state, said, _ = admit(state, LIMITS, state.last.until)
    assert (said, state.phase) == (Admission.PROBE, Phase.HALF_OPEN)
    return state


def test_one_error_opens_nothing():
    state, moved = ended(new_breaker("one"), DOWN)
    assert (state.phase, moved) == (Phase.CLOSED, None)


def test_as_many_in_a_row_open_it():
    state, moved = ended(new_breaker("one"), *[None] * 95, *[DOWN] * 5)
    assert moved is not None
    assert moved == state.last
    assert (moved.before, moved.after, moved.reason) == (
        Phase.CLOSED,
        Phase.OPEN,
        Reason.IN_A_ROW,
    )
    assert (moved.at, moved.until) == (T0, T0 + LIMITS.open_ms)


@pytest.mark.parametrize(("well", "phase"), [(4, Phase.OPEN), (6, Phase.CLOSED)])
def test_a_rate_opens_it_once_there_are_enough(well, phase):
    """Four of eight are half, but four are no five; five of nine are more than half."""
    state, _ = ended(new_breaker("one"), *[DOWN, None] * 4)
    assert state.phase is Phase.CLOSED
    state, moved = ended(state, *[None] * (well - 4), DOWN)
    assert state.phase is phase
    assert moved is None or moved.reason is Reason.ERROR_RATE


def test_a_rate_that_is_just_met_opens_it():
    exactly, _ = ended(new_breaker("one"), *[None, DOWN] * 5)
    assert exactly.phase is Phase.OPEN
    less, _ = ended(new_breaker("one"), None, *[None, DOWN] * 5)
    assert less.phase is Phase.CLOSED


def test_a_rate_of_slow_answers_that_is_just_met_opens_it():
    quick, _ = ended(new_breaker("one"), None, None)
    slow, _ = ended(quick, *[None] * 7, latency_ms=LIMITS.slow_call_ms)
    assert slow.phase is Phase.CLOSED
    slow, _ = ended(slow, None, latency_ms=LIMITS.slow_call_ms)
    assert slow.phase is Phase.OPEN


def test_slow_answers_open_it():
    state, moved = ended(new_breaker("one"), *[None] * 5, latency_ms=LIMITS.slow_call_ms)
    assert state.phase is Phase.OPEN
    assert moved is not None
    assert moved.reason is Reason.SLOW_CALLS


def test_what_has_left_the_window_does_not_count():
    state, _ = ended(new_breaker("one"), *[DOWN] * 4)
    state, _ = ended(state, None)
    state, _ = ended(state, DOWN, now=T0 + LIMITS.window_ms + 1)
    assert state.phase is Phase.CLOSED


@pytest.mark.parametrize("failure", list(FailureClass))
def test_each_class_counts_as_its_consequence_says(failure):
    state, moved = ended(new_breaker("one"), failure)
    after = CONSEQUENCES[failure].after
    if After.OPENS in after:
        assert moved is not None
        assert (moved.reason.value, moved.until) == (failure.value, T0 + LIMITS.max_open_ms)
    else:
        assert moved is None
        assert state.in_row == (After.COUNTS in after)
    state, _ = ended(new_breaker("one"), *[failure] * 9)
    assert (state.phase is Phase.OPEN) == bool(after & {After.OPENS, After.COUNTS})


def test_a_refused_key_is_left_alone_for_longest_even_where_it_was_open():
    state, moved = ended(opened(), FailureClass.AUTH, now=T0 + 5)
    assert moved is not None
    assert moved.until == T0 + 5 + LIMITS.max_open_ms
    assert moved.before is moved.after is Phase.OPEN
    assert ended(state, FailureClass.BALANCE, now=T0 + 5) == (state, None)


def test_open_refuses_until_its_time_has_passed():
    state = opened()
    assert admit(state, LIMITS, state.last.until - 1) == (state, Admission.REFUSED, None)
    assert not may_pass(state, LIMITS, state.last.until - 1)
    assert may_pass(state, LIMITS, state.last.until)


def test_half_open_lets_one_probe_through_and_closes_after_enough():
    state = half_open(opened())
    at = state.last.at
    assert admit(state, LIMITS, at)[1] is Admission.REFUSED
    state, moved = ended(state, None, probe=True, now=at)
    assert (state.phase, moved) == (Phase.HALF_OPEN, None)
    state, said, moved = admit(state, LIMITS, at + 1)
    assert (said, moved) == (Admission.PROBE, None)
    state, moved = ended(state, None, probe=True, now=at + 2)
    assert moved is not None
    assert (state.phase, moved.reason, moved.openings) == (Phase.CLOSED, Reason.RECOVERED, 0)


def test_a_probe_that_tells_nothing_gives_its_place_back():
    state = half_open(opened())
    at = state.last.at
    assert admit(release(state), LIMITS, at)[1] is Admission.PROBE
    for latency_ms in (1, LIMITS.slow_call_ms):
        limited_one, moved = ended(
            state, FailureClass.RATE_LIMIT, probe=True, now=at, latency_ms=latency_ms
        )
        assert (limited_one.phase, moved) == (Phase.HALF_OPEN, None)
        assert may_pass(limited_one, LIMITS, at)


def test_a_probe_nobody_reported_holds_its_place_for_a_while_only():
    state = half_open(opened())
    at = state.last.at
    assert not may_pass(state, LIMITS, at + LIMITS.max_open_ms - 1)
    assert may_pass(state, LIMITS, at + LIMITS.max_open_ms)


def test_each_failed_probe_doubles_the_time_up_to_the_longest():
    state, times = opened(), list[int]()
    for _ in range(8):
        state = half_open(state)
        state, moved = ended(state, DOWN, probe=True, now=state.last.at + 1)
        assert moved is not None
        assert moved.reason is Reason.PROBE_FAILED
        times.append(moved.until - moved.at)
    assert times == [30_000, 60_000, 120_000, 240_000, *[300_000] * 4]


def test_the_draw_shortens_the_time_by_a_quarter_at_most():
    _, moved = ended(new_breaker("one"), *[DOWN] * 5, draw=0.999999)
    assert moved is not None
    assert moved.until - moved.at == 11_251


def test_what_left_before_it_opened_tells_nothing_of_a_probe():
    state = half_open(opened())
    for failure in (DOWN, None):
        assert ended(state, failure, now=state.last.at) == (state, None)


def test_it_takes_its_load_back_in_steps_and_forgets_the_failure():
    state = half_open(opened())
    at = state.last.at
    state, _ = ended(state, None, None, probe=True, now=at)
    shares = []
    for _ in range(11):
        shares.append(state.share)
        state, _ = ended(state, None, now=at)
    assert shares == [0.25] * 5 + [0.5] * 5 + [1.0]
    state, _ = ended(state, DOWN, now=at)
    assert state.phase is Phase.CLOSED


def test_a_failure_does_not_give_weight_back():
    state = half_open(opened())
    at = state.last.at
    state, _ = ended(state, None, None, probe=True, now=at)
    state, _ = ended(state, *[None] * 4, DOWN, now=at)
    assert state.share == 0.25
    state, _ = ended(state, None, now=at)
    assert state.share == 0.5


def test_what_others_counted_before_it_closed_does_not_open_it_again():
    """Their news of the same failure may come late."""
    state = half_open(opened())
    at = state.last.at
    state, _ = ended(state, None, None, probe=True, now=at)
    late = [Tally("b", Slice(at - at % 5_000 - n * 5_000, 0, 9, 0)) for n in range(3)]
    state, moved = merge(state, LIMITS, late, now=at + 1, draw=0.0)
    assert (state.phase, moved) == (Phase.CLOSED, None)
    fresh = Tally("b", Slice(at - at % 5_000 + 5_000, 0, 9, 0))
    _, moved = merge(state, LIMITS, [fresh], now=at + 5_001, draw=0.0)
    assert moved is not None


def test_failures_spread_over_processes_open_it_together():
    mine, _ = ended(new_breaker("one"), None, *[DOWN] * 4)
    theirs, _ = ended(new_breaker("one"), *[DOWN] * 2)
    _, moved = merge(
        mine, LIMITS, [Tally("b", one) for one in own_slices(theirs)], now=T0, draw=0.0
    )
    assert moved is not None
    assert moved.reason is Reason.ERROR_RATE


def test_a_time_farther_away_than_the_longest_is_no_time():
    """The clock was set back, or the setting was lowered."""
    assert may_pass(opened(), LIMITS, T0 - LIMITS.max_open_ms)


def test_a_move_is_never_before_the_one_it_follows():
    state, moved = ended(opened(now=T0), FailureClass.AUTH, now=T0 - 100_000)
    assert moved is not None
    assert moved.at == T0 + 1
    assert state.last.until == T0 - 100_000 + LIMITS.max_open_ms


def test_a_gate_stays_shut_for_as_long_as_the_vendor_asks():
    gate = limited(Gate(), 2_500, T0, 0.9)
    assert shut(gate, T0 + 2_499)
    assert not shut(gate, T0 + 2_500)
    assert limited(gate, 10, T0, 0.9).until == gate.until


def test_a_vendor_may_not_ask_for_a_year():
    gate = limited(Gate(), 10**12, T0, 0.0)
    assert gate.until == T0 + LONGEST_GATE_MS
    assert limited(Gate(), -5, T0, 0.0).until == T0


def test_without_a_time_the_rest_doubles_until_a_call_goes_well():
    gate, rests = Gate(), list[int]()
    for _ in range(9):
        now = gate.until or T0
        gate = limited(gate, None, now, 0.0)
        rests.append(gate.until - now)
    assert rests == [*[FIRST_REST_MS << n for n in range(6)], *[MOST_REST_MS] * 3]
    assert went_through(gate) == Gate(gate.until)
    assert limited(went_through(gate), None, gate.until, 0.0).until == gate.until + FIRST_REST_MS


def test_of_two_gates_the_later_holds_whoever_told_it():
    gate = limited(Gate(), 5_000, T0, 0.0)
    assert adopt_gate(gate, T0 + 1, T0) is gate
    assert adopt_gate(gate, T0 + 9_000, T0) == Gate(T0 + 9_000, 1)
    assert adopt_gate(gate, T0 + 10**12, T0).until == T0 + LONGEST_GATE_MS


def test_a_clock_set_back_far_opens_the_gate():
    assert not shut(Gate(T0 + LONGEST_GATE_MS + 1), T0)
