"""Time: aware in, UTC out, the exchange's zone in between."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.kernel.clock import at_shanghai, iso, shanghai


def test_shanghai_is_eight_hours_ahead():
    instant = at_shanghai(date(2023, 1, 3), time(9, 16))
    assert instant == datetime(2023, 1, 3, 1, 16, tzinfo=UTC)
    assert instant.tzinfo is UTC
    assert shanghai(instant).time() == time(9, 16)


def test_the_day_is_the_exchanges_not_greenwichs():
    evening = datetime(2023, 1, 3, 16, 30, tzinfo=UTC)
    assert shanghai(evening).date() == date(2023, 1, 4)


def test_iso_is_utc_with_milliseconds():
    east = timezone(timedelta(hours=8))
    assert iso(datetime(2023, 1, 3, 9, 16, tzinfo=east)) == "2023-01-03T01:16:00.000Z"
    assert iso(datetime(2023, 1, 3, 1, 16, 0, 1999, tzinfo=UTC)) == "2023-01-03T01:16:00.001Z"


@settings(deadline=None)
@given(st.dates(date(1992, 1, 1), date(2100, 1, 1)), st.times())
def test_day_and_time_of_day_come_back(day, moment):
    # After 1991 the zone has no summer time.
    there = shanghai(at_shanghai(day, moment))
    assert (there.date(), there.time()) == (day, moment)
