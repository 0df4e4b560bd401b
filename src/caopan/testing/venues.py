"""Venues that misbehave as real counters were seen to.

Owns FaultyBroker: loses, delays and doubles requests and answers, dies around the wire, and says
what it says late, twice and in any order, by plan or by seed. Must never change what the venue
behind it does once a request has reached it.
"""

from __future__ import annotations

import random  # noqa: TID251 - seeded: it draws what comes late
from collections.abc import Awaitable, Callable, Sequence
from datetime import date
from enum import StrEnum

from caopan.application.ports.broker import (
    Broker,
    Capabilities,
    FillReport,
    OrderStatusReport,
    Report,
    VenueAccount,
    VenueOrder,
)
from caopan.domain.orders.order import Order, OrderStatus
from caopan.domain.risk.clearance import Clearance
from caopan.kernel.errors import Denied, OutcomeUnknown, Unavailable
from caopan.testing.sim_loop import SimulatedCrash


class Fault(StrEnum):
    """What goes wrong with one submission."""

    NONE = "none"
    REQUEST_LOST = "request_lost"
    """The connection broke before anything left."""
    ANSWER_LOST = "answer_lost"
    """The venue took the order; nobody heard."""
    REQUEST_VANISHED = "request_vanished"
    """It left, never arrived, and nobody knows."""
    REQUEST_DELAYED = "request_delayed"
    """Nobody heard, and it arrives just before the next request does."""
    REQUEST_DOUBLED = "request_doubled"
    """The line sent it twice."""
    CRASH_BEFORE = "crash_before"
    CRASH_AFTER = "crash_after"


class CancelFault(StrEnum):
    """What goes wrong with one cancel."""

    NONE = "none"
    REQUEST_LOST = "request_lost"
    ANSWER_LOST = "answer_lost"
    REQUEST_VANISHED = "request_vanished"
    REQUEST_DELAYED = "request_delayed"
    FALSE_ANSWER = "false_answer"
    """Said to be on its way, and never taken: the order goes on, and may fill."""


class FaultyBroker:
    """A Broker in front of another one, with a fault for each request in turn."""

    def __init__(
        self,
        inner: Broker,
        faults: Sequence[Fault] = (),
        *,
        cancel_faults: Sequence[CancelFault] = (),
        seed: int | None = None,
    ) -> None:
        """Meet submissions and cancels with their faults in turn, then with none.

        Reports are always told twice. With a `seed` they also come in any order, and some only at
        a later asking, until `calm`.
        """
        self._inner = inner
        self._faults = list(faults)
        self._cancel_faults = list(cancel_faults)
        self._noise = None if seed is None else random.Random(seed)  # noqa: S311 - no secret
        self._on_the_way: list[Callable[[], Awaitable[object]]] = []
        self.submissions = 0
        self.cancels = 0

    @property
    def name(self) -> str:
        """Return the venue's name."""
        return self._inner.name

    @property
    def capabilities(self) -> Capabilities:
        """Return what the venue can do."""
        return self._inner.capabilities

    def calm(self) -> None:
        """Let nothing go wrong from now on; what is on its way arrives."""
        self._faults.clear()
        self._cancel_faults.clear()
        self._noise = None

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Submit, or go wrong as planned."""
        await self._arrive()
        fault = self._faults.pop(0) if self._faults else Fault.NONE
        self.submissions += 1
        if fault is Fault.REQUEST_LOST:
            raise _broken()
        if fault is Fault.REQUEST_VANISHED:
            raise _no_answer()
        if fault is Fault.REQUEST_DELAYED:
            self._on_the_way.append(lambda: self._inner.submit(order, clearance))
            raise _no_answer()
        if fault is Fault.CRASH_BEFORE:
            raise SimulatedCrash("before the wire")
        report = await self._inner.submit(order, clearance)
        if fault is Fault.REQUEST_DOUBLED:
            self._on_the_way.append(lambda: self._inner.submit(order, clearance))
        if fault is Fault.ANSWER_LOST:
            raise _no_answer()
        if fault is Fault.CRASH_AFTER:
            raise SimulatedCrash("after the wire")
        return report

    async def cancel(self, order: Order) -> OrderStatusReport:
        """Cancel, or go wrong as planned."""
        await self._arrive()
        fault = self._cancel_faults.pop(0) if self._cancel_faults else CancelFault.NONE
        self.cancels += 1
        if fault is CancelFault.REQUEST_LOST:
            raise _broken()
        if fault is CancelFault.REQUEST_VANISHED:
            raise _no_answer()
        if fault is CancelFault.REQUEST_DELAYED:
            self._on_the_way.append(lambda: self._inner.cancel(order))
            raise _no_answer()
        if fault is CancelFault.FALSE_ANSWER:
            return OrderStatusReport(
                order.client_order_id,
                order.broker_order_id or "",
                OrderStatus.PENDING_CANCEL,
                order.updated_at,
            )
        report = await self._inner.cancel(order)
        if fault is CancelFault.ANSWER_LOST:
            raise _no_answer()
        return report

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Ask the venue behind."""
        await self._arrive()
        return await self._inner.find(client_order_id)

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Return the venue's reports twice over, to prove that repetition changes nothing."""
        await self._arrive()
        reports = list(await self._inner.reports(client_order_ids))
        return self._garbled([*reports, *reports])

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        """Ask the venue behind."""
        await self._arrive()
        return await self._inner.orders(day)

    async def fills(self, day: date) -> Sequence[FillReport]:
        """Ask the venue behind."""
        await self._arrive()
        return await self._inner.fills(day)

    async def account(self) -> VenueAccount:
        """Ask the venue behind."""
        await self._arrive()
        return await self._inner.account()

    async def _arrive(self) -> None:
        """Let what is on its way reach the venue, whatever it answers: nobody hears it."""
        while self._on_the_way:
            try:
                await self._on_the_way.pop(0)()
            except (Denied, Unavailable, OutcomeUnknown):
                continue

    def _garbled(self, reports: list[Report]) -> list[Report]:
        """Return the reports out of order, and fewer: each may wait for a later asking."""
        if self._noise is None:
            return reports
        late = self._noise
        kept = [report for report in reports if late.random() < 0.7]  # noqa: PLR2004 - most of them
        late.shuffle(kept)
        return kept


def _broken() -> Unavailable:
    return Unavailable("BROKER_DISCONNECTED", "the connection broke before sending")


def _no_answer() -> OutcomeUnknown:
    return OutcomeUnknown("BROKER_TIMEOUT", "no answer came")
