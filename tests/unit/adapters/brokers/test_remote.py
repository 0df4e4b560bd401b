"""The line to a broker in another process, and what becomes of a request when it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import stat
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.brokers.remote.client import RemoteBroker
from caopan.adapters.brokers.remote.server import CONNECTIONS, BrokerServer
from caopan.adapters.brokers.remote.wire import VERSION, Malformed, framed, plain, read, receive
from caopan.application.ports.broker import (
    Capabilities,
    FillReport,
    OrderStatusReport,
    VenueAccount,
    VenueMovement,
    VenueOrder,
    VenuePosition,
)
from caopan.application.replay.clock import ReplayClock
from caopan.domain.accounting.bookings import BroughtLot
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
        # What is lost is known to be lost a timeout later: only then the venue's window can end.
        window = ABLE.settle_window + timedelta(seconds=5)
        assert client.capabilities == replace(ABLE, settle_window=window)
        assert client.name == "venue"
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


async def test_who_asked_for_it_is_told_of_a_redial_and_no_order_is_the_first_word():
    told: list[str] = []
    order = sample_order()
    async with line(ACCOUNT, STATUS, ACCOUNT) as over:
        over.client._on_redial = lambda: told.append("again")
        await over.client.account()
        assert told == []
        for _ in range(2):
            await over.server.stop()
            over.server = BrokerServer(over.venue, TOKEN)
            over.client._address = await over.server.start(("127.0.0.1", 0))
            if told:
                await over.client.account()
            else:
                with pytest.raises(Unavailable, match="BROKER_DISCONNECTED"):
                    await over.client.submit(order, mint(order, "policy"))
                assert over.venue.orders_seen == []
                assert await over.client.submit(order, mint(order, "policy")) == STATUS
        assert told == ["again"] * 2


async def test_what_moved_at_the_counter_is_told_over_the_line():
    lot = BroughtLot("600001.SH", 100, 1_000, DAY)
    moved = [VenueMovement("a", -5, NOW), VenueMovement("b", 0, NOW, (lot,))]

    class Till:
        async def movements(self) -> list[VenueMovement]:
            return moved

    venue = Venue()
    server = BrokerServer(venue, TOKEN, counter=Till())  # type: ignore[arg-type]
    client = RemoteBroker(("127.0.0.1", 0), TOKEN, ReplayClock(NOW))
    async with Line(venue, server, client):
        assert await client.movements() == moved


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


# --- before the token -------------------------------------------------------------------------


@dataclass
class Stranger:
    """A connection that has not shown the token."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def hung_up(self) -> bytes:
        """Return what was said before the other side hung up, which it must."""
        said = b""
        with contextlib.suppress(ConnectionError):
            said = await asyncio.wait_for(self.reader.read(), 5)
        self.writer.close()
        return said


async def stranger(over: Line, said: bytes = b"") -> Stranger:
    address = over.client._address
    assert isinstance(address, tuple)
    came = Stranger(*await asyncio.open_connection(*address))
    came.writer.write(said)
    await came.writer.drain()
    return came


def unhandled() -> list[object]:
    """Collect what the loop would log as never handled; there must be nothing."""
    found: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


async def test_who_shows_nothing_is_hung_up_on_in_time():
    over = line(ACCOUNT)
    over.server = BrokerServer(over.venue, TOKEN, patience=timedelta(milliseconds=30))
    async with over:
        for said in (b"", b"\0\0", (100).to_bytes(4, "big") + b"{"):
            assert await (await stranger(over, said)).hung_up() == b""
        # Who has shown it stays as long as they like.
        assert await over.client.account() == ACCOUNT


async def test_who_says_much_before_the_token_is_hung_up_on_unheard():
    async with line() as over:
        assert await (await stranger(over, (4097).to_bytes(4, "big"))).hung_up() == b""
        long = framed({"version": VERSION, "token": "x" * 4_000})
        assert b"BROKER_AUTH" in await (await stranger(over, long)).hung_up()


async def test_strangers_keep_nobody_out_and_are_few():
    async with line(ACCOUNT, ACCOUNT) as over:
        waiting = [await stranger(over) for _ in range(CONNECTIONS + 3)]
        for gone in waiting[:3]:
            assert await gone.hung_up() == b""
        other = RemoteBroker(over.client._address, TOKEN, ReplayClock(NOW))
        assert await other.account() == ACCOUNT
        assert await over.client.account() == ACCOUNT
        await other.close()
        for kept in waiting[3:]:
            kept.writer.close()


async def test_more_desks_than_are_served_are_told():
    async with line(ACCOUNT) as over:
        desks = [
            RemoteBroker(over.client._address, TOKEN, ReplayClock(NOW)) for _ in range(CONNECTIONS)
        ]
        for desk in desks[1:]:
            await desk.connect()
        with pytest.raises(Unavailable, match="BROKER_BUSY"):
            await desks[0].connect()
        assert await over.client.account() == ACCOUNT
        for desk in desks:
            await desk.close()


@pytest.mark.parametrize("token", ['"\\ud800"', '"\u00e9"', "null", "[]", '{"a": "\\udfff"}'])
async def test_a_token_of_any_kind_is_refused_by_name(token):
    logged = unhandled()
    async with line() as over:
        data = f'{{"token":{token},"version":"\\ud800"}}'.encode()
        came = await stranger(over, len(data).to_bytes(4, "big") + data)
        assert b"BROKER_AUTH" in await came.hung_up()
    assert logged == []


@pytest.mark.parametrize("number", ['"\\ud800"', "[1]", "1.5"])
async def test_a_request_with_what_cannot_be_said_again_is_answered(number):
    logged = unhandled()
    async with line() as over:
        came = await stranger(over, framed({"version": VERSION, "token": "a token"}))
        await receive(came.reader)
        for text in (
            f'{{"number":{number},"method":"\\ud800","given":{{}},"now":"{NOW}"}}',
            f'{{"number":1,"method":"submit","now":"{NOW}","given":{{"order":{{"\\ud800":1}}}}}}',
        ):
            came.writer.write(len(text).to_bytes(4, "big") + text.encode())
            assert (await receive(came.reader))["error"]["code"] == "BROKER_PROTOCOL"
        came.writer.close()
    assert logged == []


# --- where it listens -------------------------------------------------------------------------


async def test_neither_a_file_nor_another_servers_socket_is_taken(tmp_path):
    kept, link, path = tmp_path / "kept.csv", tmp_path / "link", tmp_path / "s"
    kept.write_text("data")
    link.symlink_to(kept)
    first = BrokerServer(Venue(ACCOUNT), TOKEN)
    await first.start(path)
    client = RemoteBroker(path, TOKEN, ReplayClock(NOW))
    await client.connect()
    for taken in (kept, link, tmp_path, path, tmp_path / "none" / "s"):
        with pytest.raises(ConfigInvalid, match=re.escape(str(taken))) as caught:
            await BrokerServer(Venue(), TOKEN).start(taken)
        assert caught.value.code == "BROKER_ADDRESS"
    assert kept.read_text() == "data"
    assert await client.account() == ACCOUNT
    await client.close()
    await first.stop()


async def test_a_port_that_is_taken_is_told():
    async with line() as over:
        address = over.client._address
        with pytest.raises(ConfigInvalid, match="BROKER_ADDRESS"):
            await BrokerServer(Venue(), TOKEN).start(address)


async def test_a_socket_that_its_server_left_behind_is_taken(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    server = BrokerServer(Venue(ACCOUNT), TOKEN)
    await server.start(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    client = RemoteBroker(path, TOKEN, ReplayClock(NOW))
    assert await client.account() == ACCOUNT
    await client.close()
    await server.stop()


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
