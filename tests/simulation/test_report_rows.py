"""Rows changed behind the ledger's back do not count as covered by it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from caopan.application.ports.store import RunKind
from caopan.application.reporting import report_run
from caopan.testing.memory_state import MemoryDatabase, RunState
from caopan.testing.memory_store import MemoryStore, MemoryVenueJournal
from caopan.testing.scenario import CASH, open_scenario


def dearer_fill(state: RunState) -> None:
    fill = next(iter(state.fills.values()))
    state.fills[fill.fill_id] = replace(fill, price=fill.price + 100)


def larger_fee(state: RunState) -> None:
    fill = next(iter(state.fills.values()))
    state.fills[fill.fill_id] = replace(fill, commission=fill.commission + 100)


def lost_fill(state: RunState) -> None:
    state.fills.popitem()


def other_limit(state: RunState) -> None:
    order = next(iter(state.orders.values()))
    state.orders[order.order_id] = replace(order, price=order.price + 100)


def lost_order(state: RunState) -> None:
    expired = next(order for order in state.orders.values() if not order.filled_qty)
    del state.orders[expired.order_id]


@pytest.mark.parametrize("change", [dearer_fill, larger_fee, lost_fill, other_limit, lost_order])
def test_a_row_that_differs_from_its_entry_is_not_covered(change):
    async def covered() -> tuple[float, float]:
        database = MemoryDatabase()
        store = MemoryStore(database)
        at = datetime(2023, 6, 1, tzinfo=UTC)
        run = await store.create_run(RunKind.REPLAY, "sandbox", {}, "a" * 64, at)
        scenario = await open_scenario(run, store, MemoryVenueJournal(database))
        await scenario.play()
        before = await report_run(store, run.run_id, CASH)
        change(database.runs[run.run_id])
        after = await report_run(store, run.run_id, CASH)
        assert after.verification.verified
        return before.trace_coverage, after.trace_coverage

    before, after = asyncio.run(covered())

    assert before == 1.0
    assert after < 1.0
