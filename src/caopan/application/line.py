"""What is known of the line to the venue, and the broker that is watched to know it.

Owns Line (whole, down, or whole again and not compared since) and WatchedBroker, which learns it
from every call and lets no order through between an outage and the comparison of both sides after
it. Must never hold back a cancel or a question. Tests: tests/unit/application/test_line.py.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import TypeVar

from caopan.application.ports.broker import (
    Broker,
    Capabilities,
    FillReport,
    OrderStatusReport,
    Report,
    VenueAccount,
    VenueOrder,
)
from caopan.domain.orders.order import Order
from caopan.domain.risk.clearance import Clearance
from caopan.kernel.errors import CaopanError, Denied, OutcomeUnknown, Unavailable

_T = TypeVar("_T")
_BUSY = "BROKER_RATE_LIMIT"
"""An answer of a line that is whole."""


class Line:
    """One line to one venue, as its calls have shown it. It begins whole."""

    def __init__(self) -> None:
        """Nothing has failed yet."""
        self.is_down = False
        self.breaks = 0
        """How often it went down, or was opened again unasked."""
        self.problem: CaopanError | None = None
        """Why it went down last."""
        self._compared_after = 0

    @property
    def may_place(self) -> bool:
        """Tell whether an order may be sent: it is whole, and both sides were compared since."""
        return not self.is_down and self._compared_after == self.breaks

    def failed(self, error: CaopanError) -> None:
        """Take note that a call came to nothing."""
        if not self.is_down:
            self.breaks += 1
        self.is_down, self.problem = True, error

    def answered(self) -> None:
        """Take note that the venue has answered."""
        self.is_down = False

    def opened_again(self) -> None:
        """Take note that it had broken while nobody spoke, and was opened again."""
        if not self.is_down:
            self.breaks += 1
            self.problem = None

    @contextmanager
    def comparison(self) -> Generator[None]:
        """Count what is done inside as a comparison of both sides, unless it raises.

        It speaks for what came before it: a break meanwhile asks for another one.
        """
        began_after = self.breaks
        yield
        self._compared_after = began_after

    def require(self) -> None:
        """Refuse to trade where no order may be sent.

        Raises:
            Unavailable: BROKER_DISCONNECTED.
        """
        if not self.may_place:
            why = "is down" if self.is_down else "was down, and both sides were not compared since"
            raise Unavailable(
                "BROKER_DISCONNECTED",
                f"the line to the venue {why}; no order is sent",
                remedy="wait for the comparison that follows when the venue answers",
            )


class WatchedBroker:
    """A Broker whose every call tells its Line how it went."""

    def __init__(self, inner: Broker, line: Line) -> None:
        """Stand before `inner`."""
        self._inner = inner
        self._line = line

    @property
    def inner(self) -> Broker:
        """Return the broker behind, for what is no trading: its counter."""
        return self._inner

    @property
    def name(self) -> str:
        """Return the venue's name."""
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        """Return what the venue can do."""
        return self._inner.capabilities

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Send an order on, or raise Unavailable BROKER_DISCONNECTED before anything is sent."""
        self._line.require()
        return await self._asked(self._inner.submit(order, clearance))

    async def cancel(self, order: Order) -> OrderStatusReport:
        """Pass on, always."""
        return await self._asked(self._inner.cancel(order))

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Pass on."""
        return await self._asked(self._inner.find(client_order_id))

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Pass on."""
        return await self._asked(self._inner.reports(client_order_ids))

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        """Pass on."""
        return await self._asked(self._inner.orders(day))

    async def fills(self, day: date) -> Sequence[FillReport]:
        """Pass on."""
        return await self._asked(self._inner.fills(day))

    async def account(self) -> VenueAccount:
        """Pass on."""
        return await self._asked(self._inner.account())

    async def _asked(self, call: Awaitable[_T]) -> _T:
        try:
            answer = await call
        except (Unavailable, OutcomeUnknown) as error:
            # What a venue's own database lacks says nothing of the line to it.
            if error.code.startswith("BROKER_") and error.code != _BUSY:
                self._line.failed(error)
            raise
        except Denied:
            self._line.answered()
            raise
        self._line.answered()
        return answer
