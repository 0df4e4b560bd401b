"""`caopan prompt`: templates listed, rendered, compared and tried, without network or database.

Owns the four commands and their rendering. Must never change a file. Tests:
tests/integration/cli/test_prompt.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.output import Cli, ExitCode, visible

if TYPE_CHECKING:
    from rich.console import Console

prompt = typer.Typer(add_completion=False)
_Template = Annotated[str, typer.Argument(metavar="TEMPLATE")]
_HASH_DIGITS = 12


@prompt.command("ls")
def ls(ctx: typer.Context) -> None:
    """List the bundled templates and those of this home."""
    from caopan.bootstrap.prompts import list_templates

    cli = Cli.of(ctx)
    found = list_templates(cli.settings)

    def show(console: Console) -> None:
        for one in found:
            place = cli.tr("prompt.bundled" if one["bundled"] else "prompt.own")
            title = f"{one['name']}  {one['role']}  {one['hash'][:_HASH_DIGITS]}  {place}"
            _say(console, title, f"    {one['change_log']}")

    cli.result({"templates": found}, show)


@prompt.command("render")
def render(
    ctx: typer.Context,
    template: _Template,
    observation: Annotated[Path, typer.Option("--observation", metavar="FILE")],
    budget: Annotated[int | None, typer.Option("--budget", min=1)] = None,
    proposal: Annotated[Path | None, typer.Option("--proposal", metavar="FILE")] = None,
) -> None:
    """Show the messages that a model would be sent on an observation."""
    from caopan.bootstrap.prompts import RenderRequest, render_template

    cli = Cli.of(ctx)
    request = RenderRequest(template, observation, proposal=proposal)
    if budget is not None:
        request = RenderRequest(template, observation, budget, proposal)
    found = render_template(cli.settings, request)

    def show(console: Console) -> None:
        for message in found["messages"]:
            _say(console, f"=== {message['role']}", *message["content"].split("\n"), "")
        named = {name: found[name] for name in ("tokens", "budget_tokens", "template", "fence")}
        _say(console, cli.tr("prompt.tokens", **named))
        _say(console, cli.tr("prompt.fence", **named))
        _say(console, *_left_out(cli, found["left_out"]))

    cli.result(found, show)


@prompt.command("diff")
def diff(
    ctx: typer.Context,
    one: Annotated[str, typer.Argument(metavar="A")],
    other: Annotated[str, typer.Argument(metavar="B")],
) -> None:
    """Show what differs between two templates."""
    from caopan.bootstrap.prompts import compare_templates

    cli = Cli.of(ctx)
    found = compare_templates(cli.settings, one, other)
    same = [cli.tr("prompt.same")]
    cli.result(found, lambda console: _say(console, *(found["diff"] or same)))


@prompt.command("test")
def try_(
    ctx: typer.Context,
    template: _Template,
    observation: Annotated[Path | None, typer.Option("--observation", metavar="FILE")] = None,
) -> None:
    """Check a template and render it on small and on largest input; exit 1 for any fault."""
    from caopan.bootstrap.prompts import try_template

    cli = Cli.of(ctx)
    found = try_template(cli.settings, template, observation)

    def show(console: Console) -> None:
        for one in found["renderings"]:
            told = {"input": cli.tr(f"prompt.input.{one['input']}"), "tokens": one["tokens"]}
            _say(console, cli.tr("prompt.rendered", **told, ms=one["ms"]))
            _say(console, *_left_out(cli, one["left_out"]))
        for fault in found["faults"]:
            where = f"{cli.tr('prompt.input.' + fault['input'])}: " if "input" in fault else ""
            _say(console, f"{where}{fault['code']}: {fault['message']}")
        key = "prompt.sound" if found["pass"] else "prompt.faulty"
        _say(console, cli.tr(key, template=found["template"]))

    cli.result(found, show)
    if not found["pass"]:
        raise typer.Exit(ExitCode.FAILED)


def _left_out(cli: Cli, left_out: dict[str, Any]) -> list[str]:
    if not left_out:
        return [cli.tr("prompt.nothing_left_out")]
    parts = [f"{cli.tr(f'prompt.part.{name}')} {_count(one)}" for name, one in left_out.items()]
    return [cli.tr("prompt.left_out", parts=", ".join(parts))]


def _count(found: list[Any] | int) -> int:
    return len(found) if isinstance(found, list) else found


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(visible(line), markup=False, soft_wrap=True)
