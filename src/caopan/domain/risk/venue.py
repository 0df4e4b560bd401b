"""What an account may do at its venue: which one it is, its permissions, its report.

Owns Venue, Permission, ReportStatus, ProgramReport, Licence, which holds them together, and the
hash that names a strategy (contracts.md, "Account, sleeve, permissions"). Must never grant anything
by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from caopan.kernel.canonical import content_hash


class Venue(StrEnum):
    """Where the orders go."""

    SANDBOX = "sandbox"
    BROKER = "broker"
    """A real account at a real broker."""


class Permission(StrEnum):
    """What a holder must have signed for before buying it."""

    CHINEXT = "chinext"
    STAR = "star"
    BSE = "bse"
    ST = "st"
    DELISTING = "delisting"


class ReportStatus(StrEnum):
    """How far the report of programme trading has come."""

    NOT_REPORTED = "not_reported"
    REPORTED = "reported"
    """Sent in; the broker has not confirmed it yet."""
    CONFIRMED = "confirmed"


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """The report of programme trading an account made to its broker."""

    status: ReportStatus
    max_per_second: int
    max_per_day: int
    confirmed_at: datetime | None = None
    software_version: str = ""
    strategy_hash: str = ""


@dataclass(frozen=True, slots=True)
class Licence:
    """What one account may do at its venue. At a broker what is left out refuses."""

    venue: Venue
    permissions: frozenset[Permission] | None = None
    report: ProgramReport | None = None
    software_version: str = ""
    """What runs, to be held against the report."""
    strategy_hash: str = ""


def strategy_hash_of(model: str, prompt_hash: str, policy_version: str) -> str:
    """Return what names a strategy: which model answers to which prompt under which limits."""
    return content_hash({"model": model, "policy": policy_version, "prompt": prompt_hash})
