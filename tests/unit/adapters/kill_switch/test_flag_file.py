"""The flag on disk: written whole or not at all, and anything odd refuses orders."""

from __future__ import annotations

import json
import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caopan.adapters.kill_switch import flag_file
from caopan.adapters.kill_switch.flag_file import (
    Flag,
    flag_path,
    read_flag,
    remove_flag,
    trace_flag,
    write_flag,
)
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.errors import Conflict, Unavailable

AT = datetime(2026, 11, 20, 2, 30, tzinfo=UTC)
FLAG = Flag(KillLevel.NO_ORDERS, "走火", "operator", AT)


def test_what_is_written_is_read(tmp_path: Path):
    path = flag_path(tmp_path / "home")
    assert write_flag(path, FLAG) == FLAG
    assert read_flag(path) == FLAG
    assert [one.name for one in path.parent.iterdir()] == ["halt"]
    remove_flag(path, trace_flag(path))
    assert read_flag(path) == Flag()
    remove_flag(path, trace_flag(path))


def test_a_run_has_a_flag_of_its_own(tmp_path: Path):
    write_flag(flag_path(tmp_path, 7), FLAG)
    assert read_flag(flag_path(tmp_path)) == Flag()
    assert read_flag(flag_path(tmp_path, 7)) == FLAG


def test_halting_never_lowers_the_level(tmp_path: Path):
    path = flag_path(tmp_path)
    write_flag(path, FLAG)
    lower = Flag(KillLevel.NO_OPENINGS, "less", "operator", AT)
    assert write_flag(path, lower) == FLAG
    assert read_flag(path) == FLAG


FLATTEN = Flag(KillLevel.FLATTEN, "more", "someone else", AT)


@pytest.fixture
def between(monkeypatch):
    """Return a function that lets someone act just before the next `step` of the file's owner."""

    def let(step: str, act) -> threading.Thread:
        other, real = threading.Thread(target=act), getattr(flag_file, step)

        def interrupted(*arguments):
            monkeypatch.setattr(flag_file, step, real)
            other.start()
            # Not to its end: it is kept out until we are through.
            other.join(0.05)
            return real(*arguments)

        monkeypatch.setattr(flag_file, step, interrupted)
        return other

    return let


@pytest.mark.parametrize("present", [Flag(), FLAG])
def test_a_higher_flag_written_at_the_same_time_stands(tmp_path: Path, between, present: Flag):
    path = flag_path(tmp_path)
    if present.level:
        write_flag(path, present)
    other = between("_replace", lambda: write_flag(path, FLATTEN))
    write_flag(path, FLAG)
    other.join()
    assert read_flag(path) == FLATTEN


def test_a_flag_written_while_one_is_removed_stands(tmp_path: Path, between):
    path = flag_path(tmp_path)
    write_flag(path, FLAG)
    seen = trace_flag(path)
    other = between("_sync_folder", lambda: write_flag(path, FLATTEN))
    remove_flag(path, seen)
    other.join()
    assert read_flag(path) == FLATTEN


@pytest.mark.parametrize("before", [None, FLAG])
def test_only_the_flag_that_was_seen_is_removed(tmp_path: Path, before: Flag | None):
    path = flag_path(tmp_path)
    if before is not None:
        write_flag(path, before)
    seen = trace_flag(path)
    write_flag(path, FLATTEN)
    with pytest.raises(Conflict, match="HALTED_MEANWHILE"):
        remove_flag(path, seen)
    assert read_flag(path) == FLATTEN


def test_the_same_words_written_again_are_another_halt(tmp_path: Path):
    path = flag_path(tmp_path)
    write_flag(path, FLAG)
    seen = trace_flag(path)
    os.utime(path, (AT.timestamp(), AT.timestamp()))
    with pytest.raises(Conflict, match="HALTED_MEANWHILE"):
        remove_flag(path, seen)


def test_a_writer_that_hangs_keeps_no_halt_out_but_a_resume(tmp_path: Path, monkeypatch):
    path = flag_path(tmp_path)
    monkeypatch.setattr(flag_file, "_LOCK_TRIES", 2)
    write_flag(path, FLAG)
    with flag_file._alone(tmp_path):
        assert write_flag(path, FLATTEN) == FLATTEN
        with pytest.raises(Unavailable, match="HALT_FILE"):
            remove_flag(path, trace_flag(path))
    assert read_flag(path) == FLATTEN


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        ).map(lambda value: json.dumps(value).encode()),
        st.fixed_dictionaries(
            {
                "level": st.one_of(
                    st.integers(4), st.integers(max_value=-1), st.text(), st.booleans()
                )
            }
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_whatever_lies_there_counts_as_no_orders_and_is_named(tmp_path: Path, body: bytes):
    path = flag_path(tmp_path)
    path.write_bytes(body)
    flag = read_flag(path)
    assert flag.level is KillLevel.NO_ORDERS
    assert str(path) in flag.malformed


def test_a_folder_or_a_time_without_a_zone_counts_as_no_orders(tmp_path: Path):
    (tmp_path / "halt").mkdir()
    assert read_flag(tmp_path / "halt").level is KillLevel.NO_ORDERS
    (tmp_path / "halt-1").write_text('{"level": 1, "at": "2026-11-20T10:00:00"}')
    assert read_flag(tmp_path / "halt-1").level is KillLevel.NO_ORDERS


def test_a_flag_always_has_a_time_so_that_a_resume_can_ask_what_was_compared_since(tmp_path: Path):
    path = flag_path(tmp_path)
    for body in ("", '{"level": 1}', '{"level": 1, "at": null}'):
        path.write_text(body)
        os.utime(path, (AT.timestamp(), AT.timestamp()))
        assert read_flag(path).at == AT


def test_a_home_that_is_gone_is_not_permission(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        read_flag(flag_path(tmp_path / "gone"))


def test_what_cannot_be_written_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="HALT_FILE"):
        write_flag(flag_path(tmp_path / "file"), FLAG)
