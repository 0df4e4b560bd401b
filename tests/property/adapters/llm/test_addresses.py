"""No spelling of an address that is not public gets past the guard."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.adapters.llm.addresses import JudgedResolver, Lane, Reach, lane_of, reach_of
from caopan.kernel.errors import ConfigInvalid
from caopan.testing.name_server import ScriptedNames

SPECIAL_4 = [
    ip_network(text)
    for text in (
        # IANA's registry of IPv4 special-purpose addresses, and multicast.
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
]
SPECIAL_6 = [
    ip_network(text)
    for text in (
        "::/128",
        "::1/128",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/32",
        "2001:db8::/32",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
]
ROUTED_6 = [ip_network("2000::/3"), ip_network("64:ff9b::/96")]


def inside(networks):
    return st.sampled_from(networks).flatmap(lambda net: st.ip_addresses(network=net))


special_4 = inside(SPECIAL_4)
special = st.one_of(
    special_4,
    inside(SPECIAL_6),
    special_4.map(lambda one: IPv6Address(f"::ffff:{one}")),
    special_4.map(lambda one: IPv6Address(f"64:ff9b::{one}")),
    special_4.map(lambda one: IPv6Address(f"::{one}")),
)


def spelled(address: IPv4Address, how: int) -> str:
    """One of the ways in which C libraries read an IPv4 address."""
    number = int(address)
    a, b, c, d = address.packed
    return [
        str(number),
        hex(number),
        f"0{number:o}",
        f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        f"{a}.{(b << 16) | (c << 8) | d}",
        f"{a}.{b}.{(c << 8) | d}",
        f"{a:03}.{b:03}.{c:03}.{d:03}",
        f"{address}.",
        f"{a}.0X{b:X}.{c}.0{d:o}",
    ][how]


def bracketed(address: IPv4Address | IPv6Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


@given(special)
def test_no_special_address_is_public(address):
    assert reach_of(address) is not Reach.PUBLIC


@given(st.ip_addresses())
def test_what_is_public_is_globally_routed_unicast(address):
    if reach_of(address) is Reach.PUBLIC:
        # An IPv4 address in IPv6 clothes is dialled as what it is.
        address = getattr(address, "ipv4_mapped", None) or address
        assert address.is_global
        assert not address.is_multicast
        assert address.version == 4 or any(address in net for net in ROUTED_6)
        assert not (address.version == 4 and address.is_reserved)


@given(st.ip_addresses(v=4))
def test_an_address_in_no_special_range_is_public(address):
    own = ["192.31.196.0/24", "192.52.193.0/24", "192.175.48.0/24"]
    nets = [*SPECIAL_4, *map(ip_network, own)]
    assert (reach_of(address) is Reach.PUBLIC) == (not any(address in net for net in nets))


@given(special, st.sampled_from(["https", "http"]))
def test_an_endpoint_at_a_special_address_needs_an_administrators_word(address, scheme):
    with pytest.raises(ConfigInvalid) as caught:
        lane_of(f"{scheme}://{bracketed(address)}:8443/v1", private_address=False)
    assert caught.value.code == "ENDPOINT_ADDRESS"


@given(st.ip_addresses(v=4), st.integers(0, 9), st.booleans())
def test_an_address_in_disguise_is_refused_even_with_that_word(address, how, private):
    text = spelled(address, how)
    if text != str(address):
        with pytest.raises(ConfigInvalid):
            lane_of(f"https://{text}/v1", private_address=private)


@given(inside(SPECIAL_4 + SPECIAL_6), st.ip_addresses(v=4).filter(lambda one: one.is_global))
async def test_a_name_is_refused_if_any_of_its_answers_is_special(bad, good):
    names = ScriptedNames({"models.example": [[str(good), str(bad)]]})
    resolver = JudgedResolver(Lane.PUBLIC_TLS, names)
    with pytest.raises(ConfigInvalid):
        await resolver.resolve("models.example", 443)


@given(st.ip_addresses())
def test_plain_http_never_reaches_what_is_not_private(address):
    try:
        lane = lane_of(f"http://{bracketed(address)}/v1", private_address=True)
    except ConfigInvalid:
        assert reach_of(address) is not Reach.LOCAL
    else:
        assert lane is Lane.LOCAL_CLEAR
        assert not address.is_global or address.ipv4_mapped is not None
