"""What a process holds of a run, and the guard that keeps a former holder from writing.

Owns Lease and the guard every unit of work of a run sends before its first write. The guard locks
the run's row of ledger_head: writers of one run follow one another in one order of locks, and a
process that takes the lease meanwhile waits for the commit it would otherwise overtake. Tests:
tests/contract/store/test_fencing.py, tests/integration/postgres/test_lease.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from caopan.adapters.postgres.connection import Queued
from caopan.domain.ledger.chain import Head
from caopan.kernel.errors import Conflict, CorruptState

_HOLD: Final = (
    "SELECT fence FROM ledger_head WHERE run_id = %(run_id)s"
    " AND fence = coalesce(%(fence)s::bigint, fence) FOR NO KEY UPDATE"
)


@dataclass(slots=True)
class Lease:
    """What this process holds of a run while it has the lease."""

    fence: int
    """Token of this lease; a later lease has a greater one."""
    head: Head
    """Where the chain ended when we last looked: a guess, checked by every append."""


def guard(run_id: int, lease: Lease | None) -> Queued:
    """Return the statement that refuses the writes of a process whose lease is another's now."""
    if lease is None:
        return _HOLD, {"run_id": run_id, "fence": None}, unknown(run_id)
    return _HOLD, {"run_id": run_id, "fence": lease.fence}, fenced(run_id, lease)


def fenced(run_id: int, lease: Lease) -> Conflict:
    """Return the refusal of a former holder."""
    return Conflict(
        "RUN_FENCED",
        f"run {run_id} was taken over by another process; our token {lease.fence} is void",
        remedy="stop this process; the other one goes on",
    )


def unknown(run_id: int) -> CorruptState:
    """Return the refusal of a run that is not stored."""
    return CorruptState("RUN_UNKNOWN", f"run {run_id} has no ledger", remedy="name an existing run")
