"""A sliding minute: never less than what the last sixty seconds held, at most a second more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.redis.window import Window

STEPS = st.lists(st.tuples(st.integers(0, 70_000), st.integers(0, 500)), max_size=40)


@given(STEPS, st.integers(0, 999))
def test_it_holds_the_last_minute_and_at_most_a_second_more(steps, start):
    window, now, taken = Window(), 1_000_000 + start, list[tuple[int, int]]()
    for passed, tokens in steps:
        now += passed
        window.roll(now // 1000)
        window.add(now // 1000, tokens)
        taken.append((now, tokens))
        least = [one for one in taken if one[0] > now - 60_000]
        most = [one for one in taken if one[0] > now - 61_000]
        assert len(least) <= window.requests <= len(most)
        assert sum(t for _, t in least) <= window.tokens <= sum(t for _, t in most)


@given(STEPS.filter(bool), st.integers(0, 999), st.data())
def test_the_wait_is_exact(steps, start, data):
    window, now = Window(), 1_000_000 + start
    for passed, tokens in steps:
        now += passed
        window.roll(now // 1000)
        window.add(now // 1000, tokens)
    wanted = data.draw(st.integers(1, window.requests + 1))
    before, wait = window.requests, window.wait_ms(now, requests=wanted)
    assert (wait is None) == (wanted > before)
    if wait is not None:
        window.roll((now + wait - 1) // 1000)
        assert before - window.requests < wanted
        window.roll((now + wait) // 1000)
        assert before - window.requests >= wanted


def test_a_correction_counts_only_while_its_second_does():
    window = Window()
    window.add(100, 500)
    window.correct(100, -400)
    assert window.tokens == 100
    window.roll(161)
    window.correct(100, 1_000)
    assert (window.requests, window.tokens) == (0, 0)
