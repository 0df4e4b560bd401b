"""The desk's side of the line: a Broker that lives in another process.

Owns RemoteBroker: one connection, one request at a time. What fails before a request's first byte
has left is Unavailable. Afterwards, a command (submit, cancel, and what is done at the counter)
whose answer is missing or is none has an unknown outcome; a question may be asked again, so it is
Unavailable. Must never send a command twice. Tests: tests/unit/adapters/brokers/test_remote.py,
tests/contract/broker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from caopan.adapters.brokers.remote.server import Address
from caopan.adapters.brokers.remote.wire import (
    VERSION,
    Malformed,
    as_list,
    as_object,
    framed,
    other_build,
    plain,
    read,
    receive,
)
from caopan.adapters.brokers.sandbox.funds import BroughtLot
from caopan.application.ports.broker import (
    Capabilities,
    FillReport,
    OrderStatusReport,
    Report,
    VenueAccount,
    VenueMovement,
    VenueOrder,
)
from caopan.domain.orders.order import Order
from caopan.domain.risk.clearance import Clearance
from caopan.kernel.clock import Clock
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

_KINDS: dict[str, type[CaopanError]] = {
    kind.__name__: kind
    for kind in (Denied, Unavailable, OutcomeUnknown, Conflict, CorruptState, ConfigInvalid)
}
_REPORTS: dict[str, type[Report]] = {
    kind.__name__: kind for kind in (OrderStatusReport, FillReport)
}
_TIMEOUT: Final = timedelta(seconds=5)
_REMEDY = "look whether the broker process runs"
T = TypeVar("T")


class RemoteBroker:
    """A Broker over a line. Use `connect`; a line that breaks is opened again by the next call."""

    name: str
    capabilities: Capabilities

    def __init__(
        self,
        address: Address,
        token: Secret,
        clock: Clock,
        timeout: timedelta = _TIMEOUT,
        *,
        build: str = "",
        on_redial: Callable[[], None] | None = None,
    ) -> None:
        """Keep where the broker is; each request is answered within `timeout` or given up.

        Opening the line is part of that time. The venue's settle window grows by it: before it is
        over, nobody here can know that an answer is lost. A broker of another `build` is not
        spoken to. Whoever wants to know that a line was opened again gives `on_redial`; an order
        that would be the first thing said on such a line is not sent then.
        """
        self._address = address
        self._token = token
        self._clock = clock
        self._timeout = timeout
        self._build = build
        self._on_redial = on_redial
        self._has_spoken = False
        self._line: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()
        self._asked = 0

    async def connect(self) -> None:
        """Open the line, and learn the venue's name and what it can do.

        Raises:
            Unavailable: BROKER_DISCONNECTED if nobody answers; BROKER_AUTH, BROKER_PROTOCOL,
                BROKER_BUILD or BROKER_BUSY if this desk is refused.
        """
        async with self._lock:
            await self._opened(self._deadline())

    async def close(self) -> None:
        """Close the line."""
        async with self._lock:
            self._drop()

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Send an order with its clearance."""
        cleared = {
            "clearance_id": str(clearance.clearance_id),
            "order_hash": clearance.order_hash,
            "policy_version": clearance.policy_version,
            "expires_at": clearance.expires_at.isoformat(),
        }
        given = {"order": plain(order), "clearance": cleared}
        return await self._command("submit", given, OrderStatusReport)

    async def cancel(self, order: Order) -> OrderStatusReport:
        """Send a cancel."""
        return await self._command("cancel", {"order": plain(order)}, OrderStatusReport)

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Ask for one order."""
        found = await self._ask("find", {"tag": client_order_id})
        return None if found is None else _understood(OrderStatusReport, found)

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Ask for reports."""
        said = await self._ask("reports", {"tags": list(client_order_ids)})
        try:
            return [read(_REPORTS[kind], value, kind) for kind, value in as_list(said, "reports")]
        except (KeyError, TypeError, ValueError, Malformed) as error:
            raise _senseless(str(error)) from error

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        """Ask for the day's orders."""
        return _understood(Sequence[VenueOrder], await self._ask("orders", {"day": str(day)}))

    async def fills(self, day: date) -> Sequence[FillReport]:
        """Ask for the day's executions."""
        return _understood(Sequence[FillReport], await self._ask("fills", {"day": str(day)}))

    async def account(self) -> VenueAccount:
        """Ask for the account."""
        return _understood(VenueAccount, await self._ask("account", {}))

    async def deposit(self, key: str, cash: int) -> None:
        """Pay in at the sandbox's counter, once per `key`."""
        await self._call("deposit", {"key": key, "cash": cash}, changes=True)

    async def withdraw(self, key: str, cash: int) -> None:
        """Pay out at the sandbox's counter, once per `key`."""
        await self._call("withdraw", {"key": key, "cash": cash}, changes=True)

    async def bring_in(self, key: str, lots: Sequence[BroughtLot]) -> None:
        """Add holdings at the sandbox's counter, once per `key`."""
        given = {"key": key, "lots": [plain(lot) for lot in lots]}
        await self._call("bring_in", given, changes=True)

    async def movements(self) -> Sequence[VenueMovement]:
        """Ask for all that came in or went out at the sandbox's counter."""
        return _understood(Sequence[VenueMovement], await self._ask("movements", {}))

    async def _command(self, method: str, given: dict[str, Any], shape: type[T]) -> T:
        answer = await self._call(method, given, changes=True)
        try:
            return read(shape, answer, method)
        except Malformed as error:
            raise OutcomeUnknown("BROKER_PROTOCOL", f"the answer is none: {error}") from error

    async def _ask(self, method: str, given: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        return await self._call(method, given, changes=False)

    async def _call(self, method: str, given: dict[str, Any], *, changes: bool) -> Any:  # noqa: ANN401 - JSON
        """Send one request and return its result."""
        async with self._lock:
            deadline = self._deadline()
            reader, writer = await self._opened(deadline, places=method == "submit")
            now = self._clock.now().isoformat()
            self._asked += 1
            request = {"number": self._asked, "method": method, "given": given, "now": now}
            try:
                writer.write(framed(request))
                async with asyncio.timeout_at(deadline):
                    await writer.drain()
                    message = await receive(reader)
                if message.get("number") != self._asked:
                    # Said twice, it would end another order than the one it is about.
                    raise Malformed("it answers another request")
            except (OSError, EOFError, Malformed, TimeoutError) as error:
                self._drop()
                raise _lost(method, error, changes=changes) from error
            except BaseException:
                # An answer that nobody waits for must not become the next request's.
                self._drop()
                raise
        if "error" in message:
            raise _told(message["error"], changes=changes)
        if "result" not in message:
            raise _lost(method, Malformed("neither result nor error"), changes=changes)
        return message["result"]

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout.total_seconds()

    async def _opened(
        self, deadline: float, *, places: bool = False
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._line is not None:
            reader, writer = self._line
            # Two turns of the loop, so that a hang-up that has arrived is known before anything is
            # written to a dead line.
            for _ in range(2):
                await asyncio.sleep(0)
            if not (reader.at_eof() or writer.is_closing()):
                return self._line
            self._drop()
        try:
            async with asyncio.timeout_at(deadline):
                line = await self._dial()
                self._line = line
                token = self._token.get_secret_value()
                hello = {"version": VERSION, "token": token, "build": self._build}
                line[1].write(framed(hello))
                answer = await receive(line[0])
                if "error" in answer:
                    raise _not_let_in(answer["error"])
                welcome = as_object(answer.get("result"), "result")
                if (build := str(welcome.get("build", ""))) != self._build:
                    raise other_build(build, self._build)
                self.name = read(str, welcome.get("name"), "name")
                able = read(Capabilities, welcome.get("capabilities"), "capabilities")
                self.capabilities = replace(able, settle_window=able.settle_window + self._timeout)
        except Unavailable:
            self._drop()
            raise
        except (OSError, EOFError, Malformed, TimeoutError) as error:
            self._drop()
            why = f"no line to the broker process: {type(error).__name__}: {error}"
            raise Unavailable("BROKER_DISCONNECTED", why, remedy=_REMEDY) from error
        self._tell_redial(places=places)
        return line

    def _tell_redial(self, *, places: bool) -> None:
        if self._has_spoken and self._on_redial is not None:
            self._on_redial()
            if places:
                why = "the line to the broker process had broken; the order was not sent"
                raise Unavailable("BROKER_DISCONNECTED", why, remedy=_REMEDY)
        self._has_spoken = True

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._address, Path):
            return await asyncio.open_unix_connection(self._address)
        return await asyncio.open_connection(*self._address)

    def _drop(self) -> None:
        if self._line is not None:
            with contextlib.suppress(OSError, RuntimeError):
                self._line[1].close()
            self._line = None


def _understood(shape: type[T], value: object) -> T:
    try:
        return read(shape, value)
    except Malformed as error:
        raise _senseless(str(error)) from error


def _senseless(why: str) -> Unavailable:
    return Unavailable("BROKER_PROTOCOL", f"the answer is none: {why}", remedy=_REMEDY)


def _lost(method: str, error: Exception, *, changes: bool) -> CaopanError:
    code = "BROKER_DISCONNECTED"
    if isinstance(error, TimeoutError):
        code = "BROKER_TIMEOUT"
    elif isinstance(error, Malformed):
        code = "BROKER_PROTOCOL"
    why = f"{method} left and no answer came: {type(error).__name__}: {error}"
    return (OutcomeUnknown if changes else Unavailable)(code, why, remedy=_REMEDY)


def _not_let_in(error: object) -> Unavailable:
    """Return why the other side hangs up on us: nothing was sent."""
    said = as_object(error, "error")
    words = [read(str, said.get(name), name) for name in ("code", "message", "remedy")]
    return Unavailable(words[0], words[1], remedy=words[2])


def _told(error: object, *, changes: bool) -> CaopanError:
    """Return the error that the other side raised."""
    try:
        said = as_object(error, "error")
        return _KINDS[said["kind"]](said["code"], said["message"], remedy=said["remedy"])
    except (Malformed, KeyError) as fault:
        return _lost("the request", Malformed(str(fault)), changes=changes)
