"""The breaker against a list of all that ever happened, and against the other processes."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.domain.gateway.breaker import (
    RANK,
    SLICES,
    Admission,
    BreakerState,
    Phase,
    Reason,
    Slice,
    Tally,
    Transition,
    admit,
    adopt,
    may_pass,
    merge,
    new_breaker,
    own_slices,
    release,
    report,
)
from caopan.domain.gateway.endpoint import BreakerSettings
from caopan.domain.gateway.outcome import CONSEQUENCES, After, FailureClass

START = 1_800_000_000_000
STEP = 100
SETTINGS = st.builds(
    BreakerSettings,
    window_ms=st.just(SLICES * STEP),
    failures=st.integers(1, 4),
    error_rate=st.sampled_from([0.1, 0.5, 0.9, 1.0]),
    slow_call_ms=st.just(50),
    slow_rate=st.sampled_from([0.3, 0.8]),
    open_ms=st.sampled_from([40, 150]),
    max_open_ms=st.sampled_from([150, 1000]),
    half_open_probes=st.integers(1, 2),
    successes=st.integers(1, 3),
)
FAILURES = st.sampled_from(
    [None, None, None, *[FailureClass.SERVER] * 3, FailureClass.RATE_LIMIT, FailureClass.AUTH]
)
ENDED = st.tuples(st.just("end"), st.integers(0, 1), FAILURES, st.sampled_from([1, 49, 50]))
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("ask")),
        ENDED,
        st.tuples(st.just("drop"), st.integers(0, 2)),
        st.tuples(st.just("wait"), st.sampled_from([1, 30, 150, 1200])),
    ),
    min_size=10,
    max_size=60,
)
DRAWS = st.sampled_from([0.0, 0.4, 0.999])


@dataclass
class Naive:
    """A breaker that keeps everything and counts it anew each time."""

    settings: BreakerSettings
    phase: Phase = Phase.CLOSED
    until: int = 0
    openings: int = 0
    calls: list[tuple[int, bool, bool]] = field(default_factory=list)
    failed_in_row: int = 0
    healed: int | None = None
    probes: list[int] = field(default_factory=list)
    passed: int = 0

    def passes(self, now: int) -> bool:
        if self.phase is Phase.OPEN:
            return now >= self.until
        return self.phase is Phase.CLOSED or len(self._held(now)) < self.settings.half_open_probes

    def ask(self, now: int) -> Admission:
        if self.phase is Phase.CLOSED:
            return Admission.PASS
        if not self.passes(now):
            return Admission.REFUSED
        if self.phase is Phase.OPEN:
            self.phase, self.probes, self.passed = Phase.HALF_OPEN, [], 0
        self.probes = [*self._held(now), now]
        return Admission.PROBE

    def end(self, failure: Any, latency: int, probe: bool, now: int, draw: float) -> None:
        what = CONSEQUENCES[failure].after if failure else frozenset()
        ill = After.COUNTS in what
        if After.OPENS in what:
            if self.phase is not Phase.OPEN or self.until < now + self.settings.max_open_ms:
                self._open(now + self.settings.max_open_ms, max(1, self.openings))
        elif self.phase is Phase.CLOSED and (failure is None or ill):
            self.calls.append((now, ill, latency >= self.settings.slow_call_ms))
            self.failed_in_row = self.failed_in_row + 1 if ill else 0
            if not ill and self.healed is not None:
                self.healed += 1
            self._judge(now, draw)
        elif self.phase is Phase.HALF_OPEN and probe:
            self.drop()
            if ill or (latency >= self.settings.slow_call_ms and failure is None):
                self._open(now + self._rest(self.openings + 1, draw), self.openings + 1)
            elif failure is None:
                self.passed += 1
                if self.passed >= self.settings.successes:
                    self.phase, self.openings, self.calls = Phase.CLOSED, 0, []
                    self.failed_in_row, self.healed = 0, 0

    def drop(self) -> None:
        self.probes = self.probes[1:]

    def share(self) -> float:
        if self.phase is not Phase.CLOSED or self.healed is None or self.healed >= 10:
            return 1.0
        return 0.25 if self.healed < 5 else 0.5

    def _held(self, now: int) -> list[int]:
        forgotten = self.probes and now - self.probes[-1] >= self.settings.max_open_ms
        return [] if forgotten else self.probes

    def _judge(self, now: int, draw: float) -> None:
        oldest = now - now % STEP - (SLICES - 1) * STEP
        seen = [one for one in self.calls if one[0] >= oldest]
        enough = self.settings.failures
        failed = sum(ill for _, ill, _ in seen)
        slow = sum(late for _, _, late in seen)
        if (
            self.failed_in_row >= enough
            or (failed >= enough and failed / len(seen) >= self.settings.error_rate)
            or (slow >= enough and slow / len(seen) >= self.settings.slow_rate)
        ):
            self._open(now + self._rest(1, draw), 1)

    def _open(self, until: int, openings: int) -> None:
        self.phase, self.until, self.openings = Phase.OPEN, until, openings
        self.healed, self.failed_in_row, self.probes = None, 0, []

    def _rest(self, openings: int, draw: float) -> int:
        longest = self.settings.open_ms
        for _ in range(openings - 1):
            longest = min(2 * longest, self.settings.max_open_ms)
        longest = min(longest, self.settings.max_open_ms)
        return longest - int(longest * draw) // 4


@settings(max_examples=500)
@given(SETTINGS, EVENTS, DRAWS)
def test_it_moves_as_one_that_keeps_every_call(limits, events, draw):
    state, naive, now = new_breaker("one"), Naive(limits), START
    under_way: list[bool] = []
    for event in events:
        match event:
            case ("wait", by):
                now += by
            case ("ask",):
                assert may_pass(state, limits, now) == naive.passes(now)
                state, said, moved = admit(state, limits, now)
                assert said is naive.ask(now)
                assert (moved is not None) == (moved is state.last and said is Admission.PROBE)
                if said is not Admission.REFUSED:
                    under_way.append(said is Admission.PROBE)
            case ("end", which, failure, latency) if which < len(under_way):
                probe = under_way.pop(which)
                before = state
                state, moved = report(
                    state,
                    limits,
                    failure=failure,
                    latency_ms=latency,
                    probe=probe,
                    now=now,
                    draw=draw,
                )
                naive.end(failure, latency, probe, now, draw)
                assert moved is None or (moved is state.last and moved > before.last)
                assert moved is not None or state.last is before.last
            case ("drop", which) if which < len(under_way) and under_way[which]:
                under_way.pop(which)
                state = release(state)
                naive.drop()
            case _:
                pass
        assert state.phase is naive.phase
        assert state.share == naive.share()
        assert state.phase is not Phase.OPEN or state.last.until == naive.until
        assert state.last.openings == naive.openings
        assert len(state.window.older) < SLICES


@given(EVENTS, DRAWS)
def test_one_that_is_switched_off_lets_everything_pass(events, draw):
    off = BreakerSettings(enabled=False, failures=1)
    state = new_breaker("one")
    for number, event in enumerate(events):
        now = START + number
        state, said, moved = admit(state, off, now)
        assert (said, moved) == (Admission.PASS, None)
        failure = event[2] if event[0] == "end" else FailureClass.AUTH
        state, moved = report(
            state, off, failure=failure, latency_ms=10**6, probe=False, now=now, draw=draw
        )
        assert (state.phase, moved) == (Phase.CLOSED, None)


TRANSITIONS = st.builds(
    lambda at, before, after, until, openings, reason: Transition(
        at, RANK[after], at + until, openings, "one", before, after, reason
    ),
    st.integers(START, START + 3),
    st.sampled_from(Phase),
    st.sampled_from(Phase),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from(Reason),
)


@given(st.lists(TRANSITIONS, max_size=4))
def test_moves_of_others_are_taken_over_alike_in_any_order_and_any_number(moves):
    ends = set()
    for order in permutations(moves):
        state = new_breaker("one")
        for moved in (*order, *order[:2]):
            state = adopt(state, moved)
        ends.add(state.last)
    assert ends == {max([*moves, new_breaker("one").last])}


@given(TRANSITIONS)
def test_another_endpoints_move_is_not_ours(moved):
    state = new_breaker("other")
    assert adopt(state, moved) is state


CROWD = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(0, 2), FAILURES),
        st.tuples(st.just("wait"), st.sampled_from([1, 60, 150, 700])),
        st.tuples(st.just("deliver"), st.integers(0, 2), st.integers(0, 5)),
        st.tuples(st.just("count"), st.integers(0, 2), st.integers(0, 2)),
    ),
    max_size=80,
)


@given(SETTINGS, CROWD, st.lists(st.integers(-3, 3), min_size=3, max_size=3))
def test_processes_that_hear_of_all_moves_agree(limits, events, skews):
    """Whatever is late, lost meanwhile or told by a clock that is wrong."""
    states = [new_breaker("one")] * 3
    told: list[Transition] = []
    now = START
    for event in events:
        moved = None
        match event:
            case ("wait", by):
                now += by
            case ("call", who, failure):
                moved = _call(states, who, limits, failure, now + skews[who])
            case ("deliver", who, which) if which < len(told):
                states[who] = adopt(states[who], told[-1 - which])
            case ("count", who, other) if who != other:
                tallies = [Tally(str(other), one) for one in own_slices(states[other])]
                states[who], moved = merge(
                    states[who], limits, tallies, now=now + skews[who], draw=0.0
                )
            case _:
                pass
        if moved is not None:
            told.append(moved)
    for who in range(3):
        for moved in reversed(told):
            states[who] = adopt(states[who], moved)
    assert len({state.last for state in states}) == 1


def _call(
    states: list[BreakerState],
    who: int,
    limits: BreakerSettings,
    failure: FailureClass | None,
    now: int,
) -> Transition | None:
    states[who], said, moved = admit(states[who], limits, now)
    if said is Admission.REFUSED:
        return None
    states[who], later = report(
        states[who],
        limits,
        failure=failure,
        latency_ms=1,
        probe=said is Admission.PROBE,
        now=now,
        draw=0.0,
    )
    # What moved twice in one step is told by its last move alone: the greater holds.
    return later or moved


PATIENT = BreakerSettings(window_ms=SLICES * STEP, failures=10**6)
COUNTS = st.builds(
    Tally,
    st.sampled_from(["a", "b"]),
    st.builds(
        Slice,
        st.integers(-14, 4).map(lambda n: START + n * STEP),
        st.integers(0, 5),
        st.integers(0, 5),
        st.integers(0, 5),
    ),
)


@given(st.lists(COUNTS, max_size=12), st.randoms(use_true_random=False))
def test_counts_of_others_add_up_once_however_they_come(tallies, chance):
    naive: dict[tuple[str, int], list[int]] = {}
    for process, (start, *counts) in tallies:
        if START - 11 * STEP <= start <= START + STEP:
            kept = naive.setdefault((process, start), [0, 0, 0])
            naive[process, start] = [max(pair) for pair in zip(kept, counts, strict=True)]
    state = new_breaker("one")
    shuffled = [*tallies, *tallies[:5]]
    chance.shuffle(shuffled)
    middle = len(shuffled) // 2
    for part in (shuffled[:middle], shuffled[middle:]):
        state, moved = merge(state, PATIENT, part, now=START, draw=0.0)
        assert moved is None
    assert tuple(state.window.rest) == tuple(
        sum(counts[column] for counts in naive.values()) for column in range(3)
    )


@given(st.lists(st.tuples(st.integers(0, 40 * STEP), st.booleans()), max_size=60))
def test_our_own_counts_are_those_of_the_window_wherever_the_clock_goes(calls):
    """A clock that is set back a little counts where it was; far back, anew."""
    state, newest, seen = new_breaker("one"), 0, list[tuple[int, bool]]()
    for after, ill in calls:
        at = START + after
        start = at - at % STEP
        if start < newest - PATIENT.window_ms:
            newest, seen = start, []
        newest = max(newest, start)
        seen.append((newest, ill))
        state, _ = report(
            state,
            PATIENT,
            failure=FailureClass.SERVER if ill else None,
            latency_ms=1,
            probe=False,
            now=at,
            draw=0.0,
        )
        kept = [bad for slot, bad in seen if slot >= newest - (SLICES - 1) * STEP]
        window = state.window
        assert window.newest.failed + window.rest.failed == sum(kept)
        assert window.newest.ok + window.rest.ok == len(kept) - sum(kept)
