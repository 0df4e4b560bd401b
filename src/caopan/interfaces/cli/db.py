"""`caopan db`: bring the schema up, take it down, show where it stands, compare it.

Owns the commands and the question before a step back. Must never migrate data that was not backed
up first. Tests: tests/integration/postgres/test_cli_db.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.output import Cli, ExitCode
from caopan.kernel.errors import ConfigInvalid

if TYPE_CHECKING:
    from rich.console import Console

db = typer.Typer(add_completion=False)


@db.command("upgrade")
def upgrade(ctx: typer.Context) -> None:
    """Migrate to the newest revision; a database with data in it is backed up first."""
    cli = Cli.of(ctx)
    from caopan.adapters.embedded.services import services
    from caopan.adapters.postgres import schema
    from caopan.bootstrap.database import ready_database

    with services(cli.settings) as servers:
        before = schema.status(servers.database_url).current
        backup: str | None = None
        for step in ready_database(servers):
            cli.note(step.key, **step.values)
            if "path" in step.values:
                backup = str(step.values["path"])
        after = schema.status(servers.database_url).current
    payload = {"from": before, "to": after, "backup": backup}
    key = "db.current" if before == after else "db.upgraded"
    cli.result(payload, lambda console: _line(console, cli.tr(key, revision=after)))


@db.command("downgrade")
def downgrade(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(metavar="REVISION")],
    yes: Annotated[bool, typer.Option("--yes", "-y")] = False,
) -> None:
    """Go back to an older revision, or to `base`; what the later ones held is lost."""
    cli = Cli.of(ctx)
    from caopan.adapters.embedded.backup import backup_database
    from caopan.adapters.embedded.services import services
    from caopan.adapters.postgres import schema

    with services(cli.settings) as servers:
        before = schema.status(servers.database_url).current
        if before is None:
            raise ConfigInvalid("DB_REVISION", "the database is empty; nothing is before that")
        if not yes and not cli.confirm("db.confirm", "downgrade", current=before, target=revision):
            cli.note("cli.confirm.nothing_done")
            raise typer.Exit(ExitCode.FAILED)
        backup = str(backup_database(servers, "before downgrade"))
        cli.note("db.backed_up", path=backup)
        after = schema.downgrade(servers.database_url, revision).current
    payload = {"from": before, "to": after, "backup": backup}
    cli.result(
        payload, lambda console: _line(console, cli.tr("db.downgraded", revision=after or "base"))
    )


@db.command("status")
def status(ctx: typer.Context) -> None:
    """Show the database's revision, the newest one, and what lies between."""
    cli = Cli.of(ctx)
    from caopan.adapters.embedded.services import services
    from caopan.adapters.postgres import schema

    with services(cli.settings) as servers:
        found = schema.status(servers.database_url)
    payload: dict[str, Any] = {
        "current": found.current,
        "head": found.head,
        "pending": list(found.pending),
    }

    def show(console: Console) -> None:
        current = found.current or cli.tr("db.empty")
        _line(console, cli.tr("db.status", current=current, head=found.head))
        if found.pending:
            _line(console, cli.tr("db.pending", revisions=", ".join(found.pending)))

    cli.result(payload, show)


@db.command("check")
def check(ctx: typer.Context) -> None:
    """Compare the tables as described with the tables as migrated; exit 1 if they differ."""
    cli = Cli.of(ctx)
    from caopan.adapters.embedded.services import services
    from caopan.adapters.postgres import schema

    with services(cli.settings) as servers:
        if schema.status(servers.database_url).pending:
            raise ConfigInvalid(
                "DB_NOT_MIGRATED",
                "the database is not at the newest revision, so there is nothing to compare",
                remedy="run `caopan db upgrade` first",
            )
        found = schema.check(servers.database_url)

    def show(console: Console) -> None:
        for line in found:
            _line(console, line)
        _line(console, cli.tr("db.differs" if found else "db.agrees", count=len(found)))

    cli.result({"agrees": not found, "differences": found}, show)
    if found:
        raise typer.Exit(ExitCode.FAILED)


def _line(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)
