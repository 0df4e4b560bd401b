"""Controls and reconciliations of the in-memory store.

Owns the same semantics as adapters/postgres/repositories/controls, kept equal by the contract
suite. Must never be used by production code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from caopan.application.ports.store import Reconciliation
from caopan.domain.risk.kill_switch import Control
from caopan.kernel.errors import Conflict
from caopan.testing.memory_repositories import MemoryRepository, as_stored
from caopan.testing.memory_rules import check_control, check_reconciliation


def put_control(table: str, stored: list[Control], control: Control) -> None:
    """Append a control. Raises Conflict CONTROL_VERSION unless its version is the next one."""
    check_control(table, control)
    if control.version != len(stored) + 1:
        message = f"version {control.version} of the control is not the next one"
        raise Conflict("CONTROL_VERSION", message)
    stored.append(control)


class MemoryControls(MemoryRepository):
    """ControlRepository in memory."""

    async def get(self) -> Control:
        """Return the account's own control, `Control()` before the first."""
        stored = self._read().controls
        return stored[-1] if stored else Control()

    async def put(self, control: Control) -> None:
        """Store a control."""
        state = await self._write(operator=True)
        self._checked(put_control, "control", state.controls, control)


class MemoryReconciliations(MemoryRepository):
    """ReconciliationRepository in memory."""

    async def add(self, reconciliation: Reconciliation) -> None:
        """Store one comparison."""
        state = await self._write(operator=True)
        self._checked(check_reconciliation, reconciliation)
        number = reconciliation.reconciliation_id
        self._unique(number not in state.reconciliations, "DB_DUPLICATE", "the reconciliation")
        kept: list[Any] = [as_stored(one) for one in reconciliation.differences]
        state.reconciliations[number] = replace(reconciliation, differences=tuple(kept))

    async def all(self) -> Sequence[Reconciliation]:
        """Return every comparison, oldest first."""
        stored = self._read().reconciliations.values()
        return sorted(stored, key=lambda one: (one.at, one.reconciliation_id))
