"""The watch over one account: what is looked after for as long as a process keeps it.

Owns TradingWatch: when the venue's word is settled, when both sides are compared (by the clock, at
the close, after an outage), that a halt is carried out while nothing else happens, and how an
outage of the venue is waited out. Each turn is bounded; time comes from the desk's clock. Must
never send an order by itself, nor wait out a failure of the store: that ends the sitting. Tests:
tests/unit/application/test_trading_watch.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from caopan.application.back_off import BackOff
from caopan.application.halting import carry_out, stop_account
from caopan.application.pipeline import Pipeline
from caopan.application.ports.store import Reconciliation
from caopan.domain.market.phases import Phase
from caopan.domain.orders.order import OrderType
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import at_shanghai, shanghai
from caopan.kernel.errors import CorruptState, OutcomeUnknown, Unavailable

BY: Final = "trader"
_CLOSED_AT: Final = time(15, 1)
_AFTER_HOURS_CLOSED_AT: Final = time(15, 31)
_SLICE: Final = timedelta(milliseconds=200)
"""How long the watch is deaf to a halt or a stop while it waits."""
_QUIET: Final = frozenset({Phase.PRE_OPEN, Phase.MIDDAY_BREAK, Phase.CLOSED, Phase.NON_TRADING_DAY})
"""Phases in which nothing trades, so that nothing is compared by the clock."""

Tell = Callable[[str, Mapping[str, object]], None]
"""Told what happens: its name, and values fit for a catalogue text and for JSON."""


class Ended(StrEnum):
    """Why a watch is over."""

    STOPPED = "stopped"
    TIME_UP = "time_up"


@dataclass(slots=True)
class Stop:
    """A wish to end, from outside the loop."""

    is_asked: bool = False

    def ask(self) -> None:
        """Let the unit of work under way be finished, and begin no other."""
        self.is_asked = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often a watch does what."""

    reconcile_every: timedelta = timedelta(minutes=5)
    """In trading phases."""
    while_open: timedelta = timedelta(milliseconds=300)
    """Between two turns while orders are open and the exchange trades."""
    while_idle: timedelta = timedelta(seconds=2)
    ask_every: timedelta = timedelta(seconds=5)
    """How often a venue that nobody speaks to is asked whether it is there, and the lease too."""
    flatten_every: timedelta = timedelta(minutes=1)
    """How often a flattening looks for what has become sellable."""


@dataclass(slots=True)
class Tally:
    """What a trader has done so far, over all its sittings."""

    turns: int = 0
    comparisons: dict[str, int] = field(default_factory=dict[str, int])
    """By trigger."""
    differed: int = 0
    """Comparisons that found a difference."""
    closes: int = 0
    halts: int = 0
    outages: int = 0
    """Of the venue."""
    failures: int = 0
    """Tries that came to nothing and were repeated."""
    last: Reconciliation | None = None


async def _nothing(_pipeline: Pipeline) -> None:
    """Let a turn pass."""


def _told_to_nobody(_name: str, _values: Mapping[str, object]) -> None:
    """Keep it to oneself."""


class TradingWatch:
    """Keeps one account that this process has sat down at and compared once."""

    def __init__(
        self,
        pipeline: Pipeline,
        stop: Stop,
        *,
        pace: Pace | None = None,
        tally: Tally | None = None,
        tell: Tell = _told_to_nobody,
        also: Callable[[Pipeline], Awaitable[None]] = _nothing,
    ) -> None:
        """Take a pipeline whose line is watched (`WatchedBroker`) and whose run is leased.

        `also` is what else is due, a scheduled decision above all: it is asked once a turn, but
        only while orders may leave.
        """
        self._pipeline = pipeline
        self._desk = pipeline.desk
        self._line = pipeline.desk.line
        self._stop = stop
        self._pace = pace or Pace()
        self.tally = tally or Tally()
        self._tell = tell
        self._also = also
        self._back_off = BackOff()
        self._is_image_lost = False
        self._breaks_told = self._line.breaks
        self._problem_told = ""
        self._obeyed = KillLevel.OFF
        now = self._desk.clock.now()
        self._compared_at = self._asked_at = self._flattened_at = now
        self._closed: date | None = None
        """The last session whose close was compared."""

    async def run(self, until: datetime | None = None) -> Ended:
        """Take turn after turn until somebody asks to stop, or `until`; at least one.

        Raises:
            CaopanError: what a turn cannot wait out; nothing is half done.
        """
        await self._learn()
        while True:
            wait = await self.turn()
            if await self._rested(wait):
                return Ended.STOPPED
            if until is not None and self._desk.clock.now() >= until:
                return Ended.TIME_UP

    async def turn(self) -> timedelta:
        """Do once what is due, and return how long to rest.

        Raises:
            Unavailable, OutcomeUnknown, Conflict: if the store is out of reach or the run is
                another's; the account must be read anew then.
            CorruptState: if a fact cannot be; the account is halted before.
        """
        try:
            await self._do_what_is_due()
        except (Unavailable, OutcomeUnknown):
            self._is_image_lost = True
            if not self._line.is_down:
                raise
        except CorruptState as fault:
            self._is_image_lost = True
            await stop_account(self._pipeline.seat, str(fault), BY)
            raise
        self.tally.turns += 1
        self._tell_of_the_line()
        if self._line.is_down:
            self.tally.failures += 1
            return self._back_off.failed()
        self._back_off.succeeded()
        is_open = bool(self._pipeline.account.working) and self._phase() not in _QUIET
        return self._pace.while_open if is_open else self._pace.while_idle

    def _tell_of_the_line(self) -> None:
        """Tell that the venue went away, and again if it stays away for another reason."""
        line = self._line
        code = "" if line.problem is None else line.problem.code
        if line.breaks > self._breaks_told:
            self._breaks_told = line.breaks
            self.tally.outages += 1
        elif not line.is_down or code == self._problem_told:
            return
        self._problem_told = code
        self._tell("line_lost", {"problem": "" if line.problem is None else str(line.problem)})

    async def _learn(self) -> None:
        """Read what was compared last: by whoever sat down here, a moment ago."""
        async with self._pipeline.seat.begin() as uow:
            past = await uow.reconciliations.all()
        closed = [one.trading_day for one in past if one.trigger == "close"]
        self._closed = max(closed, default=None)
        if past:
            self._note(past[-1])

    async def _do_what_is_due(self) -> None:
        pipeline, line = self._pipeline, self._line
        if line.is_down:
            # Any answer ends the outage; a failure is the next one's.
            await self._desk.broker.account()
        if self._is_image_lost:
            await pipeline.seat.reload()
            self._is_image_lost = False
        if not line.may_place:
            await self._compare("reconnect")
        await self._obey()
        await pipeline.settle()
        await self._look_after()
        await self._close()
        due = self._compared_at + self._pace.reconcile_every
        if self._desk.clock.now() >= due and self._phase() not in _QUIET:
            await self._compare("interval")
        halted = pipeline.seat.level() >= KillLevel.NO_ORDERS
        if line.may_place and not halted and not self._stop.is_asked:
            await self._also(pipeline)

    # --- what is due --------------------------------------------------------------------------

    async def _compare(self, trigger: str) -> None:
        self._note(await self._pipeline.reconcile(trigger))

    def _note(self, result: Reconciliation) -> None:
        self._compared_at = self._asked_at = self._desk.clock.now()
        tally, trigger = self.tally, result.trigger
        tally.comparisons[trigger] = tally.comparisons.get(trigger, 0) + 1
        tally.differed += not result.passed
        tally.last = result
        control = self._pipeline.seat.control
        values: dict[str, object] = {
            "trigger": trigger,
            "count": len(result.differences),
            "posture": control.posture.value,
            "level": int(control.level),
        }
        self._tell("agreed" if result.passed else "differed", values)

    async def _obey(self) -> None:
        """Carry a halt out when it comes, compare after it, and go on selling at level 3."""
        level, now = self._pipeline.seat.level(), self._desk.clock.now()
        if level < KillLevel.NO_ORDERS:
            if self._obeyed > KillLevel.OFF:
                self._tell("halt_over", {"level": int(level)})
            self._obeyed = KillLevel.OFF
            return
        has_risen = level > self._obeyed
        again = level is KillLevel.FLATTEN and now >= self._flattened_at + self._pace.flatten_every
        if not (has_risen or again):
            return
        left = await carry_out(self._pipeline, "halted while a trader keeps the account")
        self._flattened_at = now
        self._obeyed = level
        if has_risen:
            self.tally.halts += 1
            values = {"level": int(level), "open": len(left.still_open), "held": len(left.unsold)}
            self._tell("halted", values)
            # Whoever lifts it wants to know that the books agreed since.
            await self._compare("request")

    async def _look_after(self) -> None:
        """Ask a venue that nobody speaks to whether it is there, and the store for the lease."""
        now = self._desk.clock.now()
        if now < self._asked_at + self._pace.ask_every:
            return
        self._asked_at = now
        await self._desk.broker.account()
        await self._desk.store.confirm_lease(self._desk.run.run_id)

    async def _close(self) -> None:
        """Compare once when the venue's day is over, and record the day's NAV."""
        desk, now = self._desk, self._desk.clock.now()
        day = shanghai(now).date()
        if self._closed == day or not desk.calendar.is_session(day):
            return
        after_hours = OrderType.AFTER_HOURS_FIXED in desk.broker.capabilities.order_types
        over = _AFTER_HOURS_CLOSED_AT if after_hours else _CLOSED_AT
        if now < at_shanghai(day, over):
            return
        await self._compare("close")
        last = self._pipeline.account.last_nav
        # Where the data ends before the day, its closes are not known: the next sitting books it.
        if (last is None or last.trading_day < day) and day <= desk.market.info.last_day:
            point = await self._pipeline.close_day(day, None)
            self._tell("closed", {"day": day.isoformat(), "nav": point.nav})
        self.tally.closes += 1
        self._closed = day

    # --- time ---------------------------------------------------------------------------------

    def _phase(self) -> Phase:
        now = self._desk.clock.now()
        session = self._desk.calendar.is_session(shanghai(now).date())
        return self._desk.phases.phase_of(now, session=session)

    async def _rested(self, wait: timedelta) -> bool:
        """Rest, and tell whether it is to end; a halt or a wish to stop ends the rest early."""
        clock = self._desk.clock
        over = clock.now() + wait
        while not self._stop.is_asked:
            left = over - clock.now()
            if left <= timedelta() or self._pipeline.seat.level() > self._heeded():
                return False
            await clock.pause(min(left, _SLICE))
        return True

    def _heeded(self) -> KillLevel:
        """Return up to which level the present wait is to go on: what was carried out already.

        Level 1 changes nothing for what is open.
        """
        if self._line.is_down:
            # Nothing can be carried out before the venue answers.
            return KillLevel.FLATTEN
        return max(self._obeyed, KillLevel.NO_OPENINGS)
