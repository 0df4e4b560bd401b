"""A clock that was set to another time and runs on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from caopan.adapters.clock import offset
from caopan.adapters.clock.offset import OffsetClock

START = datetime(2025, 6, 3, 1, 16, tzinfo=UTC)


async def test_it_shows_what_has_passed_since_it_was_set(monkeypatch):
    readings = iter([5_000.0, 5_000.0, 6_500.0])
    monkeypatch.setattr(offset, "monotonic_ms", lambda: next(readings))
    clock = OffsetClock(START)
    assert clock.now() == START
    assert clock.now() == START + timedelta(milliseconds=1_500)


async def test_a_pause_passes_on_it():
    clock = OffsetClock(START)
    await clock.pause(timedelta(milliseconds=2))
    assert clock.now() >= START + timedelta(milliseconds=2)
