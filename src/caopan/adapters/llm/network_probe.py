"""The way to an endpoint, step by step: its name, a connection, TLS.

Owns what is measured before any request: how long each step took, and why it failed. Must never
send a byte of a request or a key, nor connect to an address that calls may not go to. Tests:
tests/unit/adapters/llm/test_network_probe.py.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver

from caopan.adapters.llm.addresses import JudgedResolver, lane_of
from caopan.domain.gateway.endpoint import Endpoint
from caopan.kernel.errors import ConfigInvalid

DNS: Final = "dns"
TCP: Final = "tcp"
TLS: Final = "tls"
_MOST_TOLD: Final = 4
_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class ProbeStep:
    """One thing that was tried."""

    name: str
    took_ms: float
    detail: str = ""
    """What was found, or why it failed; no key is in it."""
    code: str = ""
    """Why it failed, for programs; "" where it did not."""

    @property
    def is_well(self) -> bool:
        """Tell whether it worked."""
        return not self.code


async def probe_network(
    endpoint: Endpoint,
    monotonic_ms: Callable[[], float],
    *,
    tls: ssl.SSLContext | None = None,
    resolver: AbstractResolver | None = None,
) -> Sequence[ProbeStep]:
    """Return the steps that were taken; the last one may have failed, and none follows it."""
    steps: list[ProbeStep] = []
    name, began = DNS, monotonic_ms()
    writer: asyncio.StreamWriter | None = None

    def took() -> float:
        return monotonic_ms() - began

    try:
        lane = lane_of(endpoint.url, private_address=endpoint.private_address)
        parts = urlsplit(endpoint.url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        async with asyncio.timeout(endpoint.timeouts.connect_ms / 1000):
            found = await JudgedResolver(lane, resolver).resolve(host, port, socket.AF_UNSPEC)
            addresses = [answer["host"] for answer in found]
            steps.append(ProbeStep(DNS, took(), ", ".join(addresses[:_MOST_TOLD])))
            name, began = TCP, monotonic_ms()
            address, writer = await _connected(addresses, port)
            steps.append(ProbeStep(TCP, took(), f"{address}:{port}"))
            if parts.scheme == "https":
                name, began = TLS, monotonic_ms()
                await writer.start_tls(tls or ssl.create_default_context(), server_hostname=host)
                steps.append(ProbeStep(TLS, took(), _certificate(writer)))
    except ConfigInvalid as error:
        steps.append(ProbeStep(DNS, took(), error.message, error.code))
    except TimeoutError:
        told = f"no answer within {endpoint.timeouts.connect_ms} ms"
        steps.append(ProbeStep(name, took(), told, f"{name.upper()}_TIMEOUT"))
    except OSError as error:
        told = getattr(error, "verify_message", "") or error.strerror or type(error).__name__
        steps.append(ProbeStep(name, took(), str(told), f"{name.upper()}_FAILED"))
    finally:
        if writer is not None:
            writer.transport.abort()
    return steps


async def _connected(addresses: Sequence[str], port: int) -> tuple[str, asyncio.StreamWriter]:
    """Return the first address that takes a connection. Raises OSError where none does."""
    refused: OSError | None = None
    for address in addresses:
        try:
            return address, (await asyncio.open_connection(address, port))[1]
        except OSError as error:
            refused = refused or error
    raise refused or OSError("the name has no address")


def _certificate(writer: asyncio.StreamWriter) -> str:
    found = cast("ssl.SSLObject", writer.get_extra_info("ssl_object"))
    certificate = cast("dict[str, Any]", found.getpeercert() or {})
    ends = certificate.get("notAfter")
    version = found.version() or "TLS"
    if not isinstance(ends, str):
        return version
    day = datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC).date()
    return f"{version}, certificate until {day}"
