"""The hand: one order, sent once, and never again without the venue's own word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.execution.hand import acknowledged, cancel, resolve, send
from caopan.application.ports.broker import (
    Capabilities,
    FillReport,
    OrderStatusReport,
    Report,
    VenueAccount,
    VenueOrder,
)
from caopan.application.ports.kill_switch import Released
from caopan.domain.orders.order import (
    MAY_BE_AT_VENUE,
    Order,
    OrderStatus,
    OrderType,
    Side,
    moved,
    with_fill,
)
from caopan.domain.risk.clearance import Clearance
from caopan.domain.risk.gate import clear
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.errors import CaopanError, CorruptState, Denied, OutcomeUnknown, Unavailable
from caopan.kernel.money import units
from caopan.testing.samples import (
    NOW,
    sample_order,
    sample_proposal,
    sample_question,
    sample_standing,
)
from caopan.testing.sim_loop import SimulatedCrash, simulate
from caopan.testing.venues import CancelFault, Fault, FaultyBroker

WINDOW = timedelta(seconds=1)
LATER = NOW + 2 * WINDOW
SWITCH = Released()


class Venue:
    """A venue that takes everything, refuses or is away, and counts what reached it."""

    name = "sandbox"
    capabilities = Capabilities(
        order_types=frozenset({OrderType.LIMIT}),
        tag_chars=23,
        orders_per_second=10,
        settle_window=WINDOW,
    )

    def __init__(self, error: CaopanError | None = None):
        self.error = error
        self.cancel_error: CaopanError | None = None
        self.away: CaopanError | None = None
        self.cancels: list[str] = []
        self.reached: list[str] = []
        self.taken: dict[str, OrderStatusReport] = {}

    async def submit(self, order: Order, clearance: Clearance) -> OrderStatusReport:
        assert clearance.clearance_id == order.clearance_id
        if order.client_order_id in self.taken:
            # What the line sends again by itself meets a tag that is already known.
            raise Denied("BROKER_REJECT_OTHER", "the tag was used before")
        self.reached.append(order.client_order_id)
        if self.error is not None:
            raise self.error
        report = OrderStatusReport(order.client_order_id, "S1", OrderStatus.ACCEPTED, LATER)
        self.taken[order.client_order_id] = report
        return report

    async def cancel(self, order: Order) -> OrderStatusReport:
        self.cancels.append(order.client_order_id)
        if self.cancel_error is not None:
            raise self.cancel_error
        return OrderStatusReport(order.client_order_id, "S1", OrderStatus.CANCELED, LATER)

    async def find(self, client_order_id: str) -> OrderStatusReport | None:
        if self.away is not None:
            raise self.away
        return self.taken.get(client_order_id)

    async def reports(self, client_order_ids: Sequence[str]) -> Sequence[Report]:
        return [self.taken[tag] for tag in client_order_ids if tag in self.taken]

    async def orders(self, day: date) -> Sequence[VenueOrder]:
        raise NotImplementedError

    async def fills(self, day: date) -> Sequence[FillReport]:
        raise NotImplementedError

    async def account(self) -> VenueAccount:
        raise NotImplementedError


def cleared(number: int = 1) -> tuple[Order, Clearance]:
    """Return an order that is durably `sending`, and its clearance."""
    order = sample_order(number)
    _, clearance = clear(sample_question(), order)
    assert clearance is not None
    return moved(order, OrderStatus.SENDING, NOW), clearance


async def test_an_accepted_order():
    order, clearance = cleared()
    sent = await send(order, clearance, Venue(), NOW, SWITCH)
    assert (sent.status, sent.broker_order_id) == (OrderStatus.ACCEPTED, "S1")
    assert (sent.submitted_at, sent.updated_at) == (NOW, LATER)


async def test_an_order_that_is_not_durably_sending_is_not_sent():
    order, clearance = cleared()
    venue = Venue()
    for status in set(OrderStatus) - {OrderStatus.SENDING}:
        with pytest.raises(Denied) as caught:
            await send(replace(order, status=status), clearance, venue, NOW, SWITCH)
        assert caught.value.code == "ORDER_NOT_SENDING"
    assert venue.reached == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Denied("BROKER_REJECT_FUNDS", "no"), OrderStatus.REJECTED, "BROKER_REJECT_FUNDS"),
        (Unavailable("BROKER_DISCONNECTED", "down"), OrderStatus.NOT_SENT, "BROKER_DISCONNECTED"),
        (OutcomeUnknown("BROKER_TIMEOUT", "?"), OrderStatus.UNKNOWN, "BROKER_TIMEOUT"),
    ],
)
async def test_what_an_error_of_the_venue_means(error, status, code):
    order, clearance = cleared()
    sent = await send(order, clearance, Venue(error), NOW, SWITCH)
    assert (sent.status, sent.reject_code) == (status, code)


async def test_an_error_outside_the_contract_is_not_guessed_at():
    order, clearance = cleared()
    with pytest.raises(CorruptState):
        await send(order, clearance, Venue(CorruptState("X", "broken")), NOW, SWITCH)


@pytest.mark.parametrize("change", [{"qty": 2_000}, {"price": units(11)}, {"symbol": "600002.SH"}])
async def test_an_order_other_than_the_cleared_one_never_reaches_the_wire(change):
    order, clearance = cleared()
    venue = Venue()
    sent = await send(replace(order, **change), clearance, venue, NOW, SWITCH)
    assert (sent.status, sent.reject_code) == (OrderStatus.NOT_SENT, "CLEARANCE_MISMATCH")
    assert venue.reached == []


async def test_an_expired_clearance_never_reaches_the_wire():
    order, clearance = cleared()
    venue = Venue()
    after = order.not_after + timedelta(milliseconds=1)
    sent = await send(order, clearance, venue, after, SWITCH)
    assert (sent.status, sent.reject_code) == (OrderStatus.NOT_SENT, "RISK_EXPIRED")
    assert venue.reached == []


@pytest.mark.parametrize(
    ("fault", "sent_as", "resolved_as", "at_venue"),
    [
        (Fault.NONE, "accepted", None, 1),
        (Fault.REQUEST_LOST, "not_sent", None, 0),
        (Fault.ANSWER_LOST, "unknown", "accepted", 1),
        (Fault.REQUEST_VANISHED, "unknown", "not_sent", 0),
    ],
)
async def test_lost_messages(fault, sent_as, resolved_as, at_venue):
    order, clearance = cleared()
    venue = Venue()
    broker = FaultyBroker(venue, [fault])
    sent = await send(order, clearance, broker, NOW, SWITCH)
    assert sent.status == sent_as
    if resolved_as is not None:
        resolved = await resolve(sent, broker, LATER)
        assert resolved.status == resolved_as
        # Resolving asks; it does not send.
        assert broker.submissions == 1
    assert len(venue.reached) == at_venue


@pytest.mark.parametrize(("fault", "found"), [(Fault.CRASH_BEFORE, 0), (Fault.CRASH_AFTER, 1)])
async def test_after_a_crash_the_venue_is_asked(fault, found):
    order, clearance = cleared()
    venue = Venue()
    with pytest.raises(SimulatedCrash):
        await send(order, clearance, FaultyBroker(venue, [fault]), NOW, SWITCH)
    # The next process finds the order durably `sending`.
    resolved = await resolve(order, venue, LATER)
    expected = OrderStatus.ACCEPTED if found else OrderStatus.NOT_SENT
    assert resolved.status is expected
    assert resolved.reject_code == (None if found else "BROKER_NEVER_SEEN")
    assert len(venue.reached) == found


@pytest.mark.parametrize(
    "away", [Unavailable("BROKER_DISCONNECTED", "down"), OutcomeUnknown("BROKER_TIMEOUT", "?")]
)
async def test_while_the_venue_cannot_be_asked_the_order_stays_unknown(away):
    order, _ = cleared()
    venue = Venue()
    venue.away = away
    unknown = await resolve(order, venue, LATER)
    assert unknown.status is OrderStatus.UNKNOWN
    assert await resolve(unknown, venue, LATER) == unknown
    venue.away = None
    assert (await resolve(unknown, venue, LATER)).status is OrderStatus.NOT_SENT


@pytest.mark.parametrize("status", OrderStatus)
def test_only_a_refusal_is_a_refusal(status):
    order, _ = cleared()
    report = OrderStatusReport(order.client_order_id, "S1", status, LATER, "WHY")
    after = acknowledged(order, report)
    if status is OrderStatus.REJECTED:
        assert (after.status, after.reject_code) == (OrderStatus.REJECTED, "WHY")
    else:
        # Fills are booked from fill reports, ends from settlement.
        assert (after.status, after.reject_code) == (OrderStatus.ACCEPTED, None)
    assert after.filled_qty == 0


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.sampled_from([f for f in Fault if "crash" not in f]), max_size=6),
    st.lists(st.booleans(), max_size=6),
    st.integers(0, 2**16),
)
def test_no_plan_of_faults_sends_anything_twice(faults, outages, seed):
    async def program() -> None:
        venue = Venue()
        broker = FaultyBroker(venue, faults)
        ended = []
        for number in range(len(faults) + 1):
            order, clearance = cleared(number)
            order = await send(order, clearance, broker, NOW, SWITCH)
            for away in outages:
                venue.away = Unavailable("BROKER_DISCONNECTED", "down") if away else None
                if order.status is OrderStatus.UNKNOWN:
                    order = await resolve(order, broker, LATER)
            venue.away = None
            if order.status is OrderStatus.UNKNOWN:
                order = await resolve(order, broker, LATER)
            ended.append(order)
        assert len(set(venue.reached)) == len(venue.reached)
        assert broker.submissions == len(ended)
        for order in ended:
            assert (order.client_order_id in venue.taken) == (order.status in MAY_BE_AT_VENUE)

    simulate(program(), seed)


class Pulled:
    """A kill switch at a level."""

    def __init__(self, level: KillLevel):
        self._level = level

    def level(self) -> KillLevel:
        return self._level


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("level", KillLevel)
async def test_the_kill_switch_is_asked_right_before_the_wire(level, side):
    order = sample_order(1, side=side)
    standing = sample_standing(sellable={order.symbol: 5_000})
    question = sample_question(order=sample_proposal(side=side), standing=standing)
    _, clearance = clear(question, order)
    assert clearance is not None
    venue = Venue()
    sent = await send(moved(order, OrderStatus.SENDING, NOW), clearance, venue, NOW, Pulled(level))
    sells = level in (KillLevel.NO_OPENINGS, KillLevel.FLATTEN) and side is Side.SELL
    if level is KillLevel.OFF or sells:
        assert sent.status is OrderStatus.ACCEPTED
    else:
        assert (sent.status, sent.reject_code) == (OrderStatus.NOT_SENT, "RISK_KILL_SWITCH")
        assert venue.reached == []


@pytest.mark.parametrize("status", [OrderStatus.SENDING, OrderStatus.UNKNOWN])
async def test_what_the_venue_may_still_come_to_know_is_not_given_up(status):
    order = sample_order(1)
    order = moved(order, OrderStatus.SENDING, NOW)
    if status is OrderStatus.UNKNOWN:
        order = moved(order, status, NOW)
    venue = Venue()
    early = await resolve(order, venue, NOW + WINDOW - timedelta(milliseconds=1))
    assert early.status is OrderStatus.UNKNOWN
    assert early.submitted_at == NOW
    over = await resolve(early, venue, NOW + WINDOW)
    assert (over.status, over.reject_code) == (OrderStatus.NOT_SENT, "BROKER_NEVER_SEEN")


def to_cancel(*, filled: int = 0) -> Order:
    """Return an order that is durably `pending_cancel`."""
    order = moved(sample_order(1), OrderStatus.SENDING, NOW)
    order = moved(order, OrderStatus.ACCEPTED, NOW)
    if filled:
        order = with_fill(order, filled, order.price, NOW)
    return moved(order, OrderStatus.PENDING_CANCEL, NOW)


@pytest.mark.parametrize(
    ("filled", "back"), [(0, OrderStatus.ACCEPTED), (300, OrderStatus.PARTIALLY_FILLED)]
)
async def test_a_refused_cancel_puts_the_order_back_to_work(filled, back):
    venue = Venue()
    venue.cancel_error = Denied("BROKER_REJECT_SESSION", "not now")
    after = await cancel(to_cancel(filled=filled), venue, LATER)
    assert (after.status, after.reject_code) == (back, "BROKER_REJECT_SESSION")
    assert after.filled_qty == filled


@pytest.mark.parametrize(
    "lost", [Unavailable("BROKER_DISCONNECTED", "down"), OutcomeUnknown("BROKER_TIMEOUT", "?")]
)
async def test_a_lost_cancel_stays_to_be_asked_again(lost):
    order, venue = to_cancel(), Venue()
    venue.cancel_error = lost
    assert await cancel(order, venue, LATER) == order
    venue.cancel_error = None
    assert await cancel(order, venue, LATER) == order
    assert len(venue.cancels) == 2


@pytest.mark.parametrize("fault", CancelFault)
async def test_no_answer_to_a_cancel_ends_an_order(fault):
    # A fill may have been on its way: only the venue's reports, fills first, tell the end.
    order = to_cancel(filled=100)
    assert await cancel(order, FaultyBroker(Venue(), cancel_faults=[fault]), LATER) == order


async def test_a_cancel_is_held_back_by_no_kill_switch_and_no_clearance():
    venue = Venue()
    await cancel(to_cancel(), venue, sample_order(1).not_after + timedelta(days=1))
    assert venue.cancels == [sample_order(1).client_order_id]
