"""`caopan gateway`: run the model gateway, and keep its callers' keys.

Owns the commands. Must never show a key but the one it has just made, once. Tests:
tests/integration/cli/test_models.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caopan.interfaces.cli.models import with_admin
from caopan.interfaces.cli.output import Cli
from caopan.kernel.clock import iso

if TYPE_CHECKING:
    from rich.console import Console

    from caopan.application.ports.gateway import ClientKey
    from caopan.bootstrap.models_admin import MintedKey, ModelsAdmin

_PROCESS = ("-m", "caopan.interfaces.gateway")

gateway = typer.Typer(add_completion=False)
key = typer.Typer(add_completion=False, no_args_is_help=True)
gateway.add_typer(key, name="key")


@gateway.callback(invoke_without_command=True)
def run(
    ctx: typer.Context,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535)] = 8700,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE")] = None,
    allow_remote: Annotated[bool, typer.Option("--allow-remote")] = False,
) -> None:
    """Run the gateway in the place of this process, unless a command of the group is asked for."""
    if ctx.invoked_subcommand is not None:
        return
    cli = Cli.of(ctx)
    words = ["--host", host, "--port", str(port), "--lang", cli.lang]
    words += ["--home", str(cli.settings.home)]
    if config is not None:
        words += ["--config", str(config)]
    words += ["--allow-remote"] if allow_remote else []
    words += ["--json"] if cli.json else []
    sys.stdout.flush()
    # A process of its own, without what the command line has loaded.
    os.execv(sys.executable, [sys.executable, *_PROCESS, *words])  # noqa: S606 - our own program


@key.command("add")
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    alias: Annotated[list[str] | None, typer.Option("--alias", metavar="ALIAS")] = None,
    admin: Annotated[bool, typer.Option("--admin")] = False,
    daily_cny: Annotated[str | None, typer.Option("--daily-cny", metavar="CNY")] = None,
    rpm: Annotated[int | None, typer.Option("--rpm", min=1)] = None,
    expires: Annotated[datetime | None, typer.Option("--expires", formats=["%Y-%m-%d"])] = None,
) -> None:
    """Make a key for a program; it is shown once."""
    cli = Cli.of(ctx)
    from caopan.bootstrap.models_admin import KeyRequest
    from caopan.kernel.clock import SHANGHAI

    until = None if expires is None else expires.replace(tzinfo=SHANGHAI)
    wanted = KeyRequest(name, tuple(alias or ("*",)), admin, daily_cny, rpm, until)

    async def work(found: ModelsAdmin) -> MintedKey:
        return await found.mint(wanted)

    minted = with_admin(cli, work)
    token = minted.text.get_secret_value()

    def show(console: Console) -> None:
        console.print(token, markup=False, soft_wrap=True)
        cli.note("gateway.key.once", name=name)

    cli.result({**_key_json(minted.key), "key": token}, show)


@key.command("ls")
def ls(ctx: typer.Context) -> None:
    """List the keys; none of them is shown."""
    cli = Cli.of(ctx)

    async def work(found: ModelsAdmin) -> Sequence[ClientKey]:
        return await found.listed()

    keys = with_admin(cli, work)
    rows = [_key_json(one) for one in keys]
    cli.result({"keys": rows}, lambda console: _show(cli, rows, console))


@key.command("revoke")
def revoke(ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Void a key; running gateways refuse it within seconds."""
    cli = Cli.of(ctx)

    async def work(found: ModelsAdmin) -> ClientKey:
        return await found.revoke(name)

    revoked = with_admin(cli, work)
    told = cli.tr("gateway.key.revoked", name=revoked.name)
    cli.result(_key_json(revoked), lambda console: console.print(told, markup=False))


def _key_json(one: ClientKey) -> dict[str, Any]:
    from caopan.domain.gateway.endpoint import cny

    return {
        "client_id": one.client_id,
        "name": one.name,
        "aliases": list(one.aliases),
        "admin": one.admin,
        "daily_cny": None if one.daily_budget is None else cny(one.daily_budget),
        "rpm": one.rpm,
        "expires_at": None if one.expires_at is None else iso(one.expires_at),
        "revoked_at": None if one.revoked_at is None else iso(one.revoked_at),
        "created_at": iso(one.created_at),
    }


def _show(cli: Cli, rows: Sequence[dict[str, Any]], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None)
    for heading in ("name", "aliases", "admin", "daily", "rpm", "state"):
        table.add_column(cli.tr(f"gateway.column.{heading}"), overflow="fold")
    for row in rows:
        state = "revoked" if row["revoked_at"] else "expires" if row["expires_at"] else "valid"
        until = row["revoked_at"] or row["expires_at"] or ""
        table.add_row(
            row["name"],
            ", ".join(row["aliases"]),
            "✓" if row["admin"] else "",
            row["daily_cny"] or "-",
            str(row["rpm"] or "-"),
            f"{cli.tr(f'gateway.key.{state}_at')} {until[:10]}".strip(),
        )
    console.print(table)
