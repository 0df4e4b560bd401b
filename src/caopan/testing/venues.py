"""Venues that misbehave as real counters were seen to.

Owns FaultyBroker: loses requests, loses answers, or dies around the wire, by plan. Must never
change what the venue behind it does once a request has reached it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from caopan.application.ports.broker import Broker, OrderStatusReport, Report
from caopan.domain.orders.order import Order
from caopan.domain.risk.clearance import Clearance
from caopan.kernel.errors import OutcomeUnknown, Unavailable
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
    CRASH_BEFORE = "crash_before"
    CRASH_AFTER = "crash_after"


class FaultyBroker:
    """A Broker in front of another one, with a fault for each submission in turn."""

    def __init__(self, inner: Broker, faults: Sequence[Fault] = ()) -> None:
        """Meet the submissions with `faults` in turn, then with none."""
        self._inner = inner
        self._faults = list(faults)
        self.submissions = 0

    @property
    def name(self) -> str:
        """Return the venue's name."""
        return self._inner.name

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Submit, or go wrong as planned."""
        fault = self._faults.pop(0) if self._faults else Fault.NONE
        self.submissions += 1
        if fault is Fault.REQUEST_LOST:
            raise Unavailable("BROKER_DISCONNECTED", "the connection broke before sending")
        if fault is Fault.REQUEST_VANISHED:
            raise OutcomeUnknown("BROKER_TIMEOUT", "no answer came")
        if fault is Fault.CRASH_BEFORE:
            raise SimulatedCrash("before the wire")
        report = await self._inner.submit(order, clearance)
        if fault is Fault.ANSWER_LOST:
            raise OutcomeUnknown("BROKER_TIMEOUT", "no answer came")
        if fault is Fault.CRASH_AFTER:
            raise SimulatedCrash("after the wire")
        return report

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Ask the venue behind."""
        return await self._inner.find(client_order_id)

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Return the venue's reports twice over, to prove that repetition changes nothing."""
        reports = await self._inner.reports(client_order_ids)
        return [*reports, *reports]
