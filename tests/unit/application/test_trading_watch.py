"""A process keeps an account: what it does by the clock, after an outage, at a halt, at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date, datetime, time, timedelta
from itertools import pairwise

import pytest

from caopan.application import account_movements as movements
from caopan.application.line import Line
from caopan.application.pipeline import Pipeline
from caopan.application.ports.broker import Broker
from caopan.application.trading_watch import Ended, Pace, Stop, TradingWatch
from caopan.domain.accounting.bookings import BroughtLot
from caopan.domain.orders.order import OrderStatus
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import at_shanghai, shanghai
from caopan.kernel.errors import Conflict, CorruptState, Unavailable
from caopan.kernel.money import units
from caopan.testing.models import buy_action
from caopan.testing.sim_loop import LoopClock, simulate
from caopan.testing.table_desk import CASH, DAY, FIRST, SECOND, SESSIONS, TableDesk

S = OrderStatus
MINUTE = timedelta(minutes=1)


class Cable:
    """A Broker at the end of a cable that somebody can pull; notes when each call was made."""

    name = "sandbox"

    def __init__(self, venue: Broker) -> None:
        self._venue = venue
        self.is_pulled = False
        self.calls: list[tuple[datetime, str]] = []
        self.now: Callable[[], datetime]

    @property
    def capabilities(self):
        return self._venue.capabilities

    def __getattr__(self, method: str):
        async def call(*given: object):
            self.calls.append((self.now(), method))
            if self.is_pulled:
                raise Unavailable("BROKER_DISCONNECTED", "pulled")
            return await getattr(self._venue, method)(*given)

        return call


class Kept:
    """An account that is kept while a script of the test goes on."""

    def __init__(self, at: time = time(10), day: date = DAY) -> None:
        self.clock = LoopClock(at_shanghai(day, at))
        self.cables: list[Cable] = []
        self.desk = TableDesk(clock=self.clock, line=Line(), wrap=self._wired)
        self.stop = Stop()
        self.pace = Pace()
        self.also: list[datetime] = []
        self.told: list[tuple[str, dict[str, object]]] = []
        self.watch: TradingWatch

    def _wired(self, venue: Broker) -> Broker:
        cable = Cable(venue)
        cable.now = self.clock.now
        self.cables.append(cable)
        return cable  # type: ignore[return-value]

    @property
    def cable(self) -> Cable:
        return self.cables[0]

    async def compared(self) -> list[tuple[str, str]]:
        """Return each comparison: its trigger and when, Shanghai time."""
        async with self.desk.pipeline.seat.begin() as uow:
            return [
                (one.trigger, f"{shanghai(one.at):%H:%M}")
                for one in await uow.reconciliations.all()
            ]

    async def until(self, moment: time) -> None:
        await self.clock.pause(at_shanghai(DAY, moment) - self.clock.now())


async def _note(kept: Kept, pipeline: Pipeline) -> None:
    assert pipeline is kept.desk.pipeline
    kept.also.append(kept.clock.now())


async def _program(kept: Kept, script: Callable[[Kept], Awaitable[None]]) -> Kept:
    await kept.desk.open()
    pipeline = kept.desk.pipeline
    async with kept.desk.store.lease(pipeline.desk.run.run_id):
        await pipeline.reconcile("start")
        kept.watch = TradingWatch(
            pipeline,
            kept.stop,
            pace=kept.pace,
            tell=lambda name, values: kept.told.append((name, dict(values))),
            also=lambda given: _note(kept, given),
        )

        async def act() -> None:
            await script(kept)
            kept.stop.ask()

        async with asyncio.TaskGroup() as group:
            group.create_task(act())
            ended = group.create_task(kept.watch.run())
        assert ended.result() is Ended.STOPPED
    assert await kept.desk.agrees()
    report = await kept.desk.report()
    assert report.verification.verified
    return kept


def keep(kept: Kept, script: Callable[[Kept], Awaitable[None]], seed: int = 0) -> Kept:
    """Keep an account while `script` goes on; books and ledger must be whole at the end."""
    return simulate(_program(kept, script), seed)


def comparisons(kept: Kept) -> list[tuple[str, str]]:
    return simulate(kept.compared())


# --- by the clock -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begins", "ends", "triggers", "first", "last"),
    [
        (time(9, 5), time(9, 36), {"interval"}, "09:15", "09:35"),
        (time(11, 20), time(13, 12), {"interval"}, "11:25", "13:10"),
        (time(14, 52), time(15, 50), {"interval", "close"}, "14:57", "15:26"),
    ],
)
def test_it_compares_every_five_minutes_while_the_exchange_trades(
    begins, ends, triggers, first, last
):
    async def wait(kept: Kept) -> None:
        await kept.until(ends)

    found = comparisons(keep(Kept(begins), wait))
    assert found[0][0] == "start"
    assert {trigger for trigger, _ in found[1:]} == triggers
    times = [at for _, at in found[1:]]
    assert (times[0], times[-1]) == (first, last)
    minutes = [int(at[:2]) * 60 + int(at[3:]) for at in times]
    steps = [later - sooner for sooner, later in pairwise(minutes)]
    # Nothing trades at noon; the close is a comparison out of turn.
    assert all(3 <= step <= 6 for step in steps if step < 60)
    assert len([step for step in steps if step > 60]) == (begins == time(11, 20))


def test_the_close_is_compared_and_booked_once():
    async def close(kept: Kept) -> None:
        await kept.until(time(15, 10))

    kept = keep(Kept(time(14, 59)), close)
    assert [one for one in comparisons(kept) if one[0] == "close"] == [("close", "15:01")]
    assert kept.watch.tally.closes == 1
    point = kept.desk.pipeline.account.last_nav
    assert point is not None
    assert point.trading_day == DAY


def test_another_watch_of_the_same_day_does_not_close_it_again():
    async def twice(kept: Kept) -> None:
        await kept.until(time(15, 10))
        kept.stop.ask()
        await kept.clock.pause(MINUTE)
        again = TradingWatch(kept.desk.pipeline, Stop(), pace=kept.pace)
        await again.run(until=kept.clock.now() + MINUTE)

    found = comparisons(keep(Kept(time(14, 58)), twice))
    assert [trigger for trigger, _ in found].count("close") == 1


def test_on_a_day_without_trading_nothing_is_compared_by_the_clock():
    async def weekend(kept: Kept) -> None:
        await kept.clock.pause(20 * MINUTE)

    kept = Kept(time(14, 50), date(2023, 6, 3))
    found = comparisons(keep(kept, weekend))
    assert [trigger for trigger, _ in found] == ["start"]


def test_the_venue_is_heard_quickly_while_something_is_open_and_seldom_else():
    async def trade(kept: Kept) -> None:
        await kept.clock.pause(MINUTE)
        (order,) = await kept.desk.placed(buy_action(FIRST, 1_000, "10.00"))
        await kept.clock.pause(timedelta(seconds=10))
        kept.desk.counter.fill(order, 1_000)
        await kept.clock.pause(timedelta(seconds=0.5))
        assert (await kept.desk.order(order)).status is S.FILLED
        await kept.clock.pause(MINUTE)

    kept = keep(Kept(), trade)
    gaps = [later - sooner for sooner, later in pairwise(kept.also)]
    assert max(gaps) <= timedelta(seconds=2.1)
    # Two idle minutes of a turn every two seconds, ten seconds of three turns each.
    assert 80 < kept.watch.tally.turns < 110


# --- outages ----------------------------------------------------------------------------------


def out_for(length: timedelta) -> Callable[[Kept], Awaitable[None]]:
    async def script(kept: Kept) -> None:
        await kept.clock.pause(MINUTE)
        kept.cable.is_pulled = True
        await kept.clock.pause(length)
        kept.cable.is_pulled = False
        await kept.clock.pause(2 * MINUTE)

    return script


@pytest.mark.parametrize("seed", range(5))
def test_after_an_outage_both_sides_are_compared_before_an_order_leaves(seed):
    async def script(kept: Kept) -> None:
        first, waits = await kept.desk.placed(
            buy_action(FIRST, 1_000, "10.00"),
            buy_action(SECOND, 1_000, "10.00") | {"depends_on": 0},
        )
        await out_for(MINUTE)(kept)
        kept.cable.is_pulled = True
        kept.desk.counter.fill(first, 1_000)
        kept.desk.counter.place_outside(FIRST, first.side, units(10), 100)
        await kept.clock.pause(MINUTE)
        kept.cable.is_pulled = False
        await kept.clock.pause(MINUTE)
        assert (await kept.desk.order(waits)).status is S.ACCEPTED

    kept = keep(Kept(), script, seed)
    triggers = [trigger for trigger, _ in comparisons(kept)]
    assert triggers.count("reconnect") == 2
    names = [name for _, name in kept.cable.calls]
    back = len(names) - 1 - names[::-1].index("submit")
    # Between the outage and the order lie the questions of a comparison, all of them.
    since = names[:back][names.index("submit") + 1 :]
    assert {"orders", "fills", "account"} <= set(since[-12:])
    assert len(kept.desk.counter.sent) == 2
    assert kept.watch.tally.outages == 2


def test_the_waits_grow_to_a_limit_and_every_try_is_counted():
    kept = keep(Kept(), out_for(timedelta(minutes=10)))
    began = at_shanghai(DAY, time(10, 1))
    tries = [at for at, _ in kept.cable.calls if began < at < began + timedelta(minutes=10)]
    gaps = [later - sooner for sooner, later in pairwise(tries)]
    assert gaps == sorted(gaps)
    assert timedelta(seconds=29) < max(gaps) <= timedelta(seconds=31)
    assert len(tries) < 40
    assert abs(kept.watch.tally.failures - len(tries)) <= 1
    names = [name for name, _ in kept.told]
    assert names.count("line_lost") == 1
    assert ("agreed", "reconnect") in [(name, one.get("trigger")) for name, one in kept.told]


def test_nothing_else_is_done_while_the_venue_is_away():
    kept = keep(Kept(), out_for(timedelta(minutes=4)))
    began = at_shanghai(DAY, time(10, 1)) + timedelta(seconds=6)
    assert not [at for at in kept.also if began < at < began + timedelta(minutes=3, seconds=50)]
    assert kept.also[-1] > began + timedelta(minutes=4)


def test_a_line_opened_again_unasked_is_an_outage():
    async def script(kept: Kept) -> None:
        await kept.clock.pause(MINUTE)
        kept.desk.line.opened_again()
        await kept.clock.pause(timedelta(seconds=3))

    found = comparisons(keep(Kept(), script))
    assert [trigger for trigger, _ in found] == ["start", "reconnect"]


def test_a_failure_of_the_store_ends_the_watch_at_once():
    async def script() -> None:
        kept = Kept()
        await kept.desk.open()
        with pytest.raises(Conflict, match="RUN_NOT_LEASED"):
            await TradingWatch(kept.desk.pipeline, kept.stop).run()

    simulate(script())


def test_what_cannot_be_halts_the_account_and_is_raised():
    async def script() -> None:
        kept = Kept()
        await kept.desk.open()
        (order,) = await kept.desk.placed(buy_action(FIRST, 1_000, "10.00"))

        async def mad(*_: object) -> object:
            raise CorruptState("ORDER_EDGE", "what cannot be")

        kept.desk.counter.reports = mad  # type: ignore[method-assign]
        with pytest.raises(CorruptState, match="ORDER_EDGE"):
            await TradingWatch(kept.desk.pipeline, kept.stop).turn()
        async with kept.desk.pipeline.seat.begin() as uow:
            stood = await uow.controls.get()
        assert (stood.level, stood.by) == (KillLevel.NO_ORDERS, "trader")
        assert "what cannot be" in stood.reason
        assert (await kept.desk.order(order)).status is S.ACCEPTED

    simulate(script())


# --- halts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("is_pulled", [True, False])
def test_a_halt_is_carried_out_while_idle_and_compared_after(seed, is_pulled):
    async def script(kept: Kept) -> None:
        (order,) = await kept.desk.placed(buy_action(FIRST, 1_000, "10.00"))
        await kept.clock.pause(MINUTE)
        kept.cable.is_pulled = is_pulled
        kept.desk.lever.at = KillLevel.NO_ORDERS
        pulled = kept.clock.now()
        await kept.clock.pause(timedelta(seconds=20))
        kept.cable.is_pulled = False
        await kept.clock.pause(timedelta(seconds=40))
        assert (await kept.desk.order(order)).status is S.CANCELED
        if not is_pulled:
            assert kept.desk.counter.cancels[0][0] - pulled < timedelta(seconds=1)
        assert ("request", f"{shanghai(pulled):%H:%M}") in await kept.compared()
        asked = len(kept.also)
        await kept.clock.pause(MINUTE)
        assert len(kept.also) == asked
        kept.desk.lever.at = KillLevel.OFF
        await kept.clock.pause(timedelta(seconds=5))
        assert len(kept.also) > asked

    kept = keep(Kept(), script, seed)
    assert kept.watch.tally.halts == 1
    assert [name for name, _ in kept.told if name.startswith("halt")] == ["halted", "halt_over"]


def test_a_halt_ends_a_long_rest():
    async def script(kept: Kept) -> None:
        await kept.clock.pause(timedelta(seconds=20))
        kept.desk.lever.at = KillLevel.NO_ORDERS
        await kept.clock.pause(timedelta(seconds=1))
        assert kept.told[-1][0] == "agreed"
        assert kept.watch.tally.halts == 1

    kept = Kept()
    kept.pace = Pace(while_idle=timedelta(minutes=1))
    keep(kept, script)


def test_flattening_goes_on_where_it_was_held_back_and_floods_no_ledger():
    async def script(kept: Kept) -> None:
        lot = BroughtLot(FIRST, 1_000, units(10_000), SESSIONS[0])
        await movements.open_with(kept.desk.pipeline.seat, "file", CASH, [lot], "me")
        kept.desk.counter.move(**{FIRST: 1_000})
        kept.desk.lever.at = KillLevel.FLATTEN
        await kept.until(time(9, 14))
        # Before the auction nobody takes an order.
        assert kept.desk.counter.sent == []
        assert len(await kept.desk.cycles()) == 0
        await kept.until(time(9, 18))
        assert [order.qty for _, order in kept.desk.counter.sent] == [1_000]
        await kept.until(time(9, 40))
        assert len(await kept.desk.cycles()) == 1

    keep(Kept(time(9)), script)


# --- the end ----------------------------------------------------------------------------------


def test_a_stop_ends_a_long_rest_within_a_second_and_finishes_the_turn():
    async def script(kept: Kept) -> None:
        await kept.clock.pause(MINUTE)
        kept.cable.is_pulled = True
        await kept.clock.pause(2 * MINUTE)

    kept = Kept()
    simulated = keep_time(kept, script)
    assert simulated < timedelta(minutes=3, seconds=1)


def keep_time(kept: Kept, script: Callable[[Kept], Awaitable[None]]) -> timedelta:
    async def program() -> timedelta:
        began = kept.clock.now()
        await kept.desk.open()
        async with (
            kept.desk.store.lease(kept.desk.pipeline.desk.run.run_id),
            asyncio.TaskGroup() as group,
        ):
            group.create_task(TradingWatch(kept.desk.pipeline, kept.stop).run())
            await script(kept)
            kept.stop.ask()
        return kept.clock.now() - began

    return simulate(program())


def test_asked_to_stop_before_it_begins_it_takes_one_turn_and_decides_nothing():
    async def script() -> None:
        kept = Kept()
        await kept.desk.open()
        (order,) = await kept.desk.placed(buy_action(FIRST, 1_000, "10.00"))
        kept.desk.counter.fill(order, 1_000)
        kept.stop.ask()
        watch = TradingWatch(
            kept.desk.pipeline, kept.stop, also=lambda pipeline: _note(kept, pipeline)
        )
        assert await watch.run() is Ended.STOPPED
        assert (watch.tally.turns, kept.also) == (1, [])
        assert (await kept.desk.order(order)).status is S.FILLED

    simulate(script())


def test_a_watch_ends_when_its_time_is_up():
    async def script() -> None:
        kept = Kept()
        await kept.desk.open()
        async with kept.desk.store.lease(kept.desk.pipeline.desk.run.run_id):
            watch = TradingWatch(kept.desk.pipeline, kept.stop)
            end = kept.clock.now() + MINUTE
            assert await watch.run(until=end) is Ended.TIME_UP
        assert end <= kept.clock.now() < end + timedelta(seconds=5)

    simulate(script())


def test_a_difference_degrades_as_everywhere_and_the_watch_goes_on():
    async def script(kept: Kept) -> None:
        kept.desk.counter.move(cash=-units(5))
        await kept.until(time(10, 11))
        assert kept.desk.pipeline.seat.level() is KillLevel.NO_ORDERS
        assert kept.watch.tally.differed >= 2
        kept.desk.counter.move(cash=units(5))
        await kept.until(time(10, 20))
        last = kept.watch.tally.last
        assert last is not None
        assert last.passed
        # What it imposed only a person lifts.
        assert kept.desk.pipeline.seat.level() is KillLevel.NO_ORDERS

    keep(Kept(), script)
