"""The trading calendar: answers within its range, refusals outside it."""

from datetime import date

import pytest

from caopan.domain.market.calendar import TradingCalendar
from caopan.kernel.errors import ConfigInvalid, Denied

# The national holiday of 2026: closed from Thursday 1 to Wednesday 7 October.
SEPTEMBER_30, OCTOBER_8, OCTOBER_9 = date(2026, 9, 30), date(2026, 10, 8), date(2026, 10, 9)
CALENDAR = TradingCalendar(
    "test", date(2026, 9, 29), date(2026, 10, 10), (SEPTEMBER_30, OCTOBER_8, OCTOBER_9)
)


def test_sessions_are_those_of_the_table_not_weekdays():
    assert CALENDAR.is_session(OCTOBER_8)
    assert not CALENDAR.is_session(date(2026, 10, 1))
    assert CALENDAR.next_session(SEPTEMBER_30) == OCTOBER_8
    assert CALENDAR.previous_session(OCTOBER_8) == SEPTEMBER_30
    assert CALENDAR.on_or_before(date(2026, 10, 3)) == SEPTEMBER_30
    assert CALENDAR.on_or_after(date(2026, 10, 3)) == OCTOBER_8
    assert CALENDAR.on_or_after(OCTOBER_8) == CALENDAR.on_or_before(OCTOBER_8) == OCTOBER_8
    assert CALENDAR.offset(OCTOBER_9, -2) == SEPTEMBER_30
    assert CALENDAR.between(date(2026, 10, 1), date(2026, 10, 10)) == (OCTOBER_8, OCTOBER_9)
    assert CALENDAR.days_known_after(OCTOBER_9) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda: CALENDAR.is_session(date(2026, 9, 28)),
        lambda: CALENDAR.is_session(date(2027, 1, 4)),
        lambda: CALENDAR.next_session(OCTOBER_9),
        lambda: CALENDAR.previous_session(SEPTEMBER_30),
        lambda: CALENDAR.between(OCTOBER_8, date(2027, 1, 4)),
        lambda: CALENDAR.offset(OCTOBER_8, 2),
        lambda: CALENDAR.offset(OCTOBER_8, -2),
        lambda: CALENDAR.position(date(2026, 10, 1)),
        lambda: CALENDAR.on_or_before(date(2026, 9, 29)),
        lambda: CALENDAR.on_or_after(date(2026, 10, 10)),
    ],
)
def test_what_the_table_does_not_know_is_refused(ask):
    with pytest.raises(Denied) as caught:
        ask()
    assert caught.value.code == "DATA_CALENDAR"
    assert caught.value.remedy


@pytest.mark.parametrize(
    "sessions",
    [
        (),
        (OCTOBER_9, OCTOBER_8),
        (OCTOBER_8, OCTOBER_8),
        (date(2026, 9, 28),),
        (date(2026, 10, 12),),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(sessions):
    with pytest.raises(ConfigInvalid, match="DATA_CALENDAR"):
        TradingCalendar("test", CALENDAR.first, CALENDAR.last, sessions)
