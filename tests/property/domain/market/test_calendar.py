"""The calendar's questions agree with one another on any table of sessions."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.domain.market.calendar import TradingCalendar
from caopan.kernel.errors import Denied

FIRST = date(2026, 1, 1)


@st.composite
def calendars(draw):
    offsets = draw(st.sets(st.integers(0, 60), min_size=1))
    sessions = tuple(FIRST + timedelta(days=n) for n in sorted(offsets))
    return TradingCalendar("drawn", FIRST, FIRST + timedelta(days=60), sessions)


@given(calendars(), st.integers(0, 60))
def test_neighbours_of_any_day_are_the_nearest_sessions(calendar, offset):
    day = FIRST + timedelta(days=offset)
    after = [session for session in calendar.sessions if session > day]
    before = [session for session in calendar.sessions if session < day]
    assert calendar.is_session(day) == (day in calendar.sessions)
    for neighbours, ask in ((after[:1], "next_session"), (before[-1:], "previous_session")):
        if neighbours:
            assert getattr(calendar, ask)(day) == neighbours[0]
        else:
            with pytest.raises(Denied):
                getattr(calendar, ask)(day)


@given(calendars(), st.integers(-5, 5))
def test_an_offset_there_and_back_is_the_same_session(calendar, count):
    for day in calendar.sessions:
        place = calendar.position(day) + count
        if 0 <= place < len(calendar.sessions):
            there = calendar.offset(day, count)
            assert calendar.offset(there, -count) == day
            assert calendar.position(there) - calendar.position(day) == count
        else:
            with pytest.raises(Denied):
                calendar.offset(day, count)
