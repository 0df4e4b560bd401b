"""What must hold of any gate, whatever it is asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from datetime import datetime, time
from fractions import Fraction
from typing import Any

import pytest

from caopan.domain.decision.shapes import ActionType, Reason
from caopan.domain.orders.order import OrderType, Side
from caopan.domain.risk import gate
from caopan.domain.risk.correction import suggest
from caopan.domain.risk.gate import (
    Asked,
    Resting,
    copied,
    judge_cancel,
    judge_in_turn,
    judge_modify,
    judge_order,
    release,
    reserve,
)
from caopan.domain.risk.kill_switch import Posture
from caopan.domain.risk.policy import PostureSlot, RiskPolicy
from caopan.domain.risk.question import Quote, Rule
from caopan.domain.risk.rulebook import RULEBOOK
from caopan.kernel.money import units
from caopan.testing.samples import NOW

MINE, OTHER, STAR = "600001.SH", "600002.SH", "688001.SH"


def less(value: Any, c: Any) -> Any:
    if value is None:
        return c.choice([0, 1, units(10_000)])
    return value - c.choice([1, 100, value]) if value > 100 else c.choice([max(0, value - 1), 0])


def smaller(value: Any, c: Any) -> Any:
    if value is None:
        return c.choice([Fraction(0), Fraction(1, 100), Fraction(1, 2)])
    return value * c.choice([Fraction(0), Fraction(1, 2), Fraction(99, 100)])


def more(value: Any, c: Any) -> Any:
    return (value or 0) + c.choice([1, 3, 400, units(8_000)])


TIGHTER: dict[str, Any] = {
    "single_order_cap": less,
    "min_order_value": more,
    "symbol_nav_cap": smaller,
    "gross_cap": smaller,
    "max_positions": less,
    "max_open_orders": less,
    "orders_per_day": less,
    "max_drift_bps": less,
    "daily_loss_halt_pct": smaller,
    "max_drawdown_halt_pct": smaller,
    "max_quote_age_ms": less,
    "allow_st": lambda _v, _c: False,
    "new_listing_days_refused": more,
    "allow_limit_up_buy": lambda _v, _c: False,
    "exit_plan_required": lambda _v, _c: True,
    "blacklist": lambda v, c: v | {c.choice([MINE, OTHER, STAR])},
    # None is every symbol, so a whitelist tightens by coming to be, and by losing symbols.
    "whitelist": lambda v, c: (
        frozenset({c.choice([MINE, OTHER]), STAR}) if v is None else v - {MINE}
    ),
    "price_collar_pct": smaller,
    "daily_net_buy_cap": less,
    "daily_turnover_cap": less,
    "industry_nav_cap": smaller,
    "participation_cap_pct": smaller,
    "vol_impact_cap_bps": less,
    "orders_per_second": less,
    "cancel_ratio": smaller,
    "cancel_ratio_from": lambda v, _c: max(0, v - 10),
    "max_new_positions_per_day": less,
    "min_holding_days": more,
    "reentry_cooldown_days": more,
    "max_round_trip_cost_bps": less,
    "loss_streak_pause": less,
    "max_account_age_ms": less,
    "posture_mode": lambda v, _c: Posture.CAUTIOUS if v is Posture.NORMAL else Posture.FLAT_ONLY,
    "posture_schedule": lambda v, c: (
        *v,
        PostureSlot(time(9), time(10), c.choice([Posture.CAUTIOUS, Posture.FLAT_ONLY])),
    ),
}


LOOSE = RiskPolicy(
    single_order_cap=10**15,
    max_drift_bps=10_000,
    max_open_orders=1_000,
    orders_per_day=2_000,
    max_quote_age_ms=60_000,
    max_positions=10_000,
)


def codes(question: Any) -> set[str]:
    return {reason.code for reason in judge_order(question).reasons}


def test_every_limit_has_a_tighter_form():
    # all_or_none only ever adds refusals (test_naive_gate); the timeout is no rule of the gate.
    assert set(TIGHTER) | {"all_or_none", "order_timeout_s"} == {
        limit.name for limit in fields(RiskPolicy)
    }


def test_tightening_never_admits_what_was_refused(seeded, draw):
    chance, tightened = seeded(7), Counter[str]()
    for number in range(2_000):
        chance.usual_share = 0.99 if number % 2 else 0.95
        question = draw(chance)
        before = codes(question)
        for name, tighten in TIGHTER.items():
            value = tighten(getattr(question.policy, name), chance)
            stricter = replace(question, policy=replace(question.policy, **{name: value}))
            after = codes(stricter)
            assert not (before and not after), (name, question)
            # A lower cap may be named in place of a least value, but never nothing.
            assert before - {"RISK_MIN_ORDER"} <= after, (name, question)
            tightened[name] += after != before
    assert all(tightened[name] for name in TIGHTER), tightened


def test_no_policy_and_no_posture_holds_back_what_leaves(seeded, draw):
    """The exchange's reasons alone count: they are the same whatever the policy is."""
    chance, kept = seeded(43), 0
    chance.usual_share = 0.98
    for _ in range(3_000):
        question = draw(chance)
        order = replace(question.order, side=Side.SELL, is_exit=True)
        quote = replace(question.quote, as_of=NOW) if question.quote is not None else None
        mine = replace(question, order=order, quote=quote)
        loose = replace(mine, policy=LOOSE, asked_posture=Posture.NORMAL)
        assert codes(mine) - {"RISK_STALE_ACCOUNT"} == codes(loose) - {"RISK_STALE_ACCOUNT"}
        kept += not codes(mine)
    assert kept > 500


def test_adding_a_rule_never_admits(seeded, draw, monkeypatch):
    chance = seeded(5)

    def fussy(question):
        odd = question.order.qty % 3
        return Reason("RISK_FUSSY", question.order.action_index, "odd") if odd else None

    for _ in range(500):
        question = draw(chance)
        before = judge_order(question).reasons
        rule = Rule(("RISK_FUSSY",), exchange=False, source="x", zh="x", en="x", judge=fussy)
        at = chance.randrange(len(RULEBOOK))
        monkeypatch.setattr(gate, "RULEBOOK", (*RULEBOOK[:at], rule, *RULEBOOK[at:]))
        after = judge_order(question).reasons
        monkeypatch.setattr(gate, "RULEBOOK", RULEBOOK)
        assert [reason for reason in after if reason.code != "RISK_FUSSY"] == list(before)


def test_every_reason_is_named_whatever_the_order_of_rules(seeded, draw, monkeypatch):
    chance = seeded(11)
    for _ in range(500):
        question = draw(chance)
        found = judge_order(question).reasons
        shuffled = list(RULEBOOK)
        chance.shuffle(shuffled)
        monkeypatch.setattr(gate, "RULEBOOK", tuple(shuffled))
        assert sorted(judge_order(question).reasons, key=str) == sorted(found, key=str)
        monkeypatch.setattr(gate, "RULEBOOK", RULEBOOK)


@pytest.mark.parametrize(
    ("missing", "code"),
    [
        ({"reference": None}, "RISK_RULES_UNKNOWN"),
        ({"quote": None}, "RISK_STALE_PRICE"),
        ({"quote": Quote(0, NOW)}, "RISK_STALE_PRICE"),
        ({"may_place": False}, "RISK_SESSION"),
        ({"valid_until": datetime.min.replace(tzinfo=NOW.tzinfo)}, "RISK_EXPIRED"),
    ],
)
def test_what_is_missing_always_refuses(seeded, draw, missing, code):
    chance = seeded(13)
    for _ in range(500):
        assert code in codes(replace(draw(chance), **missing))


@pytest.mark.parametrize(
    ("limit", "value", "inputs"),
    [
        ("daily_net_buy_cap", 10**15, {"bought_value", "sold_value"}),
        ("daily_turnover_cap", 10**15, {"bought_value", "sold_value"}),
        ("industry_nav_cap", Fraction(1), {"industries"}),
        ("participation_cap_pct", Fraction(1), {"ordered_today"}),
        ("orders_per_second", 30, {"requests_last_second"}),
        ("cancel_ratio", Fraction(1), {"cancels_today"}),
        ("max_new_positions_per_day", 10_000, {"opened_today"}),
        ("reentry_cooldown_days", 1, {"exited_on"}),
        ("loss_streak_pause", 1_000, {"loss_streak"}),
    ],
)
def test_a_limit_that_is_set_refuses_where_its_input_is_missing(seeded, draw, limit, value, inputs):
    chance = seeded(29)
    asked = 0
    for _ in range(300):
        question = draw(chance)
        order = replace(question.order, side=Side.BUY, symbol="300001.SZ", is_exit=False)
        policy = replace(question.policy, **{limit: value})
        for name in inputs:
            standing = replace(question.standing, exposure={}, held={}, **{name: None})
            blind = replace(question, order=order, policy=policy, standing=standing)
            named = [r for r in judge_order(blind).reasons if "is not known" in r.detail]
            asked += any(limit in reason.detail for reason in named)
    # Where another limit of the same rule speaks first, it speaks for all.
    assert asked > 200


def test_judging_changes_nothing(seeded, draw):
    chance = seeded(17)
    for _ in range(200):
        question = draw(chance)
        before = repr(question)
        verdict = judge_order(question)
        suggest(question, verdict)
        target = Resting("a", "mine", question.order.symbol, question.order.side, 100_000, 100)
        judge_modify(question, target, account_id="mine")
        assert repr(question) == before


def test_a_reservation_only_takes(seeded, draw):
    chance = seeded(19)
    passes = 0
    for _ in range(1_500):
        question = draw(chance)
        standing, order = question.standing, question.order
        before = copied(standing)
        passed = judge_order(question).passed
        reserve(standing, question)
        assert standing.open_orders == before.open_orders + 1
        assert standing.orders_today == before.orders_today + 1
        assert standing.held == before.held
        assert (standing.nav, standing.nav_peak) == (before.nav, before.nav_peak)
        mine = order.symbol
        if order.side is Side.SELL:
            assert standing.cash_free == before.cash_free
            assert standing.exposure == before.exposure
            assert standing.sellable == before.sellable | {mine: before.sellable[mine] - order.qty}
        else:
            assert standing.cash_free == before.cash_free - question.cost_bound
            exposed = before.exposure.get(mine, 0) + question.value
            assert standing.exposure == before.exposure | {mine: exposed}
            assert standing.sellable == before.sellable
        if passed:
            passes += 1
            assert 0 <= standing.cash_free <= before.cash_free
            assert all(standing.sellable[s] <= q for s, q in before.sellable.items())
            assert all(q >= 0 for q in standing.sellable.values())
            assert all(standing.exposure[s] >= v for s, v in before.exposure.items())
        assert question.leaves or "RISK_DUPLICATE" in codes(question)
    assert passes >= 50


def test_what_is_released_is_what_was_reserved(seeded, draw):
    chance = seeded(37)
    for _ in range(500):
        question = draw(chance)
        if not judge_order(question).passed or question.order.order_type is not OrderType.LIMIT:
            continue
        order, standing = question.order, question.standing
        before = copied(standing)
        reserve(standing, question)
        held = question.cost_bound
        release(
            standing,
            Resting("a", "m", order.symbol, order.side, order.price, order.qty, held),
        )
        assert (standing.cash_free, standing.open_orders) == (before.cash_free, before.open_orders)
        assert standing.working == before.working
        assert standing.sellable == before.sellable
        assert {s: v for s, v in standing.exposure.items() if v} == {
            s: v for s, v in before.exposure.items() if v
        }
        # The order was sent and cancelled: both are counted.
        assert standing.orders_today == before.orders_today + 1
        if before.cancels_today is not None:
            assert standing.cancels_today == before.cancels_today + 1


def test_orders_judged_in_turn_never_spend_the_same_thing_twice(seeded, draw):
    chance = seeded(23)
    admitted_buys = 0
    for _ in range(1_000):
        first = draw(chance)
        standing, policy = first.standing, first.policy
        cash, sellable = standing.cash_free, dict(standing.sellable)
        orders_today = standing.orders_today
        spent, sold, left = 0, Counter[str](), 0
        for _ in range(6):
            question = draw(chance, standing, policy)
            if not judge_order(question).passed:
                continue
            reserve(standing, question)
            left += question.leaves
            if question.order.side is Side.BUY:
                spent += question.cost_bound
                admitted_buys += 1
            else:
                sold[question.order.symbol] += question.order.qty
        assert spent <= cash
        assert all(count <= sellable.get(symbol, 0) for symbol, count in sold.items())
        assert standing.orders_today <= max(policy.orders_per_day, orders_today) + left
        if spent:
            assert standing.gross <= standing.nav * policy.gross_cap
    assert admitted_buys >= 50


def test_a_cancel_is_never_blocked(seeded, draw):
    chance = seeded(41)
    target = Resting("a", "mine", MINE, Side.BUY, 100_000, 100)
    for _ in range(100):
        order = draw(chance).order
        target = Resting("a", "mine", order.symbol, order.side, order.price, order.qty)
        assert judge_cancel(target, account_id="mine", action_index=0).passed
    assert not judge_cancel(None, account_id="mine", action_index=0).passed
    assert not judge_cancel(target, account_id="yours", action_index=0).passed
    foreign = replace(target, foreign=True)
    assert not judge_cancel(foreign, account_id="mine", action_index=0).passed


def test_what_is_suggested_would_pass_and_asks_for_no_more(seeded, draw):
    chance, mended = seeded(31), Counter[str]()
    chance.usual_share = 0.985
    for _ in range(4_000):
        question = draw(chance)
        if question.costs is None:
            continue
        verdict = judge_order(question)
        found = suggest(question, verdict)
        if found is None:
            continue
        assert not verdict.passed
        price = units(found["price"]) if "price" in found else question.order.price
        assert 0 < found["qty"] <= question.order.qty
        order = replace(question.order, qty=found["qty"], price=price)
        tried = replace(question, order=order)
        if order.side is Side.BUY:
            bound = question.costs.of_buy(order.qty, tried.worst_price)
            tried = replace(tried, cost_bound=bound)
        assert judge_order(tried).passed, (question, found)
        larger = found["qty"] + (question.reference.qty_step if question.reference else 1)
        if price == question.order.price and larger < question.order.qty:
            bigger = replace(order, qty=larger)
            bound = question.costs.of_buy(larger, tried.worst_price)
            bound = bound if order.side is Side.BUY else 0
            assert not judge_order(replace(tried, order=bigger, cost_bound=bound)).passed
        mended.update({reason.code for reason in verdict.reasons})
    wanted = {"RISK_TICK", "RISK_PRICE_BAND", "RISK_DRIFT", "RISK_LOT_SIZE", "RISK_ORDER_CAP"}
    wanted |= {"RISK_INSUFFICIENT_CASH", "RISK_POSITION_CAP", "RISK_TPLUS1", "RISK_MAX_ORDER_QTY"}
    assert wanted <= set(mended), mended


@pytest.mark.parametrize("kind", [kind for kind in ActionType if kind is not ActionType.NO_OP])
def test_an_action_without_its_order_is_never_passed(kind):
    target = Resting("a", "mine", MINE, Side.BUY, 100_000, 100)
    for known in (None, target):
        (verdict,) = judge_in_turn([Asked(0, kind, "mine", target=known)])
        assert verdict.passed == (kind is ActionType.CANCEL_ORDER and known is not None)
