"""The levels of the kill switch and of an account's posture, and what each lets through.

Owns KillLevel, Posture and Control (both, with who set them and why). Must never block a cancel.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum


class KillLevel(IntEnum):
    """How much is stopped; a higher level stops all that a lower one does."""

    OFF = 0
    NO_OPENINGS = 1
    """No buys; what reduces a position goes on."""
    NO_ORDERS = 2
    """No orders at all; every open one is cancelled."""
    FLATTEN = 3
    """As NO_ORDERS, then only orders that sell what is sellable."""


class Posture(StrEnum):
    """How an account may trade (contracts.md, risk_posture)."""

    NORMAL = "normal"
    CAUTIOUS = "cautious"
    """Half of every cap of the policy."""
    FLAT_ONLY = "flat_only"
    """Only what reduces a position."""


@dataclass(frozen=True, slots=True)
class Control:
    """What stands against an account's trading, who set it and why."""

    level: KillLevel = KillLevel.OFF
    posture: Posture = Posture.NORMAL
    reason: str = ""
    by: str = ""
    at: datetime | None = None
    version: int = 0
    """Grows by one with every change; 0 before the first."""
