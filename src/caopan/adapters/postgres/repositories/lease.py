"""What a process holds of a run, and the guard that keeps anyone else from writing.

Owns Lease, the refusal of who has none, and the guard every unit of work of a run sends before its
first write. Only an operator's word goes without a lease: a control, its entry in the ledger, a
comparison of the books, the end of the run. The guard locks the run's row of ledger_head: writers
of one run follow one another in one order of locks, and a process that takes the lease meanwhile
waits for the commit it would otherwise overtake. Tests: tests/contract/store/test_fencing.py,
tests/integration/postgres/test_lease.py.
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


def not_leased(run_id: int) -> Conflict:
    """Return the refusal of a writer that never took the run, or gave it back."""
    return Conflict(
        "RUN_NOT_LEASED",
        f"this process does not hold run {run_id}; only who holds it may trade and book on it",
        remedy="take the lease of the run first (Store.lease), and write while it is held",
    )


def unknown(run_id: int) -> CorruptState:
    """Return the refusal of a run that is not stored."""
    return CorruptState("RUN_UNKNOWN", f"run {run_id} has no ledger", remedy="name an existing run")
