"""The one door to the databases: embedded or external, checked, and given as two URLs.

Owns the decision which server is embedded. Must never yield before both answer.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from caopan.adapters.embedded.cluster import admin_url, database_url, explain, plan_postgres
from caopan.adapters.embedded.external import check_database, check_redis, sqlalchemy_url
from caopan.adapters.embedded.locks import FileLock
from caopan.adapters.embedded.place import (
    find_place,
    held_credentials,
    home_unusable,
    prepare_home,
)
from caopan.adapters.embedded.sharing import Share, StartFailed
from caopan.adapters.embedded.valkey import plan_valkey, redis_url, set_aside
from caopan.adapters.embedded.watchdog import ServerPlan
from caopan.settings import Settings

Plan = Callable[[FileLock], ServerPlan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Two servers that answered a moment ago. The URLs hold passwords, so they are not shown."""

    database_url: str = field(repr=False)
    """For SQLAlchemy: `postgresql+psycopg://…`."""
    redis_url: str = field(repr=False)
    embedded: bool
    """Whether PostgreSQL is the embedded one."""
    directory: Path | None
    """CAOPAN_HOME when anything is embedded."""
    backups: Path
    admin_url: str | None = field(default=None, repr=False)
    """The embedded superuser at the maintenance database; None for an external server."""


@contextmanager
def services(settings: Settings, *, durable: bool = True) -> Generator[Services]:
    """Give a PostgreSQL and a Redis for as long as the block runs.

    External servers are checked and used as they are; whatever is not given is started under
    `settings.home`, shared with other commands and stopped after the last of them, even if that
    one is killed. `durable=False` (tests only) trades safety against power cuts for speed.

    Raises Unavailable with code DB_UNREACHABLE, DB_AUTH, DB_NOT_FOUND, DB_VERSION, DB_DISK_FULL,
    DB_START, REDIS_UNREACHABLE, REDIS_AUTH, REDIS_VERSION, REDIS_START, BINARIES_MISSING,
    SERVICES_BUSY or LEFTOVER_RUNNING, ConfigInvalid HOME_UNUSABLE, CorruptState CLUSTER_BROKEN:
    each names what is wrong and the remedy.
    """
    with ExitStack() as stack:
        # Both are opened before either is waited for: they start side by side.
        database = _database(stack, settings, durable=durable)
        redis = _redis(stack, settings)
        url, admin = database()
        embedded = settings.database_url is None
        yield Services(
            database_url=url,
            redis_url=redis(),
            embedded=embedded,
            directory=settings.home if embedded or settings.redis_url is None else None,
            backups=settings.backups,
            admin_url=admin,
        )


@contextmanager
def database_alone(settings: Settings) -> Generator[str]:
    """Give the database's URL without asking for Redis: what halts trading must not need it.

    Raises as `services` does, but for Redis.
    """
    with ExitStack() as stack:
        yield _database(stack, settings, durable=True)()[0]


def _database(
    stack: ExitStack, settings: Settings, *, durable: bool
) -> Callable[[], tuple[str, str | None]]:
    if settings.database_url is not None:
        return partial(_external_database, settings.database_url.get_secret_value())
    home = settings.home
    share = _join(stack, home, "postgres", partial(plan_postgres, home, durable=durable))
    return partial(_embedded_database, home, share)


def _redis(stack: ExitStack, settings: Settings) -> Callable[[], str]:
    if settings.redis_url is not None:
        return partial(_external_redis, settings.redis_url.get_secret_value())
    home = settings.home
    plan = partial(plan_valkey, home)
    return partial(_embedded_redis, home, _join(stack, home, "valkey", plan), plan)


def _join(stack: ExitStack, home: Path, name: str, plan: Plan) -> Share:
    share = Share(home / "run" / name)
    stack.callback(share.close)
    try:
        prepare_home(home)
        share.open(plan)
    except OSError as error:
        raise home_unusable(home, error) from error
    return share


def _external_database(url: str) -> tuple[str, None]:
    check_database(url)
    return sqlalchemy_url(url), None


def _external_redis(url: str) -> str:
    check_redis(url)
    return url


def _embedded_database(home: Path, share: Share) -> tuple[str, str]:
    try:
        port = share.port()
    except StartFailed as failed:
        report = failed.report
        raise explain(home, "PostgreSQL", report.failure, report.tail) from None
    held = held_credentials(home)
    return database_url(port, held), admin_url(port, held)


def _embedded_redis(home: Path, share: Share, plan: Plan) -> str:
    try:
        port = share.port()
    except StartFailed as failed:
        report = failed.report
        if not set_aside(find_place(home).directory / "valkey", report):
            raise explain(home, "Valkey", report.failure, report.tail) from None
        share.close()
        share.open(plan)
        port = share.port()
    return redis_url(port, held_credentials(home))
