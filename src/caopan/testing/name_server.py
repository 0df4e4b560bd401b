"""A name server that says what it is told to, and may change its mind.

Owns ScriptedNames, a resolver for the gateway's connections. Must never ask a real one. Never used
by production code.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from aiohttp.abc import AbstractResolver, ResolveResult

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class ScriptedNames(AbstractResolver):
    """Names and, for each, its answers: one list of addresses a question, the last one for ever."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]]) -> None:
        """Answer for these names; every other is unknown."""
        self._answers = {name: list(turns) for name, turns in answers.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the next answers for `host`. Raises OSError for an unknown name."""
        del family
        self.asked.append(host)
        turns = self._answers.get(host)
        if not turns:
            raise OSError(socket.EAI_NONAME, "name not known")
        addresses = turns.pop(0) if len(turns) > 1 else turns[0]
        return [_answer(host, address, port) for address in addresses]

    async def close(self) -> None:
        """Nothing is held."""


def _answer(host: str, address: str, port: int) -> ResolveResult:
    version = ip_address(address).version
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=_FAMILIES[version],
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST,
    )
