"""`caopan halt` against a trader under load and the broker's process."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.venue_journal import PostgresVenueJournal
from caopan.domain.orders.order import OrderStatus
from caopan.testing.broker_life import ENDED_EARLY, TraderPlan

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
AIM = timedelta(seconds=2)
"""Across processes, from the command's end to the last order (invariant C1)."""


async def halt(stage, database: str) -> None:
    """Run the command as a person does, in a process of its own."""
    environment = {
        **os.environ,
        "CAOPAN_HOME": str(stage.home),
        "DATABASE_URL": database,
        "REDIS_URL": "redis://127.0.0.1:1/0",
    }
    words = [sys.executable, "-m", "caopan.interfaces.cli", "halt", "--run", str(stage.run_id)]
    done = await asyncio.to_thread(
        subprocess.run, words, env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


async def taken(stage) -> list:
    """Return when the venue took each order."""
    journal = PostgresVenueJournal(stage.url)
    events = await journal.load(stage.run_id)
    await journal.close()
    return [event.at for event in events if event.kind == "accepted"]


async def bidding(theatre, stage):
    """Return a trader that has sent some orders and goes on sending."""
    trader = theatre.trader(stage, TraderPlan(load=True))
    for _ in range(10):
        trader.passed.clear()
        await asyncio.to_thread(trader.until, "after the wire")
    return trader


@pytest.mark.parametrize("database", ["there", "away"])
async def test_after_the_command_nothing_leaves_and_what_is_open_is_cancelled(
    theatre, examine, database
):
    """With the database away the command writes the file alone, and says so."""
    stage = await theatre.stage(real_time=True)
    theatre.broker(stage)
    trader = await bidding(theatre, stage)
    await halt(stage, stage.url if database == "there" else NOWHERE)
    returned = stage.clock().now()
    assert await asyncio.to_thread(trader.wait) == 0, trader.passed[-3:]
    assert trader.passed[-1] == "carried out"
    times = await taken(stage)
    assert len(times) >= 10
    assert max(times) <= returned + AIM
    found = await examine(stage)
    assert not found.faults, found.faults
    statuses = {one.status for one in found.orders}
    assert statuses <= {OrderStatus.CANCELED, OrderStatus.NOT_SENT, OrderStatus.REJECTED}
    # A trader that starts while it stands sends nothing at all.
    assert await asyncio.to_thread(theatre.trader(stage, TraderPlan(load=True)).wait) == 0
    assert len(await taken(stage)) == len(times)


async def test_halted_while_the_database_is_stopped_the_next_look_cancels(
    theatre, examine, services
):
    stage = await theatre.stage(real_time=True)
    theatre.broker(stage)
    trader = await bidding(theatre, stage)
    name = sql.Identifier(conninfo(stage.url).partition("dbname=")[2].split()[0])
    with psycopg.connect(
        services.admin_url.replace("postgresql+psycopg", "postgresql"), autocommit=True
    ) as link:
        link.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        try:
            link.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s",
                [name.as_string().strip('"')],
            )
            await halt(stage, stage.url)
            returned = stage.clock().now()
            assert await asyncio.to_thread(trader.wait) == ENDED_EARLY
        finally:
            link.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))
    # What was on its way is unknown until the venue's settle window, and the time that the line
    # gives an answer, are over.
    plan = TraderPlan(load=True, wait_s=0.5)
    await asyncio.sleep(1.6)
    successor = theatre.trader(stage, plan)
    ends = [await asyncio.to_thread(successor.wait)]
    while ends[-1] == ENDED_EARLY and len(ends) < 8:
        # The broker's own connections broke too, and each is found broken by one request.
        successor = theatre.trader(stage, plan)
        ends.append(await asyncio.to_thread(successor.wait))
    assert (ends[-1], successor.passed[-1]) == (0, "carried out"), (ends, successor.passed[-3:])
    assert max(await taken(stage)) <= returned
    found = await examine(stage)
    assert not found.faults, found.faults
