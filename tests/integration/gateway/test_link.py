"""One connection to Valkey, asked by several: each gets its own answer, or hears it is down."""

from __future__ import annotations

import asyncio

from caopan.adapters.redis.link import Link
from caopan.kernel.errors import Unavailable

ECHO = "return {KEYS[1], ARGV[1]}"


async def test_who_asks_while_it_connects_anew_gets_their_own_answer_or_none(redis_url):
    link = Link(redis_url, ECHO)
    wrong = list[object]()

    async def ask(number: int) -> None:
        for turn in range(20):
            said = f"{number}.{turn}".encode()
            try:
                if await link.run("k", said, 5) != [b"k", said]:
                    wrong.append(said)
            except Unavailable:
                await asyncio.sleep(0)

    async def connect() -> None:
        for _ in range(20):
            await link.connect()
            await asyncio.sleep(0)

    async with asyncio.timeout(30):
        await link.connect()
        await asyncio.gather(connect(), *(ask(number) for number in range(4)))
        assert wrong == []
        assert await link.run("k", b"after", 5) == [b"k", b"after"]
    await link.disconnect()
