"""Ids: pure functions of what they name, sortable by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import product
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.kernel.ids import CLIENT_ORDER_ID_LENGTH, client_order_id, derived_uuid

QUICK = settings(deadline=None, max_examples=100)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
instants = st.datetimes(
    datetime(1990, 1, 1),  # noqa: DTZ001 - hypothesis wants bounds without a zone
    datetime(2100, 1, 1),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)
parts = st.lists(st.text(max_size=8) | st.integers(), max_size=4)


@QUICK
@given(instants, parts)
def test_same_arguments_give_the_same_uuid7(at, names):
    found = derived_uuid(at, *names)
    assert found == derived_uuid(at, *names)
    assert found == derived_uuid(at.astimezone(timezone(timedelta(hours=8))), *names)
    assert found.version == 7
    assert found.variant == RFC_4122


@QUICK
@given(instants)
def test_the_first_48_bits_are_the_milliseconds(at):
    assert derived_uuid(at, "x").int >> 80 == (at - EPOCH) // timedelta(milliseconds=1)


@QUICK
@given(st.integers(631152000000, 4102444800000), parts)
def test_a_whole_millisecond_is_never_cut_to_the_one_before(milliseconds, names):
    at = EPOCH + timedelta(milliseconds=milliseconds)
    assert derived_uuid(at, *names).int >> 80 == milliseconds


@QUICK
@given(st.lists(instants, min_size=2, max_size=8), parts)
def test_ids_sort_by_time(moments, names):
    by_id = sorted(moments, key=lambda at: str(derived_uuid(at, *names)))
    whole = [at.replace(microsecond=at.microsecond // 1000 * 1000) for at in by_id]
    assert whole == sorted(whole)


@QUICK
@given(instants, st.sets(st.tuples(st.text("abc", max_size=3), st.integers(0, 50)), min_size=2))
def test_different_parts_give_different_ids(at, names):
    assert len({derived_uuid(at, *name) for name in names}) == len(names)


def test_an_instant_without_zone_is_refused():
    with pytest.raises(TypeError):
        derived_uuid(datetime(2023, 1, 3, 9, 30), "x")  # noqa: DTZ001 - what is refused


def test_a_known_id_never_changes():
    # Ids are part of hashed entries: a change here makes every recorded run unrepeatable.
    at = datetime(2023, 1, 3, 1, 16, tzinfo=UTC)
    assert derived_uuid(at, "seed", 7) == UUID("01857533-1480-7cfe-ab3f-5686b6774647")
    assert client_order_id(UUID(int=7), 0, 1) == "C5RTLRK3IS5GWFCAI2PENNO"


def test_client_order_ids_fit_the_venue_and_are_distinct():
    decisions = [derived_uuid(EPOCH, "d", number) for number in range(50)]
    tags = [client_order_id(d, a, n) for d, a, n in product(decisions, range(8), range(1, 4))]
    assert len(set(tags)) == len(tags)
    for tag in tags:
        assert len(tag) == CLIENT_ORDER_ID_LENGTH == 23
        assert tag.isascii()
        assert tag.isalnum()
    assert client_order_id(decisions[0], 0, 1) == tags[0]
