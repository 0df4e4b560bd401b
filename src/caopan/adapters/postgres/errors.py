"""The boundary where the driver's exceptions become ours.

Owns which code each failure of the database gets and what it means for the caller. Must never let
a driver's exception through, nor put a password into a message. Tests:
tests/integration/postgres/test_errors.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import psycopg

from caopan.kernel.errors import (
    CaopanError,
    ConfigInvalid,
    Conflict,
    CorruptState,
    Denied,
    OutcomeUnknown,
    Unavailable,
)

UNIQUE_CODES: Final[Mapping[str, str]] = {
    "uq_decision_slot": "CYCLE_EXISTS",
    "pk_decision": "CYCLE_EXISTS",
    "uq_trade_order_client": "ORDER_EXISTS",
    "pk_trade_order": "ORDER_EXISTS",
    "pk_sandbox_event": "VENUE_SEQ",
    "pk_nav_point": "NAV_EXISTS",
    "uq_run_desk": "RUN_EXISTS",
    "pk_control": "CONTROL_VERSION",
    "pk_system_control": "CONTROL_VERSION",
}
"""Unique constraints whose violation the port gives a name."""

_STATES: Final[Mapping[str, tuple[type[CaopanError], str, str]]] = {
    "23001": (Denied, "DB_APPEND_ONLY", "corrections are new rows; nothing recorded is changed"),
    "23502": (CorruptState, "NULL_VIOLATION", "report this; a row lacked a value"),
    "23503": (CorruptState, "FOREIGN_KEY_VIOLATION", "report this; a row points at nothing"),
    "25006": (Unavailable, "DB_READ_ONLY", "connect to the primary server"),
    "25P02": (Conflict, "UOW_FAILED", "leave the unit of work; an earlier statement was refused"),
    "40001": (Conflict, "DB_SERIALIZATION", "load again and repeat"),
    "40P01": (Conflict, "DB_SERIALIZATION", "load again and repeat"),
    "42501": (Denied, "DB_FORBIDDEN", "grant the database role what it needs"),
    "42P01": (ConfigInvalid, "DB_NOT_MIGRATED", "run `caopan db upgrade`"),
    "42703": (ConfigInvalid, "DB_NOT_MIGRATED", "run `caopan db upgrade`"),
    "42883": (ConfigInvalid, "DB_NOT_MIGRATED", "run `caopan db upgrade`"),
    "53100": (Unavailable, "DB_DISK_FULL", "free space on the database's disk, then repeat"),
    "53200": (Unavailable, "DB_OUT_OF_MEMORY", "give the database more memory"),
    "53300": (
        Unavailable,
        "DB_TOO_MANY_CONNECTIONS",
        "raise max_connections or stop other clients",
    ),
    "55P03": (Conflict, "DB_LOCKED", "wait for the other process and repeat"),
    "57014": (Unavailable, "DB_TIMEOUT", "look for a blocked or overloaded database"),
    "57P03": (Unavailable, "DB_UNREACHABLE", "the server is starting or stopping; repeat shortly"),
}
_CONNECT: Final[tuple[tuple[str, type[CaopanError], str, str], ...]] = (
    (
        r"authentication failed|no password supplied|role \S+ does not exist|no pg_hba\.conf entry",
        ConfigInvalid,
        "DB_AUTH",
        "correct user and password in DATABASE_URL",
    ),
    (
        r"database \S+ does not exist",
        ConfigInvalid,
        "DB_NOT_FOUND",
        "create the database or correct its name in DATABASE_URL",
    ),
    (
        r"too many clients|remaining connection slots|too many connections",
        Unavailable,
        "DB_TOO_MANY_CONNECTIONS",
        "raise max_connections or stop other clients",
    ),
    (
        r"No space left on device",
        Unavailable,
        "DB_DISK_FULL",
        "free space on the database's disk, then repeat",
    ),
)
_REACH_REMEDY = "check that PostgreSQL runs and DATABASE_URL is right; `caopan doctor` tells more"


def translated(error: psycopg.Error, *, lost: bool, committing: bool = False) -> CaopanError:
    """Return our error for the driver's.

    `lost` tells that the connection is gone, `committing` that COMMIT was on its way: then nobody
    but the database knows whether it happened.
    """
    text = _one_line(error)
    state = error.sqlstate or ""
    if lost and committing:
        return OutcomeUnknown(
            "DB_COMMIT_UNKNOWN",
            f"the connection was lost during COMMIT: {text}",
            remedy="look up what was recorded before anything is repeated",
        )
    if state in _STATES:
        kind, code, remedy = _STATES[state]
        return kind(code, text, remedy=remedy)
    if lost or state.startswith(("08", "57P")):
        message = f"the connection was lost: {text}"
        return Unavailable("DB_UNREACHABLE", message, remedy=_REACH_REMEDY)
    return _refused(error, state, text)


def not_connected(error: psycopg.Error, place: str) -> CaopanError:
    """Return our error for a connection to `place` (host, port, database) that never came up."""
    text = _one_line(error)
    for pattern, kind, code, remedy in _CONNECT:
        if re.search(pattern, text):
            return kind(code, f"{place}: {text}", remedy=remedy)
    return Unavailable("DB_UNREACHABLE", f"{place}: {text}", remedy=_REACH_REMEDY)


def _refused(error: psycopg.Error, state: str, text: str) -> CaopanError:
    if state == "23505":
        return _duplicate(error, text)
    if state == "23514":
        name = error.diag.constraint_name or "unnamed"
        return CorruptState(
            "CHECK_VIOLATION",
            f"the database refused a row by {name}: {text}",
            remedy="report this; an invariant was about to be broken",
        )
    if isinstance(error, psycopg.DataError):
        return CorruptState("DB_VALUE", f"the database refused a value: {text}")
    return CorruptState("DB_ERROR", f"{type(error).__name__} {state}: {text}", remedy="report this")


def _duplicate(error: psycopg.Error, text: str) -> Conflict:
    name = error.diag.constraint_name or ""
    code = UNIQUE_CODES.get(name, "DB_DUPLICATE")
    detail = error.diag.message_detail or ""
    return Conflict(
        code, f"{text} {detail}".strip(), remedy="load what is stored and go on from it"
    )


def _one_line(error: psycopg.Error) -> str:
    message = error.diag.message_primary or str(error)
    return " ".join(message.split()) or type(error).__name__
