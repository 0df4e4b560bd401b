"""The line to a broker in another process, and what becomes of a request when it breaks."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.brokers.remote.client import RemoteBroker
from caopan.adapters.brokers.remote.server import BrokerServer
from caopan.adapters.brokers.remote.wire import VERSION, Malformed, framed, plain, read, receive
from caopan.application.ports.broker import (
    Capabilities,
    FillReport,
    OrderStatusReport,
    VenueAccount,
    VenueOrder,
    VenuePosition,
)
from caopan.application.replay.clock import ReplayClock
from caopan.domain.orders.order import Order, OrderStatus, OrderType, Side
from caopan.domain.risk.clearance import mint
from caopan.kernel.errors import (
    CaopanError,
    ConfigInvalid,
    Conflict,
    CorruptState,
    Denied,
    OutcomeUnknown,
    Unavailable,
)
from caopan.settings import Secret
from caopan.testing.samples import DAY, NOW, sample_order

TOKEN = Secret("a token")
ABLE = Capabilities(
    order_types=frozenset({OrderType.LIMIT, OrderType.MARKET_FOK}),
    tag_chars=23,
    orders_per_second=3,
    settle_window=timedelta(milliseconds=1500),
)


class Venue:
    """Answers from a list; an exception in it is raised, "hang" never comes."""

    name = "venue"
    capabilities = ABLE

    def __init__(self, *answers):
        self.answers = list(answers)
        self.orders_seen: list[Order] = []

    async def submit(self, order, clearance):
        assert clearance.order_hash
        self.orders_seen.append(order)
        return await self._next()

    async def cancel(self, order):
        self.orders_seen.append(order)
        return await self._next()

    async def find(self, client_order_id):
        return await self._next()

    async def reports(self, client_order_ids):
        return await self._next()

    async def orders(self, day):
        return await self._next()

    async def fills(self, day):
        return await self._next()

    async def account(self):
        return await self._next()

    async def _next(self) -> Any:
        found = self.answers.pop(0)
        if found == "hang":
            await asyncio.Event().wait()
        if isinstance(found, Exception):
            raise found
        return found


@dataclass
class Line:
    """A server and its client over loopback."""

    venue: Venue
    server: BrokerServer
    client: RemoteBroker

    async def __aenter__(self):
        address = await self.server.start(("127.0.0.1", 0))
        self.client._address = address
        await self.client.connect()
        return self

    async def __aexit__(self, *args):
        await self.client.close()
        await self.server.stop()


def line(*answers, timeout=5.0):
    venue = Venue(*answers)
    client = RemoteBroker(("127.0.0.1", 0), TOKEN, ReplayClock(NOW), timedelta(seconds=timeout))
    return Line(venue, BrokerServer(venue, TOKEN), client)


STATUS = OrderStatusReport("C1", "S1", OrderStatus.ACCEPTED, NOW, "why")
FILL = FillReport("C1", "T1", DAY, "600001.SH", Side.SELL, 100, 99_900, NOW, "S1")
LISTED = VenueOrder("S1", "", "600001.SH", Side.BUY, 1, 2, 1, OrderStatus.EXPIRED, DAY, NOW)
NO = {"kind": "Denied", "code": "BROKER_X", "message": "", "remedy": ""}
ACCOUNT = VenueAccount(1, 2, NOW, {"600001.SH": VenuePosition(3, 1)})


async def test_everything_arrives_as_it_was_said():
    order = sample_order(submitted_at=NOW, broker_order_id="S1")
    answers = (STATUS, STATUS, None, STATUS, [FILL, STATUS], [LISTED], [FILL], ACCOUNT)
    async with line(*answers) as over:
        client = over.client
        assert (client.name, client.capabilities) == ("venue", ABLE)
        assert await client.submit(order, mint(order, "policy")) == STATUS
        assert await client.cancel(order) == STATUS
        assert await client.find("C1") is None
        assert await client.find("C1") == STATUS
        assert await client.reports(["C1"]) == [FILL, STATUS]
        assert await client.orders(DAY) == [LISTED]
        assert await client.fills(DAY) == [FILL]
        assert await client.account() == ACCOUNT
        assert over.venue.orders_seen == [order, order]


@pytest.mark.parametrize(
    "kind", [Denied, Unavailable, OutcomeUnknown, Conflict, CorruptState, ConfigInvalid]
)
async def test_an_error_crosses_with_its_kind_code_and_remedy(kind):
    error = kind("BROKER_X", "资金不足", remedy="wait")
    async with line(error, error) as over:
        for work in (over.client.cancel(sample_order()), over.client.account()):
            with pytest.raises(CaopanError) as caught:
                await work
            assert type(caught.value) is kind
            assert (caught.value.code, caught.value.message, caught.value.remedy) == (
                "BROKER_X",
                "资金不足",
                "wait",
            )


async def test_a_fault_inside_the_broker_process_is_an_unknown_outcome():
    async with line(KeyError("surprise"), STATUS) as over:
        with pytest.raises(OutcomeUnknown, match="BROKER_FAULT"):
            await over.client.cancel(sample_order())
        assert await over.client.cancel(sample_order()) == STATUS


async def test_nobody_there_means_nothing_was_sent():
    client = RemoteBroker(("127.0.0.1", 1), TOKEN, ReplayClock(NOW))
    with pytest.raises(Unavailable, match="BROKER_DISCONNECTED"):
        await client.submit(sample_order(), mint(sample_order(), "policy"))


async def test_a_wrong_token_gets_in_nowhere():
    over = line(STATUS)
    address = await over.server.start(("127.0.0.1", 0))
    assert isinstance(address, tuple)
    client = RemoteBroker(address, Secret("another"), ReplayClock(NOW))
    with pytest.raises(Unavailable, match="BROKER_AUTH"):
        await client.cancel(sample_order())
    # Whoever leaves the token out is not heard at all.
    reader, writer = await asyncio.open_connection(*address)
    writer.write(framed({"method": "cancel", "given": {}, "now": NOW.isoformat()}))
    assert "error" in await receive(reader)
    assert await reader.read() == b""
    writer.close()
    await over.server.stop()
    assert over.venue.orders_seen == []


async def test_an_answer_that_does_not_come_is_an_unknown_outcome_for_a_command_only():
    async with line("hang", "hang", STATUS, timeout=0.05) as over:
        with pytest.raises(OutcomeUnknown, match="BROKER_TIMEOUT"):
            await over.client.submit(sample_order(), mint(sample_order(), "policy"))
        await over.server.stop()
        over.server = BrokerServer(over.venue, TOKEN)
        over.client._address = await over.server.start(("127.0.0.1", 0))
        with pytest.raises(Unavailable, match="BROKER_TIMEOUT"):
            await over.client.account()


async def test_a_line_that_broke_before_is_opened_again():
    async with line(STATUS, STATUS) as over:
        await over.client.cancel(sample_order())
        await over.server.stop()
        over.server = BrokerServer(over.venue, TOKEN)
        over.client._address = await over.server.start(("127.0.0.1", 0))
        assert await over.client.cancel(sample_order(2)) == STATUS
        assert len(over.venue.orders_seen) == 2


async def fake_server(*answers: bytes):
    """Return the address of a server that greets well and then writes `answers` and hangs up."""

    async def serve(reader, writer):
        await receive(reader)
        welcome = {"name": "fake", "capabilities": plain(ABLE)}
        writer.write(framed({"result": welcome}))
        for answer in answers:
            await receive(reader)
            writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[:2]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\0\0",
        b"\0\0\0\4null",
        b"\0\0\0\5{nope",
        b"\xff\xff\xff\xff",
        framed({}),
        framed({"number": 1}),
        framed({"result": plain(STATUS)}),
        framed({"number": 2, "result": plain(STATUS)}),
        framed({"number": 2, "error": NO}),
        framed({"number": 1, "result": 7}),
        framed({"number": 1, "result": {"client_order_id": "C1"}}),
        framed({"number": 1, "result": {**plain(STATUS), "status": "no such state"}}),
        framed({"number": 1, "result": {**plain(STATUS), "at": "2023-06-01T10:00:00"}}),
        framed({"number": 1, "result": {**plain(STATUS), "extra": 1}}),
        framed({"number": 1, "error": "no"}),
        framed(
            {"number": 1, "error": {"kind": "SystemExit", "code": "", "message": "", "remedy": ""}}
        ),
    ],
)
async def test_an_answer_that_is_none_is_a_typed_error(answer):
    for is_command in (True, False):
        server, address = await fake_server(answer)
        client = RemoteBroker(address, TOKEN, ReplayClock(NOW), timedelta(seconds=2))
        await client.connect()
        if is_command:
            with pytest.raises(OutcomeUnknown):
                await client.cancel(sample_order())
        else:
            with pytest.raises(Unavailable):
                await client.account()
        await client.close()
        server.close()


@settings(deadline=None, max_examples=40)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["method", "given", "now", "order", "clearance", "tag", "x"]),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=6,
        ).map(lambda value: framed({"method": "submit", "given": value, "now": NOW.isoformat()})),
    )
)
def test_a_request_that_is_none_does_nothing_and_the_server_lives_on(data):
    async def program():
        async with line(None) as over:
            address = over.client._address
            assert isinstance(address, tuple)
            reader, writer = await asyncio.open_connection(*address)
            writer.write(framed({"version": VERSION, "token": "a token"}))
            await receive(reader)
            writer.write(data)
            writer.write_eof()
            await reader.read()
            writer.close()
            assert over.venue.orders_seen == []
            assert await over.client.find("C1") is None

    asyncio.run(program())


@pytest.mark.parametrize(
    "change",
    [
        {"order_hash": "0" * 64},
        {"clearance_id": str(sample_order(5).clearance_id)},
        {"expires_at": (NOW + timedelta(hours=1)).isoformat()},
    ],
)
async def test_a_clearance_that_is_not_the_orders_is_refused_there_too(change):
    order = sample_order()
    clearance = mint(order, "policy")
    sent = {
        "clearance_id": str(clearance.clearance_id),
        "order_hash": clearance.order_hash,
        "policy_version": "policy",
        "expires_at": clearance.expires_at.isoformat(),
        **change,
    }
    async with line() as over:
        request = {"order": plain(order), "clearance": sent}
        with pytest.raises(Denied):
            await over.client._call("submit", request, changes=True)
        assert over.venue.orders_seen == []


@pytest.mark.parametrize(
    ("shape", "value"),
    [
        (int, True),
        (int, "1"),
        (str, 1),
        (date, "2023-13-01"),
        (datetime, "2023-06-01"),
        (Side, "neither"),
        (VenuePosition, {"qty": 1}),
        (VenuePosition, []),
    ],
)
def test_a_value_of_another_shape_is_named(shape, value):
    with pytest.raises(Malformed, match="field"):
        read(shape, value, "field")


@given(st.builds(VenuePosition, st.integers(), st.integers()))
def test_what_was_written_is_read(value):
    assert read(VenuePosition, json.loads(json.dumps(plain(value)))) == value
