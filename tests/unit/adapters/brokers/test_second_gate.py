"""The second gate stops what the first let through, and never a cancel."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import time, timedelta

import pytest

from caopan.adapters.brokers.second_gate import BLOCKED, SecondGate, SecondLimits
from caopan.application.ports.broker import Capabilities, OrderStatusReport, VenueOrder
from caopan.application.replay.clock import ReplayClock
from caopan.domain.orders.order import OrderStatus, OrderType, Side
from caopan.domain.risk.clearance import mint
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import Denied, OutcomeUnknown, Unavailable
from caopan.kernel.money import units
from caopan.testing.samples import DAY, NOW, sample_id, sample_order


class Switch:
    """A kill switch that counts how often it is asked."""

    def __init__(self, level=KillLevel.OFF):
        self.now = level
        self.asked = 0

    def level(self):
        self.asked += 1
        return self.now


class Venue:
    """Takes everything, and remembers what was asked of it."""

    name = "venue"
    capabilities = Capabilities(
        order_types=frozenset({OrderType.LIMIT}),
        tag_chars=23,
        orders_per_second=10,
        settle_window=timedelta(0),
    )

    def __init__(self, seen=()):
        self.sent, self.cancelled, self.seen = [], [], list(seen)
        self.fault: Exception | None = None

    async def submit(self, order, clearance):
        self.sent.append(order)
        return OrderStatusReport(order.client_order_id, "1", OrderStatus.ACCEPTED, NOW)

    async def cancel(self, order):
        self.cancelled.append(order)
        return OrderStatusReport(order.client_order_id, "1", OrderStatus.CANCELED, NOW)

    async def orders(self, day):
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        return [one for one in self.seen if one.trading_day == day]


def gate_of(venue, at=NOW, switch=None, **limits):
    clock = ReplayClock(at)
    gate = SecondGate(venue, clock=clock, switch=switch or Switch(), limits=SecondLimits(**limits))
    return gate, clock


async def put(gate, order):
    return await gate.submit(order, mint(order, "policy"))


async def blocked(gate, order, why, clearance=None):
    with pytest.raises(Denied, match=why) as caught:
        await gate.submit(order, clearance or mint(order, "policy"))
    assert caught.value.code == BLOCKED
    assert order.client_order_id in caught.value.message


async def test_a_plain_order_passes():
    venue = Venue()
    gate, _ = gate_of(venue)
    assert (await put(gate, sample_order())).status is OrderStatus.ACCEPTED
    assert venue.sent == [sample_order()]


@pytest.mark.parametrize(
    ("level", "buys", "sells"),
    [
        (KillLevel.OFF, True, True),
        (KillLevel.NO_OPENINGS, False, True),
        (KillLevel.NO_ORDERS, False, False),
        (KillLevel.FLATTEN, False, True),
    ],
)
async def test_the_kill_switch_is_asked_right_before_the_wire(level, buys, sells):
    venue, switch = Venue(), Switch()
    gate, _ = gate_of(venue, switch=switch)
    await put(gate, sample_order(0))
    switch.now = level
    for number, (side, passes) in enumerate([(Side.BUY, buys), (Side.SELL, sells)], start=1):
        order = sample_order(number, side=side)
        if passes:
            await put(gate, order)
        else:
            await blocked(gate, order, f"level {int(level)}")
        await gate.cancel(order)
    assert len(venue.sent) == 1 + buys + sells
    assert len(venue.cancelled) == 2
    assert switch.asked == 3


async def test_orders_are_counted_per_second_and_per_day():
    venue = Venue()
    gate, clock = gate_of(venue, orders_per_second=2, orders_per_day=5)
    for number in range(2):
        await put(gate, sample_order(number))
    await blocked(gate, sample_order(9), "within a second")
    clock.set(NOW + timedelta(seconds=1))
    for number in (2, 3):
        await put(gate, sample_order(number))
    clock.set(NOW + timedelta(seconds=3))
    await put(gate, sample_order(4))
    await blocked(gate, sample_order(5), "5 orders have passed today")
    assert len(venue.sent) == 5


async def test_amounts_are_counted_per_order_and_per_day():
    venue = Venue()
    gate, _ = gate_of(venue, order_notional=units(10_000), day_notional=units(15_000))
    await put(gate, sample_order(1))
    await blocked(gate, sample_order(2, qty=1_100), "11000.00 is more than 10000.00")
    await blocked(gate, sample_order(3), "exceed 15000.00")
    await put(gate, sample_order(4, qty=500))


async def test_what_the_venue_has_seen_of_the_day_before_this_process_is_counted():
    early = VenueOrder(
        "1", "CEARLY", "600001.SH", Side.BUY, units(10), 800, 0, OrderStatus.ACCEPTED, DAY, NOW
    )
    gate, _ = gate_of(Venue([early]), orders_per_day=2, day_notional=units(18_000))
    await blocked(gate, sample_order(1, client_order_id="CEARLY"), "tag was used")
    await put(gate, sample_order(2))
    await blocked(gate, sample_order(3), "2 orders")


async def test_what_cannot_be_counted_is_not_sent():
    venue = Venue()
    venue.fault = OutcomeUnknown("BROKER_TIMEOUT", "no answer")
    gate, _ = gate_of(venue)
    with pytest.raises(Unavailable):
        await put(gate, sample_order())
    assert venue.sent == []


@pytest.mark.parametrize(
    "moment", [time(9, 14, 59), time(11, 30), time(12, 59), time(15, 0), time(15, 30)]
)
async def test_outside_the_hours_nothing_passes(moment):
    at = at_shanghai(DAY, moment)
    gate, _ = gate_of(Venue(), at)
    await blocked(gate, sample_order(not_after=at + timedelta(hours=1)), "outside the hours")


async def test_neither_a_late_order_nor_one_of_another_day_passes():
    gate, _ = gate_of(Venue())
    await blocked(gate, sample_order(1, not_after=NOW - timedelta(seconds=1)), "ended")
    await blocked(gate, sample_order(2, trading_day=DAY - timedelta(days=1)), "it is for")


async def test_a_tag_and_a_clearance_pass_once_whatever_came_of_them():
    venue = Venue()
    gate, _ = gate_of(venue)
    await put(gate, sample_order(1))
    await blocked(gate, sample_order(1), "used before")
    await blocked(gate, sample_order(1, clearance_id=sample_id(77)), "tag was used")
    await blocked(gate, sample_order(2, clearance_id=sample_order(1).clearance_id), "clearance was")
    assert len(venue.sent) == 1


async def test_of_an_order_sent_twice_at_once_as_the_first_of_the_day_one_passes():
    venue = Venue()
    gate, clock = gate_of(venue)
    for days in range(2):
        clock.set(NOW + timedelta(days=days))
        still = {"trading_day": clock.now().date(), "not_after": clock.now()}
        order = sample_order(days, **still)
        sent = await asyncio.gather(*(put(gate, order) for _ in range(3)), return_exceptions=True)
        assert [one.code for one in sent if isinstance(one, Denied)] == [BLOCKED] * 2
        assert venue.sent[days:] == [order]


async def test_orders_sent_at_once_as_the_first_of_the_day_are_all_counted():
    gate, _ = gate_of(Venue(), orders_per_day=2)
    orders = [sample_order(number) for number in range(4)]
    sent = await asyncio.gather(*(put(gate, one) for one in orders), return_exceptions=True)
    assert sum(isinstance(one, Denied) for one in sent) == 2


async def test_the_clearance_is_the_orders_own():
    gate, _ = gate_of(Venue())
    order = sample_order()
    await blocked(gate, replace(order, qty=200), "not the one", mint(order, "policy"))


@pytest.mark.parametrize("tag", ["", "C" * 24, "Cé"])
async def test_a_tag_that_would_not_come_back_is_stopped(tag):
    gate, _ = gate_of(Venue())
    await blocked(gate, sample_order(client_order_id=tag), "ASCII")


@pytest.mark.parametrize("change", [{"qty": 0}, {"qty": -100}, {"price": 0}, {"price": -1}])
async def test_what_has_no_size_is_stopped(change):
    gate, _ = gate_of(Venue())
    await blocked(gate, sample_order(**change), "no size")
