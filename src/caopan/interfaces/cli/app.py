"""The frame of the command line: which commands exist, where each lives, how it speaks.

Owns the table of commands, their lazy loading and the options every command has (--json, --lang).
Must never import a command, a database library or a data library when it starts: `caopan --help`
answers in a blink. Tests: tests/unit/interfaces/test_cli_frame.py.

A command is a plain function `name(ctx: typer.Context, ...)` in the module the table names; a
group of commands is a `typer.Typer`. Neither carries help texts: they are looked up in the
catalogue as `cli.<command>.help`, `cli.<command>.examples` and `cli.<command>.<parameter>` (for a
group: `cli.<group>.<command>.…`), so each exists in both languages or the command does not load.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from caopan import __version__
from caopan.interfaces.cli.output import Cli
from caopan.messages import tr
from caopan.settings import Language

COMMANDS: Final[Mapping[str, str]] = {
    "demo": "caopan.interfaces.cli.demo:demo",
    "replay": "caopan.interfaces.cli.replay:replay",
    "cycle": "caopan.interfaces.cli.cycle:cycle",
    "decide": "caopan.interfaces.cli.decide:decide",
    "trader": "caopan.interfaces.cli.trader:trader",
    "gateway": "caopan.interfaces.cli.gateway:gateway",
    "models": "caopan.interfaces.cli.models:models",
    "account": "caopan.interfaces.cli.account:account",
    "orders": "caopan.interfaces.cli.orders:orders",
    "cancel": "caopan.interfaces.cli.orders:cancel",
    "positions": "caopan.interfaces.cli.orders:positions",
    "reconcile": "caopan.interfaces.cli.orders:reconcile",
    "halt": "caopan.interfaces.cli.control:halt",
    "resume": "caopan.interfaces.cli.control:resume",
    "ledger": "caopan.interfaces.cli.ledger:ledger",
    "db": "caopan.interfaces.cli.db:db",
    "doctor": "caopan.interfaces.cli.doctor:doctor",
    "backup": "caopan.interfaces.cli.operations:backup",
    "restore": "caopan.interfaces.cli.operations:restore",
    "reset": "caopan.interfaces.cli.operations:reset",
    "exchange": "caopan.interfaces.cli.exchange:exchange",
    "rules": "caopan.interfaces.cli.rules:rules",
    "prompt": "caopan.interfaces.cli.prompt:prompt",
    "actor": "caopan.interfaces.cli.actor:actor",
    "gate": "caopan.interfaces.cli.gate:gate",
    "risk": "caopan.interfaces.cli.risk:risk",
    "fees": "caopan.interfaces.cli.fees:fees",
    "bench": "caopan.interfaces.cli.bench:bench",
}
"""Name on the command line -> `module:attribute`, in the order `--help` shows them."""


class LazyGroup(TyperGroup):
    """Shows every command by its catalogue text; imports only the one that is run."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the version flag and the options every command has, with their texts."""
        lang = Cli.of(ctx).lang
        if len(self.params) == 1:
            _describe(self.params[0], tr("cli.version", lang))
            self.params.extend(_shared_options(lang))
        found = super().get_params(ctx)
        _describe(found[-1], tr("cli.option.help", lang))
        return found

    def resolve_command(
        self, ctx: Any, args: list[str]
    ) -> tuple[str | None, Any, list[str]]:  # the framework's own context class is private
        """Find the command as usual, then put the real one in the place of its stub."""
        name, stub, rest = super().resolve_command(ctx, args)
        command = stub if name is None else load_command(name, Cli.of(ctx).lang)
        return name, command, rest


def build_app(lang: Language, *, cli: Cli | None = None) -> typer.Typer:
    """Return the whole command line in `lang`; `cli` is what its commands will see."""
    _speak(lang)
    app = typer.Typer(
        cls=LazyGroup,
        help=tr("cli.help", lang),
        epilog=tr("cli.examples", lang),
        no_args_is_help=True,
        add_completion=False,
        context_settings={"obj": cli or Cli(lang), "help_option_names": ["-h", "--help"]},
    )

    app.callback(invoke_without_command=True)(_root)
    for name in COMMANDS:
        app.command(name, help=tr(f"cli.{name}.help", lang))(_stub)
    return app


def load_command(name: str, lang: Language) -> TyperCommand | TyperGroup:
    """Import the command `name` and give it its texts in `lang`.

    Raises KeyError naming the missing text when the catalogue lacks one.
    """
    module, _, attribute = COMMANDS[name].partition(":")
    target: Any = getattr(importlib.import_module(module), attribute)
    if not isinstance(target, typer.Typer):
        single = typer.Typer(add_completion=False)
        single.command(name)(target)
        target = single
    elif target.registered_callback is None:
        # A group of one command is still a group; one that does something by itself says so.
        target.info.no_args_is_help = True
        target.callback()(_stub)
    command = cast("TyperCommand | TyperGroup", get_command(target))
    command.name = name
    _localise(command, f"cli.{name}", lang)
    return command


def _localise(command: Any, path: str, lang: Language) -> None:
    command.help = tr(f"{path}.help", lang)
    for parameter in command.params:
        _describe(parameter, tr(f"{path}.{parameter.name}", lang))
    if isinstance(command, TyperGroup):
        for name, child in command.commands.items():
            _localise(child, f"{path}.{name}", lang)
    if not isinstance(command, TyperGroup) or command.invoke_without_command:
        command.epilog = tr(f"{path}.examples", lang)
        command.params.extend(_shared_options(lang))
    _describe(command.get_help_option(typer.Context(command)), tr("cli.option.help", lang))


def _describe(parameter: Any, text: str) -> None:
    """Set a parameter's help; the framework's parameter classes are private."""
    parameter.help = text


def _shared_options(lang: Language) -> Sequence[Any]:
    """Return fresh `--json` and `--lang` parameters, built by typer from a signature."""
    app = typer.Typer(add_completion=False)
    app.command()(_shared)
    parameters = get_command(app).params
    for parameter in parameters:
        _describe(parameter, tr(f"cli.option.{parameter.name}", lang))
    return parameters


# Both are read from the words before anything is parsed (texts and errors depend on them); they
# stand here to be accepted everywhere and shown by --help.
_Json = Annotated[bool, typer.Option("--json", expose_value=False)]
_Lang = Annotated[str | None, typer.Option("--lang", expose_value=False, metavar="zh|en")]


def _shared(json: _Json = False, lang: _Lang = None) -> None:
    """Carry the options every command has."""


def _root(version: Annotated[bool, typer.Option("--version", is_eager=True)] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def _stub() -> None:
    """Stand for a command that is not imported yet."""


def _speak(lang: Language) -> None:
    """Give typer's own headings their words in `lang`; they are plain module attributes."""
    from typer import rich_utils

    rich_utils.ARGUMENTS_PANEL_TITLE = tr("cli.panel.arguments", lang)
    rich_utils.OPTIONS_PANEL_TITLE = tr("cli.panel.options", lang)
    rich_utils.COMMANDS_PANEL_TITLE = tr("cli.panel.commands", lang)
    rich_utils.ERRORS_PANEL_TITLE = tr("cli.panel.error", lang)
    rich_utils.DEFAULT_STRING = tr("cli.panel.default", lang)
    rich_utils.REQUIRED_LONG_STRING = tr("cli.panel.required", lang)
