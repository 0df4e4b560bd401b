"""What is read of a request, and how far: host, length, depth."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caopan.application.gateway.calls import CallRefused
from caopan.interfaces.gateway.wire import (
    ClientGone,
    Hosts,
    check_depth,
    checked_address,
    is_loopback,
    read_body,
)
from caopan.kernel.errors import ConfigInvalid


def stream(*parts: bytes, gone: bool = False):
    """Return a `receive` that gives a body in parts, and what was asked of it."""
    messages = [
        {"type": "http.request", "body": part, "more_body": gone or index < len(parts) - 1}
        for index, part in enumerate(parts)
    ]
    if gone:
        messages.append({"type": "http.disconnect"})
    asked = []

    async def receive():
        asked.append(1)
        return messages[len(asked) - 1]

    return receive, asked


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8700", "localhost:8700", "LOCALHOST", "[::1]:8700", "[::1]", "gw.lan"],
)
def test_our_own_names_are_answered_with_any_port(host):
    Hosts("127.0.0.1", ["gw.lan"]).check([(b"host", host.encode())])


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1:x",
        "localhost@evil.example",
        "localhost:1:2",
        "[::1]x",
        "[::1",
        "::1",
        "127.0.0.2",
        "\xff",
    ],
)
def test_another_name_is_refused_each_time(host):
    hosts = Hosts("127.0.0.1")
    for _ in range(2):
        with pytest.raises(CallRefused) as caught:
            hosts.check([(b"host", host.encode("latin-1"))])
        assert caught.value.status == 421


@pytest.mark.parametrize("headers", [[], [(b"host", b"localhost"), (b"host", b"localhost")]])
def test_no_host_or_two_are_refused(headers):
    with pytest.raises(CallRefused):
        Hosts("127.0.0.1").check(headers)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_loopback_needs_no_word(host):
    assert is_loopback(host)
    checked_address(host, public=False)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104 - is refused
        "::",
        "192.168.1.5",
        "10.0.0.1",
        "gw.example",
        "",
    ],
)
def test_another_address_needs_the_operators_word(host):
    with pytest.raises(ConfigInvalid, match="GATEWAY_ADDRESS"):
        checked_address(host, public=False)
    checked_address(host, public=True)


async def test_an_announced_length_beyond_the_bound_is_refused_unread():
    receive, asked = stream(b"x" * 50)
    with pytest.raises(CallRefused) as caught:
        await read_body(receive, {"content-length": "50"}, 49)
    assert caught.value.status == 413
    assert asked == []


@given(
    st.lists(st.binary(max_size=20), min_size=1, max_size=12),
    st.integers(0, 120),
)
async def test_a_body_is_whole_or_refused_before_much_more_is_kept(parts, most):
    receive, asked = stream(*parts)
    whole = b"".join(parts)
    if len(whole) <= most:
        assert await read_body(receive, {}, most) == whole
        return
    with pytest.raises(CallRefused) as caught:
        await read_body(receive, {}, most)
    assert caught.value.status == 413
    kept = [sum(map(len, parts[:count])) for count in range(1, len(parts) + 1)]
    assert len(asked) == next(n for n, size in enumerate(kept, 1) if size > most)


async def test_a_caller_that_leaves_while_sending_has_gone():
    receive, _ = stream(b"half", gone=True)
    with pytest.raises(ClientGone):
        await read_body(receive, {}, 100)


JSON = st.recursive(
    st.one_of(st.none(), st.integers(0, 9), st.text(alphabet="[]{}a", max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.just("k"), inner, max_size=1)
    ),
    max_leaves=12,
)


def depth(value) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(JSON, st.integers(0, 6))
def test_json_deeper_than_the_bound_is_refused_and_no_other(value, most):
    raw = json.dumps(value).encode()
    if depth(value) <= most:
        check_depth(raw, most)
    else:
        with pytest.raises(CallRefused) as caught:
            check_depth(raw, most)
        assert caught.value.code == "json_too_deep"


def test_a_bomb_of_brackets_is_left_to_the_parser_which_refuses_it():
    check_depth(b"[" * 1_000_000)
