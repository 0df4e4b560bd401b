"""News reach every other process and never the one that sent them; a token is one process's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from caopan.adapters.redis.bus import RedisBus
from caopan.application.ports.gateway import Bus
from caopan.testing.gateway_doubles import MemoryBus


@pytest.fixture(params=["memory", "valkey"])
async def buses(request) -> AsyncGenerator[list[Bus]]:
    if request.param == "memory":
        hub = MemoryBus()
        yield [hub, hub.joined(), hub.joined()]
        return
    url = request.getfixturevalue("redis_url")
    async with AsyncExitStack() as stack:
        made = [RedisBus(url, f"gw-{nth}") for nth in range(3)]
        for bus in made:
            await stack.enter_async_context(bus.running())
        yield list[Bus](made)


@asynccontextmanager
async def heard(bus: Bus) -> AsyncGenerator[asyncio.Queue]:
    """Collect a bus's news; ready once it has heard itself being reached."""
    news = asyncio.Queue()

    async def listen() -> None:
        async for told in bus.news():
            news.put_nowait(told)

    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen())
        yield news
        listening.cancel()


async def reach(sender: Bus, *listeners: asyncio.Queue) -> None:
    """Send until everyone has heard something: before that a listener may not be there yet."""
    for news in listeners:
        while news.empty():
            sender.publish("hello", {})
            await asyncio.sleep(0.01)


async def next_of(news: asyncio.Queue) -> tuple[str, dict]:
    while (told := await news.get())[0] == "hello":
        pass
    return told


async def test_everyone_else_hears_in_order_and_word_for_word(buses):
    one, two, three = buses
    async with heard(one) as first, heard(two) as second, heard(three) as third:
        await reach(one, second, third)
        await reach(two, first)
        bodies = [{"endpoint": "深度", "n": nth, "list": [1, None, 2.5]} for nth in range(50)]
        for body in bodies:
            one.publish("breaker", body)
        for news in (second, third):
            assert [await next_of(news) for _ in bodies] == [("breaker", body) for body in bodies]
        two.publish("last", {})
        # Had it heard its own, that would have come before this.
        assert await next_of(first) == ("last", {})


async def test_a_token_is_taken_once_until_it_has_run_out(buses):
    one, two, three = buses
    taken = await asyncio.gather(*(bus.take_token("probe:a", 60_000) for bus in buses))
    assert sorted(taken) == [False, False, True]
    assert await two.take_token("probe:b", 1)
    await asyncio.sleep(0.05)
    assert await three.take_token("probe:b", 60_000)
    assert not await one.take_token("probe:b", 60_000)


async def test_where_nobody_can_tell_everyone_gets_the_token():
    bus = RedisBus("redis://127.0.0.1:1/0", "gw-1")
    async with bus.running():
        assert await bus.take_token("probe:a", 60_000)
        assert await bus.take_token("probe:a", 60_000)
        bus.publish("lost", {"n": 1})
        await asyncio.sleep(0)
