"""The header that opens an endpoint, resolved as late as can be and forgotten soon.

Owns how long a key is kept (a minute) and the form of the header it goes into. Must never show a
key: not in an error, not in a repr, and not as the context of an exception.
Tests: tests/unit/adapters/llm/test_endpoint_keys.py.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from caopan.domain.gateway.endpoint import AuthType, Endpoint
from caopan.domain.gateway.profile import Profile
from caopan.kernel.errors import ConfigInvalid
from caopan.settings import Secret

_KEPT_S: Final = 60.0
_MOST_KEYS: Final = 1_024
_VISIBLE: Final = re.compile(r"[!-~]{1,4096}")


@dataclass(frozen=True, slots=True)
class KeyHeader:
    """A header with a key in it."""

    name: str = ""
    value: str = field(default="", repr=False)
    key: bytes = field(default=b"", repr=False)
    """The key itself, to be struck out of what a vendor repeats."""


NO_KEY: Final = KeyHeader()


class EndpointKeys:
    """Keys of endpoints by reference."""

    def __init__(self, resolve: Callable[[str], Secret], profiles: Mapping[str, Profile]) -> None:
        """Resolve references by `resolve`, which may read files and runs beside the event loop."""
        self._resolve = resolve
        self._profiles = profiles
        self._kept: dict[tuple[str, str, AuthType], tuple[KeyHeader, float]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def header(self, endpoint: Endpoint) -> KeyHeader:
        """Return the endpoint's header, NO_KEY where it wants none.

        Raises ConfigInvalid SECRET_MISSING, SECRET_UNUSABLE or what `resolve` raises.
        """
        if endpoint.auth is AuthType.NONE:
            return NO_KEY
        reference = endpoint.secret_ref
        if reference is None:
            raise ConfigInvalid(
                "SECRET_MISSING",
                f"endpoint {endpoint.name} has auth {endpoint.auth} and no secret_ref",
                remedy="Set secret_ref to env:NAME, file:PATH or sealed:ID.",
            )
        place = (reference, endpoint.provider, endpoint.auth)
        found = self._fresh(place)
        if found is not None:
            return found
        # Of many calls that find the key stale at once, one reads it.
        async with self._locks.setdefault(reference, asyncio.Lock()):
            found = self._fresh(place)
            if found is None:
                secret = await asyncio.to_thread(self._resolve, reference)
                found = self._header_of(endpoint, secret)
                if len(self._kept) >= _MOST_KEYS:
                    self._kept.clear()
                self._kept[place] = found, asyncio.get_running_loop().time() + _KEPT_S
        return found

    def forget(self, endpoint: Endpoint) -> None:
        """Read the endpoint's key anew before the next call: the vendor refused this one."""
        for place in [place for place in self._kept if place[0] == endpoint.secret_ref]:
            del self._kept[place]

    def _fresh(self, place: tuple[str, str, AuthType]) -> KeyHeader | None:
        kept = self._kept.get(place)
        if kept is None or kept[1] < asyncio.get_running_loop().time():
            return None
        return kept[0]

    def _header_of(self, endpoint: Endpoint, secret: Secret) -> KeyHeader:
        key = secret.get_secret_value()
        if not _VISIBLE.fullmatch(key):
            raise ConfigInvalid(
                "SECRET_UNUSABLE",
                f"what {endpoint.secret_ref} holds is no key: a key is visible ASCII on one line",
                remedy="Store the key alone, without quotes, spaces or line breaks.",
            )
        if endpoint.auth is AuthType.BEARER:
            return KeyHeader("Authorization", f"Bearer {key}", key.encode())
        profile = self._profiles.get(endpoint.provider)
        if profile is None:
            raise ConfigInvalid(
                "PROFILE_UNKNOWN", f"endpoint {endpoint.name}: no profile {endpoint.provider!r}"
            )
        return KeyHeader(profile.auth_header, key, key.encode())
