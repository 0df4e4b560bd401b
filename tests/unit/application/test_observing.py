"""What of a desk's parts an observation is built from: its own account, at its own moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta
from decimal import ROUND_HALF_UP, Decimal

import pytest

from caopan.application.observing import observe, phase_end
from caopan.domain.decision.cycle import Cycle
from caopan.domain.ledger.chain import Stage
from caopan.domain.risk.kill_switch import Control, KillLevel, Posture
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import CorruptState
from caopan.testing.models import buy_action
from caopan.testing.samples import sample_id
from caopan.testing.table_desk import DAY, FIRST, POLICY, SECOND, THIRD, TableDesk

OFF = Control()


def seen(desk, *, now=None, day=DAY, past=(), control=OFF):
    now = now or desk.clock.now()
    cycle = Cycle(sample_id(1), sample_id(2), "sandbox", day, "first", now)
    return observe(desk.pipeline.desk, desk.pipeline.account, cycle, now, past, control)


async def test_it_is_the_account_as_it_stands():
    desk = await TableDesk().open()
    filled, _ = await desk.placed(
        buy_action(FIRST, 1_000, "10.00", stop="9.00"), buy_action(SECOND, 500, "10.00")
    )
    desk.counter.fill(filled, 1_000)
    await desk.settle()
    values = seen(desk).values
    assert [(one["symbol"], one["qty"], one["sellable_qty"]) for one in values["positions"]] == [
        (FIRST, 1_000, 0)
    ]
    assert values["positions"][0]["exit_plan"] == {"stop_price": "9.00", "take_profit": []}
    assert [(one["symbol"], one["qty"]) for one in values["open_orders"]] == [(SECOND, 500)]
    account = values["account"]
    assert account["orders_today"] == 2
    assert Decimal(account["available_cash"]) + Decimal(account["frozen_cash"]) == Decimal(
        account["cash"]
    )
    assert values["universe"] == [THIRD, FIRST, SECOND]


async def test_the_same_moment_is_the_same_observation_and_another_is_another():
    desk = await TableDesk().open()
    first, again = seen(desk), seen(desk)
    assert first == again
    later = seen(desk, now=desk.clock.now() + timedelta(seconds=1))
    assert later.observation_id != first.observation_id
    assert later.content_hash != first.content_hash


async def test_the_past_is_shown_as_it_is_given_and_absent_where_there_is_none():
    desk = await TableDesk().open()
    assert "own_record" not in seen(desk).values
    past = [{"status": "executed"}]
    assert seen(desk, past=past).values["own_record"] == past


@pytest.mark.parametrize(
    ("policy", "control", "posture"),
    [
        ({}, OFF, "normal"),
        ({}, Control(posture=Posture.CAUTIOUS), "cautious"),
        ({"posture_mode": Posture.FLAT_ONLY}, Control(posture=Posture.CAUTIOUS), "flat_only"),
        ({}, Control(KillLevel.NO_OPENINGS, Posture.CAUTIOUS), "kill_switch"),
    ],
)
async def test_the_posture_in_force_is_stated(policy, control, posture):
    desk = await TableDesk(policy=replace(POLICY, **policy)).open()
    assert seen(desk, control=control).values["account"]["risk_posture"] == posture


async def test_nothing_of_a_later_day_is_asked_for():
    desk = await TableDesk().open()
    with pytest.raises(CorruptState, match="2023-06-07"):
        seen(desk, day=date(2023, 6, 7))
    assert seen(desk).values["clock"]["trading_day"] == "2023-06-06"


@pytest.mark.parametrize(
    ("at", "phase", "caged"),
    [
        (time(9, 20), "open_auction_no_cancel", False),
        (time(9, 29), "auction_gap", False),
        (time(9, 30), "continuous_am", True),
        (time(11, 30), "midday_break", False),
        (time(14, 56, 59), "continuous_pm", True),
        (time(14, 57), "closing_auction", False),
    ],
)
async def test_the_price_cage_is_stated_while_it_applies(at, phase, caged):
    desk = await TableDesk(at=at).open()
    values = seen(desk).values
    assert values["clock"]["phase"] == phase
    for rules in values["market_rules"].values():
        if not caged:
            assert not rules.keys() & {"cage_up", "cage_down"}
            continue
        # Two percent around the price, but never less than ten ticks.
        base = Decimal(10)
        fen = Decimal("0.01")
        up = max((base * Decimal("1.02")).quantize(fen, ROUND_HALF_UP), base + 10 * fen)
        down = min((base * Decimal("0.98")).quantize(fen, ROUND_HALF_UP), base - 10 * fen)
        assert (rules["cage_up"], rules["cage_down"]) == (str(up), str(down))


async def test_an_order_at_the_stated_cage_passes_and_one_beyond_does_not():
    desk = await TableDesk().open()
    rules = seen(desk).values["market_rules"][FIRST]
    plan = {"exit_plan": {"stop_price": "9.00"}}
    beyond = str(Decimal(rules["cage_up"]) + Decimal("0.01"))
    cycle = await desk.decide(buy_action(FIRST, 100, beyond) | plan)
    reasons = await codes(desk, cycle)
    assert "RISK_PRICE_CAGE" in reasons
    cycle = await desk.decide(buy_action(FIRST, 100, rules["cage_up"]) | plan, slot="second")
    assert "RISK_PRICE_CAGE" not in await codes(desk, cycle)


async def codes(desk, cycle):
    verdicts = (await desk.evidence(cycle, Stage.RISK))["verdicts"]
    return {reason["code"] for verdict in verdicts for reason in verdict["reasons"]}


async def test_without_dated_rules_no_cage_is_made_up():
    desk = await TableDesk().open()
    desk.pipeline.desk = replace(desk.pipeline.desk, rules=None)
    assert not any("cage_up" in one for one in seen(desk).values["market_rules"].values())


@pytest.mark.parametrize(
    ("at", "end"), [(time(10), time(11, 30)), (time(13), time(14, 57)), (time(9, 16), time(9, 20))]
)
async def test_the_phases_end_bounds_what_is_decided_in_it(at, end):
    desk = await TableDesk(at=at).open()
    assert phase_end(desk.pipeline.desk, desk.clock.now()) == at_shanghai(DAY, end)
