"""Whether a call may be tried again, and after how long a rest.

Owns the rest between attempts and how a vendor's Retry-After is read. Must never let an attempt
begin that the caller's deadline cuts off, nor rest shorter than a vendor asked. Tests:
tests/property/domain/gateway/test_retry.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from caopan.domain.gateway.endpoint import Retry

_MOST_DOUBLINGS = 40
_MILLISECOND = timedelta(milliseconds=1)
_CENTURY = 100
_NUMBER = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,12}))?")
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES = (
    re.compile(
        rf"[A-Z][a-z]{{2}}, (?P<day>[0-9]{{2}}) (?P<month>[A-Z][a-z]{{2}}) (?P<year>[0-9]{{4}})"
        rf" {_CLOCK} GMT"
    ),
    re.compile(
        rf"[A-Z][a-z]+, (?P<day>[0-9]{{2}})-(?P<month>[A-Z][a-z]{{2}})-(?P<year>[0-9]{{2}})"
        rf" {_CLOCK} GMT"
    ),
    re.compile(
        rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[ 0-9][0-9]) {_CLOCK}"
        rf" (?P<year>[0-9]{{4}})"
    ),
)
"""The three forms of an HTTP date (RFC 9110 §5.6.7)."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def next_rest(
    settings: Retry,
    *,
    attempts: int,
    retry_after_ms: int | None,
    remaining_ms: int,
    minimum_ms: int,
    draw: float,
) -> int | None:
    """Return the milliseconds to rest before another attempt, None if there may be none.

    `attempts` have been made, `remaining_ms` are left of the caller's deadline, an attempt needs
    `minimum_ms` of them, `draw` lies in [0, 1): full jitter, so that callers who failed together
    do not come back together. A rest that the vendor asked for is taken whole or not at all.
    """
    room = remaining_ms - minimum_ms
    if attempts >= settings.max_attempts or room < 0:
        return None
    doubled = settings.base_ms << min(max(0, attempts - 1), _MOST_DOUBLINGS)
    rest = min(int(min(doubled, settings.cap_ms) * draw), room)
    asked = retry_after_ms or 0
    return max(rest, asked) if asked <= room else None


def retry_after_ms(headers: Mapping[str, str], now: datetime) -> int | None:
    """Return how long an answer asks to wait, in milliseconds, None if it names no readable time.

    `headers` are by lower-case name, `now` is aware. A time that has passed is 0.
    """
    exact = _number(headers.get("retry-after-ms", ""), 1)
    if exact is not None:
        return exact
    text = headers.get("retry-after", "").strip()
    seconds = _number(text, 1_000)
    if seconds is not None:
        return seconds
    until = _http_date(text, now)
    return None if until is None else max(0, -((now - until) // _MILLISECOND))


def _number(text: str, thousandths: int) -> int | None:
    """Return a decimal number of `thousandths`, rounded up to a whole one."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    whole, decimals = found.group(1), found.group(2) or ""
    scale = 10 ** len(decimals)
    return -(-int(whole + decimals) * thousandths // scale)


def _http_date(text: str, now: datetime) -> datetime | None:
    found = next((match for form in _DATES if (match := form.fullmatch(text))), None)
    if found is None or found["month"] not in _MONTHS:
        return None
    year = int(found["year"])
    if year < _CENTURY:
        # Two digits mean the year that is at most 50 years ahead.
        year += now.year - now.year % _CENTURY
        year -= _CENTURY if year > now.year + _CENTURY // 2 else 0
    clock = (int(found["hour"]), int(found["minute"]), int(found["second"]))
    try:
        return datetime(
            year, _MONTHS.index(found["month"]) + 1, int(found["day"]), *clock, tzinfo=UTC
        )
    except ValueError:
        return None
