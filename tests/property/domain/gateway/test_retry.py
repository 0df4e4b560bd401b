"""When and after how long a call may be tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.domain.gateway.endpoint import Retry
from caopan.domain.gateway.retry import next_rest, retry_after_ms

NOW = datetime(2026, 11, 22, 12, 0, 0, 250_000, tzinfo=UTC)
DRAWS = st.floats(0, 1, exclude_max=True)


@given(
    st.integers(0, 12),
    st.none() | st.integers(0, 30_000),
    st.integers(-100, 40_000),
    st.integers(0, 5_000),
    DRAWS,
)
def test_a_rest_fits_the_deadline_and_is_as_long_as_asked(attempts, asked, remaining, need, draw):
    settings = Retry(max_attempts=10)
    rest = next_rest(
        settings,
        attempts=attempts,
        retry_after_ms=asked,
        remaining_ms=remaining,
        minimum_ms=need,
        draw=draw,
    )
    room = remaining - need
    assert (rest is None) == (attempts >= 10 or room < 0 or (asked or 0) > room)
    if rest is not None:
        assert (asked or 0) <= rest <= room
        longest = min(settings.cap_ms, settings.base_ms * 2 ** max(0, attempts - 1))
        assert rest <= max(longest, asked or 0)


def rest(attempts: int, draw: float) -> int | None:
    return next_rest(
        Retry(max_attempts=99),
        attempts=attempts,
        retry_after_ms=None,
        remaining_ms=10**6,
        minimum_ms=0,
        draw=draw,
    )


def test_the_whole_of_the_doubled_time_is_drawn_from():
    assert [rest(n, 0.0) for n in (1, 5, 80)] == [0, 0, 0]
    assert [rest(n, 0.5) for n in range(1, 8)] == [125, 250, 500, 1000, 2000, 4000, 4000]
    assert rest(1, 0.9999) == 249


@given(st.integers(0, 10**9))
def test_seconds_are_read(seconds):
    assert retry_after_ms({"retry-after": f" {seconds} "}, NOW) == seconds * 1000


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "1.0015"}, 1_002),
        ({"retry-after": "0.5", "retry-after-ms": "12"}, 12),
        ({"retry-after-ms": "12.1"}, 13),
        ({"retry-after-ms": "soon", "retry-after": "3"}, 3_000),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "١"}, None),
        ({"retry-after": "later"}, None),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:01 CET"}, None),
        ({"retry-after": "Sun, 31 Feb 2027 12:00:01 GMT"}, None),
        ({"retry-after": "Sun, 22 Xyz 2026 12:00:01 GMT"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_what_can_be_read_is_read_and_nothing_else(headers, wait):
    assert retry_after_ms(headers, NOW) == wait


WHOLE = st.datetimes(datetime(1990, 1, 1), datetime(2070, 1, 1)).map(  # noqa: DTZ001 - made aware next
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)


@given(WHOLE, st.sampled_from(["now", "rfc850", "asctime"]))
def test_a_date_in_each_of_the_three_forms_is_read(until, form):
    text = {
        "now": format_datetime(until, usegmt=True),
        "rfc850": until.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
        "asctime": f"{until:%a %b} {until.day:2d} {until:%H:%M:%S %Y}",
    }[form]
    if form == "rfc850" and not 1977 <= until.year <= 2076:
        return
    wait = retry_after_ms({"retry-after": text}, NOW)
    assert wait == max(0, (until - NOW) // timedelta(milliseconds=1))


def test_a_part_of_a_millisecond_is_waited_for():
    at = NOW.replace(microsecond=999_900)
    text = format_datetime(NOW.replace(microsecond=0) + timedelta(seconds=1), usegmt=True)
    assert retry_after_ms({"retry-after": text}, at) == 1
