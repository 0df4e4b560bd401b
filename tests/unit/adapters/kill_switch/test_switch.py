"""The level in force: the highest of all flags, and never less than what could not be read."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.kill_switch.flag_file import (
    Flag,
    flag_path,
    remove_flag,
    trace_flag,
    write_flag,
)
from caopan.adapters.kill_switch.switch import FlagSwitch, Source, flag_sources
from caopan.domain.risk.kill_switch import KillLevel

OFF, OPENINGS, ORDERS, FLATTEN = KillLevel


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Told:
    """A source that says what a test wants, or fails."""

    def __init__(self, name: str, level: KillLevel = OFF, patience_s: float = 60.0) -> None:
        self.level = level
        self.fails = False
        self.source = Source(name, self.read, 3_600.0, patience_s)

    def read(self) -> Flag:
        if self.fails:
            msg = "no answer"
            raise OSError(msg)
        return Flag(self.level)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@given(levels=st.lists(st.sampled_from(KillLevel), min_size=1), latched=st.sampled_from(KillLevel))
def test_the_highest_flag_or_latch_is_in_force(levels, latched):
    told = [Told(str(number), level) for number, level in enumerate(levels)]
    switch = FlagSwitch([one.source for one in told], Clock())
    for one in told:
        switch.look(one.source)
    assert switch.level() == max(levels)
    switch.latch(latched)
    assert switch.level() == max(*levels, latched)
    switch.latch(OFF)
    assert switch.level() == max(*levels, latched)
    switch.unlatch()
    assert switch.level() == max(levels)


def test_what_was_never_read_is_not_permission(clock):
    assert FlagSwitch([Told("file").source], clock).level() is ORDERS


def test_a_flag_that_cannot_be_read_stands_for_a_while_and_then_refuses(clock):
    told = Told("database", OPENINGS)
    switch = FlagSwitch([told.source], clock, unreadable_after_s=5.0)
    switch.look(told.source)
    told.fails = True
    clock.now += 5.0
    switch.look(told.source)
    assert switch.level() is OPENINGS
    clock.now += 0.1
    assert switch.level() is ORDERS
    assert "no answer" in switch.states()[0].problem
    told.fails = False
    switch.look(told.source)
    assert switch.level() is OPENINGS


def test_an_unreadable_flag_never_lowers_what_it_asked_for(clock):
    told = Told("file", FLATTEN)
    switch = FlagSwitch([told.source], clock)
    switch.look(told.source)
    told.fails = True
    clock.now += 60.0
    switch.look(told.source)
    assert switch.level() is FLATTEN


def test_a_process_that_was_asleep_sends_nothing_before_it_has_looked_again(clock):
    told = Told("file", patience_s=1.0)
    switch = FlagSwitch([told.source], clock)
    switch.look(told.source)
    assert switch.level() is OFF
    clock.now += 1.5
    assert switch.level() is ORDERS
    switch.look(told.source)
    assert switch.level() is OFF


def test_threads_see_the_files_come_and_go(tmp_path: Path, clock):
    looks = {name: threading.Event() for name in ("halt", "halt-7")}

    def noticed(source: Source) -> Source:
        def read() -> Flag:
            flag = source.read()
            looks[source.name].set()
            return flag

        return Source(source.name, read, 0.001, source.patience_s)

    def after_two_looks() -> KillLevel:
        for event in looks.values():
            for _ in range(2):
                event.clear()
                assert event.wait(30)
        return switch.level()

    sources = [noticed(source) for source in flag_sources(tmp_path, 7, None)]
    with FlagSwitch(sources, clock) as switch:
        assert switch.level() is OFF
        write_flag(flag_path(tmp_path, 7), Flag(OPENINGS, "a", "b"))
        assert after_two_looks() is OPENINGS
        write_flag(flag_path(tmp_path), Flag(FLATTEN, "a", "b"))
        assert after_two_looks() is FLATTEN
        remove_flag(flag_path(tmp_path), trace_flag(flag_path(tmp_path)))
        assert after_two_looks() is OPENINGS
    assert switch.level() is ORDERS
