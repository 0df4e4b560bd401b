"""Controls, reconciliations, a decision's origin, all order types, the token of an intent.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Add them."""
    _run("0002_up.sql")


def downgrade() -> None:
    """Take them away; refused while a row is there that revision 0001 cannot hold."""
    _run("0002_down.sql")


def _run(name: str) -> None:
    # Scripts of many statements go to the server as they are: no parameters, no escaping.
    script = (_SQL / name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
