"""`caopan models`: the models of the gateway: which endpoints, on what terms, how they do.

Owns the commands that read and change the models document, and the sealing of keys. Must never show
a key, nor change anything but by storing a whole valid version. What asks live endpoints stands in
models_live.py. Tests: tests/integration/cli/test_models.py.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

import typer

from caopan.interfaces.cli.account import database_for
from caopan.interfaces.cli.control import operator_name
from caopan.interfaces.cli.models_live import metrics, test
from caopan.interfaces.cli.output import Cli
from caopan.kernel.clock import iso
from caopan.kernel.errors import ConfigInvalid

if TYPE_CHECKING:
    from rich.console import Console

    from caopan.application.ports.gateway import StoredConfig
    from caopan.bootstrap.models_admin import Judged, ModelsAdmin
    from caopan.domain.gateway.endpoint import Snapshot
    from caopan.domain.gateway.profile import Profile

_MOST_BYTES: Final = 8_000_000
_T = TypeVar("_T")
_Note = Annotated[str, typer.Option("--note", "-m", metavar="TEXT")]

models = typer.Typer(add_completion=False)
models.command("test")(test)
models.command("metrics")(metrics)


def with_admin(cli: Cli, work: Callable[[ModelsAdmin], Awaitable[_T]]) -> _T:
    """Return what `work` makes of the stored configuration."""
    from caopan.bootstrap.gateway_stores import administration

    async def carry_out(url: str) -> _T:
        async with administration(url, cli.settings) as admin:
            return await work(admin)

    with database_for(cli) as url:
        return asyncio.run(carry_out(url))


@models.command("ls")
def ls(ctx: typer.Context) -> None:
    """Show the endpoints in force."""
    cli = Cli.of(ctx)

    async def work(admin: ModelsAdmin) -> tuple[StoredConfig, Judged]:
        stored = await admin.in_force()
        return stored, admin.judge.judged(stored.body, stored.version)

    stored, judged = with_admin(cli, work)
    rows = _rows(judged.snapshot)
    payload = {
        "version": stored.version,
        "stored_at": iso(stored.created_at),
        "author": stored.author,
        "note": stored.note,
        "endpoints": rows,
        "warnings": list(judged.warnings),
    }

    def show(console: Console) -> None:
        _table(cli, rows, console)
        for warning in judged.warnings:
            cli.note("models.warning", text=warning)

    cli.result(payload, show)


@models.command("add")
def add(
    ctx: typer.Context,
    preset: Annotated[str, typer.Argument(metavar="PRESET")],
    model: Annotated[str, typer.Option("--model", metavar="MODEL")],
    alias: Annotated[str, typer.Option("--alias", metavar="ALIAS")],
    key: Annotated[str | None, typer.Option("--key", metavar="REFERENCE")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME")] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL")] = None,
    *,
    private: Annotated[bool, typer.Option("--private")] = False,
    note: _Note = "",
) -> None:
    """Add an endpoint from a preset."""
    cli = Cli.of(ctx)
    from caopan.application.contracts.models_editing import NewEndpoint, with_endpoint

    async def work(admin: ModelsAdmin) -> tuple[StoredConfig, Judged]:
        profile = admin.judge.profile(preset)
        new = NewEndpoint(profile, model, alias, key, name, url, private)
        return await admin.change(
            lambda body: with_endpoint(body, new),
            author=operator_name(),
            note=note or f"add {preset} {model} as {alias}",
        )

    _tell_change(cli, *with_admin(cli, work))


@models.command("set")
def set_(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    field: Annotated[str, typer.Argument(metavar="FIELD")],
    value: Annotated[str, typer.Argument(metavar="VALUE")],
    note: _Note = "",
) -> None:
    """Change one field."""
    cli = Cli.of(ctx)
    from caopan.application.contracts.models_editing import with_field

    async def work(admin: ModelsAdmin) -> tuple[StoredConfig, Judged]:
        def edit(body: Mapping[str, Any]) -> Mapping[str, Any]:
            return with_field(body, name, field, value, admin.judge.parsed)

        told = note or f"set {name} {field}"
        return await admin.change(edit, author=operator_name(), note=told)

    _tell_change(cli, *with_admin(cli, work))


@models.command("rm")
def rm(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    note: _Note = "",
) -> None:
    """Remove an endpoint."""
    cli = Cli.of(ctx)
    from caopan.application.contracts.models_editing import without_endpoint

    async def work(admin: ModelsAdmin) -> tuple[StoredConfig, Judged]:
        return await admin.change(
            lambda body: without_endpoint(body, name),
            author=operator_name(),
            note=note or f"remove {name}",
        )

    _tell_change(cli, *with_admin(cli, work))


@models.command("apply")
def apply(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE")],
    note: _Note = "",
) -> None:
    """Put a whole document in force."""
    cli = Cli.of(ctx)
    body = read_document(file)

    async def work(admin: ModelsAdmin) -> tuple[StoredConfig, Judged]:
        told = note or f"apply {file.name}"
        return await admin.change(lambda _: body, author=operator_name(), note=told)

    _tell_change(cli, *with_admin(cli, work))


@models.command("export")
def export(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="FILE")] = None,
    schema: Annotated[bool, typer.Option("--schema")] = False,
) -> None:
    """Write the document in force, or its JSON Schema."""
    cli = Cli.of(ctx)

    async def work(admin: ModelsAdmin) -> Mapping[str, Any]:
        return (await admin.in_force()).body

    if schema:
        from caopan.application.contracts.models_config import models_schema

        found: Mapping[str, Any] = models_schema()
    else:
        found = with_admin(cli, work)
    text = json.dumps(found, ensure_ascii=False, indent=2)
    if file is None:
        cli.result(found, lambda console: console.print(text, markup=False, soft_wrap=True))
        return
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(text + "\n")
    except OSError as error:
        raise ConfigInvalid(
            "FILE_UNWRITABLE", f"{file}: {error.strerror}", remedy="name a file that is not there"
        ) from error
    told = cli.tr("models.written", file=str(file))
    cli.result({"file": str(file)}, lambda console: console.print(told, markup=False))


@models.command("presets")
def presets(ctx: typer.Context) -> None:
    """List the vendors whose facts are known."""
    cli = Cli.of(ctx)
    from caopan.bootstrap.gateway_stores import known_profiles

    found = sorted(known_profiles(cli.settings).values(), key=lambda one: one.name)
    rows = [_preset(cli, profile) for profile in found]

    def show(console: Console) -> None:
        from rich.table import Table

        table = Table(box=None)
        for heading in ("preset", "title", "url", "auth"):
            table.add_column(cli.tr(f"models.column.{heading}"), overflow="fold")
        for row in rows:
            table.add_row(row["preset"], row["title"], row["url"], row["auth"])
        console.print(table)

    cli.result({"presets": rows}, show)


@models.command("seal")
def seal(ctx: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Keep a key of a vendor, encrypted; it is read from the terminal or from stdin."""
    cli = Cli.of(ctx)
    from caopan.bootstrap.gateway_stores import seal_secret

    entry = seal_secret(cli.settings, name, _typed(cli))
    reference = f"sealed:{entry.secret_id}"
    payload = {"reference": reference, "sealed_at": entry.sealed_at}
    told = cli.tr("models.sealed", reference=reference)
    cli.result(payload, lambda console: console.print(told, markup=False, soft_wrap=True))


def read_document(file: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises ConfigInvalid MODELS_INVALID."""
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise _unreadable(file, f"is longer than {_MOST_BYTES} bytes")
        found: object = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(file, str(error.strerror)) from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(file, f"is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise _unreadable(file, "holds no JSON object")
    return cast("dict[str, Any]", found)


def _unreadable(file: Path, why: str) -> ConfigInvalid:
    remedy = "`caopan models export` writes one that is valid"
    return ConfigInvalid("MODELS_INVALID", f"{file}: {why}", remedy=remedy)


def _typed(cli: Cli) -> str:
    """Return a secret from the terminal, unseen, or the whole of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.read().strip()
    import getpass

    return getpass.getpass(cli.tr("models.seal.ask"), stream=sys.stderr).strip()


def _tell_change(cli: Cli, stored: StoredConfig, judged: Judged) -> None:
    payload = {
        "version": stored.version,
        "note": stored.note,
        "endpoints": _rows(judged.snapshot),
        "warnings": list(judged.warnings),
    }

    def show(console: Console) -> None:
        told = cli.tr("models.stored", version=stored.version, note=stored.note)
        console.print(told, markup=False, soft_wrap=True)
        for warning in judged.warnings:
            cli.note("models.warning", text=warning)

    cli.result(payload, show)


def _rows(snapshot: Snapshot) -> list[dict[str, Any]]:
    return [
        {
            "alias": alias,
            "endpoint": target.endpoint,
            "kind": endpoint.kind.value,
            "provider": endpoint.provider,
            "model": endpoint.model,
            "url": endpoint.url,
            "key": endpoint.secret_ref,
            "priority": target.priority,
            "weight": target.weight,
            "fallback": target.fallback.value,
            "enabled": endpoint.enabled,
        }
        for alias, route in snapshot.routes.items()
        for target in route.targets
        for endpoint in (snapshot.endpoints[target.endpoint],)
    ]


def _table(cli: Cli, rows: list[dict[str, Any]], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None)
    for heading in ("alias", "endpoint", "model", "key", "place", "fallback"):
        table.add_column(cli.tr(f"models.column.{heading}"), overflow="fold")
    for row in rows:
        place = f"{row['priority']} / {row['weight']:g}"
        off = "" if row["enabled"] else f" ({cli.tr('models.disabled')})"
        table.add_row(
            row["alias"],
            row["endpoint"] + off,
            f"{row['provider']} {row['model']}",
            row["key"] or "-",
            place,
            row["fallback"],
        )
    console.print(table)


def _preset(cli: Cli, profile: Profile) -> dict[str, str]:
    title = profile.title_zh if cli.lang == "zh" else profile.title_en
    return {
        "preset": profile.name,
        "title": title,
        "url": profile.url,
        "auth": profile.auth,
        "notes": profile.notes,
    }
