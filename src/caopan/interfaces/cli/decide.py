"""`caopan decide`: one decision without acting, asked once or several times.

Owns the command's options and its rendering. Must never act: what is carried out is `caopan
cycle`'s. Tests: tests/integration/cli/test_decide.py.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.cycle import read_moment
from caopan.interfaces.cli.decision_view import action_line, reason_line
from caopan.interfaces.cli.output import Cli, ExitCode, visible
from caopan.interfaces.cli.replay import MOST_SEED
from caopan.kernel.errors import ConfigInvalid

if TYPE_CHECKING:
    from rich.console import Console

_MOST_REPEATS = 100
_UNREADABLE = "MODEL_PARSE_FAIL"


def decide(
    ctx: typer.Context,
    *,
    model: Annotated[str | None, typer.Option("--model")] = None,
    observation: Annotated[Path | None, typer.Option("--observation", metavar="FILE")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run")] = False,
    repeat: Annotated[int, typer.Option("--repeat", min=1, max=_MOST_REPEATS)] = 1,
    data: Annotated[Path | None, typer.Option("--data")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED)] = 7,
) -> None:
    """Ask a model for a decision and show what the checkers say of it."""
    cli = Cli.of(ctx)
    if observation is not None:
        from caopan.bootstrap.deciding import decide_on_file

        found = asyncio.run(decide_on_file(cli.settings, model, observation, repeat))
    elif dry_run:
        found = _on_desk(cli, model, data, at, seed, repeat)
    else:
        raise ConfigInvalid(
            "DRY_RUN_NEEDED",
            "a decision on the desk that is acted on is made by `caopan cycle`",
            remedy="use `caopan cycle --model …`, or give --dry-run or --observation FILE here",
        )
    cli.result(found, lambda console: _show(cli, found, console))
    code = _exit_code(found)
    if code:
        raise typer.Exit(code)


def _on_desk(
    cli: Cli, model: str | None, data: Path | None, at: str | None, seed: int, repeat: int
) -> dict[str, Any]:
    from caopan.adapters.embedded.services import services
    from caopan.bootstrap.desk_glimpse import decide_on_desk
    from caopan.bootstrap.desks import DeskChoice

    choice = DeskChoice(model=model, data=data, seed=seed)
    moment = read_moment(at)
    with services(cli.settings) as servers:
        return asyncio.run(
            decide_on_desk(servers.database_url, cli.settings, choice, moment, repeat)
        )


def _exit_code(found: dict[str, Any]) -> ExitCode:
    """Return 0 where a decision passed, of several any that could be read, else why there is none.

    Several are a measurement: what the checkers refuse of them is a result.
    """
    decisions = found["decisions"]
    if any(one["decision"] is not None for one in decisions):
        passed = len(decisions) > 1 or decisions[0]["pass"]
        return ExitCode.OK if passed else ExitCode.RISK_REFUSED
    outcomes = {one["outcome"] for one in decisions}
    return ExitCode.RISK_REFUSED if outcomes == {_UNREADABLE} else ExitCode.OUT_OF_REACH


def _show(cli: Cli, found: dict[str, Any], console: Console) -> None:
    say: list[str] = []
    if found.get("desk", {}).get("data", {}).get("synthetic"):
        say.append(cli.tr("run.synthetic"))
    label = "" if found["is_language_model"] else f" ({cli.tr('run.not_a_model')})"
    say.append(cli.tr("story.model", model=found["model"], label=label))
    for one in found["decisions"]:
        if len(found["decisions"]) > 1:
            say.append(cli.tr("decide.number", number=one["number"]))
        say += _decision(cli, one)
    if "agreement" in found:
        say += _agreement(cli, found["agreement"])
    if "desk" in found and found["desk"]["open_orders"]:
        say.append(cli.tr("decide.open_orders", count=found["desk"]["open_orders"]))
    say.append(cli.tr("decide.nothing_done"))
    for line in say:
        console.print(visible(line), markup=False, soft_wrap=True)


def _decision(cli: Cli, one: dict[str, Any]) -> list[str]:
    if one["decision"] is None:
        say = [cli.tr("decide.none", code=one["outcome"])]
        return [*say, *(f"  {error}" for error in one["errors"]), *_cost(cli, one)]
    actions = one["decision"]["actions"]
    say = [f"  [{n}] {action_line(action)}" for n, action in enumerate(actions)]
    fixes = ", ".join(one["fixes"])
    say.append(cli.tr("actor.fixes", fixes=fixes) if fixes else cli.tr("actor.no_fixes"))
    say.append(cli.tr("actor.checked" if one["pass"] else "actor.refused"))
    say += [reason_line(cli, reason) for reason in one["checker"]["reasons"]]
    if one["findings"]:
        say.append(cli.tr("actor.findings"))
        say += [reason_line(cli, finding) for finding in one["findings"]]
    if "model_checker" in one:
        second = one["model_checker"]
        key = "decide.second_passed" if second["pass"] else "decide.second_refused"
        say.append(cli.tr(key, model=second["model"], outcome=second["outcome"]))
    return [*say, *_cost(cli, one)]


def _cost(cli: Cli, one: dict[str, Any]) -> list[str]:
    """Return what was asked and how long it took, as far as anybody counted."""

    def total(name: str) -> int | str:
        counts = [call[name] for call in one["calls"] if name in call]
        return sum(counts) if counts else "—"

    say = [
        cli.tr(
            "decide.cost",
            calls=len(one["calls"]),
            ms=one["latency_ms"],
            prompt=total("tokens_prompt"),
            completion=total("tokens_completion"),
        )
    ]
    if "prompt_tokens" in one:
        named = {name: one[name] for name in ("prompt_version", "prompt_tokens")}
        say.append(cli.tr("decide.prompt", **named))
    return say


def _agreement(cli: Cli, found: dict[str, Any]) -> list[str]:
    say = [cli.tr("decide.valid", asked=found["asked"], valid=found["valid"])]
    for name, share in found.get("by_action", {}).items():
        say.append(f"  {share:>6.0%}  {name}")
    if "unanimous_share" in found:
        say.append(cli.tr("decide.unanimous", share=f"{found['unanimous_share']:.0%}"))
        actions = ", ".join(action_line(action) for action in found["majority"])
        say.append(cli.tr("decide.majority", actions=actions))
    return say
