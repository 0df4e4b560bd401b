"""The spool: what was said is kept, whatever goes away, and reaches the database once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from caopan.adapters.call_log import frames, segments
from caopan.adapters.call_log.segments import HEADER
from caopan.adapters.call_log.spool import SpoolBounds, SpoolCallLog
from caopan.adapters.postgres.call_history import PostgresCallHistory
from caopan.adapters.postgres.call_rows import PostgresCallRows
from caopan.application.ports.gateway import AttemptBegan
from caopan.application.ports.model_calls import CallFilter, KeptAttempt
from caopan.domain.gateway.outcome import Outcome
from caopan.kernel.errors import Conflict, Unavailable
from caopan.testing.gateway_samples import sample_began, sample_ended
from caopan.testing.memory_call_rows import MemoryCallRows

FAST = SpoolBounds(batch_s=0.002, patience_s=20, look_s=0.02)
AWAY = Unavailable("DB_UNREACHABLE", "away")


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def running(spool: Path, sink, process="gw-1", bounds=FAST):
    log = SpoolCallLog(spool, process, sink, now, bounds)
    async with log.running():
        yield log


def outcomes(rows: Iterable[KeptAttempt]) -> dict[str, Outcome | None]:
    return {
        f"{row.began.trace_id}": row.ended.outcome if row.ended else None
        for row in rows
        if row.began is not None
    }


def call(log: SpoolCallLog, nth: int) -> AttemptBegan:
    began = sample_began(nth)
    log.began(began)
    log.ended(sample_ended(began))
    return began


def dead(spool: Path, process: str, records: list[bytes], tail: bytes = b"") -> Path:
    """Leave what a killed process would."""
    folder = spool / process
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    path = folder / "0000000001.seg"
    path.write_bytes(HEADER + b"".join(records) + tail)
    return path


async def test_while_the_database_is_gone_calls_go_on_and_all_catches_up(
    tmp_path, clean_database, line, eventually
):
    wire = await line(clean_database)
    sink, history = PostgresCallRows(wire.url), PostgresCallHistory(clean_database)
    async with running(tmp_path, sink) as log:
        for nth in range(50):
            call(log, nth)
        await eventually(lambda: not log.waiting)
        await wire.cut()
        for nth in range(50, 400):
            call(log, nth)
            await asyncio.sleep(0)
        await eventually(lambda: log.state.oldest_error)
        assert log.waiting == 700
        await wire.mend()
        await eventually(lambda: not log.waiting)
        page = await history.page(CallFilter(), 1_000)
    sink.close()
    await history.close()
    assert sorted(one.trace_id for one in page.calls) == sorted(f"trace-{n}" for n in range(400))
    assert {one.outcome for one in page.calls} == {Outcome.OK}
    assert not any(tmp_path.iterdir())


async def test_cut_at_any_moment_the_database_holds_each_attempt_once(
    tmp_path, clean_database, line, eventually
):
    wire = await line(clean_database)
    sink, history = PostgresCallRows(wire.url), PostgresCallHistory(clean_database)
    async with running(tmp_path, sink) as log:
        for nth in range(300):
            call(log, nth)
            if nth % 30 == 7:
                await wire.cut()
                await asyncio.sleep(0.003)
                await wire.mend()
            await asyncio.sleep(0.002)
        await eventually(lambda: not log.waiting)
        page = await history.page(CallFilter(), 1_000)
    sink.close()
    await history.close()
    assert len({one.call_id for one in page.calls}) == len(page.calls) == 300
    assert {one.outcome for one in page.calls} == {Outcome.OK}


async def test_a_full_spool_lets_nothing_begin_and_loses_no_end(tmp_path, eventually):
    sink = MemoryCallRows()
    sink.error = AWAY
    async with running(tmp_path, sink, bounds=SpoolBounds(most_bytes=20_000, batch_s=0)) as log:
        begun = []
        while log.state.bytes < 20_000:
            begun.append(sample_began(len(begun)))
            log.began(begun[-1])
        with pytest.raises(Unavailable, match="AUDIT_UNAVAILABLE"):
            log.began(sample_began(1_000))
        assert len(begun) > 10
        for began in begun:
            log.ended(sample_ended(began))
        sink.error = None
        await eventually(lambda: not log.waiting)
        await eventually(lambda: log.state.bytes < 20_000)
        call(log, 2_000)
    assert len(sink.rows) == len(begun) + 1
    assert set(outcomes(sink.rows.values()).values()) == {Outcome.OK}


@pytest.mark.parametrize("leaves_half", [False, True])
async def test_on_a_full_disk_nothing_begins_and_ends_are_held(
    tmp_path, eventually, monkeypatch, leaves_half
):
    sink, write = MemoryCallRows(), os.write
    full = False

    def on_disk(file: int, data: bytes) -> int:
        if not full:
            return write(file, data)
        if leaves_half:
            return write(file, data[: len(data) // 2])
        raise OSError(28, "No space left on device")

    async with running(tmp_path, sink) as log:
        one, two = sample_began(1), sample_began(2)
        log.began(one)
        monkeypatch.setattr(segments.os, "write", on_disk)
        full = True
        with pytest.raises(Unavailable, match="AUDIT_UNAVAILABLE"):
            log.began(two)
        log.ended(sample_ended(one))
        # The database takes it without the disk.
        await log.durable(one.call_id)
        assert outcomes(sink.rows.values()) == {"trace-1": Outcome.OK}
        sink.error = AWAY
        full = False
        log.began(two)
        full = True
        log.ended(sample_ended(two))
        assert log.waiting == 2
        full = False
        call(log, 3)
        sink.error = None
        await eventually(lambda: not log.waiting)
    assert outcomes(sink.rows.values()) == dict.fromkeys(
        ["trace-1", "trace-2", "trace-3"], Outcome.OK
    )


async def test_what_the_database_never_takes_is_set_aside_and_holds_up_nothing(
    tmp_path, clean_database, eventually
):
    sink, history = PostgresCallRows(clean_database), PostgresCallHistory(clean_database)
    async with running(tmp_path, sink) as log:
        for nth in range(40):
            began = sample_began(nth)
            log.began(began)
            log.ended(sample_ended(began, latency_ms=-1 if nth in {0, 17, 39} else 5))
        await eventually(lambda: not log.waiting)
        assert log.state.refused == 3
        stored = {one.trace_id for one in (await history.page(CallFilter(), 100)).calls}
    sink.close()
    await history.close()
    assert stored == {f"trace-{nth}" for nth in range(40)} - {"trace-0", "trace-17", "trace-39"}
    (aside,) = (tmp_path / "refused").iterdir()
    kept = frames.split(aside.read_bytes())
    assert (len(kept.frames), kept.bad, kept.broken) == (6, 0, False)


async def test_what_may_pass_is_repeated_until_it_does(tmp_path, eventually):
    sink = MemoryCallRows()
    sink.error = Conflict("DB_SERIALIZATION", "again")
    async with running(tmp_path, sink) as log:
        call(log, 1)
        await eventually(lambda: log.state.oldest_error)
        sink.error = None
        await eventually(lambda: not log.waiting)
        assert log.state.oldest_error is None
    assert outcomes(sink.rows.values()) == {"trace-1": Outcome.OK}


async def test_leaving_brings_the_rest_and_leaves_nothing_behind(tmp_path):
    sink = MemoryCallRows()
    async with running(tmp_path, sink) as log:
        for nth in range(500):
            call(log, nth)
    assert len(sink.rows) == 500
    assert not any(tmp_path.iterdir())
    with pytest.raises(Unavailable):
        log.began(sample_began())


async def test_what_one_process_could_not_bring_the_next_does(tmp_path, eventually):
    sink = MemoryCallRows()
    sink.error = AWAY
    async with running(tmp_path, sink, bounds=SpoolBounds(batch_s=0, patience_s=0.01)) as log:
        for nth in range(20):
            call(log, nth)
        under_way = sample_began(99)
        log.began(under_way)
    assert not sink.rows
    sink.error = None
    async with running(tmp_path, sink, "gw-2") as log:
        await eventually(lambda: len(sink.rows) == 21 and not log.waiting)
        await eventually(lambda: not (tmp_path / "gw-1").exists())
        assert log.state.lost == 1
    found = outcomes(sink.rows.values())
    assert found.pop("trace-99") is Outcome.LOST
    assert set(found.values()) == {Outcome.OK}
    assert {row.process for row in sink.rows.values()} == {"gw-1"}


async def test_a_long_call_holds_no_segment_back_and_is_lost_with_its_process(tmp_path, eventually):
    sink = MemoryCallRows()
    small = SpoolBounds(batch_s=0, segment_bytes=2_000, patience_s=0.01)
    long, short = sample_began(1_000), sample_began(1_001)
    async with running(tmp_path, sink, bounds=small) as log:
        log.began(long)
        log.began(short)
        for nth in range(100):
            call(log, nth)
            await asyncio.sleep(0)
        await eventually(lambda: not log.waiting)
        await eventually(lambda: len(list((tmp_path / "gw-1").glob("*.seg"))) <= 2)
        log.ended(sample_ended(short))
        await log.durable(short.call_id)
    async with running(tmp_path, sink, "gw-2") as log:
        await eventually(lambda: log.state.lost == 1)
    found = outcomes(sink.rows.values())
    assert (found["trace-1000"], found["trace-1001"]) == (Outcome.LOST, Outcome.OK)
    assert len(found) == 102


async def test_a_record_longer_than_a_batch_and_a_segment(tmp_path):
    sink = MemoryCallRows()
    tiny = SpoolBounds(batch_s=0, batch_bytes=256, segment_bytes=1_000)
    async with running(tmp_path, sink, bounds=tiny) as log:
        for nth in range(5):
            began = sample_began(nth, request=bytes(100_000))
            log.began(began)
            log.ended(sample_ended(began, response=b"x" * 50_000))
    assert [len(row.began.request) for row in sink.rows.values() if row.began] == [100_000] * 5
    assert set(outcomes(sink.rows.values()).values()) == {Outcome.OK}


async def test_prompts_do_not_lie_on_the_disk_longer_than_they_must(tmp_path, eventually):
    secret = b"a prompt that is nobody's business"
    sink = MemoryCallRows()
    async with running(tmp_path, sink) as log:
        began = sample_began(1, request=secret)
        log.began(began)
        assert _on_disk(tmp_path, secret)
        await eventually(lambda: not _on_disk(tmp_path, secret))
        log.ended(sample_ended(began))
    assert outcomes(sink.rows.values()) == {"trace-1": Outcome.OK}


def _on_disk(folder: Path, text: bytes) -> bool:
    return any(text in path.read_bytes() for path in folder.rglob("*.seg"))


async def test_two_processes_on_one_spool_leave_each_other_alone(tmp_path):
    sink = MemoryCallRows()
    async with running(tmp_path, sink, "gw-1") as one, running(tmp_path, sink, "gw-2") as two:
        open_calls = sample_began(1), sample_began(2)
        one.began(open_calls[0])
        two.began(open_calls[1])
        for nth in range(10, 100, 2):
            call(one, nth)
            call(two, nth + 1)
            await asyncio.sleep(0.002)
        one.ended(sample_ended(open_calls[0]))
        two.ended(sample_ended(open_calls[1]))
        assert (one.state.lost, two.state.lost) == (0, 0)
    assert set(outcomes(sink.rows.values()).values()) == {Outcome.OK}
    assert len(sink.rows) == 92


async def test_a_name_is_not_used_twice_at_a_time(tmp_path):
    async with running(tmp_path, MemoryCallRows(), "gw-1"):
        with pytest.raises(Unavailable, match="AUDIT_UNAVAILABLE"):
            async with running(tmp_path, MemoryCallRows(), "gw-1"):
                pass
        assert (tmp_path / "gw-1" / "lock").exists()


async def test_an_end_without_a_beginning_is_told_and_is_no_harm(tmp_path, caplog):
    sink = MemoryCallRows()
    async with running(tmp_path, sink) as log:
        log.ended(sample_ended(sample_began(1)))
        call(log, 2)
        log.ended(sample_ended(sample_began(2)))
    assert len(sink.rows) == 1
    assert caplog.text.count("had not begun") == 2


# --- what the dead leave --------------------------------------------------------------------------


async def test_half_a_record_at_the_end_is_dropped_and_counted(tmp_path, eventually):
    one, two = sample_began(1), sample_began(2)
    records = [frames.began(one), frames.ended(sample_ended(one), one.at)]
    dead(tmp_path, "old", records, frames.began(two)[:-7])
    sink = MemoryCallRows()
    async with running(tmp_path, sink) as log:
        await eventually(lambda: log.state.torn == 1 and not log.waiting)
        assert log.state.damaged == 0
    assert outcomes(sink.rows.values()) == {"trace-1": Outcome.OK}
    assert not (tmp_path / "old").exists()


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "kept"),
    [
        # A flipped bit in a body: that record alone is lost to the database.
        (lambda path, first: flip(path, len(HEADER) + first - 3), {"trace-2"}),
        # In a length: nothing behind can be told apart.
        (lambda path, first: flip(path, len(HEADER) + first + 8), {"trace-1"}),
        # Another format altogether.
        (lambda path, first: flip(path, 3), set()),
    ],
)
async def test_a_damaged_segment_is_kept_for_a_person(tmp_path, eventually, spoil, kept):
    begun = sample_began(1), sample_began(2)
    first = frames.began(begun[0])
    path = dead(tmp_path, "old", [first, frames.began(begun[1])])
    before = path.stat().st_size
    spoil(path, len(first))
    sink = MemoryCallRows()
    async with running(tmp_path, sink) as log:
        await eventually(lambda: log.state.damaged == 1)
    found = outcomes(sink.rows.values())
    assert found == dict.fromkeys(kept, Outcome.LOST)
    (aside,) = (tmp_path / "damaged").iterdir()
    assert (aside.name, aside.stat().st_size) == ("old-0000000001.seg", before)
    assert not (tmp_path / "old").exists()


async def test_a_take_over_that_is_cut_short_is_done_again(tmp_path, eventually):
    begun = [sample_began(nth) for nth in range(200)]
    dead(tmp_path, "old", [frames.began(one) for one in begun])
    sink, left = MemoryCallRows(), 3

    def give_up() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise AWAY

    sink.after = give_up
    async with running(tmp_path, sink, bounds=SpoolBounds(batch_bytes=4_000, look_s=0.02)) as log:
        await eventually(lambda: log.state.lost == 200)
    assert outcomes(sink.rows.values()) == dict.fromkeys(
        (one.trace_id for one in begun), Outcome.LOST
    )
    assert not (tmp_path / "old").exists()


async def test_folders_that_are_none_of_ours_are_left_alone(tmp_path):
    for name in ("no lock here", "notes.txt.d"):
        (tmp_path / name).mkdir()
    async with running(tmp_path, MemoryCallRows()):
        await asyncio.sleep(0.05)
    assert len(list(tmp_path.iterdir())) == 2
