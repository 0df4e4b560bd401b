"""The sandbox venue: its own record, rebuilt from its own journal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.brokers.sandbox.funds import BroughtLot
from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.rules.book import load_rules
from caopan.application.ports.broker import FillReport, OrderStatusReport, Report
from caopan.application.ports.store import VenueEvent
from caopan.application.replay.clock import ReplayClock
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.reference import DailyBar
from caopan.domain.orders.order import Order, OrderStatus, Side
from caopan.domain.risk.clearance import mint
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import Conflict, CorruptState, Denied, Unavailable
from caopan.kernel.money import units
from caopan.testing.market import TableMarket, day_bar, flat_bar
from caopan.testing.samples import sample_order

DAYS = (date(2023, 5, 31), date(2023, 6, 1), date(2023, 6, 2), date(2023, 6, 5))
SYMBOLS = ("600001.SH", "000002.SZ")
RULES = load_rules()
FEES = fee_schedule(RULES.fees)
CALENDAR = TradingCalendar("test", DAYS[0], DAYS[-1], DAYS)


@dataclass
class Journal:
    """A VenueJournal that can fail before anything is written."""

    events: list[VenueEvent] = field(default_factory=list)
    away: bool = False

    async def record(self, run_id: int, events: Sequence[VenueEvent]) -> None:
        assert run_id == 7
        if self.away:
            raise Unavailable("DB_UNREACHABLE", "down")
        for event in events:
            if event.seq != len(self.events) + 1:
                raise Conflict("VENUE_SEQ", f"{event.seq} is taken")
            self.events.append(event)

    async def load(self, run_id: int) -> Sequence[VenueEvent]:
        assert run_id == 7
        return list(self.events)


def market(*bars: DailyBar) -> TableMarket:
    given_bars = {(bar.symbol, bar.day): bar for bar in bars}
    flat = [flat_bar(symbol, day, "10.00") for symbol in SYMBOLS for day in DAYS]
    return TableMarket(DAYS, [given_bars.get((bar.symbol, bar.day), bar) for bar in flat])


def venue_of(journal: Journal, clock: ReplayClock, table: TableMarket | None = None, **how):
    return SandboxVenue(
        run_id=7,
        journal=journal,
        market=table or market(),
        clock=clock,
        calendar=CALENDAR,
        rules=RULES.market,
        fees=FEES,
        **how,
    )


async def funded(
    journal: Journal, clock: ReplayClock, table: TableMarket | None = None, **how
) -> SandboxVenue:
    """Return a venue whose account can pay and deliver whatever a test asks for."""
    venue = venue_of(journal, clock, table, **how)
    await venue.deposit("opening", units(10_000_000))
    lots = [BroughtLot(symbol, 100_000, units(1_000_000), DAYS[0]) for symbol in SYMBOLS]
    await venue.bring_in("holdings", lots)
    return venue


def morning(day: date = DAYS[1]) -> ReplayClock:
    return ReplayClock(at_shanghai(day, time(9, 16)))


async def put(venue: SandboxVenue, *orders: Order) -> list[OrderStatusReport]:
    return [await venue.submit(order, mint(order, "policy")) for order in orders]


def fills_of(reports: Sequence[Report]) -> list[FillReport]:
    return [report for report in reports if isinstance(report, FillReport)]


async def test_accepted_traded_and_expired_are_events_in_order():
    journal, clock = Journal(), morning()
    thin = day_bar("600001.SH", DAYS[1], "10.00", "10.10", "9.90", "10.00", volume=15_500)
    venue = await funded(journal, clock, market(thin))
    early = sample_order(1, price=units("9.95"), qty=1_000)
    late = sample_order(2, price=units("10.00"), qty=1_000)
    await put(venue, early, late)
    clock.set(at_shanghai(DAYS[1], time(15)))
    reports = await venue.reports([early.client_order_id, late.client_order_id])
    assert [(event.seq, event.kind) for event in journal.events[2:]] == [
        (3, "accepted"),
        (4, "accepted"),
        # A tenth of the volume, shared by arrival: 1,000 for the first, 500 for the second. The
        # auction comes before the rest of the day.
        (5, "trade"),
        (6, "trade"),
        (7, "expired"),
        (8, "closed"),
    ]
    assert [(f.client_order_id, f.qty, f.price) for f in fills_of(reports)] == [
        (early.client_order_id, 1_000, units("9.95")),
        (late.client_order_id, 500, units("10.00")),
    ]
    opening, close = (at_shanghai(DAYS[1], moment) for moment in (time(9, 25), time(15)))
    assert [event.at for event in journal.events[4:7]] == [opening, close, close]


@pytest.mark.parametrize(("symbol", "paid"), [("600001.SH", "20.20"), ("510300.SH", "10.00")])
async def test_a_fund_pays_no_duty_and_no_transfer_fee(symbol, paid):
    clock = morning()
    table = TableMarket(DAYS, [flat_bar(symbol, day, "10.00") for day in DAYS])
    venue, cash = venue_of(Journal(), clock, table), units(1_000_000)
    await venue.deposit("opening", cash)
    await venue.bring_in("import", [BroughtLot(symbol, 1_000, units(10_000), DAYS[0])])
    sides = enumerate(Side)
    await put(venue, *(sample_order(number, symbol=symbol, side=side) for number, side in sides))
    clock.set(at_shanghai(DAYS[1], time(15, 1)))
    assert len(await venue.fills(DAYS[1])) == 2
    assert cash - (await venue.account()).cash_free == units(paid)


async def test_it_does_not_look_at_a_bar_before_the_close():
    journal, clock = Journal(), morning()
    venue = await funded(journal, clock)
    await put(venue, sample_order())
    clock.set(at_shanghai(DAYS[1], time(14, 59, 59)))
    await venue.reports([sample_order().client_order_id])
    assert [event.kind for event in journal.events[2:]] == ["accepted"]


async def test_an_order_lives_for_one_day():
    journal, clock = Journal(), morning()
    low = sample_order(price=units("9.50"))
    dip = day_bar("600001.SH", DAYS[2], "10.00", "10.00", "9.00", "9.50")
    venue = await funded(journal, clock, market(dip))
    await put(venue, low)
    clock.set(at_shanghai(DAYS[3], time(16)))
    (report,) = await venue.reports([low.client_order_id])
    assert isinstance(report, OrderStatusReport)
    assert report.status is OrderStatus.EXPIRED
    assert report.at == at_shanghai(DAYS[1], time(15))


async def test_days_it_slept_through_are_matched_each_by_its_own_bar():
    journal, clock = Journal(), morning()
    venue = await funded(journal, clock)
    await put(venue, sample_order(1))
    clock.set(at_shanghai(DAYS[2], time(9, 16)))
    await put(venue, sample_order(2, trading_day=DAYS[2]))
    clock.set(at_shanghai(DAYS[3], time(9, 16)))
    reports = await venue.reports([sample_order(n).client_order_id for n in (1, 2)])
    assert [fill.trading_day for fill in fills_of(reports)] == [DAYS[1], DAYS[2]]


async def test_a_day_off_takes_no_orders():
    venue = venue_of(Journal(), ReplayClock(at_shanghai(date(2023, 6, 3), time(10))))
    with pytest.raises(Denied) as caught:
        await put(venue, sample_order())
    assert caught.value.code == "BROKER_REJECT_SESSION"


async def test_years_the_calendar_does_not_know_take_no_orders():
    venue = venue_of(Journal(), ReplayClock(at_shanghai(date(2024, 6, 3), time(10))))
    with pytest.raises(Denied):
        await put(venue, sample_order())


async def test_what_its_journal_did_not_take_did_not_happen():
    journal, clock = Journal(), morning()
    venue = await funded(journal, clock)
    journal.away = True
    with pytest.raises(Unavailable):
        await put(venue, sample_order())
    journal.away = False
    assert await venue.find(sample_order().client_order_id) is None
    await put(venue, sample_order())
    clock.set(at_shanghai(DAYS[1], time(15)))
    journal.away = True
    with pytest.raises(Unavailable):
        await venue.reports([sample_order().client_order_id])
    journal.away = False
    reports = await venue.reports([sample_order().client_order_id])
    assert [fill.qty for fill in fills_of(reports)] == [1_000]
    assert [event.kind for event in journal.events[2:]] == ["accepted", "trade", "closed"]


async def test_a_journal_with_a_word_it_does_not_know_is_refused():
    journal, clock = Journal(), morning()
    venue = await funded(journal, clock)
    await put(venue, sample_order())
    journal.events.append(replace(journal.events[-1], seq=4, kind="amended"))
    with pytest.raises(CorruptState) as caught:
        await venue_of(journal, clock).load()
    assert caught.value.code == "VENUE_EVENT"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(SYMBOLS),
            st.sampled_from(Side),
            st.integers(90, 110),
            st.integers(1, 40),
            st.sampled_from([0, 0, 0, 1]),
        ),
        max_size=10,
    ),
    st.lists(st.integers(500, 60_000), min_size=6, max_size=6),
    st.sampled_from([Fraction(1, 10), Fraction(1, 3), Fraction(1)]),
)
def test_a_venue_rebuilt_from_its_journal_says_the_same(wanted, volumes, participation):
    """Drive one venue through three days; compare with one rebuilt after every step."""
    bars = [
        day_bar(symbol, day, "10.00", "10.60", "9.40", "10.20", volume=volume)
        for (symbol, day), volume in zip(
            [(s, d) for s in SYMBOLS for d in DAYS[1:]], volumes, strict=True
        )
    ]
    table = market(*bars)

    async def program() -> None:
        journal, clock = Journal(), morning()
        venue = await funded(journal, clock, table, participation=participation)
        tags: list[str] = []
        day = 1
        for number, (symbol, side, price, lots, days) in enumerate(wanted):
            day += days
            if day >= len(DAYS):
                break
            moment = at_shanghai(DAYS[day], time(9, 16))
            clock.set(max(moment, clock.now()))
            order = sample_order(
                number, symbol=symbol, side=side, price=units(price) // 10, qty=lots * 100
            )
            await put(venue, order)
            tags.append(order.client_order_id)
            await assert_same_after_restart(venue, journal, clock, tags)
        clock.set(at_shanghai(DAYS[-1], time(15, 1)))
        await venue.reports(tags)
        await assert_same_after_restart(venue, journal, clock, tags)
        await assert_within_the_volume(venue, tags)
        assert [event.seq for event in journal.events] == [
            number + 1 for number in range(len(journal.events))
        ]

    async def assert_same_after_restart(
        venue: SandboxVenue, journal: Journal, clock: ReplayClock, tags: list[str]
    ) -> None:
        twin = venue_of(journal, clock, table, participation=participation)
        await twin.load()
        assert await twin.reports(tags) == await venue.reports(tags)
        for tag in tags:
            assert await twin.find(tag) == await venue.find(tag)

    async def assert_within_the_volume(venue: SandboxVenue, tags: list[str]) -> None:
        traded: dict[tuple[str, date], int] = {}
        for fill in fills_of(await venue.reports(tags)):
            key = (fill.symbol, fill.trading_day)
            traded[key] = traded.get(key, 0) + fill.qty
        for (symbol, day), qty in traded.items():
            bar = table.bar(symbol, day, at_shanghai(DAYS[-1], time(15, 1)))
            assert bar is not None
            assert qty <= bar.volume * participation

    asyncio.run(program())
