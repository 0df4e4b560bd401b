"""Whether a database is at this build's revision, asked cheaply.

Owns the question alone, without the migration library, which a process that must start quickly and
stay small does not load. Must never change anything but make months ahead of time; schema.py
migrates. Tests: tests/integration/postgres/test_revision.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import psycopg

from caopan.adapters.postgres.connection import conninfo, place
from caopan.adapters.postgres.errors import not_connected, translated
from caopan.adapters.postgres.partitions import ENSURE_AHEAD

_VERSIONS: Final = Path(__file__).with_name("migrations") / "versions"
_ASKED: Final = "SELECT version_num FROM alembic_version"


def newest_revision() -> str:
    """Return the revision this build's schema has: files of migrations begin with theirs."""
    return max(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*_*.py"))


def is_current(url: str) -> bool:
    """Tell whether the database is at `newest_revision`. Raises Unavailable, ConfigInvalid."""
    try:
        with psycopg.connect(conninfo(url)) as link:
            try:
                row = link.execute(_ASKED).fetchone()
            except psycopg.errors.UndefinedTable:
                return False
    except psycopg.Error as error:
        raise not_connected(error, place(url)) from error
    return row is not None and row[0] == newest_revision()


def ensure_months(url: str) -> None:
    """Make the partitions of this month and the next three. Raises Unavailable."""
    try:
        with psycopg.connect(conninfo(url), autocommit=True) as link:
            link.execute(ENSURE_AHEAD)
    except psycopg.OperationalError as error:
        raise not_connected(error, place(url)) from error
    except psycopg.Error as error:
        raise translated(error, lost=False) from error
