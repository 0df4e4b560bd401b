"""What each stage leaves in the ledger: exact, canonical, and readable again."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from fractions import Fraction

import pytest

from caopan.application import records
from caopan.application.contracts.decision_json import exit_plan_json
from caopan.application.ports.store import NavPoint, Run, RunKind, RunStatus
from caopan.application.replay.runner import SLOT
from caopan.domain.accounting.bookings import book_entitlement, deposit, freeze_buy
from caopan.domain.accounting.journal import Lot
from caopan.domain.decision.cycle import Cycle, closed
from caopan.domain.decision.shapes import (
    CheckerResult,
    Comparison,
    DecisionStatus,
    ExitPlan,
    Invalidation,
    Reason,
    SecurityEvent,
    StopBasis,
)
from caopan.domain.ledger.chain import Draft, Head, Stage, seal
from caopan.domain.market.reference import CorporateAction
from caopan.domain.orders.order import Fill, OrderStatus, OrderType, Side, moved
from caopan.kernel.canonical import canonical
from caopan.kernel.errors import CorruptState
from caopan.kernel.money import units
from caopan.testing.memory_store import MemoryStore, MemoryVenueJournal
from caopan.testing.samples import DAY, NOW, SYMBOL, sample_id, sample_order
from caopan.testing.scenario import DAYS, open_scenario
from caopan.testing.sim_loop import simulate

CYCLE = Cycle(sample_id(1), sample_id(2), "sandbox", DAY, "open_auction", NOW)
FILL = Fill(
    fill_id=sample_id(9),
    order_id=sample_id(1_001),
    decision_id=sample_id(1),
    broker="sandbox",
    broker_fill_id="T00000001",
    trading_day=DAY,
    symbol=SYMBOL,
    side=Side.SELL,
    qty=300,
    price=units("10.05"),
    commission=units(5),
    stamp_duty=units("1.51"),
    transfer_fee=units("0.03"),
    other_fees=0,
    filled_at=NOW,
)


def stored(draft: Draft) -> dict:
    """Return a payload as it comes back from the ledger."""
    ((_, payload),), _ = seal(Head(), [draft])
    return json.loads(payload)


def test_a_fill_in_yuan_with_each_fee():
    draft = records.filled(FILL, sample_id(2))
    assert (draft.stage, draft.at) == (Stage.FILL, NOW)
    assert (draft.decision_id, draft.trace_id) == (sample_id(1), sample_id(2))
    payload = stored(draft)
    assert payload["price"] == "10.05"
    assert (payload["commission"], payload["stamp_duty"]) == ("5.00", "1.51")
    assert (payload["transfer_fee"], payload["other_fees"]) == ("0.03", "0.00")
    assert (payload["side"], payload["qty"]) == ("sell", 300)
    assert payload["trading_day"] == "2023-06-01"


def test_an_order_says_what_it_knows_and_no_more():
    order = sample_order()
    bare = records.order_json(order)
    assert not {"broker_order_id", "reject_code", "exit_plan_id"} & set(bare)
    assert (bare["price"], bare["qty"], bare["status"], bare["tif"]) == (
        "10.00",
        1_000,
        "created",
        "day",
    )
    ended = moved(order, OrderStatus.NOT_SENT, NOW, broker_order_id="S1", reject_code="WHY")
    whole = records.order_json(replace(ended, exit_plan_id=sample_id(7)))
    assert (whole["broker_order_id"], whole["reject_code"]) == ("S1", "WHY")
    assert whole["exit_plan_id"] == str(sample_id(7))
    # Versions and the times of our own bookkeeping are not facts of the order.
    assert not {"version", "updated_at", "created_at"} & set(whole)


def test_a_transaction_keeps_money_and_shares_apart():
    action = CorporateAction(units("0.5"), Fraction(11, 10), estimated=True)
    lots = [Lot(SYMBOL, DAY, 1_000, 0, units(10_000))]
    given = book_entitlement(sample_id(5), SYMBOL, lots, action, NOW)
    payload = stored(records.entitled(given, DAY, NOW))
    amounts = {(p["account"], p["asset"]): p["amount"] for p in payload["postings"]}
    assert amounts["cash.free", "CNY"] == "500.00"
    assert amounts[f"shares.free/{DAY}", SYMBOL] == "100"
    assert "estimated" in payload["memo"]
    assert payload["trading_day"] == "2023-06-01"


def test_an_outcome_names_status_counts_and_reason():
    ended = closed(CYCLE, DecisionStatus.NO_OP, NOW + timedelta(seconds=1), "MODEL_TIMEOUT")
    draft = records.outcome(ended, [], [])
    assert draft.at == ended.closed_at
    assert stored(draft) == {
        "code": "MODEL_TIMEOUT",
        "fills": 0,
        "orders": 0,
        "status": "no_op",
    }
    done = records.outcome(
        closed(CYCLE, DecisionStatus.EXECUTED, NOW), [sample_order()], [FILL, FILL]
    )
    assert stored(done) == {"fills": 2, "orders": 1, "status": "executed"}


def test_a_checkers_verdict_with_its_reasons():
    result = CheckerResult((Reason("CHECKER_RANGE", 0, "detail", "1", "2"),), NOW)
    payload = stored(records.checked(CYCLE, result))
    assert payload["pass"] is False
    assert payload["reasons"] == [
        {
            "code": "CHECKER_RANGE",
            "action_index": 0,
            "detail": "detail",
            "limit": "1",
            "actual": "2",
        }
    ]
    sound = stored(records.checked(CYCLE, CheckerResult((), NOW)))
    assert sound["pass"] is True
    assert "findings" not in sound
    found = CheckerResult((), NOW, findings=(Reason("CHECKER_HALLUCINATION", 1, "odd", "1", "2"),))
    noted = stored(records.checked(CYCLE, found))
    assert (noted["pass"], noted["findings"][0]["code"]) == (True, "CHECKER_HALLUCINATION")


def test_a_run_begins_with_all_that_its_result_depends_on():
    run = Run(1, RunKind.REPLAY, "sandbox", "c" * 64, {"seed": 7}, RunStatus.RUNNING, NOW)
    opening = deposit(sample_id(3), units(1_000), NOW)
    payload = stored(records.run_opened(run, opening, NOW))
    assert (payload["config"], payload["config_hash"]) == ({"seed": 7}, "c" * 64)
    assert [p["amount"] for p in payload["opening"]["postings"]] == ["1000.00", "-1000.00"]
    # The run's number is the database's, not the result's.
    assert "run_id" not in payload


def test_a_days_close_with_and_without_a_yardstick():
    point = NavPoint(DAY, NOW, units(100), units(40), units(10), units(50), 1, -units(2), units(99))
    payload = stored(records.day_closed(point))
    assert payload["nav"] == "100.00"
    assert payload["realised_total"] == "-2.00"
    assert payload["benchmark"] == "99.00"
    assert "benchmark" not in stored(records.day_closed(replace(point, benchmark=None)))


def test_an_exit_plan_in_yuan():
    plan = ExitPlan(units(9), ((units(12), "0.5"),), 40)
    assert exit_plan_json(plan) == {
        "stop_price": "9.00",
        "take_profit": [{"fraction": "0.5", "price": "12.00"}],
        "time_stop_days": 40,
    }
    assert exit_plan_json(ExitPlan(units(9))) == {"stop_price": "9.00", "take_profit": []}
    whole = ExitPlan(
        units(9),
        stop_basis=StopBasis.CLOSE,
        trail_pct="0.08",
        invalidation=(Invalidation("ret_20d", Comparison.LT, "-0.05"),),
        on_event=(SecurityEvent.HALT,),
        min_price=units("8.5"),
    )
    assert exit_plan_json(whole) == {
        "stop_price": "9.00",
        "take_profit": [],
        "stop_basis": "close",
        "trail_pct": "0.08",
        "invalidation": [{"feature": "ret_20d", "op": "lt", "value": "-0.05"}],
        "on_event": ["halt"],
        "min_price": "8.50",
    }


def test_payloads_are_canonical_json():
    order = sample_order()
    drafts = [
        records.filled(FILL, sample_id(2)),
        records.ordered(order, sample_id(2)),
        records.outcome(CYCLE, [order], [FILL]),
        records.entitled(freeze_buy(sample_id(4), order, 5, NOW), DAY, NOW),
    ]
    for _, payload in seal(Head(), drafts)[0]:
        assert canonical(json.loads(payload)) == payload


def test_what_an_interrupted_cycle_needs_is_read_back():
    async def program() -> None:
        store = MemoryStore()
        run = await store.create_run(RunKind.REPLAY, "sandbox", {}, "a" * 64, NOW)
        scenario = await open_scenario(run, store, MemoryVenueJournal(store.database))
        await scenario.play()
        async with store.begin(run.run_id) as uow:
            cycles = {(one.trading_day, one.slot): one for one in await uow.cycles.all()}
            first, garbage = cycles[DAYS[0], SLOT], cycles[DAYS[1], SLOT]
            seen = await records.read_observation(uow, first)
            assert canonical(seen.values) == seen.body
            decision = await records.read_decision(uow, first)
            assert decision.decision_id == first.decision_id
            assert decision.observation_ref == seen.content_hash
            assert decision.valid_until == first.valid_until
            assert [action.index for action in decision.actions] == [0, 1, 2, 3]
            assert await records.read_passed(uow, first) == {0, 1, 2}
            asked = cycles[DAYS[1], "some"]
            by_hand = await records.read_decision(uow, asked)
            assert (by_hand.is_exit, by_hand.valid_until) == (True, asked.valid_until)
            (action,) = by_hand.actions
            assert (action.side, action.order_type) == (Side.SELL, OrderType.LIMIT)
            assert (action.qty, action.price) == (1_000, units("9.95"))
            with pytest.raises(CorruptState) as caught:
                await records.read_passed(uow, garbage)
            assert caught.value.code == "VERDICT_MISSING"
            with pytest.raises(CorruptState) as caught:
                await records.read_decision(uow, garbage)
            assert caught.value.code == "DECISION_UNREADABLE"
            for lost in (sample_id(99), None):
                with pytest.raises(CorruptState) as caught:
                    await records.read_observation(uow, replace(first, observation_id=lost))
                assert caught.value.code == "OBSERVATION_MISSING"

    simulate(program())
