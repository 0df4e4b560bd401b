"""`caopan replay`: the same chain over history.

Owns the command's options and the reading of dates, symbols and money. Must never guess a date.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from caopan.interfaces.cli.output import Cli
from caopan.kernel.errors import ConfigInvalid
from caopan.kernel.money import units, yuan

MOST_SEED = 2**53 - 1
_MOST_CASH = units(1_000_000_000_000)


def replay(
    ctx: typer.Context,
    data: Annotated[Path, typer.Option("--data")],
    start: Annotated[str, typer.Option("--start", metavar="YYYY-MM-DD")],
    end: Annotated[str, typer.Option("--end", metavar="YYYY-MM-DD")],
    symbols: Annotated[str | None, typer.Option("--symbols", metavar="A,B,…")] = None,
    cash: Annotated[str, typer.Option("--cash")] = "1000000",
    model: Annotated[str | None, typer.Option("--model")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED)] = 0,
    *,
    policy: Annotated[Path | None, typer.Option("--policy", metavar="FILE")] = None,
) -> None:
    """Run the chain over the bars of a file or folder."""
    from caopan.application.ports.store import RunKind
    from caopan.bootstrap.gate_check import read_policy_file
    from caopan.bootstrap.replaying import ReplayRequest
    from caopan.interfaces.cli.run_command import carry_out

    request = ReplayRequest(
        kind=RunKind.REPLAY,
        cash=read_cash(cash),
        model=model,
        seed=seed,
        data=data,
        start=read_day("--start", start),
        end=read_day("--end", end),
        symbols=read_symbols(symbols),
        policy=read_policy_file(policy),
    )
    carry_out(Cli.of(ctx), request)


def read_day(option: str, text: str) -> date:
    """Return an ISO date, or raise ConfigInvalid DATE_INVALID naming the option."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigInvalid(
            "DATE_INVALID", f"{option} {text!r} is not a date", remedy="write it as 2023-12-29"
        ) from error


def read_cash(text: str) -> int:
    """Return a positive amount of yuan in units, or raise ConfigInvalid CASH_INVALID."""
    amount = units(text)
    if not 0 < amount <= _MOST_CASH:
        raise ConfigInvalid(
            "CASH_INVALID",
            f"--cash {text} is not between 0.01 and {yuan(_MOST_CASH)} yuan",
            remedy="write 1000000",
        )
    return amount


def read_symbols(text: str | None) -> tuple[str, ...] | None:
    """Return the named symbols in canonical form and order, or None for all."""
    if text is None:
        return None
    from caopan.domain.market.symbols import canonical_symbol

    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ConfigInvalid(
            "SYMBOL_INVALID", "--symbols names none", remedy="write 600519.SH,000001.SZ"
        )
    return tuple(sorted({canonical_symbol(name) for name in names}))
