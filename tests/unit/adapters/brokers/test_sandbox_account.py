"""The sandbox's own account: money, lots, ex-dates, cancels, and two processes on one journal."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time
from fractions import Fraction

import pytest

from caopan.adapters.brokers.sandbox.funds import BroughtLot
from caopan.adapters.brokers.sandbox.venue import SandboxVenue
from caopan.adapters.rules.book import load_rules
from caopan.application.ports.broker import FillReport, VenuePosition
from caopan.application.ports.store import VenueEvent
from caopan.application.replay.clock import ReplayClock
from caopan.domain.accounting.fees import fee_schedule
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.reference import CorporateAction
from caopan.domain.orders.order import OrderStatus, Side
from caopan.domain.risk.clearance import mint
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import ConfigInvalid, Conflict, Denied, OutcomeUnknown, Unavailable
from caopan.kernel.money import units
from caopan.testing.market import TableMarket, day_bar, flat_bar
from caopan.testing.samples import sample_order

DAYS = (date(2023, 5, 31), date(2023, 6, 1), date(2023, 6, 2), date(2023, 6, 5))
MINE, SHENZHEN = "600001.SH", "000002.SZ"
RULES = load_rules()
CALENDAR = TradingCalendar("test", DAYS[0], DAYS[-1], DAYS)


class ExDates(TableMarket):
    """The table with something due on ex-dates."""

    due: dict[tuple[str, date], CorporateAction]

    def references(self, day, now):
        found = dict(super().references(day, now))
        for (symbol, ex_day), action in self.due.items():
            if ex_day == day:
                found[symbol] = replace(found[symbol], action=action)
        return found


class Journal:
    """A VenueJournal that two venues share, and that can lose a writer's answer."""

    def __init__(self) -> None:
        self.events: list[VenueEvent] = []
        self.lose_answer = False

    async def record(self, run_id, events):
        if events[0].seq != len(self.events) + 1:
            raise Conflict("VENUE_SEQ", f"{events[0].seq} is taken")
        self.events.extend(events)
        if self.lose_answer:
            raise OutcomeUnknown("DB_COMMIT_UNKNOWN", "the connection broke in the commit")

    async def load(self, run_id):
        return list(self.events)


class World:
    """One journal, one clock, one market; `open` is a process that starts."""

    def __init__(self, *bars, due=None) -> None:
        self.journal = Journal()
        self.clock = ReplayClock(at_shanghai(DAYS[1], time(9, 16)))
        given = {(bar.symbol, bar.day): bar for bar in bars}
        flat = [flat_bar(symbol, day, "10.00") for symbol in (MINE, SHENZHEN) for day in DAYS]
        self.market = ExDates(DAYS, [given.get((bar.symbol, bar.day), bar) for bar in flat])
        self.market.due = due or {}

    def open(self) -> SandboxVenue:
        return SandboxVenue(
            run_id=7,
            journal=self.journal,
            market=self.market,
            clock=self.clock,
            calendar=CALENDAR,
            rules=RULES.market,
            fees=fee_schedule(RULES.fees),
        )

    def at(self, day: int, hour: int, minute: int, second: int = 0) -> None:
        self.clock.set(at_shanghai(DAYS[day], time(hour, minute, second)))


def order(number=1, **changes):
    return sample_order(number, **{"symbol": MINE, **changes})


async def status_of(venue, one):
    found = await venue.find(one.client_order_id)
    assert found is not None
    return found.status


async def put(venue, *orders):
    return [await venue.submit(one, mint(one, "policy")) for one in orders]


async def test_a_buy_freezes_cash_and_is_sellable_the_day_after():
    world = World()
    venue = world.open()
    await venue.deposit("opening", units(20_000))
    await put(venue, order())
    account = await venue.account()
    # 1,000 at 10.00, five yuan of commission and ten fen of transfer fee at most.
    assert (account.cash_free, account.cash_frozen) == (units("9994.90"), units("10005.10"))
    world.at(1, 15, 0)
    account = await venue.account()
    assert (account.cash_free, account.cash_frozen) == (units("9994.90"), 0)
    assert account.positions == {MINE: VenuePosition(1_000, 0)}
    world.at(2, 8, 49)
    assert (await venue.account()).positions[MINE].sellable == 0
    world.at(2, 8, 50)
    assert (await venue.account()).positions[MINE].sellable == 1_000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"qty": 2_100}, "BROKER_REJECT_FUNDS"),
        ({"side": Side.SELL, "qty": 100}, "BROKER_REJECT_POSITION"),
        ({"qty": 50}, "BROKER_REJECT_OTHER"),
        ({"qty": 1_000_100}, "BROKER_REJECT_OTHER"),
        ({"price": units("10.005")}, "BROKER_REJECT_OTHER"),
        ({"price": units("11.01")}, "BROKER_REJECT_PRICE_LIMIT"),
        ({"symbol": "600009.SH"}, "BROKER_REJECT_SESSION"),
    ],
)
async def test_the_exchange_refuses_what_it_would(change, code):
    world = World()
    venue = world.open()
    await venue.deposit("opening", units(20_000))
    with pytest.raises(Denied) as caught:
        await put(venue, order(**change))
    assert caught.value.code == code
    assert [event.kind for event in world.journal.events] == ["deposit"]


async def test_in_continuous_trading_the_price_cage_holds():
    world = World()
    venue = world.open()
    await venue.deposit("opening", units(20_000))
    world.at(1, 10, 0)
    with pytest.raises(Denied) as caught:
        await put(venue, order(price=units("10.40")))
    assert caught.value.code == "BROKER_REJECT_PRICE_LIMIT"
    await put(venue, order(price=units("10.20")))


async def test_ex_dates_reach_holders_of_record_though_nobody_asked_on_the_day():
    gift = CorporateAction(units("0.50"), Fraction(13, 10), estimated=False)
    world = World(due={(MINE, DAYS[2]): gift})
    venue = world.open()
    await venue.bring_in("import", [BroughtLot(MINE, 105, units(1_000), DAYS[0])])
    world.at(3, 9, 16)
    account = await venue.account()
    assert account.cash_free == units("52.50")
    assert account.positions == {MINE: VenuePosition(136, 136)}
    assert await world.open().account() == account
    assert [event.kind for event in world.journal.events] == ["brought_in", "ex_date"]


async def test_what_a_person_does_is_done_once_per_key_and_survives():
    world = World()
    for _ in range(2):
        venue = world.open()
        await venue.deposit("opening", units(1_000))
        await venue.deposit("more", units(500))
        await venue.withdraw("out", units(300))
        await venue.bring_in("import", [BroughtLot(MINE, 300, units(2_000), DAYS[0])])
    account = await world.open().account()
    assert account.cash_free == units(1_200)
    assert account.positions == {MINE: VenuePosition(300, 300)}


async def test_nonsense_at_the_counter_is_refused_by_field():
    venue = World().open()
    for cash in (0, -1):
        with pytest.raises(ConfigInvalid, match="CASH_INVALID"):
            await venue.deposit("key", cash)
    with pytest.raises(Denied, match="BROKER_REJECT_FUNDS"):
        await venue.withdraw("key", 1)
    for lot, field in [
        (BroughtLot(MINE, 0, 1, DAYS[0]), "qty"),
        (BroughtLot(MINE, 1, -1, DAYS[0]), "cost"),
        (BroughtLot(MINE, 1, 1, DAYS[2]), "bought_on"),
        (BroughtLot("600001", 1, 1, DAYS[0]), "600519.SH"),
        (BroughtLot("600001.XX", 1, 1, DAYS[0]), "exchange"),
    ]:
        with pytest.raises(ConfigInvalid, match=field):
            await venue.bring_in("key", [lot])


async def test_what_is_sold_today_can_be_paid_out_tomorrow():
    world = World()
    venue = world.open()
    await venue.deposit("opening", units(100))
    await venue.bring_in("import", [BroughtLot(MINE, 1_000, units(9_000), DAYS[0])])
    await put(venue, order(side=Side.SELL))
    world.at(1, 15, 1)
    with pytest.raises(Denied, match=r"100\.00 can be paid out"):
        await venue.withdraw("out", units(9_000))
    world.at(2, 9, 0)
    await venue.withdraw("out", units(9_000))
    # 10,000 less 5 of commission, 10 of stamp duty in 2023 and 0.10 of transfer fee.
    assert (await venue.account()).cash_free == units("1084.90")


async def test_a_cancel_frees_what_was_held_at_once_before_the_auction():
    world = World()
    venue = world.open()
    await venue.deposit("opening", units(20_000))
    await put(venue, order())
    assert (await venue.cancel(order())).status is OrderStatus.CANCELED
    assert (await venue.account()).cash_free == units(20_000)
    assert (await venue.cancel(order())).status is OrderStatus.CANCELED
    assert [event.kind for event in world.journal.events] == ["deposit", "accepted", "canceled"]
    world.at(1, 15, 1)
    assert await venue.fills(DAYS[1]) == []


@pytest.mark.parametrize("moment", [(9, 20), (9, 24, 59), (14, 57), (14, 59)])
async def test_in_the_windows_of_no_return_no_cancel_is_taken(moment):
    world = World()
    venue = world.open()
    await venue.deposit("opening", units(20_000))
    await put(venue, order())
    world.at(1, *moment)
    with pytest.raises(Denied) as caught:
        await venue.cancel(order())
    assert caught.value.code == "BROKER_REJECT_SESSION"
    assert await status_of(venue, order()) is OrderStatus.ACCEPTED


@pytest.mark.parametrize(
    ("limit", "ends"),
    [("10.00", OrderStatus.FILLED), ("9.95", OrderStatus.CANCELED), ("9.00", OrderStatus.CANCELED)],
)
async def test_a_cancel_after_the_auction_waits_for_what_the_auction_did(limit, ends):
    """The auction may have served the order; what came later in the day counts for nothing."""
    world = World(day_bar(MINE, DAYS[1], "10.00", "10.10", "9.90", "10.00"))
    venue = world.open()
    await venue.deposit("opening", units(20_000))
    await put(venue, order(price=units(limit)))
    world.at(1, 10, 0)
    assert (await venue.cancel(order())).status is OrderStatus.PENDING_CANCEL
    assert (await world.open().cancel(order())).status is OrderStatus.PENDING_CANCEL
    world.at(1, 15, 0)
    for process in (venue, world.open()):
        assert await status_of(process, order()) is ends
        assert (await process.account()).cash_frozen == 0


async def test_an_order_that_came_after_the_auction_is_cancelled_at_once():
    world = World()
    venue = world.open()
    await venue.deposit("opening", units(20_000))
    world.at(1, 10, 0)
    await put(venue, order())
    assert (await venue.cancel(order())).status is OrderStatus.CANCELED


async def test_an_order_placed_outside_is_listed_without_a_tag():
    world = World()
    venue = world.open()
    await venue.deposit("opening", units(20_000))
    placed = await venue.place_outside(MINE, Side.BUY, units(10), 100)
    assert placed.client_order_id == ""
    assert list(await world.open().orders(DAYS[1])) == [placed]
    world.at(1, 15, 0)
    (fill,) = await venue.fills(DAYS[1])
    assert isinstance(fill, FillReport)
    assert (fill.client_order_id, fill.broker_order_id) == ("", placed.broker_order_id)
    assert await venue.reports([""]) == []


async def test_the_later_of_two_processes_goes_on_from_what_the_earlier_wrote():
    world = World()
    first, second = world.open(), world.open()
    await second.account()
    await first.deposit("opening", units(20_000))
    await put(first, order(1, qty=100))
    with pytest.raises(Denied, match="used before"):
        await put(second, order(1, qty=100))
    await put(second, order(2, qty=100))
    await put(first, order(3, qty=100))
    assert [event.seq for event in world.journal.events] == [1, 2, 3, 4]
    assert await first.account() == await world.open().account()
    assert len({one.broker_order_id for one in await first.orders(DAYS[1])}) == 3


async def test_a_journal_that_never_lets_it_write_makes_it_unavailable(monkeypatch):
    world = World()
    venue = world.open()
    await venue.deposit("opening", units(20_000))

    async def busy(run_id, events):
        raise Conflict("VENUE_SEQ", "taken")

    monkeypatch.setattr(world.journal, "record", busy)
    with pytest.raises(Unavailable, match="BROKER_DISCONNECTED"):
        await put(venue, order())
    monkeypatch.undo()
    assert await venue.find(order().client_order_id) is None
    assert (await venue.account()).cash_frozen == 0


async def test_a_lost_answer_of_the_journal_is_an_unknown_outcome_that_it_can_tell_of():
    world = World()
    venue = world.open()
    await venue.deposit("opening", units(20_000))
    world.journal.lose_answer = True
    with pytest.raises(OutcomeUnknown):
        await put(venue, order())
    world.journal.lose_answer = False
    assert await status_of(venue, order()) is OrderStatus.ACCEPTED


async def test_a_process_that_dies_at_any_event_leaves_the_same_account():
    """Cut the journal after each event in turn: what follows is derived again, to the letter."""
    gift = CorporateAction(units("0.10"), Fraction(11, 10), estimated=False)
    thin = day_bar(MINE, DAYS[2], "10.00", "10.10", "9.90", "10.00", volume=9_000)
    world = World(thin, due={(MINE, DAYS[2]): gift, (SHENZHEN, DAYS[3]): gift})
    venue = world.open()
    await venue.deposit("opening", units(100_000))
    await put(venue, order(1), order(2, symbol=SHENZHEN, qty=500))
    await venue.cancel(order(2, symbol=SHENZHEN, qty=500))
    await put(venue, order(3, symbol=SHENZHEN, qty=300))
    world.at(2, 9, 16)
    await put(venue, order(4, side=Side.SELL, qty=600), order(5, qty=2_000))
    world.at(3, 15, 1)
    whole, account = await venue.orders(DAYS[1]), await venue.account()
    events = list(world.journal.events)
    derived = {"trade", "expired", "closed", "ex_date"}
    for cut in range(len(events) + 1):
        if any(event.kind not in derived for event in events[cut:]):
            continue
        world.journal.events = events[:cut]
        if cut and events[cut - 1].kind in ("trade", "expired"):
            continue  # a day's close is one record
        again = world.open()
        assert await again.account() == account, cut
        assert await again.orders(DAYS[1]) == whole
        assert [(e.kind, e.body) for e in world.journal.events] == [
            (e.kind, e.body) for e in events
        ]
