"""`caopan exchange run`: a neutral scenario through the sandbox exchange.

Owns reading the scenario file and writing the answers. Must never write a partial answer: OUT
appears whole or not at all. Tests: tests/integration/exchange/.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from caopan.interfaces.cli.output import Cli
from caopan.kernel.errors import ConfigInvalid, Unavailable

if TYPE_CHECKING:
    from rich.console import Console

exchange = typer.Typer(add_completion=False)


@exchange.command("run")
def run(
    ctx: typer.Context,
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO")],
    out: Annotated[Path, typer.Argument(metavar="OUT")],
) -> None:
    """Run one scenario and write what became of its orders, fills and days."""
    from caopan.adapters.rules.book import load_rules
    from caopan.application.exchange.scenario import read_scenario, run_scenario

    cli = Cli.of(ctx)
    read = read_scenario(_load(scenario))
    done = run_scenario(read, load_rules().dividend_tax if read.taxes_dividends else None)
    _write(out, done.answers)
    orders = done.answers["orders"]
    summary: dict[str, Any] = {
        "scenario": str(scenario),
        "out": str(out),
        "orders": len(orders),
        "filled": sum(order["outcome"] == "filled" for order in orders),
        "partially_filled": sum(order["outcome"] == "partially_filled" for order in orders),
        "fills": len(done.answers["fills"]),
        "days": len(done.answers["days"]),
        "transactions": done.transactions,
    }

    def show(console: Console) -> None:
        console.print(cli.tr("exchange.done", **summary), markup=False, soft_wrap=True)

    cli.result(summary, show)


def _load(path: Path) -> object:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise Unavailable(
            "FILE_UNREADABLE", f"{path}: {error.strerror}", remedy="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigInvalid("SCENARIO_INVALID", f"{path} is not UTF-8 text") from error
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid("SCENARIO_INVALID", f"{path} is not JSON: {error}") from error


def _no_constant(name: str) -> NoReturn:
    raise ConfigInvalid("SCENARIO_INVALID", f"the scenario holds {name}, which is no number")


def _write(path: Path, answers: dict[str, Any]) -> None:
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_text(json.dumps(answers, ensure_ascii=False, indent=1) + "\n", "utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise Unavailable(
            "FILE_UNWRITABLE", f"{path}: {error.strerror}", remedy="choose a place to write to"
        ) from error
