"""The books: journal, balances, snapshots. Balances are always the sum of the journal."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import RunKind
from caopan.domain.accounting.journal import (
    CAPITAL,
    CASH_FREE,
    CNY,
    OUTSIDE,
    Book,
    Kind,
    Posting,
    Transaction,
    fold,
)
from caopan.kernel.errors import Conflict, CorruptState
from caopan.testing.memory_store import MemoryStore
from caopan.testing.store_samples import (
    sample_cycle,
    sample_deposit,
    sample_freeze,
    sample_id,
    sample_nav,
    sample_order,
    sample_time,
)


async def test_postings_and_balances_change_together(store, run_id, kept):
    order = sample_order()
    deposit, freeze = sample_deposit(), sample_freeze(order)

    async def book(uow):
        await uow.cycles.add(sample_cycle())
        await uow.journal.post([deposit, freeze])
        await uow.orders.add([order])

    await kept(book)
    async with store.begin(run_id) as uow:
        stored = await uow.journal.balances()
        assert await uow.journal.transactions() == [deposit, freeze]
        assert stored.balances == fold([deposit, freeze]).balances
        assert stored.cash_frozen == order.qty * order.price
        asked = [sample_id("no"), freeze.txn_id, deposit.txn_id]
        assert await uow.journal.booked(asked) == [freeze.txn_id, deposit.txn_id]


async def test_an_account_that_empties_leaves_no_balance(store, run_id, kept):
    deposit = sample_deposit(500)
    back = replace(
        deposit,
        txn_id=sample_id("back"),
        kind=Kind.WITHDRAWAL,
        postings=tuple(replace(p, amount=-p.amount) for p in deposit.postings),
    )
    await kept(lambda uow: uow.journal.post([deposit]))
    await kept(lambda uow: uow.journal.post([back]))
    async with store.begin(run_id) as uow:
        assert not (await uow.journal.balances()).balances
        assert len(await uow.journal.transactions()) == 2


async def test_nothing_held_falls_below_zero(store, run_id, kept):
    await kept(lambda uow: uow.journal.post([sample_deposit(500)]))
    for account in ("cash.free", "cash.frozen/x", "shares.free/2023-01-03", "inventory/x"):
        legs = (Posting(account, CNY, -501), Posting(CAPITAL, CNY, 501))
        theft = Transaction(sample_id(account), Kind.WITHDRAWAL, sample_time(), legs)
        with pytest.raises(CorruptState, match="ck_balance_not_negative"):
            await kept(lambda uow, theft=theft: uow.journal.post([theft]))
    async with store.begin(run_id) as uow:
        assert (await uow.journal.balances()).cash_free == 500


async def test_a_transaction_that_does_not_balance_is_never_committed(store, run_id, kept):
    lame = replace(
        sample_deposit(), txn_id=sample_id("lame"), postings=(Posting(CASH_FREE, CNY, 1),)
    )
    with pytest.raises(CorruptState, match=r"CHECK_VIOLATION.*journal_transaction_balanced"):
        await kept(lambda uow: uow.journal.post([sample_deposit(), lame]))
    async with store.begin(run_id) as uow:
        assert await uow.journal.transactions() == []


async def test_a_transaction_is_booked_once(store, run_id, kept):
    await kept(lambda uow: uow.journal.post([sample_deposit()]))
    with pytest.raises(Conflict, match="DB_DUPLICATE"):
        await kept(lambda uow: uow.journal.post([sample_deposit()]))
    async with store.begin(run_id) as uow:
        assert len(await uow.journal.transactions()) == 1


async def test_writers_at_the_same_time_add_up(store, run_id):
    async def pay_in(name: str) -> None:
        async with store.begin(run_id) as uow:
            await uow.journal.post([replace(sample_deposit(100), txn_id=sample_id(name))])
            await uow.commit()

    await pay_in("first")
    async with asyncio.TaskGroup() as group:
        for number in range(6):
            group.create_task(pay_in(f"payment {number}"))
    async with store.begin(run_id) as uow:
        assert (await uow.journal.balances()).cash_free == 700


async def test_snapshots_come_back_by_day_and_each_day_has_one(store, run_id, kept):
    points = [replace(sample_nav(0), benchmark=None), sample_nav(1)]
    for point in reversed(points):
        await kept(lambda uow, point=point: uow.nav.add(point))
    with pytest.raises(Conflict, match="NAV_EXISTS"):
        await kept(lambda uow: uow.nav.add(sample_nav(0)))
    async with store.begin(run_id) as uow:
        assert await uow.nav.all() == points


_ACCOUNTS = ("income.realised", "expense.commission", CAPITAL, "income.dividend", "x/y")
_amounts = st.integers(min_value=-(10**15), max_value=10**15)


@st.composite
def _journals(draw) -> list[Transaction]:
    """Draw balanced transactions over accounts that may be negative, in money and shares."""
    journal: list[Transaction] = []
    for number in range(draw(st.integers(1, 6))):
        legs: list[Posting] = []
        for asset in draw(st.sets(st.sampled_from([CNY, "600519.SH"]), min_size=1)):
            parts = draw(st.lists(st.tuples(st.sampled_from(_ACCOUNTS), _amounts), max_size=4))
            legs += [Posting(account, asset, amount) for account, amount in parts]
            legs.append(Posting(OUTSIDE, asset, -sum(amount for _, amount in parts)))
        journal.append(Transaction(sample_id("txn", number), Kind.FILL, sample_time(), tuple(legs)))
    return journal


@pytest.mark.parametrize("kind", ["memory", "postgres"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(journal=_journals(), cuts=st.sets(st.integers(1, 5)))
def test_stored_balances_are_the_fold_of_the_journal(request, kind, journal, cuts):
    batches = [journal[i:j] for i, j in zip([0, *sorted(cuts)], [*sorted(cuts), None], strict=True)]

    async def book(store) -> tuple[Book, list[Transaction]]:
        run = await store.create_run(RunKind.REPLAY, "a", {}, "d" * 64, sample_time())
        async with store.lease(run.run_id):
            for batch in batches:
                async with store.begin(run.run_id) as uow:
                    await uow.journal.post(batch)
                    await uow.commit()
        async with store.begin(run.run_id) as uow:
            return await uow.journal.balances(), list(await uow.journal.transactions())

    async def book_in_postgres(url: str) -> tuple[Book, list[Transaction]]:
        async with PostgresStore(url, synchronous_commit=False, pool_size=1) as store:
            return await book(store)

    if kind == "memory":
        stored, kept = asyncio.run(book(MemoryStore(lease_required=True)))
    else:
        stored, kept = asyncio.run(book_in_postgres(request.getfixturevalue("database_url")))
    assert kept == journal
    assert stored.balances == fold(journal).balances
