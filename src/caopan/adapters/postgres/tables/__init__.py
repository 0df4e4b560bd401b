"""The tables as SQLModel classes: the one description that statements and migrations agree with.

Owns columns, keys and every rule a single row can break. SQLModel does not validate a table class
when it is constructed, so these classes are descriptions only: nothing outside this package builds
or receives one, repositories write rows from validated domain objects through the statements made
from these tables, and every rule also stands here as CHECK, UNIQUE or foreign key. Rules over
several rows (balanced transactions, append-only tables, monthly partitions) are functions and
triggers of the migrations. Tests: tests/integration/postgres/test_schema.py.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table

from caopan.adapters.postgres.tables.base import METADATA, Row
from caopan.adapters.postgres.tables.books import (
    BalanceRow,
    JournalPostingRow,
    JournalTransactionRow,
    NavPointRow,
)
from caopan.adapters.postgres.tables.controls import (
    ControlRow,
    ReconciliationRow,
    SystemControlRow,
)
from caopan.adapters.postgres.tables.decisions import DecisionRow, ModelCallRow, ObservationRow
from caopan.adapters.postgres.tables.gateway import (
    ClientKeyRow,
    LlmBodyRow,
    LlmCallRow,
    ModelsConfigRow,
)
from caopan.adapters.postgres.tables.ledger import (
    LedgerEntryRow,
    LedgerHeadRow,
    LedgerPayloadRow,
    LedgerPruningRow,
)
from caopan.adapters.postgres.tables.market import BarRow, CalendarSnapshotRow, DatasetRow
from caopan.adapters.postgres.tables.orders import ExitPlanRow, FillRow, TradeOrderRow
from caopan.adapters.postgres.tables.runs import RunRow, SandboxEventRow

__all__ = ["METADATA"]


def _table(row: type[Row]) -> Table:
    return METADATA.tables[row.__tablename__]


RUN: Final = _table(RunRow)
SANDBOX_EVENT: Final = _table(SandboxEventRow)
DECISION: Final = _table(DecisionRow)
OBSERVATION: Final = _table(ObservationRow)
MODEL_CALL: Final = _table(ModelCallRow)
TRADE_ORDER: Final = _table(TradeOrderRow)
FILL: Final = _table(FillRow)
EXIT_PLAN: Final = _table(ExitPlanRow)
JOURNAL_TRANSACTION: Final = _table(JournalTransactionRow)
JOURNAL_POSTING: Final = _table(JournalPostingRow)
BALANCE: Final = _table(BalanceRow)
NAV_POINT: Final = _table(NavPointRow)
LEDGER_HEAD: Final = _table(LedgerHeadRow)
LEDGER_ENTRY: Final = _table(LedgerEntryRow)
LEDGER_PAYLOAD: Final = _table(LedgerPayloadRow)
LEDGER_PRUNING: Final = _table(LedgerPruningRow)
CONTROL: Final = _table(ControlRow)
SYSTEM_CONTROL: Final = _table(SystemControlRow)
RECONCILIATION: Final = _table(ReconciliationRow)
DATASET: Final = _table(DatasetRow)
BAR: Final = _table(BarRow)
CALENDAR_SNAPSHOT: Final = _table(CalendarSnapshotRow)
LLM_CALL: Final = _table(LlmCallRow)
LLM_BODY: Final = _table(LlmBodyRow)
MODELS_CONFIG: Final = _table(ModelsConfigRow)
CLIENT_KEY: Final = _table(ClientKeyRow)
