"""Bus on Valkey: published news, and tokens that one process holds at a time.

Owns RedisBus. News are lost while Valkey is gone, and nothing waits for them; a token is given to
everyone who asks then, because nobody can tell. Must never raise into a caller, nor keep one
waiting. Tests: tests/contract/gateway/test_bus.py, tests/integration/gateway.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

_LOG: Final = logging.getLogger(__name__)
_SLOW_S: Final = 0.05
_CONNECT_S: Final = 1.0
_RETRY_S: Final = 0.5
_LISTEN_S: Final = 5.0
_MOST_WAITING: Final = 1_000
"""News beyond that push out the oldest: newer ones tell more."""


class RedisBus:
    """Bus of one gateway process; publishes inside `running()`."""

    def __init__(self, url: str, process: str, prefix: str = "caopan:gateway") -> None:
        """Keep where Valkey is; connects when first used."""
        self._process = process
        self._channel = f"{prefix}:news"
        self._tokens = f"{prefix}:token:"
        self._client = _client(url, timeout_s=_CONNECT_S)
        self._listener = _client(url, timeout_s=None)
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._wanted = asyncio.Event()

    def publish(self, kind: str, body: Mapping[str, Any]) -> None:
        """Send to every other process; never waits, never fails."""
        self._waiting.append(orjson.dumps([self._process, kind, body], default=str))
        self._wanted.set()

    async def news(self) -> AsyncGenerator[tuple[str, Mapping[str, Any]]]:
        """Yield what other processes published, as (kind, body); subscribes again when lost."""
        while True:
            pubsub: Any = cast("Any", self._listener).pubsub()
            try:
                await pubsub.subscribe(self._channel)
                while True:
                    message = await pubsub.get_message(
                        ignore_subscribe_messages=True, timeout=_LISTEN_S
                    )
                    told = None if message is None else self._heard(message["data"])
                    if told is not None:
                        yield told
            except (RedisError, OSError) as error:
                _LOG.info("no news from other gateway processes: %s", error)
            finally:
                await pubsub.aclose()
            await asyncio.sleep(_RETRY_S)

    async def take_token(self, name: str, lasts_ms: int) -> bool:
        """Take a token that only one process may hold at a time; True where nobody can tell."""
        try:
            async with asyncio.timeout(_SLOW_S):
                taken = await cast("Any", self._client).set(
                    self._tokens + name, self._process, nx=True, px=lasts_ms
                )
        except (RedisError, OSError, TimeoutError):
            return True
        return taken is not None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Publish while the block runs; then close every connection."""
        failure: BaseException | None = None
        async with asyncio.TaskGroup() as tasks:
            publishing = tasks.create_task(self._publish_forever())
            try:
                yield
            except BaseException as error:  # noqa: BLE001 - raised again below, as it came
                failure = error
            publishing.cancel()
        await self._client.aclose()
        await self._listener.aclose()
        if failure is not None:
            raise failure

    async def _publish_forever(self) -> None:
        client: Any = self._client
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                while self._waiting:
                    await client.publish(self._channel, self._waiting.popleft())
            except (RedisError, OSError) as error:
                _LOG.info("news for other gateway processes are lost: %s", error)
                self._waiting.clear()
                await asyncio.sleep(_RETRY_S)

    def _heard(self, data: bytes) -> tuple[str, Mapping[str, Any]] | None:
        """Return news of another process; None for our own, or what is none."""
        try:
            process, kind, body = orjson.loads(data)
        except (ValueError, TypeError):
            return None
        return None if process == self._process else (kind, body)


def _client(url: str, *, timeout_s: float | None) -> Redis:
    return cast("Any", Redis).from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=_CONNECT_S,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
    )
