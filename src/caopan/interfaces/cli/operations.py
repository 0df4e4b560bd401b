"""`caopan backup`, `caopan restore`, `caopan reset`: the safety of the state.

Owns the questions asked before something is replaced or erased. Must never act on silence: without
a terminal and without --yes nothing happens. Tests: tests/integration/embedded/test_operations.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caopan.interfaces.cli.output import Cli, ExitCode
from caopan.kernel.errors import ConfigInvalid

_Yes = Annotated[bool, typer.Option("--yes", "-y")]


def backup(
    ctx: typer.Context, output: Annotated[Path | None, typer.Option("--output", "-o")] = None
) -> None:
    """Save the database to one file, its checksum beside it."""
    from caopan.adapters.clock.system import SystemClock
    from caopan.adapters.embedded.backup import backup_database
    from caopan.adapters.embedded.services import services

    cli = Cli.of(ctx)
    settings = cli.settings
    # A backup a person asks for is theirs to delete: it does not carry the automatic name.
    named = output or settings.backups / f"caopan-{SystemClock().now():%Y%m%dT%H%M%SZ}.dump"
    with services(settings) as running:
        file = backup_database(running, "asked", output=named)
    size = file.stat().st_size
    cli.result(
        {"file": str(file), "bytes": size},
        lambda console: console.print(
            cli.tr("backup.done", file=file, size=f"{size / 1e6:.1f}"), markup=False, soft_wrap=True
        ),
    )


def restore(ctx: typer.Context, file: Annotated[Path, typer.Argument()], yes: _Yes = False) -> None:
    """Put a backup in the place of the present data, which is backed up first."""
    from caopan.adapters.embedded.backup import restore_database, verify_backup
    from caopan.adapters.embedded.services import services

    cli = Cli.of(ctx)
    verify_backup(file.absolute())
    if not yes and not cli.confirm("restore.confirm", "restore", file=file):
        cli.note("cli.confirm.nothing_done")
        raise typer.Exit(ExitCode.FAILED)
    with services(cli.settings) as running:
        saved = restore_database(running, file.absolute())
    cli.result(
        {"restored": str(file), "saved": str(saved) if saved else None},
        lambda console: console.print(
            cli.tr("restore.done" if saved else "restore.done_empty", file=file, saved=saved),
            markup=False,
            soft_wrap=True,
        ),
    )


def reset(ctx: typer.Context, yes: _Yes = False) -> None:
    """Erase the embedded databases; backups, logs and plots stay."""
    from caopan.adapters.embedded.reset import erase

    cli = Cli.of(ctx)
    settings = cli.settings
    if settings.database_url is not None:
        raise ConfigInvalid(
            "RESET_EXTERNAL",
            "DATABASE_URL names an external server; reset erases embedded databases only",
            remedy="Unset DATABASE_URL, or drop that database with its own tools.",
        )
    home = settings.home
    if not yes and not cli.confirm("reset.confirm", "reset", home=home):
        cli.note("cli.confirm.nothing_done")
        raise typer.Exit(ExitCode.FAILED)
    erase(home)
    cli.result(
        {"home": str(home), "erased": True},
        lambda console: console.print(
            cli.tr("reset.done", home=home, backups=settings.backups), markup=False, soft_wrap=True
        ),
    )
