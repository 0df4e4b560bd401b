"""A frame comes back as it was; cut off or damaged it is told apart, never taken for another."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from caopan.adapters.call_log import frames
from caopan.adapters.call_log.frames import Kind, Opened
from caopan.application.ports.gateway import AttemptBegan, AttemptEnded, Path
from caopan.domain.gateway.outcome import Outcome
from caopan.domain.gateway.usage import Tokens
from caopan.testing.gateway_samples import AT, sample_began, sample_ended

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
COUNT = st.integers(0, 2**62)
INSTANT = st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds it
WORDS = st.lists(TEXT, max_size=3).map(tuple)
CALL_ID = st.uuids()
BEGUN = st.builds(
    AttemptBegan,
    call_id=CALL_ID,
    attempt=st.integers(0, 99),
    trace_id=TEXT,
    decision_id=st.none() | TEXT,
    role=TEXT,
    client=TEXT,
    path=st.sampled_from(Path),
    alias=TEXT,
    endpoint=TEXT,
    provider=TEXT,
    model_asked=TEXT,
    prompt_hash=TEXT,
    prompt_version=TEXT,
    config_version=COUNT,
    stream=st.booleans(),
    at=INSTANT,
    request=st.binary(max_size=200),
    adapted=WORDS,
    claimed=COUNT,
    scopes=WORDS,
)
ENDED = st.builds(
    AttemptEnded,
    call_id=CALL_ID,
    attempt=st.integers(0, 99),
    at=INSTANT,
    outcome=st.sampled_from(Outcome),
    error_code=st.none() | TEXT,
    detail=TEXT,
    status=st.none() | st.integers(100, 599),
    model_served=TEXT,
    tokens=st.builds(Tokens, *[st.none() | COUNT] * 4, st.booleans()),
    usage_raw=st.none() | st.dictionaries(TEXT, COUNT | TEXT | st.none(), max_size=3),
    cost=st.none() | COUNT,
    price_version=st.none() | TEXT,
    ttft_ms=st.none() | COUNT,
    latency_ms=COUNT,
    overhead_ms=st.floats(0, 1e6),
    breaker=TEXT,
    quality=st.none() | TEXT,
    response=st.binary(max_size=200),
    charged=st.none() | COUNT,
)


@given(BEGUN)
def test_a_beginning_comes_back(began):
    (frame,) = frames.split(frames.began(began)).frames
    assert frame.kind is Kind.BEGAN
    assert frames.read_began(frame) == began


@given(ENDED, INSTANT)
def test_an_end_comes_back_with_its_beginnings_instant(ended, began_at):
    (frame,) = frames.split(frames.ended(ended, began_at)).frames
    assert frame.kind is Kind.ENDED
    assert frames.read_ended(frame) == (ended, began_at)


def test_no_field_of_the_port_is_left_out():
    """A field that is added to the port must be added here: the strategies above name them all."""
    for shape, strategy in ((AttemptBegan, BEGUN), (AttemptEnded, ENDED)):
        named = strategy.wrapped_strategy.kwargs  # pyright: ignore[reportAttributeAccessIssue] - of hypothesis
        assert set(named) == {field.name for field in fields(shape)}


def test_attempts_under_way_come_back():
    opened = [Opened((sample_began(nth).call_id, nth), AT + timedelta(days=nth)) for nth in (1, 2)]
    (frame,) = frames.split(frames.still_open(opened)).frames
    assert (frame.kind, frames.read_open(frame)) == (Kind.OPEN, opened)


@pytest.mark.parametrize(
    "usage", [{"n": 2**70}, {"text": "half a \ud83d"}, {1: [2**65, ("x", {"y": "\udc00"})]}]
)
def test_what_json_cannot_hold_is_kept_as_well_as_it_can_be(usage):
    ended = sample_ended(sample_began(), usage_raw=usage, detail="\udcff")
    (frame,) = frames.split(frames.ended(ended, AT)).frames
    found, _ = frames.read_ended(frame)
    assert replace(found, usage_raw=usage, detail="\udcff") == ended
    assert found.detail == "?"


def test_what_is_nested_too_deep_to_be_written_is_cut_there():
    usage: dict[str, object] = {"n": 1}
    for _ in range(2_000):
        usage = {"n": usage, "m": 1}
    (frame,) = frames.split(frames.ended(sample_ended(sample_began(), usage_raw=usage), AT)).frames
    found, _ = frames.read_ended(frame)
    assert found.usage_raw is not None
    assert found.usage_raw["m"] == 1
    assert b"nested too deep" in frame.fields


RECORDS = [frames.began(sample_began(1)), frames.ended(sample_ended(sample_began(1)), AT)]
RECORDS += [frames.began(sample_began(2, request=b"x" * 5_000))]
WHOLE = b"".join(RECORDS)


@given(st.integers(0, len(WHOLE)))
def test_cut_off_anywhere_the_whole_ones_before_are_read_and_nothing_else(cut):
    found = frames.split(WHOLE[:cut])
    ends = [sum(map(len, RECORDS[: nth + 1])) for nth in range(len(RECORDS))]
    whole = sum(end <= cut for end in ends)
    assert len(found.frames) == whole
    assert found.used == (ends[whole - 1] if whole else 0)
    assert (found.bad, found.broken) == (0, False)
    assert (found.wanted > 0) == (cut > found.used)
    if found.wanted > frames.HEAD_BYTES:
        assert found.used + found.wanted == ends[whole]


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
@example(0, Kind.BEGAN ^ Kind.ENDED)
def test_whatever_byte_is_changed_no_record_comes_back_other_than_it_was(place, change):
    data = bytearray(WHOLE)
    data[place] ^= change
    good = frames.split(WHOLE).frames
    found = frames.split(bytes(data))
    assert all(frame in good for frame in found.frames)
    assert len(found.frames) < len(good)
    assert found.bad or found.broken or found.wanted


def test_behind_a_damaged_body_the_next_record_is_read():
    data = bytearray(WHOLE)
    data[frames.HEAD_BYTES + 5] ^= 1
    found = frames.split(bytes(data))
    assert (len(found.frames), found.bad, found.broken) == (2, 1, False)
