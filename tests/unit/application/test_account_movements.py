"""Money and shares from outside: once per key, neither gain nor loss, and what was cut off."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from caopan.application import account_movements as movements
from caopan.application.ports.broker import VenueMovement
from caopan.domain.accounting.bookings import BroughtLot
from caopan.domain.risk.gate import judge_order
from caopan.kernel.errors import ConfigInvalid, Conflict, Denied
from caopan.kernel.money import units
from caopan.testing.models import buy_action
from caopan.testing.samples import sample_question
from caopan.testing.table_desk import CASH, DAY, FIRST, SECOND, TableDesk

LOTS = [
    BroughtLot(FIRST, 1_037, units(9_000), date(2023, 6, 1)),
    BroughtLot(SECOND, 400, units(5_000), date(2023, 6, 2)),
]


async def opened() -> TableDesk:
    return await TableDesk().open()


def cash_of(desk: TableDesk) -> int:
    return desk.pipeline.account.book.cash_free


async def test_each_is_booked_once_per_key_across_restarts():
    desk = await opened()
    for attempt in range(3):
        seat = desk.pipeline.seat
        assert await movements.pay_in(seat, "a", units(500), "me") is (attempt == 0)
        assert await movements.pay_out(seat, "a", units(200), "me") is (attempt == 0)
        assert cash_of(desk) == CASH + units(300)
        await desk.restart()
    report = await desk.report()
    assert report.verification.verified


@pytest.mark.parametrize("cash", [0, -1])
async def test_nothing_is_no_movement(cash):
    desk = await opened()
    for move in (movements.pay_in, movements.pay_out):
        with pytest.raises(ConfigInvalid, match="no amount"):
            await move(desk.pipeline.seat, "a", cash, "me")


async def test_no_more_leaves_than_is_free():
    desk = await opened()
    await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    free = cash_of(desk)
    assert free < CASH
    with pytest.raises(Denied, match="are free"):
        await movements.pay_out(desk.pipeline.seat, "a", free + 1, "me")
    assert await movements.pay_out(desk.pipeline.seat, "a", free, "me")
    assert cash_of(desk) == 0


async def test_an_account_is_opened_as_it_is_elsewhere():
    desk = await opened()
    seat = desk.pipeline.seat
    assert await movements.open_with(seat, "file", units(77), LOTS, "me")
    assert not await movements.open_with(seat, "file", units(77), LOTS, "me")
    await desk.restart()
    book = desk.pipeline.account.book
    assert book.cash_free == units(77)
    held = [BroughtLot(lot.symbol, lot.free_qty, lot.cost, lot.bought_on) for lot in book.lots()]
    assert held == LOTS
    with pytest.raises(Conflict, match="opening"):
        await movements.open_with(desk.pipeline.seat, "other", units(77), LOTS, "me")


async def test_an_account_that_has_traded_is_not_opened_again():
    desk = await opened()
    await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    with pytest.raises(Conflict, match="opening"):
        await movements.open_with(desk.pipeline.seat, "file", CASH, LOTS, "me")


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_withdrawal_after_a_close_at_the_same_instant_is_no_loss(restarts):
    """Where time stands still, the close and what came after it bear almost one instant."""
    desk = await opened()
    desk.clock.set(desk.clock.now() + timedelta(hours=6))
    await desk.pipeline.close_day(DAY, None)
    await movements.pay_out(desk.pipeline.seat, "rent", units(600_000), "me")
    await movements.pay_in(desk.pipeline.seat, "pay", units(100_000), "me")
    if restarts:
        await desk.restart()
    standing = desk.pipeline.account.standing(
        {}, {}, DAY, control=None, licence=desk.pipeline.desk.licence
    )
    assert standing.nav == standing.nav_day_open == standing.nav_peak == units(500_000)
    question = sample_question(standing=standing)
    codes = {reason.code for reason in judge_order(question).reasons}
    assert "RISK_LOSS_HALT" not in codes


async def test_what_was_cut_off_between_counter_and_books_is_booked_once():
    desk = await opened()
    at = desk.clock.now()
    key = movements.counter_key
    statement = [
        VenueMovement("opening", CASH, at),
        VenueMovement(key(movements.DEPOSIT, "a"), units(500), at),
        VenueMovement(key(movements.WITHDRAWAL, "a"), -units(200), at),
        VenueMovement(key(movements.IMPORT, "file"), 0, at, tuple(LOTS)),
        VenueMovement("paid in by nobody we know", units(9), at),
    ]
    for attempt in range(2):
        count = await movements.follow(desk.pipeline.seat, statement, "counter")
        assert count == (3 if attempt == 0 else 0)
        assert cash_of(desk) == CASH + units(300)
        assert desk.pipeline.account.book.quantities() == {FIRST: 1_037, SECOND: 400}
        await desk.restart()


async def test_what_the_books_cannot_take_stays_a_difference():
    desk = await opened()
    moved = VenueMovement(
        movements.counter_key(movements.WITHDRAWAL, "a"), -CASH - 1, desk.clock.now()
    )
    assert await movements.follow(desk.pipeline.seat, [moved], "counter") == 0
    assert cash_of(desk) == CASH
