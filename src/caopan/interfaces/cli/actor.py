"""`caopan actor`: a model's raw reply read without network or database; model checkers scored.

Owns the two commands and their rendering. Must never change a file or a ledger. Tests:
tests/integration/cli/test_actor_parse.py, tests/integration/chain/test_checker_scored.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.account import database_for
from caopan.interfaces.cli.decision_view import action_line, reason_line
from caopan.interfaces.cli.output import Cli, ExitCode, visible
from caopan.interfaces.cli.time_option import instant

if TYPE_CHECKING:
    from rich.console import Console

actor = typer.Typer(add_completion=False)
_File = typer.Option(metavar="FILE")
_MOST_SESSIONS = 250
_COUNTED = ("checker", "judged", "passed", "refused", "unanswered")


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


@actor.command("score")
def score(
    ctx: typer.Context,
    run: Annotated[int | None, typer.Option("--run", min=1)] = None,
    sessions: Annotated[int, typer.Option("--sessions", min=1, max=_MOST_SESSIONS)] = 5,
) -> None:
    """Show what became of what model checkers have passed."""
    from caopan.bootstrap.checker_scoring import score_checkers

    cli = Cli.of(ctx)
    with database_for(cli) as url:
        found = asyncio.run(score_checkers(url, cli.settings, run, sessions))
    cli.result(found, lambda console: _show_scores(cli, found, console))


def _show_scores(cli: Cli, found: dict[str, Any], console: Console) -> None:
    say: list[str] = []
    for one in found["checkers"]:
        say.append(cli.tr("score.checker", **{name: one[name] for name in _COUNTED}))
        say.append(cli.tr("score.gate", **one["gate"]))
        market = {"result": "—", **one["market"]}
        say.append(cli.tr("score.market", sessions=found["sessions"], **market))
    if not found["checkers"]:
        say.append(cli.tr("score.none", run=found["run_id"]))
    if "market_missing" in found:
        say.append(cli.tr("score.market_missing", why=found["market_missing"]))
    for line in say:
        console.print(visible(line), markup=False, soft_wrap=True)


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
