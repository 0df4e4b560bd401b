"""Two ways into the worker's database beside the product's own: its owner, and a superuser."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import psycopg
import pytest

from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import RunKind
from caopan.testing.store_samples import ACCOUNT, sample_cycle, sample_time


@pytest.fixture
def owner(clean_database: str) -> Generator[psycopg.Connection]:
    """Return a connection as the role that owns the tables, as the product has it."""
    with psycopg.connect(conninfo(clean_database), autocommit=True) as link:
        yield link


@pytest.fixture
def superuser(services, clean_database: str) -> Generator[psycopg.Connection]:
    """Return a connection that no privilege stops."""
    url = services.admin_url.rsplit("/", 1)[0] + "/" + clean_database.rsplit("/", 1)[1]
    with psycopg.connect(conninfo(url), autocommit=True) as link:
        yield link


@pytest.fixture
async def store(clean_database: str) -> AsyncGenerator[PostgresStore]:
    async with PostgresStore(clean_database) as opened:
        yield opened


@pytest.fixture
async def unheld(store: PostgresStore) -> int:
    """Return a run with one decision in it, which nobody holds."""
    run = await store.create_run(RunKind.REPLAY, ACCOUNT, {}, "c" * 64, sample_time())
    async with store.lease(run.run_id), store.begin(run.run_id) as uow:
        await uow.cycles.add(sample_cycle())
        await uow.commit()
    return run.run_id


@pytest.fixture
async def run_id(store: PostgresStore, unheld: int) -> AsyncGenerator[int]:
    """Return a run with one decision in it, which `store` holds."""
    async with store.lease(unheld):
        yield unheld
