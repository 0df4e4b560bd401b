"""A desk whose broker lives in a process of its own.

Owns BrokerDoor (where that process listens) and `desk_over_line`. Must never open a venue beside
it. Tests: tests/integration/trader.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from caopan.adapters.brokers.remote.client import RemoteBroker
from caopan.adapters.brokers.remote.server import Address
from caopan.application.desk import Desk
from caopan.application.line import Line
from caopan.bootstrap.broker_process import token_of
from caopan.bootstrap.replaying import DeskParts, desk_on
from caopan.kernel.money import units


@dataclass(frozen=True, slots=True)
class BrokerDoor:
    """Where a broker's process listens, and the file with its token."""

    address: Address
    token_file: Path


@asynccontextmanager
async def desk_over_line(
    door: BrokerDoor, parts: DeskParts, line: Line, build: str
) -> AsyncGenerator[Desk]:
    """Give the desk of `parts` over the line to `door`, which is closed at the end.

    Raises:
        Unavailable: BROKER_DISCONNECTED if nobody answers there, BROKER_BUILD if what answers is
            not of this `build`, and as RemoteBroker.connect.
        ConfigInvalid: TOKEN_FILE as `token_of`.
    """
    token = token_of(door.token_file)
    client = RemoteBroker(
        door.address, token, parts.clock, build=build, on_redial=line.opened_again
    )
    try:
        await client.connect()
        # The desk pays in the same sum on its own side; the venue never reads our books.
        await client.deposit("opening", units(str(parts.run.config["cash"])))
        yield desk_on(client, parts, line)
    finally:
        await client.close()
