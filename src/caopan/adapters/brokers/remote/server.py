"""The broker's side of the line: one broker served to the desk that knows the token.

Owns BrokerServer. A request is done once, in the order of arrival, and answered; a request that is
none does nothing. Must never act before the token was shown, keep much for who has not shown it,
take a file or another server's socket away, nor act on an order without the clearance that was sent
with it. Tests: tests/unit/adapters/brokers/test_remote.py, tests/contract/broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import stat
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol, cast
from uuid import UUID

from caopan.adapters.brokers.remote.wire import (
    VERSION,
    Malformed,
    as_object,
    framed,
    other_build,
    plain,
    read,
    receive,
)
from caopan.adapters.brokers.sandbox.funds import BroughtLot
from caopan.application.ports.broker import Broker, VenueMovement
from caopan.domain.orders.order import Order
from caopan.domain.risk.clearance import Clearance, mint
from caopan.kernel.errors import CaopanError, ConfigInvalid, Denied, OutcomeUnknown, Unavailable
from caopan.settings import Secret

Address = Path | tuple[str, int]
"""A Unix socket, or a loopback host and port (0: any)."""
CONNECTIONS: Final = 8
"""Served at once; as many again may be about to show their token."""
_HELLO_BYTES: Final = 4 * 1024
_ANSWERS_WITHIN_S: Final = 1.0
"""How long a socket found in place may take to show that somebody listens on it."""


class Counter(Protocol):
    """What a person may do at the sandbox's counter."""

    async def deposit(self, key: str, cash: int) -> None:
        """Pay in."""
        ...

    async def withdraw(self, key: str, cash: int) -> None:
        """Pay out."""
        ...

    async def bring_in(self, key: str, lots: Sequence[BroughtLot]) -> None:
        """Add holdings."""
        ...

    async def movements(self) -> Sequence[VenueMovement]:
        """Return all that ever came in or went out."""
        ...


class BrokerServer:
    """Serves one broker; `counter` too, where there is one."""

    def __init__(
        self,
        broker: Broker,
        token: Secret,
        *,
        counter: Counter | None = None,
        follow: Callable[[datetime], None] | None = None,
        patience: timedelta = timedelta(seconds=5),
        build: str = "",
    ) -> None:
        """Take the broker and the token; `follow` is told each request's time (simulated runs).

        A desk of another `build` is refused: two that differ may take one word for two things. Who
        has not shown the token within `patience` is hung up on.
        """
        self._broker = broker
        self._counter = counter
        self._token = token.get_secret_value().encode()
        self._build = build
        self._follow = follow
        self._patience = patience.total_seconds()
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[object] | None] = {}
        self._strangers: dict[asyncio.StreamWriter, asyncio.Task[object]] = {}
        """Who has not shown the token yet, longest here first."""
        self._one_at_a_time = asyncio.Lock()
        self._methods: dict[str, Callable[[dict[str, Any]], Awaitable[object]]] = {
            "submit": self._submit,
            "cancel": lambda given: broker.cancel(read(Order, given["order"])),
            "find": lambda given: broker.find(read(str, given["tag"])),
            "reports": lambda given: broker.reports(read(Sequence[str], given["tags"])),
            "orders": lambda given: broker.orders(read(date, given["day"])),
            "fills": lambda given: broker.fills(read(date, given["day"])),
            "account": lambda _: broker.account(),
        }
        if counter is not None:
            self._methods |= {
                "deposit": lambda given: counter.deposit(
                    read(str, given["key"]), read(int, given["cash"])
                ),
                "withdraw": lambda given: counter.withdraw(
                    read(str, given["key"]), read(int, given["cash"])
                ),
                "movements": lambda _: counter.movements(),
                "bring_in": lambda given: counter.bring_in(
                    read(str, given["key"]), read(Sequence[BroughtLot], given["lots"])
                ),
            }

    async def start(self, address: Address) -> Address:
        """Listen, and return where: the port chosen, if 0 was asked for.

        Raises:
            ConfigInvalid: BROKER_ADDRESS if somebody listens there already, if what stands there is
                no socket, or if one cannot listen there.
        """
        try:
            if isinstance(address, Path):
                if _is_socket(address):
                    await _refuse_answered(address)
                    address.unlink(missing_ok=True)
                self._server = await asyncio.start_unix_server(self._serve, address)
                address.chmod(0o600)
                return address
            self._server = await asyncio.start_server(self._serve, *address)
        except OSError as error:
            raise _unusable(address, str(error)) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        serving = [task for task in self._open.values() if task is not None]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[writer] = asyncio.current_task()
        try:
            # A client that goes away ends its connection, not the server; `stop` ends it too.
            with contextlib.suppress(OSError, EOFError, Malformed, asyncio.CancelledError):
                if not await self._let_in(reader, writer):
                    return
                while True:
                    request = await receive(reader)
                    number, answer = request.get("number"), await self._answer(request)
                    known = number if isinstance(number, int) else None
                    await _send(writer, {"number": known, **answer})
        finally:
            self._open.pop(writer, None)
            writer.close()

    async def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Return whether the token was shown in time. Of too many strangers the oldest goes."""
        task = asyncio.current_task()
        assert task is not None, "it is served in a task"
        while len(self._strangers) >= CONNECTIONS:
            self._strangers.pop(next(iter(self._strangers))).cancel()
        self._strangers[writer] = task
        try:
            async with asyncio.timeout(self._patience):
                return await self._greeted(reader, writer)
        finally:
            self._strangers.pop(writer, None)

    async def _greeted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        hello = await receive(reader, _HELLO_BYTES)
        token, version = str(hello.get("token", "")), hello.get("version")
        fault: CaopanError | None = None
        if not hmac.compare_digest(token.encode(errors="surrogatepass"), self._token):
            fault = Denied(
                "BROKER_AUTH", "the token is not this broker's", remedy="read its token file"
            )
        elif version != VERSION:
            fault = Denied("BROKER_PROTOCOL", f"version {version!r} is spoken, not {VERSION}")
        elif (build := str(hello.get("build", ""))) != self._build:
            fault = other_build(self._build, build)
        elif len(self._open) - len(self._strangers) >= CONNECTIONS:
            fault = Unavailable("BROKER_BUSY", f"{CONNECTIONS} connections are open already")
        if fault is not None:
            await _send(writer, _error(fault))
            return False
        broker = self._broker
        able = plain(broker.capabilities)
        welcome = {"name": broker.name, "capabilities": able, "build": self._build}
        await _send(writer, {"result": welcome})
        return True

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request.get("method")
        method = self._methods.get(str(name))
        async with self._one_at_a_time:
            try:
                now = read(datetime, request.get("now"), "now")
                if method is None:
                    raise Malformed("there is no such method")
                work = method(as_object(request.get("given"), "given"))
            except (Malformed, KeyError, TypeError, ValueError, Denied) as error:
                # Nothing has begun: the request did nothing.
                return _error(Denied("BROKER_PROTOCOL", f"{name!r}: {error}"))
            return await self._done(name, work, now)

    async def _done(self, name: object, work: Awaitable[object], now: datetime) -> dict[str, Any]:
        try:
            if self._follow is not None:
                self._follow(now)
            result = await work
            if name == "reports":
                said = cast("Sequence[object]", result)
                return {"result": [[type(one).__name__, plain(one)] for one in said]}
            return {"result": plain(result)}
        except CaopanError as error:
            return _error(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client must hear of it
            why = f"{name!r}: {type(error).__name__}: {error}"
            return _error(OutcomeUnknown("BROKER_FAULT", why, remedy="look at the broker process"))

    def _submit(self, given: dict[str, Any]) -> Awaitable[object]:
        order = read(Order, given["order"], "order")
        sent = as_object(given["clearance"], "clearance")
        return self._broker.submit(order, _clearance(order, sent))


def _clearance(order: Order, sent: dict[str, Any]) -> Clearance:
    """Return the clearance that was sent, in this process.

    A clearance cannot be copied, so it is minted again, and must come out as it was sent: for this
    very order, to the same end. What proves that it was the gate's is the line itself.
    """
    ends = read(datetime, sent["expires_at"], "expires_at")
    minted = mint(order, read(str, sent["policy_version"], "policy_version"), ends)
    same = (minted.clearance_id, minted.order_hash, minted.expires_at)
    if same != (read(UUID, sent["clearance_id"]), sent["order_hash"], ends):
        raise Denied("BROKER_BLOCKED", f"the clearance sent with {order.client_order_id} differs")
    return minted


def _is_socket(path: Path) -> bool:
    """Return whether there is a socket, or nothing; refuse anything else."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(kind):
        raise _unusable(path, "what stands there is no socket")
    return True


async def _refuse_answered(path: Path) -> None:
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            _, writer = await asyncio.open_unix_connection(path)
    except ConnectionRefusedError:
        return  # Its server is gone.
    except TimeoutError as error:
        raise _unusable(path, "somebody is listening there, if slowly") from error
    writer.close()
    raise _unusable(path, "somebody is listening there")


def _unusable(address: Address, why: str) -> ConfigInvalid:
    return ConfigInvalid(
        "BROKER_ADDRESS",
        f"the broker process cannot listen on {address}: {why}",
        remedy="choose another path or port, or stop what uses it",
    )


def _error(error: CaopanError) -> dict[str, Any]:
    kind = type(error).__name__
    said = {"kind": kind, "code": error.code, "message": error.message, "remedy": error.remedy}
    return {"error": said}


async def _send(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    writer.write(framed(message))
    await writer.drain()
