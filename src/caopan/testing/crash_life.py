"""One life of the scenario in a process of its own, which may be killed at a point.

Owns `Lives`: a clean, already warm server process forks each life, so that hundreds of real
SIGKILLs cost seconds. A killed life cleans nothing up. Must never be used by production code.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import NoReturn

from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.postgres.venue_journal import PostgresVenueJournal
from caopan.adapters.rules.book import load_rules
from caopan.testing.crash_points import CrashPlan, PointBroker, PointJournal, PointStore
from caopan.testing.scenario import open_scenario

_TIMEOUT_S = 60

# Read once in the server, inherited by every life.
load_rules()


class Lives:
    """Lives the scenario, again and again, each time in a fresh process."""

    def __init__(self, database_url: str) -> None:
        """Live on this database."""
        self._url = database_url
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])

    def live(self, run_id: int, crash_at: int | None = None) -> tuple[int, list[str]]:
        """Return the exit code (-9 when killed) and the points passed by one life of a run."""
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_life, args=(self._url, run_id, crash_at, theirs))
        process.start()
        theirs.close()
        passed: list[str] = []
        try:
            while ours.poll(_TIMEOUT_S):
                passed.append(ours.recv())
        except EOFError:
            pass
        process.join(_TIMEOUT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        return process.exitcode if process.exitcode is not None else 1, passed


def _life(url: str, run_id: int, crash_at: int | None, report: Connection) -> None:
    asyncio.run(_live(url, run_id, crash_at, report.send))


async def _live(url: str, run_id: int, crash_at: int | None, tell: Callable[[str], None]) -> None:
    plan = CrashPlan(crash_at, _die, tell)
    async with PostgresStore(url) as inner, inner.lease(run_id):
        run = next(run for run in await inner.runs() if run.run_id == run_id)
        journal = PostgresVenueJournal(url)
        scenario = await open_scenario(
            run,
            PointStore(inner, plan),
            PointJournal(journal, plan),
            lambda broker: PointBroker(broker, plan),
        )
        await scenario.play()
        await journal.close()


def _die(_label: str) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
