"""Foundation: runs, decisions, orders, books, ledger, bars; their rules and partitions.

Revision ID: 0001
Revises: nothing; an empty database becomes ours.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Create everything."""
    _run("0001_tables.sql")
    _run("0001_rules.sql")


def downgrade() -> None:
    """Drop everything; nothing stays behind."""
    _run("0001_down.sql")


def _run(name: str) -> None:
    # Scripts of many statements go to the server as they are: no parameters, no escaping.
    script = (_SQL / name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
