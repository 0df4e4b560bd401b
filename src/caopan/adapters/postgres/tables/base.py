"""What every table shares: the metadata, the names of constraints, the kinds of columns.

Owns METADATA and the column kinds, so that money, instants and hashes look the same everywhere.
Money is NUMERIC(20,4) yuan (contracts.md): a person reading the table with psql sees yuan, and
the exact conversion from and to integer units costs about a microsecond per value, nothing beside
the round trip that carries it. Must never name a particular table.
"""

from __future__ import annotations

# ruff: noqa: ANN401 - SQLModel declares what Field returns as Any, so that `x: int = Field()` holds.
import re
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    LargeBinary,
    MetaData,
    Numeric,
    Text,
    Uuid,
    func,
)
from sqlalchemy.orm import declared_attr
from sqlmodel import Field, SQLModel

METADATA: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Row(SQLModel):
    """Base of all table classes; a class RunRow describes the table run."""

    metadata = METADATA

    @declared_attr.directive
    @classmethod
    def __tablename__(cls) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - documented use
        return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__.removesuffix("Row")).lower()


# SQLAlchemy columns belong to one table, so each kind of column is a function that makes one.


def run_key() -> Any:
    """Return the first part of every key inside a run."""
    return _field(Column(BigInteger, primary_key=True, autoincrement=False))


def identity() -> Any:
    """Return a key that the database numbers."""
    return _field(Column(BigInteger, Identity(always=True), primary_key=True))


def key() -> Any:
    """Return an id that is part of the primary key."""
    return _field(Column(Uuid, primary_key=True))


def key_text() -> Any:
    """Return a text that is part of the primary key."""
    return _field(Column(Text, primary_key=True))


def key_number() -> Any:
    """Return an integer that is part of the primary key."""
    return _field(Column(BigInteger, primary_key=True, autoincrement=False))


def key_day() -> Any:
    """Return a day that is part of the primary key."""
    return _field(Column(Date, primary_key=True))


def recorded_at(*, primary_key: bool = False) -> Any:
    """Return the wall-clock time of insertion, by which tables are partitioned; never hashed."""
    column: Column[Any] = Column(
        DateTime(timezone=True),
        primary_key=primary_key,
        nullable=False,
        server_default=func.now(),
    )
    return _field(column)


def ident(*, nullable: bool = False) -> Any:
    """Return an id."""
    return _field(Column(Uuid, nullable=nullable))


def text(*, nullable: bool = False) -> Any:
    """Return a text."""
    return _field(Column(Text, nullable=nullable))


def number(*, nullable: bool = False) -> Any:
    """Return an integer: shares, counts, milliseconds."""
    return _field(Column(BigInteger, nullable=nullable))


def money(*, nullable: bool = False) -> Any:
    """Return yuan with four exact decimals (a price, a fee, an amount)."""
    return _field(Column(Numeric(20, 4), nullable=nullable))


def cost(*, nullable: bool = True) -> Any:
    """Return a model's cost in yuan, null while its price is unknown."""
    return _field(Column(Numeric(18, 8), nullable=nullable))


def instant(*, nullable: bool = False) -> Any:
    """Return a point in time."""
    return _field(Column(DateTime(timezone=True), nullable=nullable))


def day(*, nullable: bool = False) -> Any:
    """Return a trading day."""
    return _field(Column(Date, nullable=nullable))


def flag() -> Any:
    """Return a truth value."""
    return _field(Column(Boolean, nullable=False))


def document(*, nullable: bool = False) -> Any:
    """Return a JSON document, kept as the text it was given (json, not jsonb)."""
    return _field(Column(JSON(none_as_null=True), nullable=nullable))


def body() -> Any:
    """Return bytes that are stored compressed (see values.pack)."""
    return _field(Column(LargeBinary, nullable=False))


def column(of: Column[Any]) -> Any:
    """Return a field for a column of no common kind."""
    return _field(of)


def one_of(name: str, words: type[StrEnum]) -> CheckConstraint:
    """Return the CHECK that a column holds one of an enum's words."""
    listed = ", ".join(f"'{word.value}'" for word in words)
    return CheckConstraint(f"{name} IN ({listed})", name=name)


def is_hash(name: str) -> CheckConstraint:
    """Return the CHECK that a column holds a SHA-256 in lower-case hex.

    The pattern that counts ({64}) is fifteen times as slow, and the ledger checks three a row.
    """
    return CheckConstraint(f"length({name}) = 64 AND {name} ~ '^[0-9a-f]+$'", name=name)


def rule(name: str, condition: str) -> CheckConstraint:
    """Return a named CHECK. No BETWEEN: a restored dump writes it otherwise than a migration."""
    return CheckConstraint(condition, name=name)


def within_run(parent: str, *columns: str, deferred: bool = False) -> ForeignKeyConstraint:
    """Return the foreign key to `parent` inside the same run; to the run itself if no columns.

    A deferred one is checked at commit.
    """
    return ForeignKeyConstraint(
        ["run_id", *columns],
        [f"{parent}.run_id", *(f"{parent}.{name}" for name in columns)],
        deferrable=True if deferred else None,
        initially="DEFERRED" if deferred else None,
    )


def _field(column: Column[Any]) -> Any:
    return Field(sa_column=column)
