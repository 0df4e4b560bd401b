"""A gateway process killed at any moment: what it said is in the database once, and only once.

Crashes are tried in two ways: real processes killed with SIGKILL in front of a real database, and
the spool's folder copied at every kind of moment, which is what a killed process leaves.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from caopan.adapters.call_log import frames
from caopan.adapters.call_log.spool import SpoolBounds, SpoolCallLog
from caopan.adapters.postgres.call_history import PostgresCallHistory
from caopan.adapters.postgres.call_rows import PostgresCallRows
from caopan.application.ports.model_calls import CallFilter, CallRecord
from caopan.domain.gateway.outcome import Outcome
from caopan.testing.gateway_samples import sample_began, sample_ended
from caopan.testing.memory_call_rows import MemoryCallRows

# Says what it has been promised, one line each, right after the promise.
CHILD = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from caopan.adapters.call_log.spool import SpoolBounds, SpoolCallLog
from caopan.adapters.postgres.call_rows import PostgresCallRows
from caopan.testing.gateway_samples import AT, sample_began, sample_ended

spool, process, url, base = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])

async def main():
    log = SpoolCallLog(spool, process, PostgresCallRows(url), lambda: datetime.now(UTC),
                       SpoolBounds(batch_s=0.005, segment_bytes=20_000))
    async with log.running():
        open_calls = []
        for nth in range(base, base + 100_000):
            began = sample_began(nth)
            log.began(began)
            print("began", began.call_id, flush=True)
            open_calls.append(began)
            if len(open_calls) > nth % 7:
                ended = open_calls.pop(nth % len(open_calls))
                log.ended(sample_ended(ended))
                print("ended", ended.call_id, flush=True)
            if nth % 5 == 0:
                await asyncio.sleep(0.001)

asyncio.run(main())
"""


def start(spool: Path, process: str, url: str, base: int) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", CHILD, str(spool), process, url, str(base)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def kill_after(child: subprocess.Popen[str], lines: int) -> tuple[set[UUID], set[UUID]]:
    """Kill it once it has said so much; return what it was promised: begun and ended."""
    assert child.stdout is not None
    told = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    told += child.stdout.readlines()
    child.wait()
    child.stdout.close()
    words = [line.split() for line in told if line.endswith("\n")]
    return (
        {UUID(call) for what, call in words if what == "began"},
        {UUID(call) for what, call in words if what == "ended"},
    )


async def all_calls(history: PostgresCallHistory) -> list[CallRecord]:
    calls, cursor = list[CallRecord](), None
    while True:
        page = await history.page(CallFilter(), 1_000, cursor)
        calls += page.calls
        if page.cursor is None:
            return calls
        cursor = page.cursor


@pytest.mark.slow
async def test_processes_killed_leave_every_row_complete(tmp_path, clean_database, eventually):
    begun, ended = set[UUID](), set[UUID]()
    draw = random.Random(3)  # noqa: S311 - how long they live
    for life in range(3):
        children = [
            start(tmp_path, f"gw-{life}-{nth}", clean_database, 1_000_000 * (2 * life + nth))
            for nth in range(2)
        ]
        for child in children:
            one, other = await asyncio.to_thread(kill_after, child, draw.randrange(200, 1_500))
            begun |= one
            ended |= other
    sink, history = PostgresCallRows(clean_database), PostgresCallHistory(clean_database)
    log = SpoolCallLog(
        tmp_path, "survivor", sink, lambda: datetime.now(UTC), SpoolBounds(look_s=0.05)
    )
    async with log.running():
        await eventually(lambda: not list(tmp_path.glob("gw-*")))
        calls = await all_calls(history)
    sink.close()
    await history.close()
    rows = {call.call_id: call for call in calls}
    assert len(rows) == len(calls)
    assert begun <= rows.keys()
    for call_id, call in rows.items():
        # It may have been killed between the promise and telling us of it.
        assert call.outcome in ({Outcome.OK} if call_id in ended else {Outcome.OK, Outcome.LOST})
    lost = [call for call in calls if call.outcome is Outcome.LOST]
    assert lost
    assert {(call.error_code, call.charged) for call in lost} == {("GATEWAY_DIED", 5_000_000)}
    assert not any(call.outcome is None for call in calls)


class Crash:
    """What is there at one moment: the folder, the rows, and what had been promised."""

    def __init__(self, spool: Path, into: Path, sink: MemoryCallRows) -> None:
        self.spool = shutil.copytree(spool, into)
        self.rows = dict(sink.rows)
        self.promised: dict[UUID, bool] = {}
        self.amid_writing = threading.current_thread() is not threading.main_thread()
        """Whether the copy may hold half of what was being written."""


class Life:
    """A gateway's life, of which some moments are kept as crashes."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.draw = random.Random(seed)  # noqa: S311 - a seeded history
        self.folder = folder
        self.sink = MemoryCallRows()
        self.promised: dict[UUID, bool] = {}
        """Call -> whether its end was promised, too."""
        self.crashes: list[Crash] = []
        self._turn = threading.Lock()
        self.sink.before = self.sink.after = self.perhaps_crash

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def perhaps_crash(self) -> None:
        with self._turn:
            if self.draw.random() < 0.15 and len(self.crashes) < 12:
                self._crash()

    def _crash(self) -> None:
        # What is promised is taken first: the copy may hold more, never less.
        promised = dict(self.promised)
        into = self.folder / f"crash-{len(self.crashes)}"
        try:
            crash = Crash(self.spool, into, self.sink)
        except (shutil.Error, FileNotFoundError):
            # A segment went away while it was copied; no process dies like that.
            shutil.rmtree(into, ignore_errors=True)
            return
        crash.promised = promised
        self.crashes.append(crash)

    async def live(self) -> None:
        bounds = SpoolBounds(
            batch_s=0.001, segment_bytes=self.draw.choice([900, 3_000, 50_000]), look_s=0.01
        )
        log = SpoolCallLog(self.spool, "first", self.sink, lambda: datetime.now(UTC), bounds)
        async with log.running():
            open_calls = []
            for nth in range(150):
                began = sample_began(nth)
                log.began(began)
                self.promised[began.call_id] = False
                open_calls.append(began)
                while len(open_calls) > self.draw.randrange(6):
                    ended = open_calls.pop(self.draw.randrange(len(open_calls)))
                    log.ended(sample_ended(ended))
                    self.promised[ended.call_id] = True
                self.perhaps_crash()
                if self.draw.random() < 0.3:
                    await asyncio.sleep(0.001)


async def take_over(crash: Crash, draw: random.Random, eventually: Callable) -> MemoryCallRows:
    """Let another process find what the crash left, with half a record behind it."""
    if not crash.amid_writing:
        segments = sorted((crash.spool / "first").glob("*.seg"))
        torn = frames.began(sample_began(9_999))
        with segments[-1].open("ab") as last:
            last.write(torn[: draw.randrange(len(torn))])
    sink = MemoryCallRows(crash.rows)
    log = SpoolCallLog(
        crash.spool, "second", sink, lambda: datetime.now(UTC), SpoolBounds(look_s=0.01)
    )
    async with log.running():
        await eventually(lambda: not (crash.spool / "first").exists())
        assert log.state.damaged == 0
    return sink


@pytest.mark.parametrize("seed", range(8))
async def test_at_whatever_moment_it_dies_no_attempt_is_lost_or_doubled(tmp_path, eventually, seed):
    life = Life(tmp_path, seed)
    await life.live()
    assert len(life.crashes) >= 3
    for crash in life.crashes:
        sink = await take_over(crash, life.draw, eventually)
        found = {kept.call_id: kept for kept in sink.rows.values()}
        assert len(found) == len(sink.rows)
        assert crash.promised.keys() <= found.keys()
        for call_id, kept in found.items():
            assert kept.began is not None
            assert kept.ended is not None, "no attempt stays under way for ever"
            if crash.promised.get(call_id):
                assert kept.ended.outcome is Outcome.OK
            else:
                assert kept.ended.outcome in {Outcome.OK, Outcome.LOST}
