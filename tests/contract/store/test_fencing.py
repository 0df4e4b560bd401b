"""Who has no lease of a run, or had one, neither trades nor books on it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from caopan.application.ports.store import RunStatus
from caopan.domain.ledger.chain import Stage
from caopan.domain.orders.order import OrderStatus, moved
from caopan.kernel.errors import Conflict, Unavailable
from caopan.testing.store_samples import (
    sample_control,
    sample_cycle,
    sample_deposit,
    sample_draft,
    sample_fill,
    sample_freeze,
    sample_id,
    sample_model_call,
    sample_nav,
    sample_observation,
    sample_order,
    sample_reconciliation,
    sample_time,
)

ORDER = sample_order()
SENDING = moved(ORDER, OrderStatus.SENDING, sample_time())
OBSERVATION = sample_observation()

WRITES = {
    "a new cycle": lambda uow: uow.cycles.add(sample_cycle(1)),
    "a stage": lambda uow: uow.cycles.save(sample_cycle()),
    "an observation": lambda uow: uow.observations.add(
        OBSERVATION[0], sample_id("decision"), sample_time(), *OBSERVATION[1:]
    ),
    "a model call": lambda uow: uow.model_calls.add(sample_model_call()),
    "an order": lambda uow: uow.orders.add([sample_order(0, 1)]),
    "sending": lambda uow: uow.orders.save([SENDING]),
    "a fill": lambda uow: uow.orders.add_fills([sample_fill(ORDER)]),
    "an exit plan": lambda uow: uow.exit_plans.add(
        sample_id("plan"), ORDER.order_id, ORDER.decision_id, ORDER.symbol, {}, sample_time()
    ),
    "a posting": lambda uow: uow.journal.post([replace(sample_deposit(1), txn_id=sample_id("x"))]),
    "an entry": lambda uow: uow.ledger.append([sample_draft()]),
    "a snapshot": lambda uow: uow.nav.add(sample_nav()),
    "a control": lambda uow: uow.controls.put(sample_control()),
    "a comparison": lambda uow: uow.reconciliations.add(sample_reconciliation()),
    "the end": lambda uow: uow.run.finish(RunStatus.FAILED, sample_time(), {}),
}


OPERATORS = {
    "an operator's entry": lambda uow: uow.ledger.append(
        [sample_draft(stage=Stage.OPERATOR_ACTION)]
    ),
    **{name: WRITES.pop(name) for name in ("a control", "a comparison", "the end")},
}
"""Open to a person from another process, whoever trades."""


@pytest.fixture
async def run_id(backend, unheld):
    """Return a run with a decision and an order, which nobody holds."""
    async with backend.store.lease(unheld), backend.store.begin(unheld) as uow:
        await uow.cycles.add(sample_cycle())
        await uow.orders.add([ORDER])
        await uow.commit()
    return unheld


@pytest.fixture
async def stale(backend, run_id):
    """Return a store that still believes in its lease, while the other one holds it."""
    async with backend.store.lease(run_id):
        await lose_lease(backend, run_id)
        async with backend.other.lease(run_id):
            yield backend.store


async def lose_lease(backend, run_id) -> None:
    """Free the lock as the server does when the connection of its holder breaks."""
    if hasattr(backend.store, "database"):
        backend.store.database.leased.discard(run_id)
        return
    async with backend.store._session() as session:
        await session.rows(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND classid = x'63616f70'::int AND objid = %(run_id)s",
            {"run_id": run_id},
        )


@pytest.mark.parametrize("what", [*WRITES, *OPERATORS])
async def test_a_former_holder_writes_nothing(backend, run_id, stale, what):
    async def write(uow):
        await (WRITES | OPERATORS)[what](uow)
        await uow.commit()

    async with stale.begin(run_id) as uow:
        with pytest.raises(Conflict, match="RUN_FENCED"):
            await write(uow)
        with pytest.raises(Conflict, match="UOW_FAILED"):
            await uow.commit()
    async with backend.other.begin(run_id) as uow:
        await write(uow)


async def test_a_former_holder_is_told_so_though_its_bookings_no_longer_fit(backend, run_id):
    """The successor has settled the order it had sent: its version and its money are gone."""
    frozen = sample_freeze(ORDER)
    thawed = [replace(one, amount=-one.amount) for one in frozen.postings]
    back = replace(frozen, txn_id=sample_id("back"), postings=tuple(thawed))
    ended = moved(SENDING, OrderStatus.NOT_SENT, sample_time(), reject_code="BROKER_NEVER_SEEN")

    async def settle(store):
        async with store.begin(run_id) as uow:
            await uow.orders.save([ended])
            await uow.journal.post([back])
            await uow.ledger.append([sample_draft()])
            await uow.commit()

    async with backend.store.lease(run_id):
        async with backend.store.begin(run_id) as uow:
            await uow.journal.post([sample_deposit(), frozen])
            await uow.orders.save([SENDING])
            await uow.commit()
        await lose_lease(backend, run_id)
        async with backend.other.lease(run_id):
            await settle(backend.other)
            with pytest.raises(Conflict, match="RUN_FENCED"):
                await settle(backend.store)
    async with backend.other.begin(run_id) as uow:
        assert await uow.orders.all() == [ended]
        assert (await uow.ledger.head()).seq == 1


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("held", [True, False])
async def test_who_never_took_the_lease_or_gave_it_back_writes_nothing(backend, run_id, held, what):
    async with AsyncExitStack() as stack:
        if held:
            await stack.enter_async_context(backend.other.lease(run_id))
        async with backend.store.begin(run_id) as uow:
            with pytest.raises(Conflict, match="RUN_NOT_LEASED"):
                await WRITES[what](uow)
            with pytest.raises(Conflict, match="UOW_FAILED"):
                await uow.commit()


@pytest.mark.parametrize("what", OPERATORS)
async def test_an_operator_needs_no_lease(backend, run_id, what):
    async with backend.store.lease(run_id), backend.other.begin(run_id) as uow:
        await OPERATORS[what](uow)
        await uow.commit()


async def test_a_holder_is_confirmed_until_it_gives_the_lease_back(backend, run_id):
    for _ in range(2):
        async with backend.store.lease(run_id):
            await backend.store.confirm_lease(run_id)
            await backend.store.confirm_lease(run_id)
        with pytest.raises(Conflict, match="RUN_NOT_LEASED"):
            await backend.store.confirm_lease(run_id)


async def test_a_former_holder_learns_that_it_is_none(run_id, stale):
    # Its connection is gone, or somebody else's token is newer: both end its sitting.
    with pytest.raises((Conflict, Unavailable), match=r"RUN_FENCED|DB_UNREACHABLE"):
        await stale.confirm_lease(run_id)
