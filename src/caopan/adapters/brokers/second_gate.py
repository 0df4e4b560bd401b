"""The second, dumb gate: in the process that holds the broker's connection, right before the wire.

Owns SecondGate: how many, how much, when, and the kill switch; each tag and each clearance once. It
shares no rule with the first gate (domain/risk) and asks it nothing, so that one mistake cannot
open both. Must never change an order, block a cancel or a question, nor let through what it cannot
judge. Tests: tests/unit/adapters/brokers/test_second_gate.py, tests/contract/broker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Final
from uuid import UUID

from caopan.application.ports.broker import (
    Broker,
    Capabilities,
    FillReport,
    OrderStatusReport,
    Report,
    VenueAccount,
    VenueOrder,
)
from caopan.application.ports.kill_switch import KillSwitch
from caopan.domain.orders.order import Order, Side
from caopan.domain.risk.clearance import Clearance, verify
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import Clock, shanghai
from caopan.kernel.errors import Denied, OutcomeUnknown, Unavailable
from caopan.kernel.money import units, yuan

BLOCKED: Final = "BROKER_BLOCKED"
HOURS: Final = (
    (time(9, 15), time(11, 30)),
    (time(13, 0), time(15, 0)),
    (time(15, 5), time(15, 30)),
)
"""From, up to and excluding, exchange time: the widest hours any order is taken in."""
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondLimits:
    """The most that may ever pass, far above what is meant to; amounts in units."""

    orders_per_second: int = 10
    orders_per_day: int = 2_000
    order_notional: int = units(10_000_000)
    day_notional: int = units(200_000_000)
    hours: tuple[tuple[time, time], ...] = HOURS


@dataclass(slots=True)
class _Day:
    """What has passed on one day."""

    day: date
    count: int = 0
    notional: int = 0
    tags: set[str] = field(default_factory=set[str])
    clearances: set[UUID] = field(default_factory=set[UUID])


class SecondGate:
    """A Broker in front of the one that holds the connection."""

    def __init__(
        self, inner: Broker, *, clock: Clock, switch: KillSwitch, limits: SecondLimits | None = None
    ) -> None:
        """Stand before `inner`; what its venue has already seen of a day is counted first."""
        self._inner = inner
        self._clock = clock
        self._switch = switch
        self._limits = limits or SecondLimits()
        self._recent: deque[datetime] = deque()
        self._today: _Day | None = None

    @property
    def name(self) -> str:
        """Return the venue's name."""
        return self._inner.name

    @property
    def inner(self) -> Broker:
        """Return the venue behind the gate, for what is no trading: its counter."""
        return self._inner

    @property
    def capabilities(self) -> Capabilities:
        """Return what the venue can do."""
        return self._inner.capabilities

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        """Send an order on, or raise Denied BROKER_BLOCKED naming the reason and the figures."""
        today = await self._day()
        now = self._clock.now()
        reason = (
            self._bad_permission(order, clearance, now, today)
            or self._bad_form(order)
            or self._out_of_hours(order, now)
            or self._too_many(order, now, today)
        )
        if reason:
            raise _blocked(order, reason)
        # Spent from here on, whatever comes of it: what was once let through is not let through
        # again, and nothing but an order of its own is judged between here and the wire.
        today.count += 1
        today.notional += order.price * order.qty
        today.tags.add(order.client_order_id)
        today.clearances.add(clearance.clearance_id)
        self._recent.append(now)
        level = self._switch.level()
        if _is_stopped(level, order.side):
            raise _blocked(order, f"the kill switch stands at level {int(level)}")
        return await self._inner.submit(order, clearance)

    async def cancel(self, order: Order) -> OrderStatusReport:
        """Pass on, always."""
        return await self._inner.cancel(order)

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        """Pass on."""
        return await self._inner.find(client_order_id)

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        """Pass on."""
        return await self._inner.reports(client_order_ids)

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        """Pass on."""
        return await self._inner.orders(day)

    async def fills(self, day: date) -> Sequence[FillReport]:
        """Pass on."""
        return await self._inner.fills(day)

    async def account(self) -> VenueAccount:
        """Pass on."""
        return await self._inner.account()

    async def _day(self) -> _Day:
        """Return today's counters; of a day begun before this process, the venue tells."""
        day = shanghai(self._clock.now()).date()
        today = self._today
        if today is not None and today.day == day:
            return today
        try:
            seen = await self._inner.orders(day)
        except OutcomeUnknown as lost:
            # Only a question went out; no order has left.
            raise Unavailable(lost.code, lost.message, remedy=lost.remedy) from lost
        if self._today is not None and self._today is not today:
            # Another order was counted while this one asked: what it spent stays spent.
            return self._today
        tags = {one.client_order_id for one in seen if one.client_order_id}
        self._today = _Day(day, len(seen), sum(one.price * one.qty for one in seen), tags)
        return self._today

    def _bad_permission(
        self, order: Order, clearance: Clearance, now: datetime, today: _Day
    ) -> str:
        try:
            verify(clearance, order, now)
        except Denied as refusal:
            return refusal.message
        if now > order.not_after:
            return f"it was to be sent until {order.not_after}"
        if order.client_order_id in today.tags:
            return "its tag was used before"
        if clearance.clearance_id in today.clearances:
            return "its clearance was used before"
        return ""

    def _bad_form(self, order: Order) -> str:
        tag, most = order.client_order_id, self.capabilities.tag_chars
        if not (tag.isascii() and 0 < len(tag) <= most):
            return f"its tag is not of 1 to {most} ASCII characters"
        if order.qty <= 0 or order.price <= 0:
            return f"{order.qty} shares at {yuan(order.price)} have no size to judge"
        return ""

    def _out_of_hours(self, order: Order, now: datetime) -> str:
        local = shanghai(now)
        if order.trading_day != local.date():
            return f"it is for {order.trading_day}, today is {local.date()}"
        if any(start <= local.time() < end for start, end in self._limits.hours):
            return ""
        return f"{local:%H:%M:%S} is outside the hours"

    def _too_many(self, order: Order, now: datetime, today: _Day) -> str:
        limits, notional = self._limits, order.price * order.qty
        while self._recent and now - self._recent[0] >= _SECOND:
            self._recent.popleft()
        if len(self._recent) >= limits.orders_per_second:
            return f"{limits.orders_per_second} orders have passed within a second"
        if today.count >= limits.orders_per_day:
            return f"{limits.orders_per_day} orders have passed today"
        if notional > limits.order_notional:
            return f"{yuan(notional)} is more than {yuan(limits.order_notional)} an order"
        if today.notional + notional > limits.day_notional:
            return (
                f"{yuan(today.notional)} passed today and {yuan(notional)} more exceed "
                f"{yuan(limits.day_notional)}"
            )
        return ""


def _is_stopped(level: KillLevel, side: Side) -> bool:
    """Return whether `level` stops a side: 1 buys, 2 everything, 3 everything but sells."""
    if level is KillLevel.OFF:
        return False
    return level is KillLevel.NO_ORDERS or side is not Side.SELL


def _blocked(order: Order, why: str) -> Denied:
    return Denied(BLOCKED, f"order {order.client_order_id} was stopped before the wire: {why}")
