"""Both stores behind one fixture: what holds for one must hold for the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from caopan.adapters.postgres.store import PostgresStore
from caopan.adapters.postgres.venue_journal import PostgresVenueJournal
from caopan.application.ports.store import Run, RunKind, Store, VenueJournal
from caopan.testing.memory_store import MemoryStore, MemoryVenueJournal
from caopan.testing.store_samples import ACCOUNT, sample_time


@dataclass
class Backend:
    """One durable state, as two processes see it."""

    store: Store
    other: Store
    journal: VenueJournal

    async def new_run(self, kind: RunKind = RunKind.REPLAY) -> Run:
        return await self.store.create_run(kind, ACCOUNT, {"seed": 7}, "c" * 64, sample_time())


@pytest.fixture(params=["memory", "postgres"])
async def backend(request) -> AsyncGenerator[Backend]:
    if request.param == "memory":
        store = MemoryStore(lease_required=True)
        other = MemoryStore(store.database, lease_required=True)
        yield Backend(store, other, MemoryVenueJournal(store.database))
        return
    url = request.getfixturevalue("database_url")
    journal = PostgresVenueJournal(url)
    async with PostgresStore(url) as store, PostgresStore(url) as other:
        yield Backend(store, other, journal)
    await journal.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    return backend.store


@pytest.fixture
async def unheld(backend: Backend) -> int:
    """Return a run that nobody holds."""
    return (await backend.new_run()).run_id


@pytest.fixture
async def run_id(store: Store, unheld: int) -> AsyncGenerator[int]:
    """Return a run that `store` holds."""
    async with store.lease(unheld):
        yield unheld


@pytest.fixture
def kept(store: Store, run_id: int) -> Callable[..., Any]:
    """Return a function that does something in a unit of work of its own and commits it."""

    async def keep(do: Callable[[Any], Any]) -> None:
        async with store.begin(run_id) as uow:
            await do(uow)
            await uow.commit()

    return keep
