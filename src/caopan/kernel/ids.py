"""Identifiers: sortable, unique, and pure functions of the logical event they name.

Owns UUIDv7 derivation and the client order id. Must never read a clock or a random source, so
that a replay mints the same ids again. Tests: tests/property/kernel/test_ids.py.
"""

from __future__ import annotations

import hashlib
from base64 import b32encode
from datetime import UTC, datetime, timedelta
from uuid import UUID

CLIENT_ORDER_ID_LENGTH = 23
"""QMT's order_remark holds fewer than 24 ASCII characters (xtquant 250807.1.2)."""

FOREIGN_PREFIX = "ext-"
"""Begins the tag of an order that somebody placed at the venue without us."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def derived_uuid(at: datetime, *parts: str | int) -> UUID:
    """Return the UUIDv7 whose time is `at` (aware) and whose random bits hash `parts`.

    Equal arguments give equal ids; the caller puts the run's seed among the parts.
    """
    # In whole numbers: the float of `at.timestamp()` falls a millisecond short now and then.
    milliseconds = (at - _EPOCH) // _MILLISECOND
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    tail = int.from_bytes(digest[:10], "big")
    value = (milliseconds & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= (tail >> 62 & 0xFFF) << 64
    value |= 0b10 << 62
    value |= tail & ((1 << 62) - 1)
    return UUID(int=value)


def client_order_id(decision_id: UUID, action_index: int, attempt: int) -> str:
    """Return the deterministic tag (23 ASCII characters) an order carries to the venue."""
    digest = hashlib.sha256(f"{decision_id}|{action_index}|{attempt}".encode()).digest()
    return "C" + b32encode(digest).decode()[: CLIENT_ORDER_ID_LENGTH - 1]


def foreign_order_id(broker_order_id: str) -> str:
    """Return the tag we know a foreign order by; a pure function of the venue's own id."""
    room = CLIENT_ORDER_ID_LENGTH - len(FOREIGN_PREFIX)
    if len(broker_order_id) <= room and broker_order_id.isascii():
        return FOREIGN_PREFIX + broker_order_id
    return FOREIGN_PREFIX + hashlib.sha256(broker_order_id.encode()).hexdigest()[:room]
