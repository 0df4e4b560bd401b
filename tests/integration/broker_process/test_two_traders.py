"""Two traders on one account: the line itself tells which of them sent anything."""

from __future__ import annotations

import asyncio

import psycopg

from caopan.adapters.postgres.connection import conninfo
from caopan.testing.broker_life import ENDED_EARLY, TraderPlan
from caopan.testing.faulty_line import FaultyLine

REFUSED_WRITE = {"RUN_FENCED", "CHECK_VIOLATION", "ORDER_VERSION"}
"""What a stale process hears of its answer: whichever guard of the database is met first."""


async def test_the_loser_is_told_so_and_sends_nothing(theatre, examine):
    stage = await theatre.stage()
    theatre.broker(stage)
    first = theatre.trader(stage, TraderPlan(stop_before="before the wire"))
    await asyncio.to_thread(first.until, "before the wire")
    async with FaultyLine(stage.home / "loser.sock", stage.socket) as line:
        loser = theatre.trader(stage, TraderPlan(through=line.here))
        assert await asyncio.to_thread(loser.wait) == ENDED_EARLY
        assert loser.passed == ["RUN_BUSY"]
        assert line.requests == []
    first.wake()
    assert await asyncio.to_thread(first.wait) == 0
    assert not (await examine(stage)).faults


async def test_two_that_start_at_once_leave_one_that_trades(theatre, examine):
    stage = await theatre.stage()
    theatre.broker(stage)
    async with (
        FaultyLine(stage.home / "a.sock", stage.socket) as one,
        FaultyLine(stage.home / "b.sock", stage.socket) as other,
    ):
        lives = [
            (theatre.trader(stage, TraderPlan(through=line.here)), line) for line in (one, other)
        ]
        ends = [(await asyncio.to_thread(life.wait), life, line) for life, line in lives]
    lost = [(life, line) for code, life, line in ends if code == ENDED_EARLY]
    assert sorted(code for code, _, _ in ends) in ([0, ENDED_EARLY], [0, 0])
    for life, line in lost:
        assert life.passed == ["RUN_BUSY"]
        assert line.requests == []
    assert not (await examine(stage)).faults


async def test_a_trader_that_lost_its_lease_cannot_send_a_byte(theatre, examine):
    """It stands right before the commit of `sending` when its successor takes over."""
    stage = await theatre.stage()
    theatre.broker(stage)
    async with FaultyLine(stage.home / "stale.sock", stage.socket) as line:
        plan = TraderPlan(through=line.here, stop_before="before commit of sending")
        stale = theatre.trader(stage, plan)
        await asyncio.to_thread(stale.until, "before commit of sending")
        stale_sent = len(line.requests)
        assert [name for _, name, _ in line.requests] == ["hello", "deposit"]
        await asyncio.to_thread(_break_lease, stage)
        successor = theatre.trader(stage)
        assert await asyncio.to_thread(successor.wait) == 0
        stale.wake()
        assert await asyncio.to_thread(stale.wait) == ENDED_EARLY
        assert stale.passed[-1] == "RUN_FENCED"
        assert len(line.requests) == stale_sent
    found = await examine(stage)
    assert not found.faults
    assert found.orders[0].client_order_id in found.tags


async def test_one_that_was_cut_off_behind_its_commit_and_one_that_took_over(theatre, examine):
    """`sending` is durable, so the successor asks the venue; the stale one's byte may still come.

    Whatever of both comes first, the venue has the order at most once and the books agree.
    """
    stage = await theatre.stage()
    theatre.broker(stage)
    stale = theatre.trader(stage, TraderPlan(stop_before="before the wire"))
    await asyncio.to_thread(stale.until, "before the wire")
    await asyncio.to_thread(_break_lease, stage)
    successor = theatre.trader(stage)
    assert await asyncio.to_thread(successor.wait) == 0
    stale.wake()
    assert await asyncio.to_thread(stale.wait) == ENDED_EARLY
    assert stale.passed[-1] in REFUSED_WRITE, stale.passed[-1]
    assert not (await examine(stage)).faults


def _break_lease(stage) -> None:
    """End the connection that holds the lease, as a broken network does."""
    with psycopg.connect(conninfo(stage.url), autocommit=True) as link:
        ended = link.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
            " AND classid = x'63616f70'::int AND objid = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [stage.run_id],
        ).fetchall()
    assert ended == [(True,)]
