"""When an endpoint is left alone: its circuit breaker and its rate-limit gate, as values.

Owns the states, what moves them, and how what other processes saw is merged in. Must never read a
clock or draw a number: both are given. Instants are wall-clock milliseconds, so that processes can
share them. Tests: tests/property/domain/gateway/test_breaker.py,
tests/unit/domain/gateway/test_breaker.py.

    closed ──> open ──(its time has passed)──> half-open ──> closed
                ^                                  │
                └────────(a probe failed)──────────┘

What happened is counted in slices of a sliding window, so memory and the work for one report are
bounded. What every process must agree on is the last transition alone: of two the greater holds,
in whatever order they are met.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from caopan.domain.gateway.endpoint import BreakerSettings
from caopan.domain.gateway.outcome import CONSEQUENCES, After, FailureClass

SLICES = 12
"""Slices of a window; it is that exact."""
MOST_OTHERS = 64 * SLICES
"""Slices of other processes kept; beyond that the newest."""
RAMP: tuple[tuple[int, float], ...] = ((5, 0.25), (5, 0.5))
"""After a close: calls that must succeed at each share of the weight, before all of it."""
_RAMP_CALLS = sum(calls for calls, _ in RAMP)
_MOST_DOUBLINGS = 40


class Phase(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


RANK = {Phase.CLOSED: 0, Phase.HALF_OPEN: 1, Phase.OPEN: 2}
"""Of two moves at one instant the more careful holds."""


class Reason(StrEnum):
    """Why a breaker moved."""

    NEW = "new"
    ERROR_RATE = "error_rate"
    IN_A_ROW = "in_a_row"
    SLOW_CALLS = "slow_calls"
    AUTH = "auth"
    BALANCE = "balance"
    TIME_PASSED = "time_passed"
    PROBE_FAILED = "probe_failed"
    RECOVERED = "recovered"


class Admission(StrEnum):
    """What a breaker says to a call that wants to leave."""

    PASS = "pass"  # noqa: S105 - no password
    PROBE = "probe"
    """It tests a half-open breaker: `report` or `release` must follow, told that it was a probe."""
    REFUSED = "refused"


class Transition(NamedTuple):
    """One move of one breaker: shown as history, and sent to other processes.

    Of two the greater holds: the later, then the more careful.
    """

    at: int
    """Never before the move it follows, whatever the clock did."""
    rank: int
    """Of `after`, for the order alone: open, half-open, closed."""
    until: int
    """When an open breaker may be probed; else `at`."""
    openings: int
    """Openings in a row without a close between: what the time of the next one doubles by."""
    endpoint: str
    before: Phase
    after: Phase
    reason: Reason


class Slice(NamedTuple):
    """What one process counted in one slice of time."""

    start: int
    ok: int
    failed: int
    slow: int
    """Of both, those that took too long."""


class Tally(NamedTuple):
    """A slice of another process. Counts only grow, so the greater of two is the newer."""

    process: str
    counted: Slice


class _Sums(NamedTuple):
    ok: int
    failed: int
    slow: int


_NOTHING = _Sums(0, 0, 0)


class Window(NamedTuple):
    """The last while, in slices: our newest, our older ones, those of other processes."""

    newest: Slice
    older: tuple[Slice, ...] = ()
    others: tuple[Tally, ...] = ()
    rest: _Sums = _NOTHING
    """Sum of `older` and `others`."""
    floor: int = -1
    """Slices of others that begin here or before belong to a failure that is over."""


class Trial(NamedTuple):
    """This process's probes of a half-open breaker."""

    under_way: int = 0
    passed: int = 0
    """In a row."""
    last_at: int = 0
    """When the newest one left."""


class BreakerState(NamedTuple):
    """A breaker as one process sees it. Only `last` is shared.

    A named tuple, because one is made for each call: a frozen dataclass takes twice the time.
    """

    last: Transition
    window: Window = Window(Slice(0, 0, 0, 0))
    in_row: int = 0
    """Failures of this process since its last success."""
    ramp: int = 0
    """Successes still to come before the endpoint has its whole weight back."""
    trial: Trial = Trial()

    @property
    def endpoint(self) -> str:
        """Return the name of the endpoint it guards."""
        return self.last.endpoint

    @property
    def phase(self) -> Phase:
        """Return whether calls pass."""
        return self.last.after

    @property
    def share(self) -> float:
        """Return the part of its weight that the endpoint has, in (0, 1]."""
        done = _RAMP_CALLS - self.ramp
        for calls, share in RAMP:
            if done < calls:
                return share
            done -= calls
        return 1.0


def new_breaker(endpoint: str) -> BreakerState:
    """Return a closed breaker that has seen nothing."""
    closed = Phase.CLOSED
    return BreakerState(Transition(0, 0, 0, 0, endpoint, closed, closed, Reason.NEW))


def may_pass(state: BreakerState, settings: BreakerSettings, now: int) -> bool:
    """Tell whether `admit` would let a call leave; nothing is taken."""
    phase = state.last.after
    if not settings.enabled or phase is Phase.CLOSED:
        return True
    if phase is Phase.OPEN:
        return _time_has_passed(state, settings, now)
    return _free_probes(state.trial, settings, now) > 0


def admit(
    state: BreakerState, settings: BreakerSettings, now: int
) -> tuple[BreakerState, Admission, Transition | None]:
    """Let a call leave or not; an open breaker whose time has passed becomes half-open."""
    if not settings.enabled or state.last.after is Phase.CLOSED:
        return state, Admission.PASS, None
    if not may_pass(state, settings, now):
        return state, Admission.REFUSED, None
    if state.last.after is Phase.OPEN:
        moved = _moved(state, Phase.HALF_OPEN, Reason.TIME_PASSED, now, state.last.openings)
        state = BreakerState(moved, state.window, trial=Trial(1, 0, now))
        return state, Admission.PROBE, moved
    taken = settings.half_open_probes - _free_probes(state.trial, settings, now)
    trial = Trial(taken + 1, state.trial.passed, now)
    return _with_trial(state, trial), Admission.PROBE, None


def release(state: BreakerState) -> BreakerState:
    """Give back a probe that tells nothing: cancelled, or refused before it left."""
    return _with_trial(state, _one_less(state.trial))


def report(
    state: BreakerState,
    settings: BreakerSettings,
    *,
    failure: FailureClass | None,
    latency_ms: int,
    probe: bool,
    now: int,
    draw: float,
) -> tuple[BreakerState, Transition | None]:
    """Count how a call ended (`failure` None: well) and move if that is enough.

    `probe` is what `admit` said of the call, `draw` lies in [0, 1). A failure that says nothing of
    the endpoint (the caller's fault, a rate limit) changes nothing.
    """
    if not settings.enabled:
        return state, None
    failed = False
    if failure is not None:
        after = CONSEQUENCES[failure].after
        if After.OPENS in after:
            return _opened_for_long(state, settings, Reason(failure.value), now)
        failed = After.COUNTS in after
    slow = latency_ms >= settings.slow_call_ms
    phase = state.last.after
    if phase is Phase.CLOSED:
        if failure is not None and not failed:
            return state, None
        window = _counted(state.window, settings, now, failed=failed, slow=slow)
        in_row = state.in_row + 1 if failed else 0
        ramp = state.ramp - 1 if state.ramp and not failed else state.ramp
        state = BreakerState(state.last, window, in_row, ramp, state.trial)
        return _judged(state, settings, now, draw)
    if phase is Phase.OPEN or not probe:
        # It left before the breaker opened: it tells nothing of now.
        return state, None
    return _probed(
        state, settings, _Probe(failure is None, failed or (slow and failure is None)), now, draw
    )


def own_slices(state: BreakerState) -> tuple[Slice, ...]:
    """Return what this process counted, newest first, for other processes to merge."""
    return state.window.newest, *reversed(state.window.older)


def merge(
    state: BreakerState,
    settings: BreakerSettings,
    tallies: Iterable[Tally],
    *,
    now: int,
    draw: float,
) -> tuple[BreakerState, Transition | None]:
    """Add what other processes counted; again or in another order it changes nothing."""
    window = _advanced(state.window, settings, now)
    known = {(tally.process, tally.counted.start): tally.counted for tally in window.others}
    for process, theirs in tallies:
        key = process, theirs.start
        ours = known.get(key)
        known[key] = theirs if ours is None else _greater(ours, theirs)
    newest_last = sorted(known.items(), key=lambda item: (item[0][1], item[0][0]))
    others = tuple(Tally(process, counted) for (process, _), counted in newest_last)
    window = _without_the_past(
        Window(window.newest, window.older, others[-MOST_OTHERS:], floor=window.floor), settings
    )
    state = BreakerState(state.last, window, state.in_row, state.ramp, state.trial)
    if not settings.enabled or state.last.after is not Phase.CLOSED:
        return state, None
    return _judged(state, settings, now, draw)


def adopt(state: BreakerState, told: Transition) -> BreakerState:
    """Take over another process's move if it is greater than the last one known here."""
    if told.endpoint != state.last.endpoint or told <= state.last:
        return state
    if told.after is state.last.after:
        return BreakerState(told, state.window, state.in_row, state.ramp, state.trial)
    if told.after is Phase.CLOSED:
        return _closed(told, told.at)
    return BreakerState(told, state.window)


def _judged(
    state: BreakerState, settings: BreakerSettings, now: int, draw: float
) -> tuple[BreakerState, Transition | None]:
    """Open a closed breaker that has seen enough."""
    newest, rest = state.window.newest, state.window.rest
    failed, slow = newest.failed + rest.failed, newest.slow + rest.slow
    enough, reason = settings.failures, None
    if state.in_row >= enough:
        reason = Reason.IN_A_ROW
    elif failed >= enough or slow >= enough:
        calls = newest.ok + rest.ok + failed
        if failed >= enough and failed / calls >= settings.error_rate:
            reason = Reason.ERROR_RATE
        elif slow >= enough and slow / calls >= settings.slow_rate:
            reason = Reason.SLOW_CALLS
    if reason is None:
        return state, None
    return _opened(state, reason, now, now + _rest(settings, 1, draw), 1)


class _Probe(NamedTuple):
    """How a probe ended; neither where it told nothing of the endpoint."""

    well: bool
    ill: bool


def _probed(
    state: BreakerState, settings: BreakerSettings, probe: _Probe, now: int, draw: float
) -> tuple[BreakerState, Transition | None]:
    if probe.ill:
        openings = state.last.openings + 1
        until = now + _rest(settings, openings, draw)
        return _opened(state, Reason.PROBE_FAILED, now, until, openings)
    trial = _one_less(state.trial)
    if not probe.well:
        return _with_trial(state, trial), None
    if trial.passed + 1 >= settings.successes:
        moved = _moved(state, Phase.CLOSED, Reason.RECOVERED, now, 0)
        return _closed(moved, now), moved
    return _with_trial(state, Trial(trial.under_way, trial.passed + 1, trial.last_at)), None


def _closed(moved: Transition, floor: int) -> BreakerState:
    """Return a closed breaker that has forgotten the failure and takes its load back in steps."""
    window = Window(Slice(0, 0, 0, 0), floor=floor)
    return BreakerState(moved, window, ramp=_RAMP_CALLS)


def _opened(
    state: BreakerState, reason: Reason, now: int, until: int, openings: int
) -> tuple[BreakerState, Transition]:
    moved = _moved(state, Phase.OPEN, reason, now, openings)._replace(until=until)
    return BreakerState(moved, state.window), moved


def _opened_for_long(
    state: BreakerState, settings: BreakerSettings, reason: Reason, now: int
) -> tuple[BreakerState, Transition | None]:
    until = now + settings.max_open_ms
    if state.last.after is Phase.OPEN and state.last.until >= until:
        return state, None
    return _opened(state, reason, now, until, max(1, state.last.openings))


def _moved(
    state: BreakerState, after: Phase, reason: Reason, now: int, openings: int
) -> Transition:
    last = state.last
    at = max(now, last.at + 1)
    return Transition(at, RANK[after], at, openings, last.endpoint, last.after, after, reason)


def _rest(settings: BreakerSettings, openings: int, draw: float) -> int:
    """Return how long it stays open: doubled each time, capped, and up to a quarter less."""
    doubled = settings.open_ms << min(openings - 1, _MOST_DOUBLINGS)
    longest = min(doubled, settings.max_open_ms)
    return longest - int(longest * draw) // 4


def _time_has_passed(state: BreakerState, settings: BreakerSettings, now: int) -> bool:
    # Longer than the longest time cannot be: a clock was set, or the setting was lowered.
    return not 0 < state.last.until - now <= settings.max_open_ms


def _free_probes(trial: Trial, settings: BreakerSettings, now: int) -> int:
    if now - trial.last_at >= settings.max_open_ms:
        # Whoever held a probe that long has gone without a word.
        return settings.half_open_probes
    return settings.half_open_probes - trial.under_way


def _one_less(trial: Trial) -> Trial:
    return Trial(max(0, trial.under_way - 1), trial.passed, trial.last_at)


def _with_trial(state: BreakerState, trial: Trial) -> BreakerState:
    return BreakerState(state.last, state.window, state.in_row, state.ramp, trial)


def _counted(
    window: Window, settings: BreakerSettings, now: int, *, failed: bool, slow: bool
) -> Window:
    window = _advanced(window, settings, now)
    start, ok, failures, slow_calls = window.newest
    newest = Slice(start, ok + (not failed), failures + failed, slow_calls + slow)
    return Window(newest, window.older, window.others, window.rest, window.floor)


def _advanced(window: Window, settings: BreakerSettings, now: int) -> Window:
    """Return the window with `now` in its newest slice."""
    newest = window.newest
    step = _step(settings)
    if newest.start <= now < newest.start + step:
        return window
    start = now - now % step
    if newest.start - settings.window_ms <= start <= newest.start:
        # The clock went back a little: what happens now is counted where we are.
        return window
    if start < newest.start:
        return Window(Slice(start, 0, 0, 0))
    older = (*window.older, newest)
    moved = Window(Slice(start, 0, 0, 0), older, window.others, floor=window.floor)
    return _without_the_past(moved, settings)


def _without_the_past(window: Window, settings: BreakerSettings) -> Window:
    """Drop slices that have left the window, and sum the others."""
    step = _step(settings)
    oldest = window.newest.start - (SLICES - 1) * step
    older = tuple(one for one in window.older if one.start >= oldest)
    first, last = max(oldest, window.floor + 1), window.newest.start + step
    others = tuple(one for one in window.others if first <= one.counted.start <= last)
    slices = (*older, *(one.counted for one in others))
    rest = _Sums(
        sum(one.ok for one in slices),
        sum(one.failed for one in slices),
        sum(one.slow for one in slices),
    )
    return Window(window.newest, older, others, rest, window.floor)


def _step(settings: BreakerSettings) -> int:
    return max(1, settings.window_ms // SLICES)


def _greater(one: Slice, other: Slice) -> Slice:
    return Slice(
        one.start,
        max(one.ok, other.ok),
        max(one.failed, other.failed),
        max(one.slow, other.slow),
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """Until when an endpoint asked to be left alone (429). That is no failure of it."""

    until: int = 0
    in_row: int = 0
    """Refusals since the last call that went well."""


FIRST_REST_MS = 1_000
"""Where the vendor names no time: doubled with each refusal in a row, up to `MOST_REST_MS`."""
MOST_REST_MS = 60_000
LONGEST_GATE_MS = 3_600_000
"""Of what a vendor may ask for."""


def shut(gate: Gate, now: int) -> bool:
    """Tell whether the endpoint is to be left alone at `now`."""
    return 0 < gate.until - now <= LONGEST_GATE_MS


def limited(gate: Gate, retry_after_ms: int | None, now: int, draw: float) -> Gate:
    """Return the gate after a refusal; `draw` in [0, 1) spreads a time the vendor left open."""
    if retry_after_ms is None:
        rest = min(FIRST_REST_MS << min(gate.in_row, _MOST_DOUBLINGS), MOST_REST_MS)
        rest -= int(rest * draw) // 4
    else:
        rest = min(max(0, retry_after_ms), LONGEST_GATE_MS)
    return Gate(max(gate.until, now + rest), gate.in_row + 1)


def went_through(gate: Gate) -> Gate:
    """Return the gate after a call that went well; a time it named still holds."""
    return Gate(gate.until) if gate.in_row else gate


def adopt_gate(gate: Gate, until: int, now: int) -> Gate:
    """Take over what another process was told; the later time holds."""
    told = min(until, now + LONGEST_GATE_MS)
    return Gate(told, gate.in_row) if told > gate.until else gate
