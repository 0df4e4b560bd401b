"""Target weights at a desk: orders, their order, their plans, and what a crash leaves of them."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import pytest

from caopan.adapters.prompts.library import PromptLibrary
from caopan.application.decision_cycle.briefing import Prompting
from caopan.application.targeting import in_sending_order
from caopan.domain.accounting.bookings import BroughtLot, brought_in
from caopan.domain.decision.shapes import Action, ActionType, DecisionStatus
from caopan.domain.ledger.chain import Stage
from caopan.domain.orders.order import Order, OrderStatus, Side
from caopan.kernel.money import units
from caopan.testing.models import buy_action, decision_json, sell_action
from caopan.testing.samples import sample_id, sample_order
from caopan.testing.table_desk import CASH, DAY, FIRST, SECOND, SESSIONS, THIRD, TableDesk

LIBRARY = PromptLibrary()
PROMPTING = Prompting(LIBRARY, LIBRARY.find("actor", "zh"))
PLAN = {"exit_plan": {"stop_price": "9.00"}}
THESIS = {"intent": {"rationale": "orders doubled", "confidence": 0.6, "evidence": []}}


def target(symbol, weight, **fields):
    return {"type": "set_target", "symbol": symbol, "target_weight": weight, **fields}


async def stocked(desk=None, **shares):
    """Return a desk with settled shares (FIRST unless named otherwise)."""
    desk = await (desk or TableDesk()).open()
    held = shares or {FIRST: 5_000}
    lots = [BroughtLot(symbol, qty, units(10) * qty, SESSIONS[0]) for symbol, qty in held.items()]
    moved = brought_in(sample_id(9), lots, desk.clock.now())
    await desk.pipeline.seat.record([], transactions=[moved])
    desk.counter.move(**held)
    return desk


def asked(orders):
    return [(one.symbol, one.side.value, one.qty) for one in orders]


async def test_a_target_becomes_an_order_with_its_exit_plan_and_the_ids_of_its_action():
    desk = await TableDesk().open()
    cycle = await desk.decide({"type": "no_op"}, target(FIRST, "0.1", **PLAN))
    (order,) = await desk.orders()
    # A tenth of a million at 10.00, priced half a percent above it to be met.
    assert (order.symbol, order.qty, order.price) == (FIRST, 10_000, units("10.05"))
    assert order.price * order.qty > CASH // 10
    assert (order.action_index, order.status) == (1, OrderStatus.ACCEPTED)
    assert order.exit_plan_id is not None
    risk = await desk.evidence(cycle, Stage.RISK)
    assert risk["planned"] == {
        "left": [],
        "orders": [
            {"action_index": 1, "price": "10.05", "qty": 10_000, "side": "buy", "symbol": FIRST}
        ],
    }
    assert [one["action_index"] for one in risk["verdicts"]] == [1]


async def test_sells_go_first_and_pay_for_nothing_yet():
    desk = await stocked(**{FIRST: 5_000, SECOND: 2_000})
    await desk.decide(target(THIRD, "0.05", **PLAN), target(FIRST, "0.02"), target(SECOND, "0"))
    sent = [order for _, order in desk.counter.sent]
    # Of 1,070,000 two percent are 2,140 shares, five percent 5,350: whole lots, never beyond.
    assert asked(sent) == [
        (FIRST, "sell", 2_800),
        (SECOND, "sell", 2_000),
        (THIRD, "buy", 5_300),
    ]


async def test_a_plain_buy_of_the_same_decision_is_paid_for_first():
    desk = await TableDesk().open()
    most = {"global_intent": {"max_new_cash": "150000.00"}}
    desk.says = lambda request: decision_json(
        request, target(SECOND, "0.1", **PLAN), buy_action(FIRST, 10_000, "10.00"), **most
    )
    await desk.pipeline.run_cycle("first", DAY)
    sent = [order for _, order in desk.counter.sent]
    assert asked(sent) == [(FIRST, "buy", 10_000), (SECOND, "buy", 4_900)]
    assert sum(order.price * order.qty for order in sent) <= units(150_000)


async def test_what_rests_counts_as_if_it_had_traded():
    desk = await TableDesk().open()
    await desk.decide(buy_action(FIRST, 4_000, "10.00"))
    cycle = await desk.decide(target(FIRST, "0.1", **PLAN), slot="second")
    risk = await desk.evidence(cycle, Stage.RISK)
    assert [one["qty"] for one in risk["planned"]["orders"]] == [6_000]
    # Beside one that rests the gate takes no second, whoever planned it.
    assert cycle.status_code == "RISK_DUPLICATE"


async def test_the_thesis_and_plan_of_a_target_are_shown_in_the_next_observation():
    desk = await TableDesk().led_by_a_language_model(PROMPTING).open()
    await desk.decide(target(FIRST, "0.1", **PLAN, **THESIS))
    (order,) = await desk.orders()
    desk.counter.fill(order, 10_000)
    await desk.settle(timedelta(minutes=1))
    await desk.restart()
    await desk.decide({"type": "no_op"}, slot="second")
    request = desk.model.requests[-1]
    (position,) = request.observation["positions"]
    assert position["thesis"] == "orders doubled"
    assert position["exit_plan"] == {"stop_price": "9.00", "take_profit": []}
    assert request.prompt is not None
    shown = request.prompt.messages[-1].content
    assert "orders doubled" in shown
    (past,) = request.observation["own_record"]
    assert past["status"] == "executed"
    assert [(one["qty"], one["filled_qty"]) for one in past["orders"]] == [(10_000, 10_000)]


@pytest.mark.parametrize(
    ("symbol", "weight", "why"),
    [
        (SECOND, "0", "at_target"),
        # 5,000 shares of FIRST are held: 4.76 percent of 1,050,000.
        (FIRST, "0.0482", "below_one_lot"),
        (FIRST, "0.0475", "below_one_lot"),
    ],
)
async def test_a_target_that_needs_no_order_is_a_no_op_that_says_why(symbol, weight, why):
    desk = await stocked()
    cycle = await desk.decide(target(symbol, weight, **PLAN))
    assert (cycle.status, cycle.status_code) == (DecisionStatus.NO_OP, None)
    risk = await desk.evidence(cycle, Stage.RISK)
    assert [one["why"] for one in risk["planned"]["left"]] == [why]
    assert (risk["verdicts"], risk["orders"]) == ([], [])
    assert not desk.counter.sent
    assert (await desk.report()).trace_coverage == 1.0


async def test_shares_of_today_are_not_sold_for_a_target():
    desk = await TableDesk().open()
    (order,) = await desk.placed(buy_action(FIRST, 1_000, "10.00"))
    desk.counter.fill(order, 1_000)
    await desk.settle()
    cycle = await desk.decide(target(FIRST, "0"), slot="second")
    assert cycle.status is DecisionStatus.NO_OP
    risk = await desk.evidence(cycle, Stage.RISK)
    assert [one["why"] for one in risk["planned"]["left"]] == ["not_sellable_today"]


async def test_the_gate_judges_what_is_planned_like_any_order():
    desk = await TableDesk().open()
    cycle = await desk.decide(target(FIRST, "0.15", **PLAN), target(SECOND, "0.05"))
    assert cycle.status is DecisionStatus.REJECTED_RISK
    risk = await desk.evidence(cycle, Stage.RISK)
    codes = [{reason["code"] for reason in one["reasons"]} for one in risk["verdicts"]]
    assert "RISK_POSITION_CAP" in codes[0]
    assert codes[1] == {"RISK_NO_EXIT_PLAN"}
    assert not desk.counter.sent


async def test_a_target_and_an_order_of_one_symbol_never_get_so_far():
    desk = await stocked()
    cycle = await desk.decide(target(FIRST, "0"), sell_action(FIRST, 1_000, "10.00"))
    assert (cycle.status, cycle.status_code) == (
        DecisionStatus.REJECTED_CHECKER,
        "CHECKER_CONFLICT",
    )


async def test_a_crash_anywhere_sends_each_order_once_and_sells_first():
    wanted = [(FIRST, "sell", 3_900), (SECOND, "buy", 5_200)]
    at, sent = 0, list[Order]()
    for at in count():
        desk = await stocked(**{FIRST: 5_000})
        says = [target(SECOND, "0.05", **PLAN), target(FIRST, "0.01")]
        desk.says = lambda request, says=says: decision_json(request, *says)
        seen = await desk.crashing(at, lambda desk=desk: desk.pipeline.run_cycle("first", DAY))
        sent = [order for _, order in desk.counter.sent]
        # One whose sending was cut off may be lost; none goes twice, or before its turn.
        assert asked(sent) == [one for one in wanted if one in asked(sent)]
        if len(seen) <= at:
            break
    assert at > 12
    assert len(sent) == 2


def test_targets_are_carried_out_last_and_those_that_sell_before_those_that_buy():
    actions = [Action(index, ActionType.SET_TARGET, FIRST) for index in range(3)]
    actions.append(Action(3, ActionType.CANCEL_ORDER))
    orders = [
        sample_order(0, side=Side.BUY),
        sample_order(1, side=Side.SELL),
        sample_order(2, side=Side.BUY),
    ]
    assert [one.index for one in in_sending_order(actions, orders)] == [3, 1, 0, 2]
