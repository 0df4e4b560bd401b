"""The clock of history and the yardstick beside the account."""

from __future__ import annotations

from datetime import date, time, timedelta

import pytest

from caopan.application.replay.benchmark import BuyAndHold
from caopan.application.replay.clock import ReplayClock
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import units
from caopan.testing.market import TableMarket, day_bar, flat_bar
from caopan.testing.samples import NOW

FIRST, SECOND, THIRD = date(2023, 5, 31), date(2023, 6, 1), date(2023, 6, 2)


def at_close(day: date):
    return at_shanghai(day, time(15, 1))


def test_the_clock_of_history_only_moves_on():
    clock = ReplayClock(NOW)
    clock.set(NOW)
    clock.set(NOW + timedelta(seconds=1))
    assert clock.now() == NOW + timedelta(seconds=1)
    with pytest.raises(CorruptState) as caught:
        clock.set(NOW)
    assert caught.value.code == "CLOCK_BACKWARDS"
    assert clock.now() == NOW + timedelta(seconds=1)


def test_equal_money_in_every_share_that_traded_on_the_first_day():
    a, b, quiet = "600001.SH", "600002.SH", "600003.SH"
    market = TableMarket(
        [FIRST, SECOND, THIRD],
        [
            day_bar(a, FIRST, "10.00", "10.50", "9.90", "10.50"),
            flat_bar(b, FIRST, "20.00"),
            flat_bar(quiet, FIRST, "5.00", volume=0),
            flat_bar(a, SECOND, "10.50"),
            # b has no row on the second day: it keeps its value.
            day_bar(a, THIRD, "10.50", "10.50", "9.00", "9.45"),
            day_bar(b, THIRD, "20.00", "22.00", "20.00", "22.00"),
        ],
    )
    held = BuyAndHold(market, units(1_000))
    assert held.step(FIRST, at_close(FIRST)) == units(500) * 105 // 100 + units(500)
    assert held.step(SECOND, at_close(SECOND)) == units(1_025)
    assert held.step(THIRD, at_close(THIRD)) == units("472.5") + units(550)


def test_until_something_trades_it_is_cash():
    market = TableMarket(
        [FIRST, SECOND],
        [
            flat_bar("600001.SH", FIRST, "10.00", volume=0),
            day_bar("600001.SH", SECOND, "10.00", "11.00", "10.00", "11.00"),
        ],
    )
    held = BuyAndHold(market, units(1_000))
    assert held.step(FIRST, at_close(FIRST)) == units(1_000)
    assert held.step(SECOND, at_close(SECOND)) == units(1_100)


def test_it_does_not_look_ahead():
    market = TableMarket([FIRST], [flat_bar("600001.SH", FIRST, "10.00")])
    with pytest.raises(CorruptState):
        BuyAndHold(market, units(1)).step(FIRST, at_shanghai(FIRST, time(14)))
