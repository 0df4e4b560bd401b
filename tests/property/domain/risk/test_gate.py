"""The gate against a naive one, and what must hold of it whatever it is asked.

Questions are drawn with a seeded generator from values that lie on and beside every edge: twenty
thousand a run, which hypothesis would take minutes for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from caopan.domain.market.phases import Phase
from caopan.domain.market.reference import Board, Reference, TradingStatus
from caopan.domain.orders.order import Side
from caopan.domain.risk import gate
from caopan.domain.risk.gate import judge_order, reserve
from caopan.domain.risk.policy import RiskPolicy
from caopan.domain.risk.question import Question, Quote
from caopan.domain.risk.rulebook import RULEBOOK
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units
from caopan.testing.samples import (
    DAY,
    NOW,
    sample_proposal,
    sample_reference,
    sample_standing,
)

MINE, OTHER, THIRD = "600001.SH", "600002.SH", "688001.SH"
MIDNIGHT = at_shanghai(DAY, time())
CODES = {code for rule in RULEBOOK for code in rule.codes}


def seeded(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - test data, not a secret


def mostly(chance: Random, usual: Any, *others: Any) -> Any:
    """Return the usual value most of the time, so that orders pass now and then."""
    return usual if chance.random() < 0.85 else chance.choice(others)


def draw_policy(chance: Random) -> RiskPolicy:
    return RiskPolicy(
        single_order_cap=mostly(chance, units(200_000), units(10_000), units("9999.99"), 0),
        min_order_value=mostly(chance, units(2_000), units(10_000), units("10000.01"), 0),
        symbol_nav_cap=mostly(chance, Fraction(12, 100), Fraction(7, 100), Fraction(0)),
        gross_cap=mostly(chance, Fraction(95, 100), Fraction(1, 100), Fraction(7, 100)),
        max_positions=mostly(chance, 15, 0, 1, 2),
        max_open_orders=mostly(chance, 40, 0, 1, 3),
        orders_per_day=mostly(chance, 200, 0, 1, 5),
        max_drift_bps=mostly(chance, 150, 0, 99, 100, 1_000),
        daily_loss_halt_pct=mostly(chance, Fraction(5, 100), Fraction(0), Fraction(1, 10)),
        max_drawdown_halt_pct=mostly(chance, Fraction(25, 100), Fraction(0), Fraction(1, 10)),
        max_quote_age_ms=mostly(chance, 3_000, 0, 1_000),
        allow_st=chance.random() < 0.2,
        new_listing_days_refused=mostly(chance, 20, 0, 5),
        allow_limit_up_buy=chance.random() < 0.2,
        exit_plan_required=chance.random() < 0.8,
        blacklist=mostly(chance, frozenset(), frozenset({MINE}), frozenset({OTHER})),
        whitelist=mostly(chance, frozenset(), frozenset({MINE}), frozenset({OTHER})),
    )


def draw_reference(chance: Random, symbol: str) -> Any:
    if chance.random() < 0.03:
        return None
    star = symbol == THIRD
    return sample_reference(
        symbol,
        board=Board.STAR if star else Board.MAIN,
        limit_up=mostly(chance, units(11), None, units("10.10")),
        limit_down=mostly(chance, units(9), None, units("9.90")),
        limits_known=chance.random() > 0.03,
        tick_size=mostly(chance, 100, 10, 500),
        min_buy_qty=200 if star else 100,
        qty_step=1 if star else 100,
        max_limit_qty=mostly(chance, 1_000_000, 1_000, 999),
        trading_status=mostly(chance, TradingStatus.NORMAL, *TradingStatus),
        is_st=chance.random() < 0.05,
        listing_day_index=mostly(chance, None, 1, 5, 20, 21, 400),
        problems=mostly(chance, (), ("DATA_RULES_MISMATCH",)),
    )


def draw_standing(chance: Random) -> Any:
    held = {MINE: chance.choice([0, 50, 150, 1_000, 6_000]), OTHER: 100, THIRD: 250}
    sellable = {s: max(0, q - chance.choice([0, 0, 0, 100, 230])) for s, q in held.items()}
    return sample_standing(
        nav=mostly(chance, units(1_000_000), units(949_999), units(100_000), 0),
        nav_peak=mostly(chance, units(1_000_000), units(2_000_000)),
        cash_free=mostly(chance, units(500_000), 0, units(10_000), units("10000.01")),
        held=held,
        sellable=sellable,
        exposure={
            MINE: chance.choice([0, units(60_000), units(110_000)]),
            OTHER: mostly(chance, units(1_000), 0, units(880_000), units(940_000)),
        },
        open_orders=mostly(chance, 0, 2, 3, 39, 40),
        orders_today=mostly(chance, 0, 4, 5, 199, 200),
        working=mostly(chance, set(), {(MINE, Side.BUY)}, {(MINE, Side.SELL)}, {(OTHER, Side.BUY)}),
    )


def draw(chance: Random) -> Question:
    """Return a random question near the edges of every rule."""
    symbol = chance.choice([MINE, MINE, OTHER, THIRD])
    side = chance.choice(list(Side))
    price = mostly(chance, units(10), units("10.10"), units("9.90"), units(11), units(9), 0)
    price += mostly(chance, 0, 100, -100, 50, 1)
    quantities = (0, -100, 50, 99, 100, 150, 199, 200, 201, 999, 1_001, 5_000, 11_000, 1_000_100)
    qty = mostly(chance, 1_000, *quantities)
    value = price * qty
    cost = value + units(5) if side is Side.BUY else 0
    phase = mostly(chance, Phase.OPEN_AUCTION, *Phase)
    age = mostly(chance, 0, 1, 1_000, 3_000, 3_001, -1)
    as_of = chance.choice([MIDNIGHT, NOW - timedelta(milliseconds=age)])
    as_of = mostly(chance, as_of, MIDNIGHT - timedelta(milliseconds=1))
    quote = Quote(mostly(chance, units(10), units("9.99"), 0), as_of)
    return Question(
        order=sample_proposal(
            symbol=symbol, side=side, price=price, qty=qty, has_exit_plan=chance.random() < 0.9
        ),
        reference=draw_reference(chance, symbol),
        quote=mostly(chance, quote, None),
        standing=draw_standing(chance),
        policy=draw_policy(chance),
        phase=phase,
        may_place=chance.random() > 0.05,
        trading_day=mostly(chance, DAY, date(2023, 5, 31)),
        now=NOW,
        valid_until=NOW + timedelta(milliseconds=mostly(chance, 60_000, 0, -1)),
        cost_bound=cost,
    )


# ------------------------------------------------------------------ the same rules, written plainly

BEFORE_FIRST_TRADE = {"pre_open", "open_auction", "open_auction_no_cancel", "auction_gap"}


def naive_market(q: Question) -> set[str]:
    """What the exchange says."""
    o, r, found = q.order, q.reference, set[str]()
    if q.now > q.valid_until:
        found.add("RISK_EXPIRED")
    if r is None or r.problems or not r.limits_known:
        found.add("RISK_RULES_UNKNOWN")
    if not q.may_place:
        found.add("RISK_SESSION")
    if o.price <= 0:
        found.add("RISK_ORDER_TYPE")
    return found if r is None else found | naive_reference(q, r)


def naive_reference(q: Question, r: Reference) -> set[str]:
    """What the exchange's rules for this security say."""
    o, found = q.order, set[str]()
    if r.trading_status in {"suspended", "delisted"}:
        found.add("RISK_SUSPENDED")
    if Fraction(o.price, r.tick_size).denominator != 1:
        found.add("RISK_TICK")
    too_high = r.limit_up is not None and o.price > r.limit_up
    too_low = r.limit_down is not None and o.price < r.limit_down
    queue = o.side == "buy" and o.price == r.limit_up and not q.policy.allow_limit_up_buy
    if too_high or too_low or queue:
        found.add("RISK_PRICE_BAND")
    if o.qty > r.max_limit_qty:
        found.add("RISK_MAX_ORDER_QTY")
    elif o.qty <= 0 or not quantity_is_whole(q, r):
        found.add("RISK_LOT_SIZE")
    return found


def quantity_is_whole(q: Question, r: Reference) -> bool:
    o = q.order
    if o.side == "buy":
        return o.qty in range(r.min_buy_qty, o.qty + 1, r.qty_step)
    mine = q.standing.sellable.get(o.symbol, 0)
    if mine < r.min_buy_qty:
        return o.qty >= mine
    if r.qty_step == 1:
        return o.qty >= r.min_buy_qty
    # The odd lot goes whole, alone or on top of whole lots.
    return o.qty % 100 == 0 or o.qty % 100 == mine % 100


def naive_account(q: Question) -> set[str]:
    """What the account can bear."""
    o, s, found = q.order, q.standing, set[str]()
    if o.side == "sell" and o.qty > s.sellable.get(o.symbol, 0):
        enough_held = s.held.get(o.symbol, 0) >= o.qty
        found.add("RISK_TPLUS1" if enough_held else "RISK_NO_POSITION")
    if o.side == "buy" and q.cost_bound > s.cash_free:
        found.add("RISK_INSUFFICIENT_CASH")
    if (o.symbol, o.side) in s.working:
        found.add("RISK_DUPLICATE")
    elif any(symbol == o.symbol for symbol, _ in s.working):
        found.add("RISK_SELF_TRADE")
    return found


def naive_policy(q: Question) -> set[str]:
    """What the account's owner allows."""
    o, s, p, found = q.order, q.standing, q.policy, set[str]()
    if o.value > p.single_order_cap:
        found.add("RISK_ORDER_CAP")
    if s.orders_today + 1 > p.orders_per_day or s.open_orders + 1 > p.max_open_orders:
        found.add("RISK_ORDER_RATE")
    return found if o.side == "sell" else found | naive_buying(q) | naive_taste(q)


def naive_buying(q: Question) -> set[str]:
    """How much may be bought."""
    o, s, p, found = q.order, q.standing, q.policy, set[str]()
    if o.value < p.min_order_value and o.value <= p.single_order_cap:
        found.add("RISK_MIN_ORDER")
    mine = s.exposure.get(o.symbol, 0)
    positions = sum(value > 0 for value in s.exposure.values())
    if Fraction(mine + o.value) > s.nav * p.symbol_nav_cap:
        found.add("RISK_POSITION_CAP")
    if mine <= 0 and positions + 1 > p.max_positions:
        found.add("RISK_POSITION_CAP")
    if Fraction(sum(s.exposure.values()) + o.value) > s.nav * p.gross_cap:
        found.add("RISK_GROSS_CAP")
    kept_today = s.nav >= s.nav_day_open * (1 - p.daily_loss_halt_pct)
    kept_since_peak = s.nav >= s.nav_peak * (1 - p.max_drawdown_halt_pct)
    if not (kept_today and kept_since_peak):
        found.add("RISK_LOSS_HALT")
    return found


def naive_taste(q: Question) -> set[str]:
    """What may be bought at all."""
    o, p, r, found = q.order, q.policy, q.reference, set[str]()
    if o.symbol in p.blacklist or (p.whitelist and o.symbol not in p.whitelist):
        found.add("RISK_BLACKLIST")
    if r is not None and not p.allow_st and (r.is_st or r.trading_status == "delisting_period"):
        found.add("RISK_ST")
    listed_for = r.listing_day_index if r is not None else None
    if listed_for is not None and listed_for <= p.new_listing_days_refused:
        found.add("RISK_NEW_LISTING")
    if p.exit_plan_required and not o.has_exit_plan:
        found.add("RISK_NO_EXIT_PLAN")
    return found


def naive_price(q: Question) -> set[str]:
    """What the quote says."""
    o, quote, found = q.order, q.quote, set[str]()
    if quote is None or quote.price <= 0:
        return {"RISK_STALE_PRICE"}
    age = q.now - quote.as_of
    shanghai_day = (quote.as_of.replace(tzinfo=None) + timedelta(hours=8)).date()
    if q.phase in BEFORE_FIRST_TRADE:
        fresh = shanghai_day == q.trading_day
    else:
        fresh = age <= timedelta(milliseconds=q.policy.max_quote_age_ms)
    if not fresh or age < timedelta(0):
        found.add("RISK_STALE_PRICE")
    worse = Fraction(o.price, quote.price) - 1
    if (worse if o.side == "buy" else -worse) > Fraction(q.policy.max_drift_bps, 10_000):
        found.add("RISK_DRIFT")
    return found


def naive_gate(q: Question) -> set[str]:
    return naive_market(q) | naive_account(q) | naive_policy(q) | naive_price(q)


def test_the_gate_agrees_with_a_naive_one():
    chance, met, passed = seeded(20230601), Counter[str](), 0
    for number in range(20_000):
        question = draw(chance)
        found = [reason.code for reason in judge_order(question).reasons]
        expected = naive_gate(question)
        assert sorted(found) == sorted(expected), (number, question)
        met.update(expected)
        passed += not expected
    # The agreement is worth something only if every refusal and many passes were met.
    assert set(met) == CODES
    assert min(met.values()) >= 50, met
    assert passed >= 200


# ------------------------------------------------------------------ what must hold of any gate

TIGHTER: dict[str, Any] = {
    "single_order_cap": lambda v, c: v - c.choice([1, 100, v]),
    "min_order_value": lambda v, c: v + c.choice([1, units(8_000)]),
    "symbol_nav_cap": lambda v, c: v * c.choice([Fraction(1, 2), Fraction(99, 100)]),
    "gross_cap": lambda v, c: v * c.choice([Fraction(1, 2), Fraction(99, 100)]),
    "max_positions": lambda v, c: max(0, v - c.choice([1, 14])),
    "max_open_orders": lambda v, c: max(0, v - c.choice([1, 39])),
    "orders_per_day": lambda v, c: max(0, v - c.choice([1, 199])),
    "max_drift_bps": lambda v, c: max(0, v - c.choice([1, 100])),
    "daily_loss_halt_pct": lambda v, c: v * c.choice([Fraction(1, 2), 0]),
    "max_drawdown_halt_pct": lambda v, c: v * c.choice([Fraction(1, 2), 0]),
    "max_quote_age_ms": lambda v, c: max(0, v - c.choice([1, 2_999])),
    "allow_st": lambda _v, _c: False,
    "new_listing_days_refused": lambda v, c: v + c.choice([1, 380]),
    "allow_limit_up_buy": lambda _v, _c: False,
    "exit_plan_required": lambda _v, _c: True,
    "blacklist": lambda v, c: v | {c.choice([MINE, OTHER, THIRD])},
    # Empty means "every symbol", so a whitelist tightens by coming to be.
    "whitelist": lambda v, c: v or frozenset({c.choice([MINE, OTHER]), THIRD}),
}


def test_every_limit_has_a_tighter_form():
    assert set(TIGHTER) == {limit.name for limit in fields(RiskPolicy)}


def test_tightening_never_admits_what_was_refused():
    chance, tightened = seeded(7), Counter[str]()
    for _ in range(1_200):
        question = draw(chance)
        before = {reason.code for reason in judge_order(question).reasons}
        for name, tighten in TIGHTER.items():
            value = tighten(getattr(question.policy, name), chance)
            stricter = replace(question, policy=replace(question.policy, **{name: value}))
            after = {reason.code for reason in judge_order(stricter).reasons}
            # A lower cap may be named in place of a least value, but never nothing.
            assert before - {"RISK_MIN_ORDER"} <= after
            assert not (before and not after)
            tightened[name] += after != before
    assert all(tightened[name] for name in TIGHTER), tightened


def test_every_reason_is_named_whatever_the_order_of_rules(monkeypatch):
    chance = seeded(11)
    for _ in range(500):
        question = draw(chance)
        found = judge_order(question).reasons
        shuffled = list(RULEBOOK)
        chance.shuffle(shuffled)
        monkeypatch.setattr(gate, "RULEBOOK", tuple(shuffled))
        assert sorted(judge_order(question).reasons, key=str) == sorted(found, key=str)
        monkeypatch.setattr(gate, "RULEBOOK", RULEBOOK)
        alone = [rule.judge(question) for rule in RULEBOOK]
        assert [reason for reason in alone if reason is not None] == list(found)


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
def test_what_is_missing_always_refuses(missing, code):
    chance = seeded(13)
    for _ in range(500):
        verdict = judge_order(replace(draw(chance), **missing))
        assert code in {reason.code for reason in verdict.reasons}


def test_judging_changes_nothing():
    chance = seeded(17)
    for _ in range(200):
        question = draw(chance)
        before = repr(question)
        judge_order(question)
        assert repr(question) == before


def test_a_reservation_only_takes():
    chance = seeded(19)
    for _ in range(1_000):
        question = draw(chance)
        standing = question.standing
        before = replace(
            standing,
            sellable=dict(standing.sellable),
            exposure=dict(standing.exposure),
            held=dict(standing.held),
        )
        passed = judge_order(question).passed
        reserve(standing, question)
        order = question.order
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
            exposed = before.exposure.get(mine, 0) + order.value
            assert standing.exposure == before.exposure | {mine: exposed}
            assert standing.sellable == before.sellable
        if passed:
            assert standing.cash_free <= before.cash_free
            assert standing.cash_free >= 0
            assert all(standing.sellable[s] <= q for s, q in before.sellable.items())
            assert all(q >= 0 for q in standing.sellable.values())
            assert all(standing.exposure[s] >= v for s, v in before.exposure.items())
        again = {reason.code for reason in judge_order(question).reasons}
        assert "RISK_DUPLICATE" in again


def test_orders_judged_in_turn_never_spend_the_same_thing_twice():
    chance = seeded(23)
    admitted_buys = 0
    for _ in range(700):
        first = draw(chance)
        standing, policy = first.standing, first.policy
        cash, sellable = standing.cash_free, dict(standing.sellable)
        spent, sold = 0, Counter[str]()
        for _ in range(6):
            question = replace(draw(chance), standing=standing, policy=policy)
            if not judge_order(question).passed:
                continue
            reserve(standing, question)
            if question.order.side is Side.BUY:
                spent += question.cost_bound
                admitted_buys += 1
            else:
                sold[question.order.symbol] += question.order.qty
        assert spent <= cash
        assert all(count <= sellable.get(symbol, 0) for symbol, count in sold.items())
        assert standing.orders_today <= max(policy.orders_per_day, first.standing.orders_today)
        if spent:
            assert standing.gross <= standing.nav * policy.gross_cap
    assert admitted_buys >= 50
