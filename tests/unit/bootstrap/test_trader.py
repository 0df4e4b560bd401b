"""One sitting after the other: what is waited out, what is final, and when a sitting is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from caopan.application.pipeline import Pipeline
from caopan.application.replay.clock import ReplayClock
from caopan.application.trading_watch import Stop
from caopan.bootstrap import trader
from caopan.bootstrap.desks import DeskChoice, Purpose
from caopan.bootstrap.trader import TraderOutcome, TraderRequest, run_trader, running_clock
from caopan.kernel.clock import SHANGHAI, at_shanghai, iso
from caopan.kernel.errors import CaopanError, ConfigInvalid, Conflict, CorruptState, Denied
from caopan.kernel.errors import Unavailable as Away
from caopan.settings import Settings
from caopan.testing.sim_loop import LoopClock, simulate
from caopan.testing.table_desk import DAY, SESSIONS, TableDesk

NO_BROKER = Away("BROKER_DISCONNECTED", "nobody answers")
NO_DATABASE = Away("DB_UNREACHABLE", "the connection was lost")
BUSY = Conflict("RUN_BUSY", "somebody sits there")
FENCED = Conflict("RUN_FENCED", "taken over")
STALE = Denied("DATA_STALE", "the data end before today")
BROKEN = CorruptState("LEDGER_HEAD", "what cannot be")


class Sittings:
    """Stands in for sitting down: fails as planned, then gives a desk in memory."""

    def __init__(self, at: time = time(10), day: date = DAY) -> None:
        self.clock = LoopClock(at_shanghai(day, at))
        self.plan: list[CaopanError] = []
        self.in_turn: list[CaopanError] = []
        """Raised by the first turn of each sitting."""
        self.purposes: list[Purpose] = []
        self.began: list[datetime] = []
        self.told: list[str] = []
        self.stop = Stop()
        self.refuses_to_trade = False

    @asynccontextmanager
    async def sat_down(
        self, _url: str, _settings: Settings, _choice: DeskChoice, _clock: object, purpose: Purpose
    ) -> AsyncGenerator[Pipeline]:
        self.purposes.append(purpose)
        self.began.append(self.clock.now())
        if self.plan:
            raise self.plan.pop(0)
        if self.refuses_to_trade and purpose.to_trade:
            raise STALE
        assert purpose.keeper is not None
        desk = await TableDesk(clock=self.clock, line=purpose.keeper.line).open()
        async with desk.store.lease(desk.pipeline.desk.run.run_id):
            await desk.pipeline.reconcile(purpose.trigger)
            if self.in_turn:
                _fail(desk, self.in_turn.pop(0))
            yield desk.pipeline

    def request(self, *, once: bool = False) -> TraderRequest:
        return TraderRequest(choice=DeskChoice(), clock=self.clock, once=once)


def _fail(desk: TableDesk, error: CaopanError) -> None:
    async def fail() -> None:
        raise error

    desk.pipeline.settle = fail  # type: ignore[method-assign]


Run = Callable[..., TraderOutcome]


@pytest.fixture
def kept(monkeypatch, tmp_path: Path) -> Run:
    """Return a function that keeps a desk for a time of a simulated clock."""

    def run(sittings: Sittings, lasts: timedelta, *, once: bool = False) -> TraderOutcome:
        monkeypatch.setattr(trader, "sat_down", sittings.sat_down)
        settings = Settings(home=tmp_path, lang="en")

        async def stopping() -> None:
            await sittings.clock.pause(lasts)
            sittings.stop.ask()

        async def program() -> TraderOutcome:
            work: Awaitable[TraderOutcome] = run_trader(
                "nowhere",
                settings,
                sittings.request(once=once),
                sittings.stop,
                lambda name, _: sittings.told.append(name),
            )
            async with asyncio.TaskGroup() as group:
                stopper = group.create_task(stopping())
                try:
                    done = await work
                except CaopanError as error:
                    # Out of the group as it is, not as one of several.
                    done = error
                stopper.cancel()
            if isinstance(done, CaopanError):
                raise done
            return done

        return simulate(program())

    return run


MINUTES = timedelta(minutes=1)


@pytest.mark.parametrize(
    "error", [BUSY, NO_DATABASE, BROKEN, FENCED, ConfigInvalid("POLICY_INVALID", "limits")]
)
def test_what_keeps_the_first_sitting_from_beginning_is_told_at_once(kept, error):
    sittings = Sittings()
    sittings.plan = [error]
    with pytest.raises(type(error), match=error.code):
        kept(sittings, 10 * MINUTES)
    assert len(sittings.purposes) == 1


def test_a_broker_that_is_not_there_yet_is_waited_for(kept):
    sittings = Sittings()
    sittings.plan = [NO_BROKER] * 9
    done = kept(sittings, 20 * MINUTES)
    assert done.tally.failures == 9
    waits = [later - sooner for sooner, later in pairwise(sittings.began)]
    assert waits == sorted(waits)
    assert waits[0] < timedelta(seconds=1)
    assert timedelta(seconds=30) <= waits[-1] < timedelta(seconds=31)
    assert [one.trigger for one in sittings.purposes] == ["start", *["reconnect"] * 9]
    assert done.tally.comparisons["reconnect"] == 1


@pytest.mark.parametrize(
    "error", [NO_DATABASE, BROKEN, BUSY, Conflict("DB_SERIALIZATION", "raced")]
)
def test_what_ends_a_sitting_begins_the_next_with_a_comparison(kept, error):
    sittings = Sittings()
    sittings.in_turn = [error] * 2
    sittings.plan = []
    done = kept(sittings, 2 * MINUTES)
    assert [one.trigger for one in sittings.purposes] == ["start", "reconnect", "reconnect"]
    assert all(one.keeper is not None for one in sittings.purposes)
    lines = {id(one.keeper.line) for one in sittings.purposes if one.keeper}
    assert len(lines) == 1
    assert (done.tally.failures, sittings.told.count("failed")) == (2, 2)
    assert sittings.told.count("sat_down") == 1


def test_who_was_taken_over_ends(kept):
    sittings = Sittings()
    sittings.in_turn = [FENCED]
    with pytest.raises(Conflict, match="RUN_FENCED"):
        kept(sittings, 2 * MINUTES)
    assert len(sittings.purposes) == 1


def test_a_desk_that_is_somebody_elses_for_long_is_given_up(kept):
    sittings = Sittings()
    sittings.in_turn = [NO_DATABASE]

    def busy_from_now_on(name: str) -> None:
        if name == "failed" and not sittings.plan:
            sittings.plan = [BUSY] * 100

    sittings.told = _Hearing(busy_from_now_on)
    with pytest.raises(Conflict, match="RUN_BUSY"):
        kept(sittings, 60 * MINUTES)
    assert 10 < len(sittings.purposes) < 30


class _Hearing(list[str]):
    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self._hear = hear

    def append(self, name: str) -> None:
        super().append(name)
        self._hear(name)


def test_without_fresh_data_the_account_is_kept_without_trading_and_looked_at_again(kept):
    sittings = Sittings()
    sittings.refuses_to_trade = True
    done = kept(sittings, 65 * MINUTES)
    assert [one.to_trade for one in sittings.purposes] == [True, False] * 3
    assert sittings.told.count("no_trading") == 1
    assert done.tally.failures == 0
    assert done.tally.comparisons["start"] == 3


@pytest.mark.parametrize("error", [NO_BROKER, STALE])
def test_once_means_once(kept, error):
    sittings = Sittings()
    sittings.plan = [error]
    with pytest.raises(type(error)):
        kept(sittings, MINUTES, once=True)
    assert kept(Sittings(), MINUTES, once=True).tally.turns == 1


def test_a_stop_ends_a_long_wait_at_once(kept):
    sittings = Sittings()
    sittings.plan = [NO_BROKER] * 99
    done = kept(sittings, 2 * MINUTES)
    assert done.run_id == 0
    assert len(sittings.began) < 12


def test_a_sitting_lasts_to_the_next_days_rules(kept):
    following = SESSIONS[SESSIONS.index(DAY) + 1]
    sittings = Sittings(time(8, 47), following)
    done = kept(sittings, 10 * MINUTES)
    at = [f"{one.astimezone(SHANGHAI):%H:%M}" for one in sittings.began]
    assert at == ["08:47", "08:50"]
    assert [one.trigger for one in sittings.purposes] == ["start", "start"]
    assert done.tally.failures == 0


async def test_a_traders_clock_runs():
    at = datetime(2025, 6, 3, 1, 16, tzinfo=SHANGHAI)
    for clock in (running_clock(at, ReplayClock(DAY_BEFORE)), running_clock(None, ReplayClock(at))):
        began = clock.now()
        assert timedelta() <= began - at < MINUTES
        await clock.pause(timedelta(milliseconds=2))
        assert clock.now() > began, iso(began)


DAY_BEFORE = datetime(2025, 6, 2, tzinfo=SHANGHAI)
