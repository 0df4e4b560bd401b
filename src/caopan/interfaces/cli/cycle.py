"""`caopan cycle`: one decision now.

Owns the command's options and its short result. Must never hide that a market is synthetic.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from caopan.interfaces.cli.broker_door import read_door
from caopan.interfaces.cli.output import Cli
from caopan.interfaces.cli.replay import MOST_SEED, read_cash
from caopan.kernel.clock import SHANGHAI
from caopan.kernel.errors import ConfigInvalid

if TYPE_CHECKING:
    from rich.console import Console


def cycle(
    ctx: typer.Context,
    *,
    data: Annotated[Path | None, typer.Option("--data")] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME")] = None,
    cash: Annotated[str, typer.Option("--cash")] = "1000000",
    model: Annotated[str | None, typer.Option("--model")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED)] = 7,
    broker: Annotated[str | None, typer.Option("--broker", metavar="SOCKET|PORT")] = None,
    token_file: Annotated[Path | None, typer.Option("--token-file")] = None,
) -> None:
    """Make one decision on the desk's own account."""
    cli = Cli.of(ctx)
    from caopan.adapters.embedded.services import services
    from caopan.bootstrap.cycling import CycleRequest, run_cycle
    from caopan.bootstrap.database import ready_database

    request = CycleRequest(
        cash=read_cash(cash),
        model=model,
        data=data,
        seed=seed,
        at=read_moment(at),
        door=read_door(cli, broker, token_file),
    )
    with services(cli.settings) as servers:
        for step in ready_database(servers):
            cli.note(step.key, **step.values)
        outcome = asyncio.run(run_cycle(servers.database_url, cli.settings, request))
    done = outcome.cycle
    payload = {
        "decision_id": str(done.decision_id),
        "trace_id": str(done.trace_id),
        "run_id": outcome.run_id,
        "trading_day": done.trading_day.isoformat(),
        "stage": done.stage.value,
        "status": done.status.value,
        "code": done.status_code,
        "model": outcome.model_alias,
        "is_language_model": outcome.is_language_model,
        "data": {"label": outcome.data_label, "synthetic": outcome.synthetic},
    }

    def show(console: Console) -> None:
        if outcome.synthetic:
            console.print(cli.tr("run.synthetic"), style="yellow")
        status = cli.tr(f"status.{done.status.value}")
        if done.status_code:
            status += f" ({done.status_code})"
        for key in ("cycle.done", "cycle.more"):
            console.print(cli.tr(key, decision_id=done.decision_id, status=status), soft_wrap=True)

    cli.result(payload, show)


def read_moment(text: str | None) -> datetime | None:
    """Return a time as a person writes it, in Shanghai unless it says otherwise; None as it is.

    Raises ConfigInvalid DATE_INVALID.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigInvalid(
            "DATE_INVALID",
            f"--at {text!r} is not a time",
            remedy="write it as 2025-06-03T09:16 (Shanghai time)",
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)
