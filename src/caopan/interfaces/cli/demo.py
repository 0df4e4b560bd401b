"""`caopan demo`: the main job on the synthetic market.

Owns the command's options. Must never show synthetic figures without saying so.
"""

from __future__ import annotations

from typing import Annotated

import typer

from caopan.interfaces.cli.output import Cli
from caopan.interfaces.cli.replay import MOST_SEED

DEFAULT_DAYS = 250
DEFAULT_SEED = 7
SYMBOLS = 40
MOST_DAYS = 1_100
"""The synthetic market is not longer, its warm-up taken off."""


def demo(
    ctx: typer.Context,
    once: Annotated[bool, typer.Option("--once")] = False,
    days: Annotated[int, typer.Option("--days", min=1, max=MOST_DAYS)] = DEFAULT_DAYS,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED)] = DEFAULT_SEED,
    model: Annotated[str | None, typer.Option("--model")] = None,
) -> None:
    """Run the chain over `days` sessions of the synthetic market."""
    del once  # the demo always ends by itself until there is a dashboard to keep open
    from caopan.application.ports.store import RunKind
    from caopan.bootstrap.replaying import ReplayRequest
    from caopan.bootstrap.run_config import DEFAULT_CASH
    from caopan.interfaces.cli.run_command import carry_out

    request = ReplayRequest(
        kind=RunKind.DEMO,
        cash=DEFAULT_CASH,
        model=model or "builtin/momentum",
        seed=seed,
        days=days,
        breadth=SYMBOLS,
    )
    carry_out(Cli.of(ctx), request)
