"""News of breakers come back as they were sent, and nothing else is taken for news."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from caopan.domain.gateway.breaker import (
    RANK,
    Phase,
    Reason,
    Slice,
    Tally,
    Transition,
    adopt,
    new_breaker,
)
from caopan.domain.gateway.breaker_news import (
    tallies_body,
    tallies_of,
    transition_body,
    transition_of,
)

INSTANTS = st.integers(0, 2**53)
MOVES = st.builds(
    lambda at, until, openings, endpoint, before, after, reason: Transition(
        at, RANK[after], until, openings, endpoint, before, after, reason
    ),
    INSTANTS,
    INSTANTS,
    st.integers(0, 10_000),
    st.text(max_size=20),
    st.sampled_from(Phase),
    st.sampled_from(Phase),
    st.sampled_from(Reason),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def over_the_wire(body: dict[str, Any]) -> Any:
    return json.loads(json.dumps(body))


@given(MOVES)
def test_a_move_comes_back_as_it_was(moved):
    assert transition_of(over_the_wire(transition_body(moved))) == moved


@given(MOVES, st.sampled_from(["endpoint", "from", "to", "reason", "at", "until"]), ANYTHING)
def test_a_move_with_one_strange_part_is_none_or_whole(moved, name, strange):
    found = transition_of({**transition_body(moved), name: strange})
    assert found is None or transition_body(found) == {**transition_body(moved), name: strange}
    if found is not None:
        adopt(new_breaker(found.endpoint), found)


@given(st.dictionaries(st.text(max_size=8), ANYTHING))
def test_anything_else_is_no_news(body):
    assert transition_of(body) is None
    assert tallies_of(body) is None


@given(
    st.text(max_size=5),
    st.text(max_size=5),
    st.lists(st.builds(Slice, INSTANTS, INSTANTS, INSTANTS, INSTANTS), max_size=5),
)
def test_counts_come_back_as_they_were(endpoint, process, slices):
    body = over_the_wire(tallies_body(endpoint, process, slices))
    assert tallies_of(body) == (endpoint, tuple(Tally(process, one) for one in slices))


@given(ANYTHING)
def test_a_strange_slice_is_no_news(strange):
    found = tallies_of({"endpoint": "one", "process": "a", "slices": [[0, 0, 0, 0], strange]})
    assert found is None or all(
        isinstance(count, int) and count >= 0 for _, counted in found[1] for count in counted
    )


def test_more_slices_than_anyone_has_are_no_news():
    body = {"endpoint": "one", "process": "a", "slices": [[0, 0, 0, 0]] * 10_000}
    assert tallies_of(body) is None
