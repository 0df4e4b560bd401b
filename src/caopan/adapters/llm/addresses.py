"""Which addresses an endpoint may be reached at, checked on the very address that is dialled.

Owns the tables of special-purpose addresses (IANA's registries, read 2026-11), the rule that plain
http is for private addresses only, and the resolver that holds a connector to both. Must never
trust a name: the name is resolved here, every answer is judged, and exactly those answers are
dialled, so that a name that changes its mind between check and use gains nothing.
Tests: tests/unit/adapters/llm/test_addresses.py, tests/property/adapters/llm.
"""

from __future__ import annotations

import re
import socket
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import SplitResult, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from caopan.kernel.errors import ConfigInvalid

Address = IPv4Address | IPv6Address


class Reach(Enum):
    """What kind of place an address is."""

    PUBLIC = "public"
    LOCAL = "local"
    """This machine or its own network: needs an administrator's word, may speak plain http."""
    TUNNEL = "tunnel"
    """198.18.0.0/15: addresses that local proxies give to names; an administrator's word and TLS,
    for the other end is somewhere on the internet."""
    NEVER = "never"
    """No model lives there: multicast, reserved, documentation, a cloud's metadata service."""


class Lane(Enum):
    """The kinds of connection an endpoint may be given, each with its own pool."""

    PUBLIC_TLS = "public_tls"
    ANY_TLS = "any_tls"
    LOCAL_CLEAR = "local_clear"


_PERMITTED: Final[dict[Lane, frozenset[Reach]]] = {
    Lane.PUBLIC_TLS: frozenset({Reach.PUBLIC}),
    Lane.ANY_TLS: frozenset({Reach.PUBLIC, Reach.LOCAL, Reach.TUNNEL}),
    Lane.LOCAL_CLEAR: frozenset({Reach.LOCAL}),
}

_METADATA: Final = frozenset(
    ip_address(text) for text in ("169.254.169.254", "100.100.100.200", "fd00:ec2::254")
)
"""Where clouds hand out credentials to whoever asks from inside."""

_LOCAL: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "::1/128",
        "fc00::/7",
        "fe80::/10",
    )
)
_TUNNEL: Final = ip_network("198.18.0.0/15")
_NEVER: Final = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.175.48.0/24",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_SPECIAL: Final = {Reach.NEVER: _NEVER, Reach.LOCAL: _LOCAL, Reach.TUNNEL: (_TUNNEL,)}
_UNICAST: Final = IPv6Network("2000::/3")
"""All of IPv6 that is public so far."""
_NAT64: Final = IPv6Network("64:ff9b::/96")
_LAST_FOUR: Final = 0xFFFF_FFFF
_NUMERIC_LABEL: Final = re.compile(r"(?:\d+|0x[0-9a-f]*)", re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_MOST_NAME: Final = 253
_PLAIN: Final = re.compile(r"[!-\[\]-~]+")
"""Visible ASCII without a backslash: what every parser of URLs reads alike."""


def reach_of(address: Address) -> Reach:
    """Return what kind of place an address is; what is not known to be public is not."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return reach_of(address.ipv4_mapped)
        if address.scope_id is not None:
            address = IPv6Address(int(address))
        if address in _NAT64:
            inner = reach_of(IPv4Address(int(address) & _LAST_FOUR))
            return Reach.PUBLIC if inner is Reach.PUBLIC else Reach.NEVER
    if address in _METADATA:
        return Reach.NEVER
    for reach, networks in _SPECIAL.items():
        if any(address in network for network in networks):
            return reach
    allotted = isinstance(address, IPv4Address) or address in _UNICAST
    # A newer Python may know of a special range that these tables do not.
    return Reach.PUBLIC if allotted and address.is_global else Reach.NEVER


def lane_of(url: str, *, private_address: bool) -> Lane:
    """Return the lane an endpoint's base URL belongs to, having judged all but its name's answers.

    Raises ConfigInvalid ENDPOINT_ADDRESS.
    """
    if not _PLAIN.fullmatch(url):
        raise _refused(url, "it is not a URL in plain ASCII (a Chinese name has an xn-- form)")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise _refused(url, "it is not a URL") from None
    lane = _lane(parts, url, private_address=private_address)
    if parts.username is not None or parts.password is not None:
        raise _refused(url, "it holds a user or password; keys are references")
    if parts.query or parts.fragment:
        raise _refused(url, "it holds a query or fragment; a base URL ends with its path")
    _judge_host(lane, parts, url)
    return lane


class JudgedResolver(AbstractResolver):
    """Resolves names for one lane; a name with any answer outside the lane is refused whole."""

    def __init__(self, lane: Lane, resolver: AbstractResolver | None = None) -> None:
        """Judge the answers of `resolver`, by default those of the operating system."""
        self._lane = lane
        self._resolver = resolver if resolver is not None else ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the answers for `host`, each an address of the lane.

        Raises ConfigInvalid ENDPOINT_ADDRESS; OSError if there is no answer.
        """
        found = await self._resolver.resolve(host, port, family)
        for answer in found:
            try:
                address = ip_address(answer["host"])
            except ValueError:
                raise _refused(host, "its name server answers with no address") from None
            _judge(self._lane, address, host)
        return found

    async def close(self) -> None:
        """Release the underlying resolver."""
        await self._resolver.close()


def _judge_host(lane: Lane, parts: SplitResult, url: str) -> None:
    host = parts.hostname
    if not host:
        raise _refused(url, "it names no host")
    # A zone picks an interface of this machine; a client elsewhere has no say in that.
    if "%" in host:
        raise _refused(url, "its address names a zone")
    literal = _literal(host, bracketed="[" in parts.netloc)
    if literal is not None:
        _judge(lane, literal, host)
    elif _numeric(host):
        raise _refused(url, f"{host!r} is an address in disguise; write it as a.b.c.d")
    elif len(host) > _MOST_NAME or not _NAME.fullmatch(host):
        raise _refused(url, f"{host!r} is not a host name")
    elif lane is Lane.PUBLIC_TLS and _is_localhost(host):
        raise _refused(url, f"{host!r} is this machine", allow=True)


def _lane(parts: SplitResult, url: str, *, private_address: bool) -> Lane:
    if parts.scheme == "https":
        return Lane.ANY_TLS if private_address else Lane.PUBLIC_TLS
    if parts.scheme != "http":
        raise _refused(url, "only https, and http to a private address, are spoken")
    if not private_address:
        raise ConfigInvalid(
            "ENDPOINT_ADDRESS",
            f"{_shown(url)}: plain http would send the key and the prompt in clear",
            remedy="Use https; for a server of your own an administrator sets private_address.",
        )
    return Lane.LOCAL_CLEAR


def _judge(lane: Lane, address: Address, host: str) -> None:
    reach = reach_of(address)
    if reach in _PERMITTED[lane]:
        return
    where = host if host == str(address) else f"{host} is {address}, which"
    if reach is Reach.NEVER:
        raise _refused(host, f"{where} is reserved; no endpoint may be there")
    if lane is Lane.LOCAL_CLEAR:
        raise _refused(host, f"{where} is not private: plain http would send the key in clear")
    raise _refused(host, f"{where} is not a public address", allow=True)


def _literal(host: str, *, bracketed: bool) -> Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    # Outside brackets a colon separates the port, so this cannot be meant.
    return address if isinstance(address, IPv4Address) or bracketed else None


def _numeric(host: str) -> bool:
    """Tell whether C libraries may read this host as an IPv4 address: 0x7f.1, 2130706433."""
    last = host.rstrip(".").rsplit(".", 1)[-1]
    return _NUMERIC_LABEL.fullmatch(last) is not None


def _is_localhost(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name == "localhost" or name.endswith(".localhost")


def _refused(what: str, why: str, *, allow: bool = False) -> ConfigInvalid:
    remedy = (
        "If this is meant, an administrator sets private_address on the endpoint."
        if allow
        else "Correct the endpoint's url."
    )
    return ConfigInvalid("ENDPOINT_ADDRESS", f"{_shown(what)}: {why}", remedy=remedy)


def _shown(what: str) -> str:
    """Return a URL fit for a message: a person may have put a key into it."""
    head, at, tail = what.partition("@")
    scheme = head.partition("//")[0] if at else ""
    bare = f"{scheme}//***@{tail}" if at else what
    return repr(bare.split("?", 1)[0].split("#", 1)[0])
