"""Halting and resuming: the database's flags, the ledger, and who carries it out.

Owns what follows a halt's file (halt_file.py writes that first), and `resume`, which removes the
file last, so that a failure on the way leaves trading stopped. Must never lower a level
while halting, nor lift one unless the books were found to agree with the venue's since, nor one
that was set while they were being compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from caopan.adapters.clock.system import SystemClock
from caopan.adapters.embedded.services import database_alone
from caopan.adapters.kill_switch.flag_file import (
    Flag,
    Trace,
    flag_path,
    halted_meanwhile,
    read_flag,
    remove_flag,
    trace_flag,
)
from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import Reconciliation, Run, RunKind, UnitOfWork
from caopan.bootstrap.halt_file import Operation
from caopan.domain.ledger.chain import Draft, Stage
from caopan.domain.market.reference import Exchange
from caopan.domain.orders.order import Order
from caopan.domain.risk.kill_switch import Control, KillLevel, Posture
from caopan.kernel.clock import iso, shanghai
from caopan.kernel.errors import CaopanError, ConfigInvalid, Conflict, Denied, Unavailable
from caopan.settings import Settings

_DATABASE_S: Final = 15.0
"""How long halting waits for the database; the file stands already."""
_ATTEMPTS: Final = 3


class CarriedOut(StrEnum):
    """Who cancels what is open after a halt."""

    NOT_NEEDED = "not_needed"
    """Nothing is open, or the level lets open orders stand."""
    BY_TRADER = "by_trader"
    """Another process holds the account; it sees the flag and cancels."""
    HERE = "here"
    NOBODY = "nobody"
    """Nobody holds the account and it could not be done here: a person cancels at the broker."""


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that may still trade."""

    order: Order
    cancelable_until: datetime | None
    """None where it cannot be cancelled now, or nobody can tell."""


@dataclass(frozen=True, slots=True)
class HaltedRun:
    """One account after a halt."""

    run: Run
    carried_out: CarriedOut
    problem: CaopanError | None
    """Why nobody did it here, or who else holds the account."""
    open_orders: Sequence[OpenOrder]


@dataclass(frozen=True, slots=True)
class Halted:
    """What a halt did in the database, and what it could not do."""

    problem: CaopanError | None
    """Why the database could not be written."""
    runs: Sequence[HaltedRun]


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a resume lifted."""

    runs: Sequence[Run]
    still: KillLevel
    """What still stands against them: for one account, the halt of all."""


# --- call sites of the execution controller -----------------------------------------------------


async def apply_halt(
    database_url: str, settings: Settings, run: Run
) -> tuple[CarriedOut, CaopanError | None]:
    """Cancel and flatten as the level asks, where no other process holds the account.

    Where it is not done here, the error tells who holds the account, or why nobody could.
    """
    from caopan.bootstrap.desks import Purpose, choice_of, sat_down  # noqa: PLC0415 - flags are written first

    try:
        choice, clock = choice_of(settings, run)
        # Sitting down at a halted desk carries the halt out.
        async with sat_down(database_url, settings, choice, clock, Purpose(to_trade=False)):
            return CarriedOut.HERE, None
    except CaopanError as problem:
        held = problem.code == "RUN_BUSY"
        return (CarriedOut.BY_TRADER if held else CarriedOut.NOBODY), problem


async def reconcile(database_url: str, settings: Settings, run: Run) -> Reconciliation | None:
    """Compare the books of `run` with its venue's now; None where no venue can be asked here."""
    from caopan.bootstrap.desks import Purpose, choice_of, sat_down  # noqa: PLC0415 - as above

    if run.kind is not RunKind.DESK:
        return None
    try:
        choice, clock = choice_of(settings, run)
    except ConfigInvalid:
        return None
    async with (
        sat_down(
            database_url, settings, choice, clock, Purpose(trigger="request", to_trade=False)
        ) as pipeline,
        pipeline.seat.begin() as uow,
    ):
        return (await uow.reconciliations.all())[-1]


# --- halt ---------------------------------------------------------------------------------------


def halt(settings: Settings, asked: Operation, at: datetime) -> Halted:
    """Write the database's flag and the ledger; a failure is told, not raised."""
    try:
        with database_alone(settings) as url:
            return Halted(None, asyncio.run(_halt_in_database(url, settings, asked, at)))
    except CaopanError as error:
        return Halted(error, ())
    except TimeoutError:
        late = Unavailable("DB_TIMEOUT", f"no answer within {_DATABASE_S:.0f} s")
        return Halted(late, ())


async def _halt_in_database(
    url: str, settings: Settings, asked: Operation, at: datetime
) -> Sequence[HaltedRun]:
    async with PostgresStore(url) as store:
        async with asyncio.timeout(_DATABASE_S):
            runs = await _affected(store, asked.run_id)
            if asked.run_id is None:
                await _raise_system(store, asked, at)
            for run in runs:
                await _raise_account(store, run, asked, at)
        return [await _after_halt(store, url, settings, run, asked.level, at) for run in runs]


async def _affected(store: PostgresStore, run_id: int | None) -> Sequence[Run]:
    """Return the desks that go on, or the one run that was named.

    Raises ConfigInvalid RUN_UNKNOWN.
    """
    if run_id is None:
        return list(reversed(await store.runs(RunKind.DESK, unfinished=True)))
    found = [run for run in await store.runs() if run.run_id == run_id]
    if not found:
        raise ConfigInvalid("RUN_UNKNOWN", f"there is no run {run_id}")
    return found


async def _raise_system(store: PostgresStore, asked: Operation, at: datetime) -> None:
    for attempt in range(_ATTEMPTS):
        present = await store.system_control()
        try:
            await store.put_system_control(_raised(present, asked, at))
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


async def _raise_account(store: PostgresStore, run: Run, asked: Operation, at: datetime) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            async with store.begin(run.run_id) as uow:
                if asked.run_id is not None:
                    await uow.controls.put(_raised(await uow.controls.get(), asked, at))
                await _record(uow, "halt", asked, at)
                await uow.commit()
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            return


def _raised(present: Control, asked: Operation, at: datetime) -> Control:
    level = max(present.level, asked.level)
    return Control(level, present.posture, asked.reason, asked.by, at, present.version + 1)


async def _record(uow: UnitOfWork, action: str, asked: Operation, at: datetime) -> None:
    """Append what was done; a chain begins with its run's configuration, never with this."""
    head = await uow.ledger.append([])
    if head.seq == 0:
        return
    payload = {
        "action": action,
        "by": asked.by,
        "level": int(asked.level),
        "reason": asked.reason,
        "scope": asked.scope,
    }
    await uow.ledger.append([Draft(Stage.OPERATOR_ACTION, at, payload)])


async def _after_halt(
    store: PostgresStore, url: str, settings: Settings, run: Run, level: KillLevel, at: datetime
) -> HaltedRun:
    carried_out, problem = CarriedOut.NOT_NEEDED, None
    if level >= KillLevel.NO_ORDERS and await _open_orders(store, run):
        carried_out, problem = await apply_halt(url, settings, run)
    orders = await _open_orders(store, run)
    until = await _cancelable_until(store, at) if orders else {}
    listed = [OpenOrder(one, until.get(Exchange(one.symbol[-2:]))) for one in orders]
    return HaltedRun(run, carried_out, problem, listed)


async def _open_orders(store: PostgresStore, run: Run) -> Sequence[Order]:
    async with store.begin(run.run_id) as uow:
        return await uow.orders.not_terminal()


async def _cancelable_until(store: PostgresStore, at: datetime) -> dict[Exchange, datetime | None]:
    # Heavy, and needed only to tell a person something: not before the flags are written.
    from caopan.adapters.rules.book import load_rules  # noqa: PLC0415 - flags are written first
    from caopan.bootstrap.markets import open_calendar  # noqa: PLC0415 - as above

    calendar = await open_calendar(store)
    phases = load_rules().market.phases
    found: dict[Exchange, datetime | None] = {}
    for exchange in Exchange:
        try:
            session = calendar.is_session(shanghai(at).date())
            found[exchange] = phases.cancelable_until(at, session=session, exchange=exchange)
        except CaopanError:
            # A day or an exchange nobody knows the hours of: halting goes on without them.
            found[exchange] = None
    return found


# --- resume -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Standing:
    """What stood against trading before the books were compared: only this may be lifted."""

    system: Control
    accounts: Mapping[int, Control]
    files: Mapping[Path, Trace | None]
    """What a resume of this scope removes."""


def resume(settings: Settings, asked: Operation) -> Resumed:
    """Lift a halt: rows and ledger first, the file last.

    Raises:
        Denied: RESUME_NOT_RECONCILED unless the newest comparison of every account since the halt
            found its books and the venue's equal.
        Conflict: HALTED_MEANWHILE if someone halted during this resume; that halt stands.
        Unavailable: if the database or the file cannot be reached; trading stays stopped.
    """
    with database_alone(settings) as url:
        runs, files = asyncio.run(_resume_in_database(url, settings, asked))
        for path, seen in files.items():
            remove_flag(path, seen)
        still = asyncio.run(_still(url, settings.home))
    return Resumed(runs, still)


async def _resume_in_database(
    url: str, settings: Settings, asked: Operation
) -> tuple[Sequence[Run], Mapping[Path, Trace | None]]:
    now = SystemClock().now()
    async with PostgresStore(url) as store:
        runs = await _affected(store, asked.run_id)
        standing = await _standing(store, settings.home, asked, runs)
        problems: list[str] = []
        for run in runs:
            problem = await _not_reconciled(store, url, settings, run, standing)
            if problem:
                problems.append(problem)
        if problems:
            raise Denied(
                "RESUME_NOT_RECONCILED",
                "\n".join(problems),
                remedy="run `caopan reconcile`, settle every difference, then resume",
            )
        await _refuse_changed(store, standing)
        for run in runs:
            await _lift_account(store, run, standing.accounts[run.run_id], asked, now)
        if asked.run_id is None and standing.system.level > KillLevel.OFF:
            try:
                await store.put_system_control(_lifted(standing.system, asked, now))
            except Conflict as error:
                raise halted_meanwhile("the control of all accounts was changed") from error
        return runs, standing.files


async def _standing(
    store: PostgresStore, home: Path, asked: Operation, runs: Sequence[Run]
) -> _Standing:
    numbers = [asked.run_id]
    if asked.run_id is None:
        numbers += [run.run_id for run in runs]
    paths = [flag_path(home, number) for number in numbers]
    files = {path: trace_flag(path) for path in paths}
    accounts: dict[int, Control] = {}
    for run in runs:
        async with store.begin(run.run_id) as uow:
            accounts[run.run_id] = await uow.controls.get()
    return _Standing(await store.system_control(), accounts, files)


async def _refuse_changed(store: PostgresStore, standing: _Standing) -> None:
    """Refuse before anything is lifted; each lifting looks again at what it lifts."""
    for path, seen in standing.files.items():
        if trace_flag(path) != seen:
            raise halted_meanwhile(f"{path} was written")
    if (await store.system_control()).version != standing.system.version:
        raise halted_meanwhile("the control of all accounts was changed")


async def _not_reconciled(
    store: PostgresStore, url: str, settings: Settings, run: Run, standing: _Standing
) -> str:
    """Return why `run` may not go on, or nothing."""
    account = standing.accounts[run.run_id]
    async with store.begin(run.run_id) as uow:
        past = await uow.reconciliations.all()
    flags = [read_flag(flag_path(settings.home, number)) for number in (None, run.run_id)]
    stopped: list[Control | Flag] = [account, standing.system, *flags]
    since = [one.at for one in stopped if one.level and one.at is not None]
    if not since and account.posture is Posture.NORMAL:
        return ""
    halted_at = max(since, default=account.at)
    newest = past[-1] if past else None
    if newest is None or (halted_at is not None and newest.at <= halted_at):
        newest = await reconcile(url, settings, run)
    name = f"run {run.run_id} ({run.account_id})"
    if newest is None:
        when = "" if halted_at is None else f" since {iso(halted_at)}"
        return f"{name}: its books were not compared with the venue's{when}"
    if not newest.passed:
        return f"{name}: {len(newest.differences)} difference(s) found at {iso(newest.at)}"
    return ""


async def _lift_account(
    store: PostgresStore, run: Run, seen: Control, asked: Operation, now: datetime
) -> None:
    changed = halted_meanwhile(f"the control of run {run.run_id} ({run.account_id}) was changed")
    try:
        async with store.begin(run.run_id) as uow:
            if (await uow.controls.get()).version != seen.version:
                raise changed
            if seen.level > KillLevel.OFF or seen.posture is not Posture.NORMAL:
                await uow.controls.put(_lifted(seen, asked, now))
            await _record(uow, "resume", asked, now)
            await uow.commit()
    except Conflict as error:
        if error.code != "CONTROL_VERSION":
            raise
        raise changed from error


def _lifted(present: Control, asked: Operation, now: datetime) -> Control:
    return replace(Control(), reason=asked.reason, by=asked.by, at=now, version=present.version + 1)


async def _still(url: str, home: Path) -> KillLevel:
    async with PostgresStore(url) as store:
        system = await store.system_control()
    return max(system.level, read_flag(flag_path(home)).level)
