"""From a judged proposal to an order: the gate's question, the reservation, the outcome."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta

import pytest

from caopan.adapters.rules.book import load_rules
from caopan.application.desk import Desk
from caopan.application.intents import (
    as_proposed,
    order_of,
    outcome_of,
    prices_of,
    proposed_of,
    question_of,
    reservations,
)
from caopan.application.ports.store import Run, RunKind, RunStatus
from caopan.application.replay.clock import ReplayClock
from caopan.domain.accounting.bookings import deposit
from caopan.domain.accounting.journal import Book
from caopan.domain.decision.cycle import Cycle
from caopan.domain.decision.shapes import Action, ActionType, Decision, DecisionStatus, ExitPlan
from caopan.domain.market.calendar import TradingCalendar
from caopan.domain.market.phases import Phase
from caopan.domain.orders.order import OrderStatus, OrderType, Side
from caopan.domain.risk.gate import judge_order
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.venue import Licence, Venue
from caopan.kernel.clock import at_shanghai
from caopan.kernel.errors import CorruptState, Denied
from caopan.kernel.money import units
from caopan.testing.counter import Counter
from caopan.testing.market import TableMarket, flat_bar
from caopan.testing.memory_store import MemoryStore
from caopan.testing.models import ScriptedModel
from caopan.testing.samples import (
    DAY,
    NOW,
    SYMBOL,
    sample_fees,
    sample_id,
    sample_order,
    sample_proposal,
    sample_standing,
)

EARLIER = date(2023, 5, 31)
GONE = "600005.SH"


def desk() -> Desk:
    bars = [flat_bar(SYMBOL, EARLIER, "10.00"), flat_bar(SYMBOL, DAY, "10.00")]
    return Desk(
        run=Run(1, RunKind.REPLAY, "sandbox", "c" * 64, {}, RunStatus.RUNNING, NOW),
        store=MemoryStore(),
        market=TableMarket([EARLIER, DAY], [*bars, flat_bar(GONE, EARLIER, "7.00")]),
        model=ScriptedModel(lambda _request: ""),
        broker=Counter(ReplayClock(NOW), sample_fees(), 0),
        clock=ReplayClock(NOW),
        calendar=TradingCalendar("test", EARLIER, date(2023, 6, 4), (EARLIER, DAY)),
        phases=load_rules().market.phases,
        policy=RiskPolicy(),
        fees=sample_fees(),
        model_deadline_ms=1,
        licence=Licence(Venue.SANDBOX),
        monotonic_ms=lambda: 0.0,
    )


DESK = desk()
REFERENCES = DESK.market.references(DAY, NOW)
BUY = Action(
    index=2,
    type=ActionType.PLACE_ORDER,
    symbol=SYMBOL,
    side=Side.BUY,
    order_type=OrderType.LIMIT,
    price=units(10),
    qty=1_000,
    exit_plan=ExitPlan(units(9)),
)
DECISION = Decision(sample_id(1), "x", 0, 0, (BUY,), NOW, NOW + timedelta(minutes=4))
CYCLE = Cycle(sample_id(1), sample_id(2), "sandbox", DAY, "open_auction", NOW)


def ask(now=NOW, **changes):
    proposal = sample_proposal(**changes)
    return question_of(DESK, proposal, REFERENCES, sample_standing(), DECISION, now)


def test_the_gate_is_asked_about_this_moment():
    question = ask()
    assert judge_order(question).passed
    assert (question.phase, question.may_place) == (Phase.OPEN_AUCTION, True)
    assert (question.trading_day, question.now) == (DAY, NOW)
    assert question.valid_until == DECISION.valid_until
    # 10,000, the least commission of 5, transfer fee of 0.10.
    assert question.cost_bound == units("10005.10")
    assert ask(side=Side.SELL).cost_bound == 0


@pytest.mark.parametrize(
    ("day", "moment"),
    [(DAY, time(9, 14)), (DAY, time(9, 27)), (DAY, time(12)), (DAY, time(16)), (None, time(10))],
)
def test_where_the_exchange_takes_no_order_none_may_be_placed(day, moment):
    question = ask(at_shanghai(day or date(2023, 6, 3), moment))
    assert not question.may_place
    assert "RISK_SESSION" in {reason.code for reason in judge_order(question).reasons}


def test_yesterdays_references_place_nothing_today():
    stale = {SYMBOL: replace(REFERENCES[SYMBOL], day=EARLIER)}
    question = question_of(DESK, sample_proposal(), stale, sample_standing(), DECISION, NOW)
    codes = {reason.code for reason in judge_order(question).reasons}
    assert {"RISK_SESSION", "RISK_STALE_PRICE"} <= codes


def test_without_a_reference_there_is_neither_price_nor_session():
    question = question_of(DESK, sample_proposal(), {}, sample_standing(), DECISION, NOW)
    assert question.quote is None
    codes = {reason.code for reason in judge_order(question).reasons}
    assert {"RISK_RULES_UNKNOWN", "RISK_SESSION", "RISK_STALE_PRICE"} <= codes


def test_after_the_first_trade_the_reference_price_is_stale():
    question = ask(at_shanghai(DAY, time(10)))
    assert question.may_place
    assert "RISK_STALE_PRICE" in {reason.code for reason in judge_order(question).reasons}


def test_an_order_is_its_action_and_nothing_else():
    order = order_of(DESK, CYCLE, DECISION, BUY, NOW)
    assert order == order_of(DESK, CYCLE, DECISION, BUY, NOW)
    assert (order.symbol, order.side, order.price, order.qty) == (
        SYMBOL,
        Side.BUY,
        units(10),
        1_000,
    )
    assert (order.status, order.action_index, order.not_after) == (
        OrderStatus.CREATED,
        2,
        DECISION.valid_until,
    )
    assert as_proposed(order) == proposed_of(BUY)
    other = order_of(DESK, CYCLE, DECISION, replace(BUY, index=3), NOW)
    for name in ("order_id", "client_order_id", "clearance_id", "exit_plan_id"):
        assert getattr(order, name) != getattr(other, name)
    plain = order_of(DESK, CYCLE, DECISION, replace(BUY, exit_plan=None), NOW)
    assert plain.exit_plan_id is None


@pytest.mark.parametrize("part", ["symbol", "side", "order_type", "price", "qty"])
def test_an_incomplete_action_becomes_no_order(part):
    with pytest.raises(Denied) as caught:
        proposed_of(replace(BUY, **{part: None}))
    assert caught.value.code == "CHECKER_SCHEMA_FAIL"


def test_what_is_reserved_covers_what_the_gate_was_told():
    book = Book()
    book.post(deposit(sample_id(1), units(100_000), NOW))
    before = dict(book.balances)
    orders = [sample_order(1), sample_order(2, qty=500)]
    first, second = reservations(DESK, book, orders, REFERENCES, NOW)
    assert book.balances == before
    assert -first.postings[0].amount == ask().cost_bound
    assert -second.postings[0].amount == ask(qty=500).cost_bound
    assert first.txn_id != second.txn_id


def test_a_fund_is_reserved_for_without_the_fees_of_a_share():
    book = Book()
    book.post(deposit(sample_id(1), units(100_000), NOW))
    orders = [sample_order(1, symbol=symbol) for symbol in (SYMBOL, "510300.SH")]
    share, fund = reservations(DESK, book, orders, REFERENCES, NOW)
    assert -share.postings[0].amount == units("10005.10")
    assert -fund.postings[0].amount == units("10005.00")


def test_more_than_there_is_cannot_be_reserved():
    sale = sample_order(3, side=Side.SELL)
    with pytest.raises(CorruptState) as caught:
        reservations(DESK, Book(), [sale], REFERENCES, NOW)
    assert caught.value.code == "SHARES_MISSING"
    book = Book()
    book.post(deposit(sample_id(1), units(15_000), NOW))
    with pytest.raises(CorruptState) as caught:
        reservations(DESK, book, [sample_order(1), sample_order(2)], REFERENCES, NOW)
    assert caught.value.code == "BALANCE_NEGATIVE"


def test_a_holding_without_a_row_today_counts_at_its_last_close():
    prices = prices_of(DESK, REFERENCES, [SYMBOL, GONE, "600006.SH"], DAY, NOW)
    assert prices == {SYMBOL: units(10), GONE: units(7)}


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (["filled"], DecisionStatus.EXECUTED),
        (["filled", "filled"], DecisionStatus.EXECUTED),
        (["filled", "expired"], DecisionStatus.PARTIALLY_EXECUTED),
        (["filled", "rejected"], DecisionStatus.PARTIALLY_EXECUTED),
        (["expired+"], DecisionStatus.PARTIALLY_EXECUTED),
        (["expired", "rejected"], DecisionStatus.EXPIRED),
        (["canceled", "rejected"], DecisionStatus.CANCELED),
        (["rejected"], DecisionStatus.FAILED),
        (["not_sent"], DecisionStatus.FAILED),
    ],
)
def test_what_became_of_a_decision(ends, status):
    orders = [
        replace(
            sample_order(number),
            status=OrderStatus(end.rstrip("+")),
            filled_qty=1_000 if end == "filled" else 100 * end.endswith("+"),
        )
        for number, end in enumerate(ends)
    ]
    assert outcome_of(orders) is status
