"""`caopan gate check`: the risk gate on four files, without database or network.

Owns the command and its rendering. Must never change a file. Tests:
tests/integration/cli/test_gate.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.output import Cli, ExitCode, visible
from caopan.interfaces.cli.risk import reason_lines
from caopan.interfaces.cli.time_option import instant

if TYPE_CHECKING:
    from rich.console import Console

gate = typer.Typer(add_completion=False)
_File = typer.Option(metavar="FILE")


@gate.command("check")
def check(
    ctx: typer.Context,
    observation: Annotated[Path, _File],
    decision: Annotated[Path, _File],
    account: Annotated[Path, _File],
    policy: Annotated[Path, _File],
    at: Annotated[str | None, typer.Option("--at", metavar="TIME")] = None,
) -> None:
    """Judge a decision; exit 4 if any action is refused."""
    from caopan.bootstrap.gate_check import gate_check

    cli = Cli.of(ctx)
    result = gate_check(observation, decision, account, policy, instant(at))
    cli.result(result, lambda console: _show(cli, result, console))
    if not result["pass"]:
        raise typer.Exit(ExitCode.RISK_REFUSED)


def _show(cli: Cli, result: dict[str, Any], console: Console) -> None:
    mended = {one["action_index"]: one for one in result["corrections"]}
    for verdict in result["verdicts"]:
        for line in reason_lines(cli, verdict, mended.get(verdict["action_index"])):
            console.print(visible(line), markup=False, soft_wrap=True)
    key = "gate.passed" if result["pass"] else "gate.refused"
    console.print(cli.tr(key, version=result["policy_version"]), markup=False, soft_wrap=True)
