"""The model gateway: attempts and their bodies, the models document, callers' keys.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SQL = Path(__file__).parents[1] / "sql"


def upgrade() -> None:
    """Add them."""
    _run("0003_up.sql")


def downgrade() -> None:
    """Take them away, with what they hold: the older schema knows no gateway."""
    _run("0003_down.sql")


def _run(name: str) -> None:
    # Scripts of many statements go to the server as they are: no parameters, no escaping.
    script = (_SQL / name).read_text(encoding="utf-8")
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
