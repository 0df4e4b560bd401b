"""`caopan halt` and `caopan resume`: stop trading now; let it go on.

Owns both commands and what a person reads of them. Must never ask before halting. Tests:
tests/integration/kill_switch/test_cli.py.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from caopan.domain.risk.kill_switch import KillLevel
from caopan.interfaces.cli.output import Cli, ExitCode
from caopan.kernel.clock import iso, shanghai
from caopan.kernel.errors import CaopanError, ConfigInvalid

if TYPE_CHECKING:
    from rich.console import Console

    from caopan.bootstrap.control import Halted, HaltedRun
    from caopan.bootstrap.halt_file import HaltFile

_ALL: Final = "all"
_DEFAULT_REASON: Final = "halted from the command line"


def halt(
    ctx: typer.Context,
    level: Annotated[int, typer.Option("--level", min=1, max=3)] = int(KillLevel.NO_ORDERS),
    reason: Annotated[str, typer.Option("--reason")] = _DEFAULT_REASON,
    run: Annotated[str, typer.Option("--run", metavar="N|all")] = _ALL,
) -> None:
    """Stop trading: the file first, then the database."""
    cli = Cli.of(ctx)
    from caopan.bootstrap.halt_file import Operation, write_halt_file

    said = reason.strip() or _DEFAULT_REASON
    asked = Operation(said, operator_name(), _run_id(run), KillLevel(level))
    file = write_halt_file(cli.settings, asked)
    # Trading stops by now; what follows may take the time it needs.
    from caopan.bootstrap.control import halt as carry_out

    done = carry_out(cli.settings, asked, file.at)
    payload: dict[str, Any] = {
        "level": int(file.level),
        "scope": asked.scope,
        "file": {"path": str(file.path), **_written(file.problem)},
        "database": _written(done.problem),
        "runs": [_run_json(one) for one in done.runs],
    }
    cli.result(payload, lambda console: _show(cli, file, done, console))
    if file.problem is not None and done.problem is not None:
        raise typer.Exit(ExitCode.OUT_OF_REACH)


def resume(
    ctx: typer.Context,
    reason: Annotated[str, typer.Option("--reason")],
    run: Annotated[str, typer.Option("--run", metavar="N|all")] = _ALL,
) -> None:
    """Let trading go on, if the books were found to agree with the venue's since the halt."""
    cli = Cli.of(ctx)
    from caopan.bootstrap.control import resume as carry_out
    from caopan.bootstrap.halt_file import Operation

    if not reason.strip():
        raise ConfigInvalid("REASON_MISSING", "--reason is empty", remedy="say why trading goes on")
    done = carry_out(cli.settings, Operation(reason.strip(), operator_name(), _run_id(run)))
    payload = {
        "resumed": [{"run_id": one.run_id, "account_id": one.account_id} for one in done.runs],
        "level": int(done.still),
    }

    def show(console: Console) -> None:
        _line(console, cli.tr("resume.done", count=len(done.runs)))
        if done.still > KillLevel.OFF:
            _line(console, cli.tr("resume.still", level=int(done.still)))

    cli.result(payload, show)


def _run_id(told: str) -> int | None:
    if told == _ALL:
        return None
    if not told.isascii() or not told.isdecimal() or int(told) < 1:
        raise ConfigInvalid(
            "RUN_INVALID", f"--run {told!r} is no run", remedy="give its number, or all"
        )
    return int(told)


def operator_name() -> str:
    """Return who is at the keyboard, as the system knows them."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _written(problem: CaopanError | None) -> dict[str, Any]:
    return {"written": problem is None, "problem": _told(problem)}


def _told(problem: CaopanError | None) -> dict[str, str] | None:
    return None if problem is None else {"code": problem.code, "message": problem.message}


def _run_json(one: HaltedRun) -> dict[str, Any]:
    return {
        "run_id": one.run.run_id,
        "account_id": one.run.account_id,
        "cancelled_by": one.carried_out.value,
        "problem": _told(one.problem),
        "open_orders": [
            {
                "client_order_id": held.order.client_order_id,
                "symbol": held.order.symbol,
                "side": held.order.side.value,
                "status": held.order.status.value,
                "open_qty": held.order.open_qty,
                "cancelable_until": held.cancelable_until and iso(held.cancelable_until),
            }
            for held in one.open_orders
        ],
    }


def _show(cli: Cli, file: HaltFile, done: Halted, console: Console) -> None:
    if file.problem is None:
        _line(console, cli.tr("halt.file", level=int(file.level), path=str(file.path)))
    else:
        _line(console, cli.tr("halt.no_file", problem=str(file.problem)))
    if done.problem is None:
        _line(console, cli.tr("halt.database", count=len(done.runs)))
    else:
        _line(console, cli.tr("halt.no_database", problem=str(done.problem)))
        key = "halt.file_stands" if file.problem is None else "halt.nothing_stands"
        _line(console, cli.tr(key))
    for one in done.runs:
        name = cli.tr("halt.run", run_id=one.run.run_id, account=one.run.account_id)
        why = "" if one.problem is None else one.problem.message
        done_by = cli.tr(f"halt.carried_out.{one.carried_out.value}", problem=why)
        _line(console, f"{name} {done_by}")
        for held in one.open_orders:
            order, until = held.order, held.cancelable_until
            when = f"{shanghai(until):%H:%M:%S}" if until else cli.tr("halt.not_now")
            values = {"symbol": order.symbol, "qty": order.open_qty, "until": when}
            status, tag = order.status.value, order.client_order_id
            text = cli.tr("halt.order", side=order.side.value, status=status, tag=tag, **values)
            _line(console, f"  {text}")


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)
