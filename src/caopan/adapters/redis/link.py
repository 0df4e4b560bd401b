"""One connection to Valkey on which one script runs, one call at a time.

Owns the connection and the loading of the script. Must never connect again by itself, nor repeat
what may have been done: whoever asked decides. Tests: tests/integration/gateway/test_link.py,
tests/contract/gateway/test_shared_limits.py.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import NoScriptError, RedisError

from caopan.kernel.errors import Unavailable

_CONNECT_S: Final = 1.0


class Link:
    """Runs one script on one connection."""

    def __init__(self, url: str, script: str) -> None:
        """Keep where Valkey is; connects when told to."""
        # The pool is only how the client reads a URL; a single connection is made of it.
        self._pool = cast("Any", ConnectionPool).from_url(
            url, socket_timeout=None, socket_connect_timeout=_CONNECT_S, protocol=2
        )
        self._script = script
        self._digest = ""
        self._connection: AbstractConnection | None = None
        self._turn = asyncio.Lock()

    async def connect(self) -> None:
        """Connect and load the script. Raises Unavailable REDIS_UNREACHABLE.

        Whoever still waits on the old connection is told that it is down.
        """
        await self.disconnect()
        # Nobody may speak on a connection whose first answer is still to come: two readers of one
        # stream are an error, and one could take the other's answer.
        async with self._turn:
            await self.disconnect()
            connection = cast("AbstractConnection", self._pool.make_connection())
            try:
                async with asyncio.timeout(_CONNECT_S):
                    await connection.connect()
                    await connection.send_command("SCRIPT", "LOAD", self._script)
                    told = await cast("Any", connection).read_response()
            except (RedisError, OSError, TimeoutError) as error:
                await connection.disconnect(nowait=True)
                raise _unreachable(error) from error
            except asyncio.CancelledError:
                await connection.disconnect(nowait=True)
                raise
            self._digest = cast("bytes", told).decode()
            self._connection = connection

    async def run(self, key: str, argument: bytes, patience_s: float) -> list[Any]:
        """Run the script on `key` and return its answer.

        Raises Unavailable REDIS_UNREACHABLE; whether it was run is then not known, and the link
        is down.
        """
        async with self._turn:
            connection = self._connection
            if connection is None:
                raise Unavailable("REDIS_UNREACHABLE", "not connected to Valkey")
            reader = cast("Any", connection)
            try:
                async with asyncio.timeout(patience_s):
                    await connection.send_command("EVALSHA", self._digest, 1, key, argument)
                    try:
                        return await reader.read_response()
                    except NoScriptError:
                        # Somebody emptied its cache of scripts.
                        await connection.send_command("EVAL", self._script, 1, key, argument)
                        return await reader.read_response()
            except (RedisError, OSError, TimeoutError) as error:
                await self.disconnect()
                raise _unreachable(error) from error
            except asyncio.CancelledError:
                # Its answer would be taken for the next one's.
                await self.disconnect()
                raise

    async def disconnect(self) -> None:
        """Take the link down."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


def _unreachable(error: BaseException) -> Unavailable:
    return Unavailable(
        "REDIS_UNREACHABLE",
        f"Valkey does not answer: {error or type(error).__name__}",
        remedy="start it again; until then each gateway process counts alone",
    )
