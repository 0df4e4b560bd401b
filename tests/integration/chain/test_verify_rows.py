"""What the chain alone cannot tell: an emptied chain, a changed configuration, a missing head."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import psycopg
import pytest

from caopan.adapters.embedded.external import libpq_url
from caopan.adapters.embedded.services import Services
from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import RunKind
from caopan.bootstrap.ledgers import verify_runs
from caopan.domain.ledger.chain import Fault
from caopan.kernel.canonical import content_hash
from caopan.testing.crash_life import Lives

CONFIG = {"scenario": "rows"}


@pytest.fixture
def tampering(services: Services, clean_database: str):
    """A finished life of the scenario, and a superuser who may do anything to it."""

    async def create() -> int:
        async with PostgresStore(clean_database) as store:
            at = datetime(2023, 6, 1, tzinfo=UTC)
            run = await store.create_run(
                RunKind.REPLAY, "sandbox", CONFIG, content_hash(CONFIG), at
            )
            return run.run_id

    run_id = asyncio.run(create())
    assert Lives(clean_database).live(run_id)[0] == 0
    assert services.admin_url is not None
    name = clean_database.rsplit("/", 1)[1]
    with psycopg.connect(libpq_url(services.admin_url), dbname=name, autocommit=True) as link:
        link.execute("SET session_replication_role = replica")
        yield clean_database, link


def fault_of(url: str) -> tuple[Fault | None, int | None]:
    ((_, verdict),) = asyncio.run(verify_runs(url, None))
    return verdict.fault, verdict.first_bad_seq


def test_an_untouched_run_verifies(tampering) -> None:
    url, _ = tampering
    assert fault_of(url) == (None, None)


def test_an_emptied_chain_is_told_by_its_decisions(tampering) -> None:
    url, link = tampering
    link.execute("DELETE FROM ledger_payload")
    link.execute("DELETE FROM ledger_entry")
    link.execute("UPDATE ledger_head SET seq = 0, hash = repeat('0', 64)")
    assert fault_of(url)[0] is Fault.ROWS_DIFFER


def test_a_missing_head_is_a_fault_of_that_run_only(tampering) -> None:
    url, link = tampering
    link.execute("DELETE FROM ledger_head")
    assert fault_of(url)[0] is Fault.HEAD_MISMATCH


def test_a_changed_configuration_is_told_by_the_first_entry(tampering) -> None:
    url, link = tampering
    link.execute("UPDATE run SET config = %s", [json.dumps({"scenario": "another"})])
    assert fault_of(url) == (Fault.ROWS_DIFFER, 1)
