"""`caopan bench`: the benchmarks of the checkout, one by name or all.

Owns finding and running them in a home of their own. Must never judge a figure.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from caopan.interfaces.cli.output import Cli
from caopan.kernel.errors import ConfigInvalid

if TYPE_CHECKING:
    from rich.console import Console

_FOLDER = Path(__file__).parents[4] / "bench"
_ALL = "all"


def bench(ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME")] = _ALL) -> None:
    """Run one benchmark or all of them on a fresh, temporary home."""
    cli = Cli.of(ctx)
    known = {path.stem: path for path in sorted(_FOLDER.glob("*.py"))}
    chosen = list(known) if name == _ALL else [name]
    if not known or any(one not in known for one in chosen):
        raise ConfigInvalid(
            "BENCH_UNKNOWN",
            f"there is no benchmark {name!r}",
            remedy=f"choose one of {', '.join([_ALL, *known])}"
            if known
            else "benchmarks come with a checkout of the source, not with the package",
        )
    results: dict[str, Any] = {
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    }
    for one in chosen:
        cli.note("bench.running", name=one)
        with tempfile.TemporaryDirectory(prefix="caopan-bench-") as home:
            settings = replace(cli.settings, home=Path(home), database_url=None, redis_url=None)
            results[one] = _load(known[one]).run(settings)
    cli.result(results, lambda console: _show(results, console))


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"caopan_bench_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ConfigInvalid("BENCH_UNKNOWN", f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up by its name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _show(results: dict[str, Any], console: Console, indent: str = "") -> None:
    for name, value in results.items():
        if isinstance(value, dict):
            console.print(f"{indent}{name}", style="bold")
            _show(cast("dict[str, Any]", value), console, indent + "  ")
        else:
            console.print(f"{indent}{name:<28} {value}", markup=False)
