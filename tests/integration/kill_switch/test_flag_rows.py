"""The flags in the database, over a connection of their own that comes and goes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import psycopg
import pytest

from caopan.adapters.kill_switch.flag_rows import FlagRows
from caopan.adapters.kill_switch.switch import FlagSwitch, flag_sources
from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.store import PostgresStore
from caopan.domain.risk.kill_switch import KillLevel
from caopan.testing.store_samples import sample_control


async def put(desk, level: KillLevel, *, system: bool) -> None:
    async with PostgresStore(desk.url) as store:
        if system:
            version = (await store.system_control()).version + 1
            await store.put_system_control(replace(sample_control(version), level=level))
            return
        async with store.begin(desk.run_id) as uow:
            version = (await uow.controls.get()).version + 1
            await uow.controls.put(replace(sample_control(version), level=level))
            await uow.commit()


@pytest.fixture
def rows(desk):
    opened = FlagRows(conninfo(desk.url), desk.run_id)
    yield opened
    opened.close()


def test_the_higher_of_account_and_all_is_in_force_and_only_the_newest_of_each(desk, rows):
    assert rows.read().level is KillLevel.OFF
    asyncio.run(put(desk, KillLevel.NO_OPENINGS, system=False))
    assert rows.read().level is KillLevel.NO_OPENINGS
    asyncio.run(put(desk, KillLevel.FLATTEN, system=True))
    assert rows.read().level is KillLevel.FLATTEN
    asyncio.run(put(desk, KillLevel.OFF, system=True))
    assert rows.read().level is KillLevel.NO_OPENINGS


def test_the_flag_of_another_account_is_not_ours(desk):
    asyncio.run(put(desk, KillLevel.NO_ORDERS, system=False))
    other = FlagRows(conninfo(desk.url), desk.run_id + 1)
    assert other.read().level is KillLevel.OFF
    other.close()


def test_a_broken_connection_is_told_once_and_made_again(desk, rows):
    rows.read()
    with psycopg.connect(conninfo(desk.url), autocommit=True) as link:
        link.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(psycopg.Error):
        rows.read()
    assert rows.read().level is KillLevel.OFF


def test_a_database_that_was_never_reached_is_not_permission(desk):
    nowhere = "host=127.0.0.1 port=1 dbname=nothing"
    with FlagSwitch(flag_sources(desk.home, desk.run_id, nowhere), lambda: 0.0) as switch:
        assert switch.level() is KillLevel.NO_ORDERS
        assert [state.name for state in switch.states() if state.problem] == ["database"]
