"""Days of history, one decision each, through the pipeline.

Owns the order of a simulated day (entitlements, decision in the opening auction, settlement after
the close, NAV) and where a killed replay goes on. Must never look at a bar before the clock has
passed it: the decision is made at 09:16, the bar is known at 15:00.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import date, time

from caopan.application.pipeline import Pipeline
from caopan.application.replay.benchmark import BuyAndHold
from caopan.application.replay.clock import ReplayClock
from caopan.kernel.clock import at_shanghai

SLOT = "open_auction"
DECIDE_AT = time(9, 16)
SETTLE_AT = time(15, 1)


@dataclass(frozen=True, slots=True)
class ReplayPlan:
    """Which days, with how much money (units)."""

    days: Sequence[date]
    cash: int


async def _nothing(_day: date) -> None:
    """Let a day pass."""


async def replay(
    pipeline: Pipeline,
    clock: ReplayClock,
    plan: ReplayPlan,
    on_day: Callable[[date, int], None] = lambda _day, _nav: None,
    during: Callable[[date], Awaitable[None]] = _nothing,
) -> None:
    """Run the plan from wherever it was left; `on_day` is told each day closed and its NAV.

    `during` is what else happens on a day between its decision and its close; on a day that is
    taken up again it happens again, and must know what it has done.
    """
    await _stand_where_left(pipeline, clock)
    await pipeline.start(plan.cash)
    yardstick = BuyAndHold(pipeline.desk.market, plan.cash)
    marked = pipeline.account.last_nav
    for day in plan.days:
        closing = at_shanghai(day, SETTLE_AT)
        if marked is not None and day <= marked.trading_day:
            if closing > clock.now():
                clock.set(closing)
            yardstick.step(day, clock.now())
            continue
        await _play_day(pipeline, clock, day, during)
        benchmark = yardstick.step(day, clock.now())
        point = await pipeline.close_day(day, benchmark)
        on_day(day, point.nav)


async def _play_day(
    pipeline: Pipeline,
    clock: ReplayClock,
    day: date,
    during: Callable[[date], Awaitable[None]],
) -> None:
    opening = at_shanghai(day, DECIDE_AT)
    if clock.now() < opening:
        clock.set(opening)
    await pipeline.open_day(day)
    if not await _decided(pipeline, day):
        await pipeline.run_cycle(SLOT, day)
    await during(day)
    clock.set(at_shanghai(day, SETTLE_AT))
    await pipeline.settle()
    await pipeline.reconcile("close")


async def _stand_where_left(pipeline: Pipeline, clock: ReplayClock) -> None:
    """Put the clock where the last decision was made, so that it goes on at its own time."""
    async with pipeline.desk.store.begin(pipeline.desk.run.run_id) as uow:
        newest = await uow.cycles.last()
    if newest is not None and newest.opened_at > clock.now():
        clock.set(newest.opened_at)


async def _decided(pipeline: Pipeline, day: date) -> bool:
    async with pipeline.desk.store.begin(pipeline.desk.run.run_id) as uow:
        newest = await uow.cycles.last()
        if newest is None or newest.trading_day != day:
            return False
        # Orders placed by hand, ours or not, are decisions of the day too, and newer.
        return any((one.trading_day, one.slot) == (day, SLOT) for one in await uow.cycles.all())
