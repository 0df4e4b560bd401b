"""From an empty database to the newest schema and back, and whether code and database agree."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import LiteralString

import psycopg
import pytest

from caopan.adapters.embedded.binaries import bundled
from caopan.adapters.embedded.external import libpq_url
from caopan.adapters.postgres import schema
from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.application.ports.store import RunKind
from caopan.domain.market.order_types import ExchangeOrderType
from caopan.kernel.errors import ConfigInvalid, Conflict, CorruptState
from caopan.testing.store_samples import ACCOUNT, sample_cycle, sample_order, sample_time

_EVERYTHING = """
    SELECT 'relation ' || relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT 'function ' || proname FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT 'type ' || typname FROM pg_type
        WHERE typnamespace = 'public'::regnamespace
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace
        WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('public', 'information_schema')
"""


def everything(url: str) -> list[str]:
    with psycopg.connect(conninfo(url)) as link:
        return sorted(row[0] for row in link.execute(_EVERYTHING))


def execute(url: str, statement: LiteralString) -> None:
    with psycopg.connect(conninfo(url)) as link:
        link.execute(statement)


def test_up_down_and_up_again(empty_database):
    assert schema.status(empty_database) == schema.SchemaStatus(
        None, "0003", ("0001", "0002", "0003")
    )
    assert schema.upgrade(empty_database) == schema.SchemaStatus("0003", "0003", ())
    built = everything(empty_database)
    assert schema.upgrade(empty_database).pending == ()
    assert schema.downgrade(empty_database, "base").current is None
    assert everything(empty_database) == []
    schema.upgrade(empty_database)
    assert everything(empty_database) == built
    assert schema.check(empty_database) == []


@pytest.mark.parametrize("older", ["0001", "0002"])
def test_a_step_down_and_up_again_gives_the_same_schema(clean_database, older):
    built = everything(clean_database)
    assert schema.downgrade(clean_database, older).current == older
    assert schema.upgrade(clean_database).current == "0003"
    assert everything(clean_database) == built
    assert schema.check(clean_database) == []


async def test_no_step_down_drops_what_the_older_schema_cannot_hold(clean_database):
    async with PostgresStore(clean_database) as store:
        run = await store.create_run(RunKind.REPLAY, ACCOUNT, {}, "c" * 64, sample_time())
        async with store.lease(run.run_id), store.begin(run.run_id) as uow:
            await uow.cycles.add(sample_cycle())
            market = ExchangeOrderType.MARKET_BEST5_CANCEL
            await uow.orders.add([replace(sample_order(), order_type=market, price=0)])
            await uow.commit()
    with pytest.raises(CorruptState, match="ck_trade_order_order_type"):
        schema.downgrade(clean_database, "0001")
    assert schema.status(clean_database).current == "0002"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE trade_order ADD COLUMN note text", "note"),
        ("ALTER TABLE trade_order DROP CONSTRAINT ck_trade_order_qty", "ck_trade_order_qty"),
        (
            """ALTER TABLE fill DROP CONSTRAINT ck_fill_qty,
               ADD CONSTRAINT ck_fill_qty CHECK (qty >= 0)""",
            "CHECK ((qty >= 0))",
        ),
        ("DROP INDEX uq_run_desk", "uq_run_desk"),
        ("ALTER TABLE run ALTER COLUMN account_id DROP NOT NULL", "account_id"),
        ("ALTER TABLE fill ALTER COLUMN price TYPE numeric(20, 2)", "price"),
    ],
)
def test_the_check_names_what_was_changed_behind_its_back(clean_database, change, told):
    assert schema.check(clean_database) == []
    execute(clean_database, change)
    found = schema.check(clean_database)
    assert any(told in line for line in found), found
    assert not any("caopan_check" in line for line in everything(clean_database))


def test_two_processes_migrate_once(empty_database):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(schema.upgrade, [empty_database] * 4))
    assert {result.current for result in results} == {"0003"}


def test_a_migration_waits_for_its_lock_only_so_long(clean_database, monkeypatch):
    monkeypatch.setattr(schema, "_WAIT_FOR_OTHERS_MS", 50)
    with psycopg.connect(conninfo(clean_database)) as link:
        link.execute("SELECT pg_advisory_lock(%s)", [schema._LOCK_KEY])
        with pytest.raises(Conflict, match="DB_LOCKED"):
            schema.upgrade(clean_database)


def test_a_database_of_a_newer_build_is_left_alone(clean_database):
    execute(clean_database, "UPDATE alembic_version SET version_num = '0999'")
    before = everything(clean_database)
    for touch in (
        schema.status,
        schema.upgrade,
        lambda url: schema.downgrade(url, "base"),
    ):
        with pytest.raises(ConfigInvalid, match=r"DB_NEWER.*0999"):
            touch(clean_database)
    assert everything(clean_database) == before


def test_someone_elses_tables_are_left_alone(empty_database):
    execute(empty_database, "CREATE TABLE run (id integer)")
    with pytest.raises(ConfigInvalid, match="DB_FOREIGN"):
        schema.upgrade(empty_database)
    assert everything(empty_database) == ["relation run", "type _run", "type run"]


def test_a_revision_nobody_knows_is_named(clean_database):
    with pytest.raises(ConfigInvalid, match=r"DB_REVISION.*nonsense"):
        schema.downgrade(clean_database, "nonsense")
    assert schema.status(clean_database).current == "0003"


def test_a_restored_dump_agrees_and_keeps_its_rules(clean_database, empty_database):
    dump = subprocess.run(
        [bundled().program("pg_dump"), "--no-password", libpq_url(clean_database)],
        capture_output=True,
        check=True,
    )
    subprocess.run(
        [
            bundled().program("psql"),
            "--no-password",
            "-v",
            "ON_ERROR_STOP=1",
            libpq_url(empty_database),
        ],
        input=dump.stdout,
        capture_output=True,
        check=True,
    )
    assert schema.check(empty_database) == []
    with psycopg.connect(conninfo(empty_database), autocommit=True) as link:
        for attempt in ("DELETE FROM ledger_entry_default", "TRUNCATE fill CASCADE"):
            with pytest.raises(psycopg.Error, match=r"permission denied|append-only"):
                link.execute(attempt)
