"""The built-in traders: they answer as a model must, from the observation alone."""

from __future__ import annotations

import asyncio
import copy
import json
from dataclasses import replace
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.adapters.llm.builtin import sizing
from caopan.adapters.llm.builtin.traders import (
    BUILTIN,
    BuiltinTrader,
    MeanReversionTrader,
    MomentumTrader,
)
from caopan.application.contracts.decision import REPLY_SCHEMA, parse_reply
from caopan.application.decision_cycle.checker import check
from caopan.application.decision_cycle.observe import Observation
from caopan.application.ports.model import ModelRequest
from caopan.domain.decision.shapes import ActionType, Decision
from caopan.domain.orders.order import Side
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.money import yuan
from caopan.testing.samples import NOW, sample_id

QUICK = settings(deadline=None, max_examples=150)
SYMBOLS = [f"{600000 + number:06d}.SH" for number in range(14)] + ["688001.SH", "000001.SZ"]
cents = st.integers(1, 500_000)
ratios = st.floats(-0.5, 0.9)


def rules_of(last: int, **changes: Any) -> dict[str, Any]:
    up = max(last * 11 // 10, last + 1)
    down = max(min(last * 9 // 10, last - 1), 1)
    return {
        "tick_size": "0.01",
        "lot_size": 100,
        "min_buy_qty": 100,
        "qty_step": 100,
        "limit_up": yuan(up * 100),
        "limit_down": yuan(down * 100),
        "t_plus_one": True,
        "trading_status": "normal",
        "max_order_qty": 1_000_000,
        "max_buy_qty": 100,
        "max_sell_qty": 100,
    } | changes


def features_of(last: int, **features: Any) -> dict[str, Any]:
    return {"last": yuan(last * 100), "vol_20d": 0.02, "ma20_gap": 0.03} | features


def position_of(symbol: str, qty: int, **changes: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "qty": qty,
        "sellable_qty": qty,
        "lots": [{"qty": qty, "bought_on": "2023-05-02"}],
        "avg_price": "10.00",
        "days_held": 3,
    } | changes


def observation_of(
    features: dict[str, dict[str, Any]],
    *,
    rules: dict[str, dict[str, Any]] | None = None,
    positions: tuple[dict[str, Any], ...] = (),
    nav: str = "1000000.00",
    free: str | None = None,
) -> dict[str, Any]:
    universe = sorted(features)
    last = {s: round(Decimal(f.get("last", "10.00")) * 100) for s, f in features.items()}
    return {
        "account": {"nav": nav, "cash": nav, "available_cash": nav if free is None else free},
        "positions": list(positions),
        "universe": universe,
        "features": features,
        "market_rules": {s: (rules or {}).get(s, rules_of(int(last[s]))) for s in universe},
        "news": [],
    }


@st.composite
def observations(draw) -> dict[str, Any]:
    """Return any observation the builder might make, with gaps where sources have none."""
    features, rules = {}, {}
    for symbol in draw(st.lists(st.sampled_from(SYMBOLS), unique=True)):
        last = draw(cents)
        own = features_of(last, ret_5d=draw(ratios), ret_60d=draw(ratios))
        own["vol_20d"] = draw(st.sampled_from([0.02, 0.0001, 0.3, 0.0]) | st.floats(0.001, 0.4))
        for name in draw(st.sets(st.sampled_from(sorted(own)), max_size=1)):
            del own[name]
        features[symbol] = own
        rules[symbol] = rules_of(
            last,
            trading_status=draw(st.sampled_from(["normal", "normal", "suspended"])),
            max_order_qty=draw(st.sampled_from([1_000_000, 100_000])),
        )
        if draw(st.booleans()):
            rules[symbol] |= {"limit_up": None, "limit_down": None}
        if symbol.startswith("688"):
            rules[symbol] |= {"min_buy_qty": 200, "qty_step": 1}
    positions = []
    for symbol in draw(st.lists(st.sampled_from(SYMBOLS), unique=True, max_size=6)):
        qty = draw(st.integers(1, 20_000_000))
        position = position_of(symbol, qty, days_held=draw(st.integers(0, 30)))
        position["sellable_qty"] = draw(st.sampled_from([qty, 0, min(qty, 137)]))
        position["avg_price"] = yuan(draw(cents) * 100)
        if draw(st.booleans()):
            position["exit_plan"] = {"stop_price": yuan(draw(cents) * 100), "take_profit": []}
        positions.append(position)
    nav = draw(st.integers(0, 10**15)) * 100
    free = yuan(draw(st.sampled_from([0, nav // 3, nav])))
    return observation_of(
        features, rules=rules, positions=tuple(positions), nav=yuan(nav), free=free
    )


def request_of(values: dict[str, Any]) -> ModelRequest:
    body = canonical(values)
    return ModelRequest(
        role="actor",
        decision_id=sample_id(1),
        trace_id=sample_id(9),
        observation=values,
        observation_hash=sha256_hex(body),
        observation_json=body.decode(),
        reply_schema=REPLY_SCHEMA,
        deadline_ms=1_000,
    )


def answer_of(trader: BuiltinTrader, values: dict[str, Any]) -> str:
    return asyncio.run(trader.complete(request_of(values))).text


def decision_of(trader: BuiltinTrader, values: dict[str, Any]) -> Decision:
    decision, fixes = parse_reply(
        answer_of(trader, values),
        decision_id=sample_id(1),
        made_at=NOW,
        valid_until=NOW + timedelta(minutes=10),
    )
    assert fixes == ()
    return decision


@pytest.mark.parametrize("kind", BUILTIN.values(), ids=BUILTIN.keys())
def test_any_observation_gets_an_answer_that_reads_and_checks(kind):
    @QUICK
    @given(observations())
    def holds(values):
        before = copy.deepcopy(values)
        decision = decision_of(kind(), values)
        assert values == before
        body = canonical(values)
        seen = Observation(sample_id(2), values, body, sha256_hex(body))
        assert check(decision, seen, NOW, NOW).reasons == ()
        for action in decision.actions:
            if action.type is ActionType.NO_OP:
                assert len(decision.actions) == 1
                continue
            assert action.symbol is not None
            assert action.price is not None
            assert action.qty is not None
            rules = values["market_rules"][action.symbol]
            assert action.price % 100 == 0
            assert 0 < action.qty <= rules["max_order_qty"]
            if rules["limit_up"] is not None:
                assert Decimal(rules["limit_down"]) * 10_000 <= action.price
                assert action.price <= Decimal(rules["limit_up"]) * 10_000
            if action.side is Side.BUY:
                assert action.qty >= rules["min_buy_qty"]
                assert (action.qty - rules["min_buy_qty"]) % rules["qty_step"] == 0
                assert action.exit_plan is not None

    holds()


@pytest.mark.parametrize("kind", BUILTIN.values(), ids=BUILTIN.keys())
def test_the_answer_depends_on_the_observation_alone(kind):
    @settings(QUICK, max_examples=30)
    @given(observations())
    def holds(values):
        request = request_of(values)
        first = asyncio.run(kind().complete(request))
        other = replace(request, decision_id=sample_id(9), deadline_ms=1, reply_schema={})
        assert asyncio.run(kind().complete(other)) == first
        shuffled = json.loads(request.observation_json)
        assert answer_of(kind(), shuffled) == first.text

    holds()


@pytest.mark.parametrize("kind", BUILTIN.values(), ids=BUILTIN.keys())
def test_they_are_named_and_are_no_language_models(kind):
    trader = kind()
    assert BUILTIN[trader.alias] is kind
    assert trader.alias.startswith("builtin/")
    assert trader.is_language_model is False


def usual_money() -> Decimal:
    """Return what a trader puts into one share of 2 % daily volatility with a million."""
    return 1_000_000 * min(sizing._DAILY_RISK / Decimal("0.02"), sizing._CAP)


def usual_qty(price: str) -> int:
    return int(usual_money() / Decimal(price)) // 100 * 100


def test_momentum_buys_the_two_strongest_it_does_not_hold():
    features = {
        "600001.SH": features_of(1_000, ret_60d=0.30),
        "600002.SH": features_of(1_000, ret_60d=0.20),
        "600003.SH": features_of(1_000, ret_60d=0.10),
        "600004.SH": features_of(1_000, ret_60d=-0.10),
    }
    held = position_of("600001.SH", 500)
    decision = decision_of(MomentumTrader(), observation_of(features, positions=(held,)))
    assert [(a.symbol, str(a.side), yuan(a.price or 0), a.qty) for a in decision.actions] == [
        # One per cent above the last price, and as much as a usual day may move.
        ("600002.SH", "buy", "10.10", usual_qty("10.10")),
        ("600003.SH", "buy", "10.10", usual_qty("10.10")),
    ]
    plan = decision.actions[0].exit_plan
    assert plan is not None
    # So many usual days' moves of 2 % below 10.10, on the tick.
    stop = Decimal("10.10") * (1 - sizing._STOP_DAYS * Decimal("0.02"))
    assert yuan(plan.stop_price) == str(stop.quantize(Decimal("0.01"), ROUND_HALF_UP))


def test_momentum_buys_nothing_under_its_average():
    features = {"600001.SH": features_of(1_000, ret_60d=0.30, ma20_gap=-0.01)}
    (action,) = decision_of(MomentumTrader(), observation_of(features)).actions
    assert action.type is ActionType.NO_OP


def test_a_buy_is_made_smaller_to_half_its_size_and_no_further():
    features = {"600001.SH": features_of(1_000, ret_60d=0.30)}
    usual = usual_qty("10.10")
    price = Decimal("10.10")
    wanted = usual_money()
    for free, qty in (
        (wanted * 2, usual),
        (wanted * Decimal("0.7"), int(wanted * Decimal("0.7") / price) // 100 * 100),
        (wanted / 2 - 1, None),
        (Decimal(0), None),
    ):
        values = observation_of(features, free=str(free))
        (action,) = decision_of(MomentumTrader(), values).actions
        assert action.qty == qty


def test_two_buys_share_the_free_cash():
    features = {symbol: features_of(1_000, ret_60d=0.30) for symbol in SYMBOLS[:2]}
    values = observation_of(features, free=str(usual_money() * Decimal("1.4")))
    (action,) = decision_of(MomentumTrader(), values).actions
    assert action.qty == usual_qty("10.10")


def test_a_stop_lies_below_its_price_however_calm_the_share():
    features = {"600001.SH": features_of(100, ret_60d=0.30, vol_20d=0.0001)}
    (action,) = decision_of(MomentumTrader(), observation_of(features)).actions
    assert action.exit_plan is not None
    assert (yuan(action.price or 0), yuan(action.exit_plan.stop_price)) == ("1.01", "1.00")


def test_momentum_sells_what_fell_through_its_stop():
    features = {"600001.SH": features_of(900, ret_60d=0.30)}
    plan = {"stop_price": "9.10", "take_profit": []}
    held = position_of("600001.SH", 500, sellable_qty=300, exit_plan=plan)
    (action,) = decision_of(MomentumTrader(), observation_of(features, positions=(held,))).actions
    assert (action.side, action.qty, yuan(action.price or 0)) == (Side.SELL, 300, "8.91")


def test_momentum_sells_what_fell_out_of_the_upper_part():
    features = {
        symbol: features_of(1_000, ret_60d=0.5 - number / 100)
        for number, symbol in enumerate(SYMBOLS)
    }
    weakest, strongest = SYMBOLS[-1], SYMBOLS[0]
    positions = tuple(position_of(symbol, 500) for symbol in (weakest, strongest))
    actions = decision_of(MomentumTrader(), observation_of(features, positions=positions)).actions
    assert [a.symbol for a in actions if a.side is Side.SELL] == [weakest]


def test_shares_bought_today_are_not_offered():
    features = {"600001.SH": features_of(900, ret_60d=0.30)}
    plan = {"stop_price": "9.10", "take_profit": []}
    held = position_of("600001.SH", 500, sellable_qty=0, exit_plan=plan)
    (action,) = decision_of(MomentumTrader(), observation_of(features, positions=(held,))).actions
    assert action.type is ActionType.NO_OP


@pytest.mark.parametrize(
    ("avg_price", "days", "sold"),
    [("10.00", 3, False), ("9.61", 3, True), ("9.62", 3, False), ("10.00", 15, True)],
)
def test_mean_reversion_sells_the_rebound_or_the_old(avg_price, days, sold):
    features = {"600001.SH": features_of(1_000, ret_5d=0.0)}
    held = position_of("600001.SH", 500, avg_price=avg_price, days_held=days)
    (action,) = decision_of(
        MeanReversionTrader(), observation_of(features, positions=(held,))
    ).actions
    assert (action.side is Side.SELL) == sold


def test_mean_reversion_buys_the_deepest_falls_at_the_last_price():
    features = {
        "600001.SH": features_of(1_000, ret_5d=-0.08),
        "600002.SH": features_of(1_000, ret_5d=-0.12),
        "600003.SH": features_of(1_000, ret_5d=-0.06),
        "600004.SH": features_of(1_000, ret_5d=-0.059),
    }
    actions = decision_of(MeanReversionTrader(), observation_of(features)).actions
    assert [(a.symbol, yuan(a.price or 0)) for a in actions] == [
        ("600002.SH", "10.00"),
        ("600001.SH", "10.00"),
    ]


def test_a_large_account_stays_inside_the_largest_order():
    features = {"600001.SH": features_of(100, ret_60d=0.30)}
    values = observation_of(features, nav="90000000000.00")
    (action,) = decision_of(MomentumTrader(), values).actions
    assert action.qty == 1_000_000


def test_more_positions_than_one_decision_can_hold_are_sold_over_two():
    symbols = [f"{600000 + number:06d}.SH" for number in range(60)]
    features = {symbol: features_of(900, ret_60d=0.1) for symbol in symbols}
    plan = {"stop_price": "9.10", "take_profit": []}
    positions = tuple(position_of(symbol, 500, exit_plan=plan) for symbol in symbols)
    actions = decision_of(MomentumTrader(), observation_of(features, positions=positions)).actions
    assert len(actions) == 40
    assert all(action.side is Side.SELL for action in actions)
