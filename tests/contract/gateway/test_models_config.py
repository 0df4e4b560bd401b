"""Versions of the models document follow one another, and everyone hears of each."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest

from caopan.adapters.postgres.models_config import PostgresModelsConfig
from caopan.application.ports.gateway import StoredConfig
from caopan.kernel.errors import Conflict
from caopan.testing.gateway_samples import AT
from caopan.testing.gateway_stores import MemoryModelsConfig

BODY = {"endpoints": [{"alias": "主", "price": "0.10"}], "z": 1, "a": [None, 2.5]}


@pytest.fixture(params=["memory", "postgres"])
async def config(request):
    if request.param == "memory":
        yield MemoryModelsConfig()
        return
    stored = PostgresModelsConfig(request.getfixturevalue("clean_database"))
    yield stored
    await stored.close()


async def put(config, expected: int, body=BODY) -> StoredConfig:
    at = AT + timedelta(minutes=expected)
    return await config.put(body, author="me", note=f"n{expected}", expected=expected, at=at)


async def test_before_the_first_there_is_none(config):
    assert await config.newest() is None
    assert list(await config.history(5)) == []


async def test_what_is_stored_comes_back_as_it_was_in_order_of_keys_too(config):
    stored = await put(config, 0)
    assert stored == StoredConfig(1, BODY, "me", "n0", AT)
    found = await config.newest()
    assert found == stored
    assert found is not None
    assert list(found.body) == list(BODY)


async def test_a_version_follows_the_one_in_force_only(config):
    await put(config, 0)
    for wrong in (0, 2, 7):
        with pytest.raises(Conflict) as caught:
            await put(config, wrong)
        assert caught.value.code == "CONFIG_VERSION"
    await put(config, 1, {"v": 2})
    assert [one.version for one in await config.history(5)] == [2, 1]
    assert [one.body for one in await config.history(1)] == [{"v": 2}]


async def test_of_several_at_once_one_is_stored(config):
    results = await asyncio.gather(
        *(put(config, 0, {"writer": nth}) for nth in range(8)), return_exceptions=True
    )
    stored = [one for one in results if isinstance(one, StoredConfig)]
    assert len(stored) == 1
    assert sum(isinstance(one, Conflict) for one in results) == 7
    assert await config.newest() == stored[0]


async def test_a_change_is_told_and_told_again_to_who_comes_later(config):
    await put(config, 0)
    async with aclosing(config.changed()) as changes:
        assert await anext(changes) == 1
        following = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0.1)
        await put(config, 1)
        version = await following
        while version != 2:
            version = await anext(changes)
    async with aclosing(config.changed()) as changes:
        assert await anext(changes) == 2
