"""One decision now, on the desk's own continuous run.

Owns `caopan cycle`: what is asked for and what came of it. Must never let the desk's clock go back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from caopan.adapters.clock.system import SystemClock
from caopan.application.line import Line
from caopan.application.replay.clock import ReplayClock
from caopan.bootstrap.broker_line import BrokerDoor
from caopan.bootstrap.desks import (
    DeskChoice,
    Keeper,
    Purpose,
    process_name,
    sat_down,
    session_in_hand,
)
from caopan.domain.decision.cycle import Cycle
from caopan.kernel.clock import Clock, shanghai
from caopan.settings import Settings


@dataclass(frozen=True, slots=True)
class CycleRequest:
    """What a person asked for. Cash in units."""

    cash: int
    model: str | None
    data: Path | None
    seed: int
    at: datetime | None
    """Aware; None means now."""
    door: BrokerDoor | None = None
    """Where the broker's process listens; None: the sandbox lives in this process."""


@dataclass(frozen=True, slots=True)
class CycleOutcome:
    """The decision made, and on what."""

    run_id: int
    cycle: Cycle
    model_alias: str
    is_language_model: bool
    data_label: str
    synthetic: bool


async def run_cycle(database_url: str, settings: Settings, request: CycleRequest) -> CycleOutcome:
    """Make one decision and return it.

    Raises:
        Denied: DATA_CALENDAR outside the calendar's years, DATA_STALE if the data ends before the
            day to decide on, RISK_KILL_SWITCH while trading is halted.
        ConfigInvalid: CLOCK_BACKWARDS if `at` lies before the desk's last decision.
        Conflict: RUN_BUSY if another process is deciding.
        Unavailable: BROKER_DISCONNECTED or BROKER_BUILD, where a broker's process is named.
    """
    choice = DeskChoice(
        cash=request.cash, model=request.model, data=request.data, seed=request.seed
    )
    clock: Clock = SystemClock() if request.at is None else ReplayClock(request.at)
    keeper = None if request.door is None else Keeper(process_name(), Line(), request.door)
    purpose = Purpose(create=True, keeper=keeper)
    async with sat_down(database_url, settings, choice, clock, purpose) as pipeline:
        slot = f"{shanghai(clock.now()):%H:%M:%S.%f}"
        cycle = await pipeline.run_cycle(slot, session_in_hand(pipeline.desk.calendar, clock))
    desk = pipeline.desk
    return CycleOutcome(
        desk.run.run_id,
        cycle,
        desk.model.alias,
        desk.model.is_language_model,
        desk.market.info.label,
        desk.market.info.synthetic,
    )
