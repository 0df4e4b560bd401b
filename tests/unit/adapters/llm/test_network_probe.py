"""Name, connection and TLS are told apart, and nothing of a request is sent."""

from __future__ import annotations

import asyncio
import socket

import pytest

from caopan.adapters.clock.system import monotonic_ms
from caopan.adapters.llm.network_probe import probe_network
from caopan.domain.gateway.endpoint import Endpoint, Timeouts
from caopan.testing.vendors.certificates import self_signed
from caopan.testing.vendors.deepseek import DeepSeek


def endpoint(url: str, *, private: bool = True, connect_ms: int = 2_000) -> Endpoint:
    timeouts = Timeouts(connect_ms=connect_ms)
    return Endpoint("e", "p", "m", url=url, private_address=private, timeouts=timeouts)


async def steps(one: Endpoint, **parts):
    found = await probe_network(one, monotonic_ms, **parts)
    # The other side has to notice that the connection was given up.
    await asyncio.sleep(0.02)
    return [(step.name, step.code) for step in found]


async def test_a_plain_endpoint_has_a_name_and_a_connection():
    vendor = DeepSeek()
    async with vendor.open() as url:
        assert await steps(endpoint(url)) == [("dns", ""), ("tcp", "")]
    assert vendor.calls == []


async def test_tls_is_a_step_of_its_own(tmp_path):
    certificate = self_signed(tmp_path)
    async with DeepSeek().open(tls=certificate.server) as url:
        told = url.replace("127.0.0.1", "localhost")
        found = await probe_network(endpoint(told), monotonic_ms, tls=certificate.client)
        assert [step.name for step in found] == ["dns", "tcp", "tls"]
        assert "certificate until 21" in found[-1].detail
        assert (await steps(endpoint(told)))[-1] == ("tls", "TLS_FAILED")


async def test_nobody_listening_is_a_failed_connection():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert (await steps(endpoint(f"http://127.0.0.1:{port}/v1")))[-1] == ("tcp", "TCP_FAILED")


async def test_one_who_never_shakes_hands_is_a_timeout():
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        one = endpoint(f"https://localhost:{port}/v1", connect_ms=100)
        assert (await steps(one))[-1] == ("tls", "TLS_TIMEOUT")


@pytest.mark.parametrize("url", ["https://127.0.0.1/v1", "https://169.254.169.254/latest"])
async def test_an_address_calls_may_not_go_to_is_not_tried(url):
    assert await steps(endpoint(url, private=False)) == [("dns", "ENDPOINT_ADDRESS")]


async def test_a_name_nobody_knows_is_told():
    found = await steps(endpoint("https://no-such-name.invalid/v1"))
    assert found == [("dns", "DNS_FAILED")]
