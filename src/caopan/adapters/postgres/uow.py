"""One transaction on one run, rolled back unless committed.

Owns the span of a transaction; the only place that commits for the repositories. Must never hold a
statement of its own. Tests: tests/contract/store, tests/integration/postgres.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from caopan.adapters.postgres.connection import Pool, Session
from caopan.adapters.postgres.repositories.books import PostgresJournal, PostgresNav
from caopan.adapters.postgres.repositories.controls import (
    PostgresControls,
    PostgresReconciliations,
)
from caopan.adapters.postgres.repositories.cycles import PostgresCycles
from caopan.adapters.postgres.repositories.evidence import PostgresModelCalls, PostgresObservations
from caopan.adapters.postgres.repositories.lease import Lease, guard, not_leased
from caopan.adapters.postgres.repositories.ledger import PostgresLedger
from caopan.adapters.postgres.repositories.orders import PostgresExitPlans, PostgresOrders
from caopan.adapters.postgres.repositories.runs import PostgresRun
from caopan.application.ports.store import (
    ControlRepository,
    CycleRepository,
    ExitPlanRepository,
    JournalRepository,
    LedgerRepository,
    ModelCallRepository,
    NavRepository,
    ObservationRepository,
    OrderRepository,
    ReconciliationRepository,
    RunRepository,
)


class PostgresUnitOfWork:
    """UnitOfWork on PostgreSQL."""

    def __init__(self, pool: Pool, run_id: int, lease: Lease | None) -> None:
        """Prepare a unit of work on `run_id`; `lease` is what this process holds of it."""
        barred = not_leased(run_id) if lease is None else None
        self._session = Session(pool, guard(run_id, lease), barred)
        self._ledger = PostgresLedger(self._session, run_id, lease)
        self.ledger: LedgerRepository = self._ledger
        self.run: RunRepository = PostgresRun(self._session, run_id)
        self.cycles: CycleRepository = PostgresCycles(self._session, run_id)
        self.observations: ObservationRepository = PostgresObservations(self._session, run_id)
        self.model_calls: ModelCallRepository = PostgresModelCalls(self._session, run_id)
        self.orders: OrderRepository = PostgresOrders(self._session, run_id, lease)
        self.exit_plans: ExitPlanRepository = PostgresExitPlans(self._session, run_id)
        self.journal: JournalRepository = PostgresJournal(self._session, run_id)
        self.nav: NavRepository = PostgresNav(self._session, run_id)
        self.controls: ControlRepository = PostgresControls(self._session, run_id)
        self.reconciliations: ReconciliationRepository = PostgresReconciliations(
            self._session, run_id
        )

    async def __aenter__(self) -> Self:
        """Borrow a connection; the transaction begins with the first statement."""
        await self._session.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Roll back whatever was not committed."""
        await self._session.close()

    async def commit(self) -> None:
        """Make everything done in this unit of work durable.

        Raises OutcomeUnknown DB_COMMIT_UNKNOWN if the connection was lost meanwhile.
        """
        await self._session.commit()
        self._ledger.committed()
