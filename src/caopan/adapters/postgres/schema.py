"""The schema's life: from an empty database to the newest revision, back, and whether both agree.

Owns the running of migrations, one process at a time, and the comparison of the tables as described
with the tables as migrated. Must never migrate a database that a newer build has migrated, nor one
that holds someone else's tables. Tests: tests/integration/postgres/test_schema.py.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from caopan.adapters.postgres.connection import conninfo, place
from caopan.adapters.postgres.errors import not_connected, translated
from caopan.adapters.postgres.partitions import ENSURE_AHEAD
from caopan.adapters.postgres.tables import METADATA
from caopan.kernel.errors import CaopanError, ConfigInvalid, Conflict

_FOLDER: Final = Path(__file__).with_name("migrations")
_LOCK_KEY: Final = 0x63616F70_6D696772
"""Advisory lock "caopmigr": two processes that start together migrate once."""
_WAIT_FOR_OTHERS_MS: Final = 120_000
_LOCK_TIMEOUT_MS: Final = 10_000
_VERSION_TABLE: Final = "alembic_version"
_SCRATCH: Final = "caopan_check"


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Where a database stands."""

    current: str | None
    """The revision it is at; None while it is empty."""
    head: str
    """The newest revision this build knows."""
    pending: tuple[str, ...]
    """Revisions not yet applied, in order."""


def upgrade(url: str, revision: str = "head") -> SchemaStatus:
    """Migrate to `revision` and make the partitions of the coming months.

    Raises ConfigInvalid DB_NEWER, DB_FOREIGN or DB_REVISION, Conflict DB_LOCKED, Unavailable.
    """
    with _alone(url) as connection:
        _refuse_foreign(connection)
        _command(connection, command.upgrade, revision)
        status = _status(connection)
        if status.current is not None:
            connection.execute(text(ENSURE_AHEAD))
        connection.commit()
        return status


def downgrade(url: str, revision: str) -> SchemaStatus:
    """Migrate back to `revision` ("base" = empty); what the later revisions held is lost.

    Raises as `upgrade` does.
    """
    with _alone(url) as connection:
        _command(connection, command.downgrade, revision)
        status = _status(connection)
        if status.current is None:
            connection.execute(text(f"DROP TABLE IF EXISTS {_VERSION_TABLE}"))
        connection.commit()
        return status


def status(url: str) -> SchemaStatus:
    """Return where the database stands. Raises ConfigInvalid DB_NEWER for a newer build's."""
    with _connected(url) as connection:
        return _status(connection)


def check(url: str) -> list[str]:
    """Return what differs between the tables as described and as migrated; empty if they agree.

    Alembic compares columns, indexes and keys; then every constraint, index and partition key of
    the migrated schema is compared, word by word, with what the description alone would create.
    """
    with _connected(url) as connection:
        options: dict[str, Any] = {
            "include_name": is_ours,
            "compare_type": True,
            "compare_server_default": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        found = [f"alembic: {difference}" for difference in compare_metadata(context, METADATA)]
        migrated = _described(connection)
        connection.execute(text(f"CREATE SCHEMA {_SCRATCH}"))
        connection.execute(text(f"SET LOCAL search_path = {_SCRATCH}"))
        METADATA.create_all(connection, checkfirst=False)
        described = _described(connection)
        connection.rollback()
        found += [f"only migrated: {line}" for line in sorted(migrated - described)]
        found += [f"only described: {line}" for line in sorted(described - migrated)]
        return found


def is_ours(name: str | None, kind: str, parents: object) -> bool:
    """Return whether Alembic is to compare a thing: not partitions, not others' tables."""
    del parents
    return kind != "table" or name in METADATA.tables


@contextmanager
def _connected(url: str) -> Generator[Connection]:
    target = conninfo(url)
    # NullPool: a template database must be left without any connection.
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(target), poolclass=NullPool
    )
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise _ours(error, url) from error
    except psycopg.OperationalError as error:
        raise not_connected(error, place(url)) from error


@contextmanager
def _alone(url: str) -> Generator[Connection]:
    with _connected(url) as connection:
        _set_lock_timeout(connection, _WAIT_FOR_OTHERS_MS)
        try:
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK_KEY})
        except DBAPIError as error:
            raise Conflict(
                "DB_LOCKED",
                "another process has been migrating this database for two minutes",
                remedy="wait for it to end, then repeat",
            ) from error
        _set_lock_timeout(connection, _LOCK_TIMEOUT_MS)
        connection.commit()
        # The lock ends with the connection, which is closed whatever happens.
        yield connection


def _set_lock_timeout(connection: Connection, timeout_ms: int) -> None:
    connection.execute(text(f"SET lock_timeout = {timeout_ms}"))
    connection.commit()


def _command(connection: Connection, run: Callable[[Config, str], None], revision: str) -> None:
    _status(connection)
    connection.commit()
    try:
        run(_config(connection), revision)
    except CommandError as error:
        raise ConfigInvalid(
            "DB_REVISION",
            f"cannot migrate to {revision!r}: {error}",
            remedy="name a revision that `caopan db status` shows, head or base",
        ) from error


def _status(connection: Connection) -> SchemaStatus:
    scripts = ScriptDirectory.from_config(_config(connection))
    current = MigrationContext.configure(connection).get_current_revision()
    known = [script.revision for script in scripts.walk_revisions()]
    if current is not None and current not in known:
        raise ConfigInvalid(
            "DB_NEWER",
            f"the database is at revision {current}, which this build does not know",
            remedy="run the newer build of caopan that migrated it, or restore an older backup",
        )
    pending = known[: known.index(current)] if current is not None else known
    return SchemaStatus(current, known[0], tuple(reversed(pending)))


def _config(connection: Connection) -> Config:
    config = Config()
    # The parser of Alembic's options takes % for its own.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def _refuse_foreign(connection: Connection) -> None:
    present = set(inspect(connection).get_table_names())
    connection.commit()
    if _VERSION_TABLE not in present and present & set(METADATA.tables):
        raise ConfigInvalid(
            "DB_FOREIGN",
            f"the database holds tables that are not ours: {sorted(present)[:5]}",
            remedy="point DATABASE_URL at an empty database",
        )


_CATALOGUE: Final = text("""
    WITH ours AS (
        SELECT oid, relname FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
            AND relkind IN ('r', 'p') AND NOT relispartition
    )
    SELECT relname, 'constraint ' || conname || ' ' || pg_get_constraintdef(c.oid)
    FROM ours JOIN pg_constraint c ON c.conrelid = ours.oid WHERE c.contype IN ('c','f','p','u')
    UNION ALL
    SELECT relname, pg_get_indexdef(indexrelid, 0, true)
    FROM ours JOIN pg_index ON indrelid = ours.oid
    UNION ALL
    SELECT relname, 'partition by ' || pg_get_partkeydef(oid)
    FROM ours WHERE pg_get_partkeydef(oid) IS NOT NULL
    UNION ALL
    SELECT relname, concat_ws(' ', 'column',
        row_number() OVER (PARTITION BY attrelid ORDER BY attnum), attname,
        format_type(atttypid, atttypmod),
        CASE WHEN attnotnull THEN 'not null' END, attidentity, pg_get_expr(adbin, adrelid))
    FROM ours JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = ours.oid AND adnum = attnum
""")


def _described(connection: Connection) -> set[str]:
    rows = connection.execute(_CATALOGUE).all()
    return {f"{table}: {line}" for table, line in rows if table != _VERSION_TABLE}


def _ours(error: DBAPIError, url: str) -> CaopanError:
    origin = error.orig
    if not isinstance(origin, psycopg.Error):
        raise error
    if origin.sqlstate is None:
        return not_connected(origin, place(url))
    return translated(origin, lost=error.connection_invalidated)
