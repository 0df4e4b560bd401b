"""`caopan actor parse`: a model's raw reply on an observation, without network or database.

Owns the command and its rendering. Must never change a file. Tests:
tests/integration/cli/test_actor_parse.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.decision_view import action_line, reason_line
from caopan.interfaces.cli.output import Cli, ExitCode, visible
from caopan.interfaces.cli.time_option import instant

if TYPE_CHECKING:
    from rich.console import Console

actor = typer.Typer(add_completion=False)
_File = typer.Option(metavar="FILE")


@actor.command("parse")
def parse(
    ctx: typer.Context,
    observation: Annotated[Path, _File],
    reply: Annotated[Path, _File],
    at: Annotated[str | None, typer.Option("--at", metavar="TIME")] = None,
) -> None:
    """Read a reply and check it; exit 4 if it cannot be read or the checker refuses it."""
    from caopan.bootstrap.reply_check import reply_check

    cli = Cli.of(ctx)
    result = reply_check(observation, reply, instant(at))
    cli.result(result, lambda console: _show(cli, result, console))
    if not result["pass"]:
        raise typer.Exit(ExitCode.RISK_REFUSED)


def _show(cli: Cli, result: dict[str, Any], console: Console) -> None:
    say: list[str] = []
    if result["decision"] is None:
        say.append(cli.tr("actor.unreadable"))
        say += [f"  {error}" for error in result["errors"]]
    else:
        say.append(cli.tr("actor.read", actions=len(result["decision"]["actions"])))
        say += [
            f"  [{n}] {action_line(one)}" for n, one in enumerate(result["decision"]["actions"])
        ]
        fixes = ", ".join(result["fixes"])
        say.append(cli.tr("actor.fixes", fixes=fixes) if fixes else cli.tr("actor.no_fixes"))
        say.append(cli.tr("actor.checked" if result["pass"] else "actor.refused"))
        say += [reason_line(cli, one) for one in result["checker"]["reasons"]]
        if result["findings"]:
            say.append(cli.tr("actor.findings"))
            say += [reason_line(cli, one) for one in result["findings"]]
    for line in say:
        console.print(visible(line), markup=False, soft_wrap=True)
