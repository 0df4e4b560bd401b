"""Carrying out a halt: what is cancelled at each level, what is sold; and once more."""

from __future__ import annotations

from datetime import date

import pytest

from caopan.application import account_movements as movements
from caopan.application.halting import carry_out
from caopan.domain.accounting.bookings import BroughtLot
from caopan.domain.orders.order import OrderStatus, Side
from caopan.domain.risk.kill_switch import KillLevel
from caopan.kernel.money import units
from caopan.testing.models import buy_action
from caopan.testing.table_desk import CASH, DAY, FIRST, SECOND, TableDesk


async def holding() -> TableDesk:
    """Return a desk with shares of yesterday and of today, and a buy that rests."""
    desk = await TableDesk().open()
    lots = [
        BroughtLot(SECOND, 700, units(7_000), date(2023, 6, 2)),
        BroughtLot(SECOND, 300, units(3_000), DAY),
    ]
    await movements.open_with(desk.pipeline.seat, "file", CASH, lots, "me")
    await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    return desk


@pytest.mark.parametrize("level", [KillLevel.OFF, KillLevel.NO_OPENINGS])
async def test_below_no_orders_what_is_open_stays_open(level):
    desk = await holding()
    desk.lever.at = level
    assert len((await carry_out(desk.pipeline, "drill")).still_open) == 1


async def test_no_orders_cancels_everything_and_sells_nothing():
    desk = await holding()
    desk.lever.at = KillLevel.NO_ORDERS
    for _ in range(2):
        assert not (await carry_out(desk.pipeline, "drill")).still_open
    assert [one.status for one in await desk.orders()] == [OrderStatus.CANCELED]


async def test_flatten_puts_up_for_sale_what_is_sellable_once():
    desk = await holding()
    desk.lever.at = KillLevel.FLATTEN
    for _ in range(2):
        left = await carry_out(desk.pipeline, "drill")
        assert left.unsold == {SECOND: 300}
    sales = [one for one in await desk.orders() if one.side is Side.SELL]
    assert [(one.symbol, one.qty) for one in sales] == [(SECOND, 700)]
    buys = [one for one in await desk.orders() if one.side is Side.BUY]
    assert [one.status for one in buys] == [OrderStatus.CANCELED]
