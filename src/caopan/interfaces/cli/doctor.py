"""`caopan doctor`: what is installed, reachable or wrong, and the remedy.

Owns the list of checks. Must never change anything but start the embedded servers for a moment,
and never stop at the first finding. Tests: tests/integration/embedded/test_doctor.py.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from caopan.interfaces.cli.output import Cli, ExitCode
from caopan.kernel.errors import CaopanError
from caopan.settings import Settings, child_environment, redact_url, resolve_secret

if TYPE_CHECKING:
    from rich.console import Console

_NEWEST_PYTHON: Final = (3, 14)
_FREE_BYTES_WARN: Final = 2_000_000_000
_FREE_BYTES_FAIL: Final = 200_000_000
_CALENDAR_WARN_DAYS: Final = 30


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    check: str
    level: Level
    detail: str
    remedy: str = ""


def doctor(ctx: typer.Context, online: Annotated[bool, typer.Option("--online")] = False) -> None:
    """Run every check; the exit code is 1 when one failed."""
    cli = Cli.of(ctx)
    settings = cli.settings
    checks: list[Callable[[Cli, Settings], Iterator[Finding]]] = [
        _python,
        _packages,
        _binaries,
        _home,
        _services,
        _calendar,
        _real_data,
        _model_online if online else _model,
    ]
    found = [finding for check in checks for finding in check(cli, settings)]
    failed = any(finding.level is Level.FAIL for finding in found)
    lines = [
        {"check": one.check, "level": one.level, "detail": one.detail, "remedy": one.remedy}
        for one in found
    ]
    cli.result({"ok": not failed, "checks": lines}, lambda console: _show(cli, console, found))
    if failed:
        raise typer.Exit(ExitCode.FAILED)


def _python(cli: Cli, _settings: Settings) -> Iterator[Finding]:
    tried = sys.version_info[:2] <= _NEWEST_PYTHON
    shown = f"Python {platform.python_version()} ({sys.executable})"
    remedy = "" if tried else cli.tr("doctor.python.untried")
    yield Finding("python", Level.OK if tried else Level.WARN, shown, remedy)
    known = sys.platform in {"linux", "darwin"}
    remedy = "" if known else cli.tr("doctor.platform.unknown")
    shown = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Finding("platform", Level.OK if known else Level.FAIL, shown, remedy)


def _packages(cli: Cli, _settings: Settings) -> Iterator[Finding]:
    missing: list[str] = []
    wanted = importlib.metadata.requires("caopan") or []
    for requirement in wanted:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        detail = cli.tr("doctor.packages.missing", names=", ".join(missing))
        yield Finding("packages", Level.FAIL, detail, cli.tr("doctor.run_setup"))
    else:
        detail = cli.tr("doctor.packages.ok", count=len(wanted))
        yield Finding("packages", Level.OK, detail)


def _binaries(_cli: Cli, _settings: Settings) -> Iterator[Finding]:
    from caopan.adapters.embedded.binaries import bundled

    try:
        found = bundled()
        for program in (found.program("postgres"), found.valkey):
            told = subprocess.run(  # noqa: S603 - the bundled programs
                [str(program), "--version"],
                capture_output=True,
                text=True,
                check=False,
                env=child_environment(),
            )
            level = Level.OK if told.returncode == 0 else Level.FAIL
            yield Finding("binaries", level, (told.stdout or told.stderr).strip()[:120])
    except CaopanError as error:
        yield _failed("binaries", error)


def _home(cli: Cli, settings: Settings) -> Iterator[Finding]:
    from caopan.adapters.embedded.place import prepare_home

    try:
        prepare_home(settings.home)
    except CaopanError as error:
        yield _failed("home", error)
        return
    free = shutil.disk_usage(settings.home).free
    level = Level.OK
    if free < _FREE_BYTES_WARN:
        level = Level.FAIL if free < _FREE_BYTES_FAIL else Level.WARN
    detail = cli.tr("doctor.home.free", home=settings.home, free=f"{free / 1e9:.1f}")
    remedy = "" if level is Level.OK else cli.tr("doctor.home.remedy")
    yield Finding("home", level, detail, remedy)


def _services(cli: Cli, settings: Settings) -> Iterator[Finding]:
    """Start or reach both servers, then look at the schema and at what they are."""
    from caopan.adapters.embedded.external import check_database, check_redis
    from caopan.adapters.embedded.services import services

    try:
        with services(settings) as running:
            major, version = check_database(running.database_url), check_redis(running.redis_url)
            for name, given, shown, url in (
                ("database", settings.database_url, f"PostgreSQL {major}", running.database_url),
                ("redis", settings.redis_url, f"Redis {version}", running.redis_url),
            ):
                key = "doctor.services.embedded" if given is None else "doctor.services.external"
                place = redact_url(url)
                yield Finding(name, Level.OK, cli.tr(key, server=shown, place=place))
            yield _schema(cli, running.database_url)
    except CaopanError as error:
        yield _failed("services", error)


def _schema(cli: Cli, database_url: str) -> Finding:
    from caopan.adapters.postgres.schema import status

    try:
        found = status(database_url)
    except CaopanError as error:
        return _failed("schema", error)
    if found.current is None:
        return Finding("schema", Level.OK, cli.tr("doctor.schema.empty"))
    if found.pending:
        detail = cli.tr("doctor.schema.pending", count=len(found.pending), current=found.current)
        return Finding("schema", Level.WARN, detail, "caopan db upgrade")
    return Finding("schema", Level.OK, cli.tr("doctor.schema.ok", current=found.current))


def _calendar(cli: Cli, _settings: Settings) -> Iterator[Finding]:
    from caopan.adapters.calendar.xshg import load_calendar

    try:
        calendar = load_calendar()
    except CaopanError as error:
        yield _failed("calendar", error)
        return
    left = (calendar.last - _today()).days
    level = Level.OK
    if left < _CALENDAR_WARN_DAYS:
        level = Level.FAIL if left < 0 else Level.WARN
    detail = cli.tr("doctor.calendar", name=calendar.name, last=calendar.last, days=left)
    remedy = "" if level is Level.OK else cli.tr("doctor.calendar.remedy")
    yield Finding("calendar", level, detail, remedy)


def _today() -> date:
    from zoneinfo import ZoneInfo

    from caopan.adapters.clock.system import SystemClock

    return SystemClock().now().astimezone(ZoneInfo("Asia/Shanghai")).date()


def _real_data(cli: Cli, settings: Settings) -> Iterator[Finding]:
    folder = settings.real_data
    if folder is None:
        yield Finding("real data", Level.OK, cli.tr("doctor.real_data.unset"))
        return
    kinds = ("*.parquet", "*.csv")
    count = sum(1 for kind in kinds for _ in folder.glob(kind)) if folder.is_dir() else 0
    detail = cli.tr("doctor.real_data.found", folder=folder, count=count)
    remedy = "" if count else cli.tr("doctor.real_data.remedy")
    yield Finding("real data", Level.OK if count else Level.FAIL, detail, remedy)


def _model(cli: Cli, settings: Settings) -> Iterator[Finding]:
    if settings.model_base_url is None:
        yield Finding("model", Level.OK, cli.tr("doctor.model.builtin"))
        return
    shown = f"{settings.model or '?'} @ {settings.model_base_url}"
    if settings.model is None:
        remedy = cli.tr("doctor.model.unnamed")
        yield Finding("model", Level.FAIL, shown, remedy)
        return
    try:
        if settings.model_key is not None:
            resolve_secret(settings.model_key)
    except CaopanError as error:
        yield _failed("model", error)
        return
    yield Finding("model", Level.OK, cli.tr("doctor.model.configured", model=shown))


def _model_online(cli: Cli, settings: Settings) -> Iterator[Finding]:
    """Ask the endpoint for its list of models: the cheapest call that needs the key."""
    offline = list(_model(cli, settings))
    yield from offline
    if settings.model_base_url is None or any(one.level is Level.FAIL for one in offline):
        return
    from openai import OpenAI, OpenAIError

    key = resolve_secret(settings.model_key).get_secret_value() if settings.model_key else "none"
    with OpenAI(base_url=settings.model_base_url, api_key=key, max_retries=0, timeout=10) as client:
        try:
            names = [model.id for model in client.models.list()]
        except OpenAIError as error:
            detail = cli.tr("doctor.model.silent", error=f"{type(error).__name__}: {error}"[:200])
            yield Finding("model", Level.FAIL, detail, cli.tr("doctor.model.silent.remedy"))
            return
    known = not names or settings.model in names
    detail = cli.tr("doctor.model.answers", count=len(names))
    remedy = "" if known else cli.tr("doctor.model.unlisted", model=settings.model)
    yield Finding("model", Level.OK if known else Level.WARN, detail, remedy)


def _failed(check: str, error: CaopanError) -> Finding:
    return Finding(check, Level.FAIL, f"[{error.code}] {error.message}", error.remedy)


def _show(cli: Cli, console: Console, found: list[Finding]) -> None:
    colours = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}
    for one in found:
        mark = cli.tr(f"doctor.level.{one.level}")
        console.print(f"[{colours[one.level]}]{mark:<5}[/] {one.check:<10}", end=" ")
        console.print(one.detail, markup=False, soft_wrap=True)
        if one.remedy:
            console.print(f"{'':<17}→ {one.remedy}", markup=False, soft_wrap=True)
