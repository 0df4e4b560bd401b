"""The models document and the bus, when what they stand on goes away; rows that are guarded."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import psycopg
import pytest

from caopan.adapters.postgres.call_rows import PostgresCallRows
from caopan.adapters.postgres.connection import conninfo
from caopan.adapters.postgres.models_config import PostgresModelsConfig
from caopan.adapters.redis.bus import RedisBus
from caopan.application.ports.model_calls import KeptAttempt
from caopan.kernel.errors import CaopanError
from caopan.testing.gateway_samples import AT, sample_began, sample_ended

_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_versions_are_followed_through_a_restart_of_the_database(clean_database, line):
    wire = await line(clean_database)
    follower, writer = PostgresModelsConfig(wire.url), PostgresModelsConfig(clean_database)
    async with aclosing(follower.changed()) as changes:
        assert await anext(changes) == 0
        for version in range(3):
            if version == 1:
                await wire.cut()
            if version == 2:
                with psycopg.connect(conninfo(clean_database), autocommit=True) as link:
                    link.execute(_END_OTHERS)
            following = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.05)
            try:
                await writer.put({}, author="me", note="", expected=version, at=AT)
            except CaopanError:
                # Its own connection was ended, too; nothing was stored.
                await writer.put({}, author="me", note="", expected=version, at=AT)
            if version == 1:
                await wire.mend()
            while await following != version + 1:
                following = asyncio.ensure_future(anext(changes))
    await follower.close()
    await writer.close()


async def test_news_come_again_once_valkey_is_back(redis_url, line):
    wire = await line(redis_url)
    sender, listener = RedisBus(redis_url, "gw-1"), RedisBus(wire.url, "gw-2")
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def listen() -> None:
        async for kind, _ in listener.news():
            heard.put_nowait(kind)

    async def send_until_heard(kind: str) -> None:
        while heard.empty() or heard.get_nowait() != kind:
            sender.publish(kind, {})
            await asyncio.sleep(0.02)

    async with sender.running(), listener.running(), asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen())
        await send_until_heard("before")
        await wire.cut()
        assert await listener.take_token("probe", 60_000)
        assert await sender.take_token("probe", 60_000)
        await wire.mend()
        await send_until_heard("after")
        assert not await listener.take_token("probe", 60_000)
        listening.cancel()


@pytest.mark.parametrize("who", ["owner", "superuser"])
def test_what_is_recorded_of_an_attempt_is_completed_once_and_never_changed(
    services, clean_database, who
):
    began, ended = sample_began(1), sample_ended(sample_began(1))
    under_way = sample_began(2)
    rows = PostgresCallRows(clean_database)
    rows.write([KeptAttempt(began.call_id, 1, began.at, "gw-1", began, ended)])
    rows.write([KeptAttempt(under_way.call_id, 1, under_way.at, "gw-1", under_way, None)])
    rows.close()
    url = clean_database
    if who == "superuser":
        url = services.admin_url.rsplit("/", 1)[0] + "/" + clean_database.rsplit("/", 1)[1]
    with psycopg.connect(conninfo(url), autocommit=True) as link:
        for attempt in (
            "UPDATE llm_call SET cost_cny = 0 WHERE outcome IS NOT NULL",
            "UPDATE llm_call SET claimed_cny = 0 WHERE outcome IS NULL",
        ):
            with pytest.raises(psycopg.errors.RestrictViolation, match="recorded"):
                link.execute(attempt)
        parts = link.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits"
            " WHERE inhparent = 'llm_call'::regclass"
        ).fetchall()
        assert len(parts) >= 5
        for (table,) in [("llm_call",), *parts]:
            for attempt in (f"DELETE FROM {table}", f"TRUNCATE {table}"):  # noqa: S608 - our own
                with pytest.raises(psycopg.Error, match=r"permission denied|append-only"):
                    link.execute(attempt)  # pyright: ignore[reportCallIssue, reportArgumentType] - no literal
