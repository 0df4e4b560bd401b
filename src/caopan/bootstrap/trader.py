"""The trader: the process that keeps one account for as long as it lives.

Owns `run_trader`: one sitting after the other at the same desk. A sitting lasts to the next day's
rules, so that data, policy and prices of a day are those of the day; what it cannot wait out ends
it, and the next one begins with what is stored, after a wait. Must never sit where somebody else
does, nor go on when another process has taken over. Tests: tests/unit/bootstrap/test_trader.py,
tests/integration/trader.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from caopan.adapters.clock.offset import OffsetClock
from caopan.adapters.clock.system import SystemClock
from caopan.adapters.market_data.panel import KNOWN_BEFORE_OPEN
from caopan.application.back_off import BackOff
from caopan.application.line import Line
from caopan.application.pipeline import Pipeline
from caopan.application.replay.clock import ReplayClock
from caopan.application.trading_watch import Ended, Pace, Stop, Tally, Tell, TradingWatch
from caopan.bootstrap.broker_line import BrokerDoor
from caopan.bootstrap.desks import (
    DeskChoice,
    Keeper,
    Purpose,
    note_place,
    sat_down,
    session_in_hand,
)
from caopan.kernel.clock import Clock, at_shanghai
from caopan.kernel.errors import CaopanError, ConfigInvalid, Conflict, Denied
from caopan.settings import Settings

_LOOK_AGAIN: Final = timedelta(minutes=30)
"""How long a desk is kept without trading before its data and policy are looked at again."""
_SLICE: Final = timedelta(milliseconds=200)
_NOT_YET: Final = frozenset({"BROKER_DISCONNECTED", "BROKER_TIMEOUT", "BROKER_BUSY"})
"""What a broker says, or does not, that is only about to be there."""
_MOST_BUSY: Final = 20
"""How often in a row the desk may be somebody else's after we were there, before that is final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraderRequest:
    """Which desk is kept, and how."""

    choice: DeskChoice
    clock: Clock
    door: BrokerDoor | None = None
    """Where the broker's process listens; None: the sandbox lives in this process."""
    pace: Pace = field(default_factory=Pace)
    once: bool = False
    """One turn, and any failure is final."""


@dataclass(frozen=True, slots=True)
class TraderOutcome:
    """What became of a trader that was asked to stop."""

    run_id: int
    account_id: str
    tally: Tally


def running_clock(at: datetime | None, noted: Clock) -> Clock:
    """Return the clock of a trader: one that runs, from `at` or from where the desk stands.

    A desk that lives in the present goes by the system's clock.
    """
    if at is not None:
        return OffsetClock(at)
    return OffsetClock(noted.now()) if isinstance(noted, ReplayClock) else noted


async def run_trader(
    database_url: str, settings: Settings, request: TraderRequest, stop: Stop, tell: Tell
) -> TraderOutcome:
    """Keep the account until `stop` is asked for; `tell` is told what happens.

    Raises:
        Conflict: RUN_BUSY if another process is there first, RUN_FENCED if one has taken over.
        CaopanError: whatever keeps the first sitting from beginning, but a broker that does not
            answer yet: that is waited for.
    """
    return await _Trader(database_url, settings, request, stop, tell).run()


class _Trader:
    def __init__(
        self, database_url: str, settings: Settings, request: TraderRequest, stop: Stop, tell: Tell
    ) -> None:
        self._url = database_url
        self._settings = settings
        self._asked = request
        self._stop = stop
        self._tell = tell
        self._tally = Tally()
        self._line = Line()
        self._back_off = BackOff()
        self._sat_at: tuple[int, str] | None = None
        """Number and account of the desk, once it was sat down at."""
        self._is_seated = False
        self._to_trade = True
        self._why_not = ""
        self._busy = 0

    async def run(self) -> TraderOutcome:
        if self._asked.once:
            self._stop.ask()
        trigger = "start"
        while True:
            turns = self._tally.turns
            try:
                ended = await self._sit(trigger)
            except CaopanError as error:
                if self._tally.turns > turns:
                    self._back_off.succeeded()
                if self._is_final(error):
                    raise
                if self._goes_on_without_trading(error):
                    continue
                trigger = "reconnect"
                if await self._waited(error):
                    break
            else:
                self._to_trade, trigger = True, "start"
                if ended is Ended.STOPPED:
                    break
        run_id, account_id = self._sat_at or (0, self._asked.choice.account_id)
        return TraderOutcome(run_id, account_id, self._tally)

    async def _sit(self, trigger: str) -> Ended:
        asked, line, self._is_seated = self._asked, self._line, False
        keeper = Keeper(f"caopan trader, process {os.getpid()}", line, asked.door)
        purpose = Purpose(trigger=trigger, to_trade=self._to_trade, keeper=keeper)
        began = asked.clock.now()
        async with sat_down(
            self._url, self._settings, asked.choice, asked.clock, purpose
        ) as pipeline:
            self._is_seated, self._busy = True, 0
            self._introduce(pipeline)
            watch = TradingWatch(
                pipeline, self._stop, pace=asked.pace, tally=self._tally, tell=self._note
            )
            return await watch.run(self._until(pipeline, began))

    def _introduce(self, pipeline: Pipeline) -> None:
        run, info = pipeline.desk.run, pipeline.desk.market.info
        if self._sat_at is None:
            values: dict[str, object] = {
                "run_id": run.run_id,
                "account": run.account_id,
                "data": info.label,
                "minutes": f"{self._asked.pace.reconcile_every / timedelta(minutes=1):g}",
            }
            self._tell("sat_down", values)
        self._sat_at = run.run_id, run.account_id
        if self._to_trade:
            self._why_not = ""

    def _until(self, pipeline: Pipeline, began: datetime) -> datetime | None:
        """Return when the sitting is over: when the next session's rules are known."""
        calendar = pipeline.desk.calendar
        try:
            session = session_in_hand(calendar, ReplayClock(began))
            end = at_shanghai(calendar.next_session(session), KNOWN_BEFORE_OPEN)
        except Denied:
            end = None  # The calendar ends before; what needs it says so.
        if self._to_trade:
            return end
        again = began + _LOOK_AGAIN
        return again if end is None else min(again, end)

    def _note(self, name: str, values: Mapping[str, object]) -> None:
        """Pass on what the watch tells; a desk that lives at another time is noted as it goes."""
        if not isinstance(self._asked.clock, SystemClock):
            note_place(self._settings, self._asked.choice, self._asked.clock)
        self._tell(name, values)

    # --- failures -----------------------------------------------------------------------------

    def _is_final(self, error: CaopanError) -> bool:
        if self._asked.once or error.code == "RUN_FENCED":
            return True
        if isinstance(error, Conflict) and error.code == "RUN_BUSY":
            # A lost connection of our own may hold the desk for a moment longer.
            self._busy += 1
            return self._sat_at is None or self._busy > _MOST_BUSY
        if self._sat_at is not None:
            return False
        return error.code not in _NOT_YET and not self._may_go_on_without_trading(error)

    def _may_go_on_without_trading(self, error: CaopanError) -> bool:
        if self._is_seated or not self._to_trade:
            return False
        was_there = self._sat_at is not None and isinstance(error, Denied | ConfigInvalid)
        return error.code == "DATA_STALE" or was_there

    def _goes_on_without_trading(self, error: CaopanError) -> bool:
        """Keep the account without trading where data, policy or model cannot be used."""
        if not self._may_go_on_without_trading(error):
            return False
        self._to_trade = False
        if self._why_not != str(error):
            self._why_not = str(error)
            self._tell("no_trading", {"problem": str(error)})
        return True

    async def _waited(self, error: CaopanError) -> bool:
        """Tell of a failure and wait; tell whether somebody asked to stop."""
        self._tally.failures += 1
        wait = self._back_off.failed()
        seconds = f"{wait.total_seconds():g}"
        self._tell("failed", {"problem": str(error), "seconds": seconds})
        clock = self._asked.clock
        over = clock.now() + wait
        while not self._stop.is_asked and (left := over - clock.now()) > timedelta():
            await clock.pause(min(left, _SLICE))
        return self._stop.is_asked
