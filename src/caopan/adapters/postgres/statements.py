"""SQL texts made once from the table metadata.

Owns the compilation of statements to the driver's form, and the one shape of bulk insert: rows
travel as one array per column and are unnested by the server, so that a batch of any size is one
round trip. Must never run a statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sqlalchemy import Column, Dialect, Table

NOT_ONE: Final = "22012"
"""SQLSTATE of a statement of `exactly_one` that does not meet one row: a division by zero, which
nothing else of ours can cause."""


def names(table: Table, *, without: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the columns a repository writes: all but those the database fills itself."""
    return tuple(
        column.name
        for column in table.columns
        if column.name not in without and column.server_default is None and column.identity is None
    )


def insert(table: Table, columns: Sequence[str]) -> str:
    """Return the INSERT of one row of `columns`."""
    listed = ", ".join(columns)
    values = ", ".join(f"%({name})s::{_type(table.columns[name])}" for name in columns)
    return f"INSERT INTO {table.name} ({listed}) VALUES ({values})"  # noqa: S608 - our own names


def insert_batch(
    table: Table,
    columns: Sequence[str],
    *,
    scalars: Sequence[str] = (),
    prefix: str = "",
    given: str = "",
) -> str:
    """Return the INSERT of many rows: an array per column, but one value for each of `scalars`.

    Rows are inserted in the order of the arrays. `prefix` is put before the arrays' parameters,
    so that two inserts can share a statement; `given` names a CTE without whose row nothing is
    inserted.
    """
    many = [name for name in columns if name not in scalars]
    listed = ", ".join([*scalars, *many])
    unnested = ", ".join(f"%({prefix}{name})s::{_type(table.columns[name])}[]" for name in many)
    fixed = "".join(f"%({name})s::{_type(table.columns[name])}, " for name in scalars)
    picked = ", ".join(f"batch.{name}" for name in many)
    source = f"{given}, " if given else ""
    return (
        f"INSERT INTO {table.name} ({listed})"  # noqa: S608 - our own names
        f" SELECT {fixed}{picked} FROM {source}unnest({unnested})"
        f" WITH ORDINALITY AS batch({', '.join(many)}, nth) ORDER BY batch.nth"
    )


def arrays(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, prefix: str = ""
) -> dict[str, str]:
    """Return rows (values in the order of `columns`) as one array literal per column.

    Written here because the driver's own dumper of lists takes ten times as long, and a small
    append carries ten lists.
    """
    if not rows:
        return {prefix + name: "{}" for name in columns}
    turned = zip(*rows, strict=True)
    return {prefix + name: _literal(values) for name, values in zip(columns, turned, strict=True)}


def _literal(values: Sequence[Any]) -> str:
    return "{" + ",".join(_element(value) for value in values) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    if isinstance(value, datetime):
        return f'"{value.isoformat()}"'
    text = str(value)
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def selected(table: Table, columns: Sequence[str] | None = None) -> str:
    """Return "SELECT columns FROM table" to be continued by a WHERE."""
    listed = ", ".join(columns or [column.name for column in table.columns])
    return f"SELECT {listed} FROM {table.name}"  # noqa: S608 - our own names


def updated(table: Table, columns: Sequence[str]) -> str:
    """Return "UPDATE table SET columns" to be continued by a WHERE."""
    sets = ", ".join(f"{name} = %({name})s::{_type(table.columns[name])}" for name in columns)
    return f"UPDATE {table.name} SET {sets}"  # noqa: S608 - our own names


@cache
def exactly_one(statement: str) -> str:
    """Return `statement` so that the server fails it with NOT_ONE unless it meets one row.

    The server has to refuse, not whoever reads its answer: COMMIT may follow in the same exchange.
    """
    returning = "" if statement.startswith("SELECT") else " RETURNING 1"
    return (
        f"WITH met AS ({statement}{returning})"  # noqa: S608 - our own statements
        " SELECT 1 / (count(*) = 1)::int FROM met"
    )


def _type(column: Column[Any]) -> str:
    return column.type.compile(dialect=_dialect())


@cache
def _dialect() -> Dialect:
    # The gateway's process speaks to the database without the tables' descriptions; without the
    # library it starts in a third of the time and is 14 MB smaller.
    from sqlalchemy.dialects.postgresql import psycopg as driver_dialect  # noqa: PLC0415

    return driver_dialect.PGDialect_psycopg()
