"""What every venue owes the hand, whatever stands behind it.

A venue is opened over the same small market and clock; a new adapter joins VENUES.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date, time

import pytest

from caopan.adapters.brokers.sandbox.funds import BroughtLot
from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.rules.book import load_rules
from caopan.application.ports.broker import Broker, FillReport, OrderStatusReport, Report
from caopan.application.ports.store import RunKind
from caopan.application.replay.clock import ReplayClock
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.orders.order import Order, OrderStatus, Side
from caopan.domain.risk.clearance import mint
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import Denied
from caopan.kernel.money import units
from caopan.testing.market import TableMarket, day_bar, flat_bar
from caopan.testing.memory_store import MemoryStore, MemoryVenueJournal
from caopan.testing.samples import NOW, sample_order
from caopan.testing.venues import FaultyBroker

BEFORE, TODAY, NEXT = date(2023, 5, 31), date(2023, 6, 1), date(2023, 6, 2)
SESSIONS = (BEFORE, TODAY, NEXT)
MINE, QUIET, ALIEN = "600001.SH", "000002.SZ", "600009.SH"
AFTER_CLOSE = at_shanghai(TODAY, time(15, 1))


@dataclass
class World:
    """A venue in the opening auction of TODAY, and the clock that moves it."""

    broker: Broker
    clock: ReplayClock

    async def submit(self, order: Order) -> OrderStatusReport:
        return await self.broker.submit(order, mint(order, "policy"))


def market() -> TableMarket:
    bars = [flat_bar(symbol, day, "10.00") for symbol in (MINE, QUIET) for day in (BEFORE, NEXT)]
    bars.append(day_bar(MINE, TODAY, "10.00", "10.40", "9.60", "10.10", volume=30_000))
    bars.append(flat_bar(QUIET, TODAY, "10.00", volume=0))
    return TableMarket(SESSIONS, bars)


async def sandbox() -> World:
    store = MemoryStore()
    run = await store.create_run(RunKind.DEMO, "sandbox", {}, "0" * 64, NOW)
    clock = ReplayClock(NOW)
    venue = SandboxVenue(
        run_id=run.run_id,
        journal=MemoryVenueJournal(store.database),
        market=market(),
        clock=clock,
        calendar=TradingCalendar("test", BEFORE, NEXT, SESSIONS),
        rules=load_rules().market,
        fees=fee_schedule(load_rules().fees),
    )
    await venue.deposit("opening", units(1_000_000))
    await venue.bring_in("import", [BroughtLot(MINE, 5_000, units(50_000), BEFORE)])
    return World(venue, clock)


async def behind_a_faulty_line() -> World:
    world = await sandbox()
    return World(FaultyBroker(world.broker), world.clock)


VENUES: dict[str, Callable[[], Awaitable[World]]] = {
    "sandbox": sandbox,
    "faulty": behind_a_faulty_line,
}


@pytest.fixture(params=list(VENUES.values()), ids=list(VENUES))
async def world(request) -> World:
    return await request.param()


def order(number: int = 1, **changes: object) -> Order:
    return replace(sample_order(number, symbol=MINE), **changes)


def said(reports: list[Report], tag: str) -> tuple[list[FillReport], list[OrderStatusReport]]:
    mine = [report for report in dict.fromkeys(reports) if report.client_order_id == tag]
    return (
        [report for report in mine if isinstance(report, FillReport)],
        [report for report in mine if isinstance(report, OrderStatusReport)],
    )


async def test_it_has_a_name(world):
    assert world.broker.name == order().broker


async def test_an_order_is_acknowledged_under_our_tag(world):
    report = await world.submit(order())
    assert report.client_order_id == order().client_order_id
    assert report.status is OrderStatus.ACCEPTED
    assert report.broker_order_id
    assert report.at == NOW
    assert await world.broker.find(order().client_order_id) == report


async def test_what_it_has_never_seen_it_does_not_know(world):
    await world.submit(order())
    tag = order(2).client_order_id
    assert await world.broker.find(tag) is None
    assert list(await world.broker.reports([tag])) == []
    assert list(await world.broker.reports([])) == []


async def test_a_tag_is_taken_once(world):
    first = await world.submit(order())
    for again in (order(), order(qty=200, price=units("9.99"))):
        with pytest.raises(Denied) as caught:
            await world.submit(again)
        assert caught.value.code.startswith("BROKER_REJECT_")
    assert await world.broker.find(order().client_order_id) == first


async def test_orders_have_numbers_of_their_own(world):
    reports = [await world.submit(order(number)) for number in range(5)]
    assert len({report.broker_order_id for report in reports}) == 5


async def test_before_the_close_nothing_has_happened(world):
    await world.submit(order())
    fills, states = said(
        list(await world.broker.reports([order().client_order_id])), order().client_order_id
    )
    assert fills == []
    assert {state.status for state in states} == {OrderStatus.ACCEPTED}


async def test_after_the_close_every_order_has_ended_and_says_how(world):
    dear, cheap, far = order(1), order(2, price=units("9.70")), order(3, price=units("9.10"))
    sale = order(4, side=Side.SELL, price=units("10.30"))
    orders = [dear, cheap, far, sale]
    for each in orders:
        await world.submit(each)
    world.clock.set(AFTER_CLOSE)
    reports = list(await world.broker.reports([each.client_order_id for each in orders]))
    ids: list[str] = []
    for each in orders:
        fills, states = said(reports, each.client_order_id)
        filled = sum(fill.qty for fill in fills)
        (state,) = states
        assert state.status is (OrderStatus.FILLED if filled == each.qty else OrderStatus.EXPIRED)
        assert state.at >= NOW
        for fill in fills:
            assert (fill.symbol, fill.side, fill.trading_day) == (each.symbol, each.side, TODAY)
            assert 0 < fill.qty <= each.qty
            assert units("9.60") <= fill.price <= units("10.40")
            worse = fill.price > each.price
            assert worse == (each.side is Side.SELL) or fill.price == each.price
            assert NOW < fill.at <= AFTER_CLOSE
        ids += [fill.broker_fill_id for fill in fills]
    assert len(set(ids)) == len(ids)
    assert said(reports, far.client_order_id)[0] == []
    assert said(reports, dear.client_order_id)[0] != []


async def test_reports_say_the_same_again(world):
    await world.submit(order(1))
    await world.submit(order(2, price=units("9.70")))
    tags = [order(1).client_order_id, order(2).client_order_id]
    world.clock.set(AFTER_CLOSE)
    first = list(await world.broker.reports(tags))
    assert list(await world.broker.reports(tags)) == first
    world.clock.set(at_shanghai(NEXT, time(15, 1)))
    assert list(await world.broker.reports(tags)) == first
    assert set(await world.broker.reports(tags[:1])) == {
        report for report in first if report.client_order_id == tags[0]
    }


async def test_what_has_ended_is_found_as_it_ended(world):
    await world.submit(order())
    world.clock.set(AFTER_CLOSE)
    found = await world.broker.find(order().client_order_id)
    assert found is not None
    assert found.status is OrderStatus.FILLED
    with pytest.raises(Denied):
        await world.submit(order())


@pytest.mark.parametrize("moment", [time(9, 30), time(10, 15), time(14, 59)])
async def test_no_fill_is_older_than_its_order(world, moment):
    world.clock.set(at_shanghai(TODAY, moment))
    await world.submit(order())
    world.clock.set(AFTER_CLOSE)
    fills, (state,) = said(
        list(await world.broker.reports([order().client_order_id])), order().client_order_id
    )
    assert all(fill.at >= at_shanghai(TODAY, moment) for fill in fills)
    assert state.at >= at_shanghai(TODAY, moment)
    assert state.status in {OrderStatus.FILLED, OrderStatus.EXPIRED}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"price": units("11.01")}, "BROKER_REJECT_PRICE_LIMIT"),
        ({"price": units("8.99")}, "BROKER_REJECT_PRICE_LIMIT"),
        ({"symbol": ALIEN}, "BROKER_REJECT_SESSION"),
        ({"symbol": QUIET}, "BROKER_REJECT_OTHER"),
    ],
)
async def test_what_the_exchange_would_refuse_is_refused(world, change, code):
    with pytest.raises(Denied) as caught:
        await world.submit(order(**change))
    assert caught.value.code == code
    # Nothing happened: the tag is free and unknown.
    assert await world.broker.find(order().client_order_id) is None


@pytest.mark.parametrize(
    "moment", [time(0, 30), time(8, 0), time(9, 14), time(9, 27), time(11, 45), time(15, 10)]
)
async def test_outside_the_session_nothing_is_taken(world, moment):
    world.clock.set(at_shanghai(NEXT, moment))
    with pytest.raises(Denied) as caught:
        await world.submit(order())
    assert caught.value.code == "BROKER_REJECT_SESSION"


@pytest.mark.parametrize("moment", [time(9, 15), time(9, 24), time(9, 30), time(14, 59)])
async def test_inside_the_session_it_is(world, moment):
    world.clock.set(at_shanghai(NEXT, moment))
    assert (await world.submit(order())).status is OrderStatus.ACCEPTED
