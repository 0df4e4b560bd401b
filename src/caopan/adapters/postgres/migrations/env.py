"""Alembic's entry point: runs migrations on the connection that schema.py hands over.

Owns what Alembic compares (our metadata, partitions left out). Must never open a connection of its
own: schema.py does, with an advisory lock and lock timeouts, and keeps none open afterwards.
"""

from __future__ import annotations

from alembic import context

from caopan.adapters.postgres.schema import is_ours
from caopan.adapters.postgres.tables import METADATA

_connection = context.config.attributes["connection"]

context.configure(
    connection=_connection,
    target_metadata=METADATA,
    include_name=is_ours,
    compare_type=True,
    compare_server_default=True,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
