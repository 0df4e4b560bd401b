"""Bringing a database to this build's schema before anything uses it.

Owns `ready_database`. Must never migrate data that was not backed up first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from caopan.adapters.embedded.backup import backup_database
from caopan.adapters.embedded.services import Services
from caopan.adapters.postgres import schema


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was done, as a catalogue key with its values."""

    key: str
    values: Mapping[str, object]


def ready_database(services: Services) -> Iterator[Step]:
    """Migrate the database if this build is newer; yield what is done, for the person waiting.

    Raises:
        ConfigInvalid: DB_NEWER or DB_FOREIGN; the database is left as it is.
    """
    status = schema.status(services.database_url)
    if not status.pending:
        return
    if status.current is None:
        yield Step("db.creating", {})
    else:
        path = backup_database(services, "before migration")
        yield Step("db.backed_up", {"path": path})
        yield Step("db.migrating", {"revisions": ", ".join(status.pending)})
    schema.upgrade(services.database_url)
