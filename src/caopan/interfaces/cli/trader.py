"""`caopan trader`: keep one account until somebody stops it.

Owns the command, its signals and the lines that say what happens. Must never act at the second
signal: that one ends the process as a crash would. Tests: tests/integration/trader.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from caopan.interfaces.cli.account import database_for
from caopan.interfaces.cli.broker_door import read_door
from caopan.interfaces.cli.cycle import read_moment
from caopan.interfaces.cli.money_text import grouped
from caopan.interfaces.cli.output import Cli, ExitCode
from caopan.interfaces.cli.replay import MOST_SEED
from caopan.kernel.clock import iso, shanghai
from caopan.kernel.errors import ConfigInvalid

if TYPE_CHECKING:
    from rich.console import Console

    from caopan.application.trading_watch import Stop, Tell
    from caopan.bootstrap.trader import TraderOutcome, TraderRequest
    from caopan.kernel.clock import Clock

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_LEAST_MINUTES: Final = 0.05
_MOST_MINUTES: Final = 240.0


def trader(
    ctx: typer.Context,
    *,
    account: Annotated[str | None, typer.Option("--account")] = None,
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
    data: Annotated[Path | None, typer.Option("--data")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, max=MOST_SEED)] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME")] = None,
    reconcile_every: Annotated[
        float,
        typer.Option("--reconcile-every", metavar="MINUTES", min=_LEAST_MINUTES, max=_MOST_MINUTES),
    ] = 5.0,
    broker: Annotated[str | None, typer.Option("--broker", metavar="SOCKET|PORT")] = None,
    token_file: Annotated[Path | None, typer.Option("--token-file")] = None,
    once: Annotated[bool, typer.Option("--once")] = False,
) -> None:
    """Keep an account; exit 1 if --once found its books to differ."""
    cli = Cli.of(ctx)
    from caopan.application.trading_watch import Pace
    from caopan.bootstrap.accounts import clock_at, find_account, find_run
    from caopan.bootstrap.desks import DeskChoice, choice_of
    from caopan.bootstrap.trader import TraderRequest, running_clock

    if sum(one is not None for one in (account, run, data, seed)) > 1:
        raise ConfigInvalid(
            "USAGE", "--account, --run, --data and --seed each name the desk: give one"
        )
    moment, door = read_moment(at), read_door(cli, broker, token_file)
    with database_for(cli) as url:
        if data is not None or seed is not None:
            choice = DeskChoice(data=data, seed=7 if seed is None else seed)
            noted: Clock = clock_at(moment)
        else:
            if account is not None:
                found = asyncio.run(find_account(url, account.strip()))
            else:
                found = asyncio.run(find_run(url, run, desk=True))
            choice, noted = choice_of(cli.settings, found)
        request = TraderRequest(
            choice=choice,
            clock=running_clock(moment, noted),
            door=door,
            pace=Pace(reconcile_every=timedelta(minutes=reconcile_every)),
            once=once,
        )
        done = asyncio.run(_keep(cli, url, request))
    cli.result(_outcome_json(done), lambda console: _show(cli, done, console))
    last = done.tally.last
    if once and (last is None or not last.passed):
        raise typer.Exit(ExitCode.FAILED)


async def _keep(cli: Cli, url: str, request: TraderRequest) -> TraderOutcome:
    from caopan.application.trading_watch import Stop
    from caopan.bootstrap.trader import run_trader

    stop, loop = Stop(), asyncio.get_running_loop()

    def ask(number: signal.Signals) -> None:
        cli.note("trader.stopping", name=number.name)
        _stop_once(stop, loop)

    for number in _SIGNALS:
        loop.add_signal_handler(number, ask, number)
    try:
        return await run_trader(url, cli.settings, request, stop, _teller(cli, request.clock))
    finally:
        _stop_once(stop, loop)


def _stop_once(stop: Stop, loop: asyncio.AbstractEventLoop) -> None:
    """Ask to stop, and give the signals their usual meaning back."""
    stop.ask()
    for number in _SIGNALS:
        loop.remove_signal_handler(number)


def _teller(cli: Cli, clock: Clock) -> Tell:
    """Return what tells a person, in plain words, what happens."""

    def tell(name: str, values: Mapping[str, object]) -> None:
        words = dict(values)
        if "trigger" in words:
            words["trigger"] = cli.tr(f"trader.trigger.{words['trigger']}")
        if "posture" in words:
            words["posture"] = cli.tr(f"posture.{words['posture']}")
        if "level" in words:
            words["level"] = cli.tr(f"kill_level.{words['level']}")
        if isinstance(nav := words.get("nav"), int):
            words["nav"] = grouped(nav)
        cli.note(
            "trader.line",
            time=f"{shanghai(clock.now()):%m-%d %H:%M:%S}",
            text=cli.tr(f"trader.{name}", **words),
        )

    return tell


def _outcome_json(done: TraderOutcome) -> dict[str, Any]:
    tally, last = done.tally, done.tally.last
    return {
        "run_id": done.run_id,
        "account_id": done.account_id,
        "turns": tally.turns,
        "comparisons": dict(tally.comparisons),
        "differed": tally.differed,
        "closes": tally.closes,
        "halts": tally.halts,
        "outages": tally.outages,
        "failures": tally.failures,
        "last": None
        if last is None
        else {
            "at": iso(last.at),
            "trigger": last.trigger,
            "passed": last.passed,
            "differences": [dict(one) for one in last.differences],
        },
    }


def _show(cli: Cli, done: TraderOutcome, console: Console) -> None:
    tally = done.tally
    values = {
        "run": done.run_id,
        "account": done.account_id,
        "comparisons": sum(tally.comparisons.values()),
        "differed": tally.differed,
        "outages": tally.outages,
        "halts": tally.halts,
    }
    console.print(cli.tr("trader.stopped", **values), soft_wrap=True, markup=False)
