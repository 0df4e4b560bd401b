"""The observation: complete, exact, and the same bytes for the same facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caopan.application.decision_cycle.observe import (
    TTL_MS,
    AccountState,
    Observation,
    build_observation,
)
from caopan.application.ports.market_data import MarketData
from caopan.domain.accounting import journal as j
from caopan.domain.accounting.fees import upper_bound
from caopan.domain.accounting.journal import Book
from caopan.domain.market.phases import Phase, PhaseWindow
from caopan.domain.market.reference import DailyBar, Exchange, Reference, TradingStatus
from caopan.domain.orders.order import Order
from caopan.domain.risk.policy import RiskPolicy
from caopan.kernel.canonical import canonical, sha256_hex
from caopan.kernel.clock import at_shanghai
from caopan.kernel.money import units, yuan
from caopan.testing.market import TableMarket, flat_bar
from caopan.testing.samples import (
    DAY,
    NOW,
    sample_fees,
    sample_id,
    sample_order,
    sample_reference,
)

QUICK = settings(deadline=None, max_examples=80)
FEES = sample_fees()
WINDOW = PhaseWindow(Phase.OPEN_AUCTION, at_shanghai(DAY, time(9, 15)), NOW + timedelta(minutes=4))
YESTERDAY = date(2023, 5, 31)
SYMBOLS = ["600001.SH", "600002.SH", "688001.SH", "000001.SZ", "300001.SZ"]


@dataclass
class Market:
    """A market of given references; everything else of it is a flat table."""

    known: dict[str, Reference]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self):
        self.table = TableMarket([YESTERDAY, DAY], [flat_bar("600001.SH", YESTERDAY, "10.00")])
        self.info = self.table.info

    def sessions(self, start: date, end: date) -> tuple[date, ...]:
        return self.table.sessions(start, end)

    def references(self, day: date, now: datetime) -> Mapping[str, Reference]:
        return self.known

    def features(self, day: date, now: datetime) -> Mapping[str, Any]:
        return self.rows

    def market(self, day: date, now: datetime) -> Mapping[str, float | int]:
        return {"advancers": 3, "turnover": 1.5}

    def bar(self, symbol: str, day: date, now: datetime) -> DailyBar | None:
        return self.table.bar(symbol, day, now)

    def closes(self, day: date, now: datetime) -> Mapping[str, int]:
        return self.table.closes(day, now)


def book_of(cash: int, lots: Mapping[tuple[str, date], tuple[int, int, int]]) -> Book:
    """Return a book with free cash and lots (free, frozen, cost) by symbol and day."""
    balances: dict[tuple[str, str], int] = {(j.CASH_FREE, j.CNY): cash}
    for (symbol, day), (free, frozen, cost) in lots.items():
        balances[f"shares.free/{day}", symbol] = free
        balances[f"shares.frozen/{sample_id(5)}/{day}", symbol] = frozen
        balances[f"inventory/{symbol}/{day}", j.CNY] = cost
    return Book({key: amount for key, amount in balances.items() if amount})


def observe(
    market: MarketData,
    book: Book,
    *,
    policy: RiskPolicy | None = None,
    orders: tuple[Order, ...] = (),
    plans: Mapping[str, Mapping[str, Any]] | None = None,
    last: Mapping[str, int] | None = None,
) -> Observation:
    return build_observation(
        observation_id=sample_id(1),
        now=NOW,
        trading_day=DAY,
        window=WINDOW,
        cancelable_until=NOW + timedelta(minutes=4),
        market=market,
        account=AccountState(
            account_id="sandbox",
            book=book,
            prices={symbol: r.pre_close for symbol, r in market.references(DAY, NOW).items()}
            | dict(last or {}),
            open_orders=orders,
            orders_today=3,
            exit_plans=plans or {},
        ),
        policy=policy or RiskPolicy(),
        fees=FEES,
    )


@st.composite
def references(draw, symbol: str) -> Reference:
    star = symbol.startswith("688")
    return sample_reference(
        symbol,
        pre_close=draw(st.integers(1, 300_000)) * 100,
        limit_up=draw(st.sampled_from([None, units(10**6)])),
        limit_down=None,
        min_buy_qty=200 if star else 100,
        qty_step=1 if star else 100,
        max_limit_qty=draw(st.sampled_from([1_000_000, 100_000, 500])),
        limits_known=draw(st.sampled_from([True, True, True, False])),
        t_plus_one=draw(st.sampled_from([True, True, False])),
        trading_status=draw(st.sampled_from([TradingStatus.NORMAL, *TradingStatus])),
        problems=draw(st.sampled_from([(), (), ("DATA_UNIT",)])),
    )


@st.composite
def worlds(draw) -> tuple[Market, Book, RiskPolicy]:
    symbols = draw(st.lists(st.sampled_from(SYMBOLS), unique=True))
    known = {symbol: draw(references(symbol)) for symbol in sorted(symbols)}
    rows = {
        symbol: {"last": yuan(known[symbol].pre_close), "ret_20d": draw(st.floats(-1, 3))}
        for symbol in symbols
        if draw(st.booleans())
    }
    lots = {
        (symbol, day): (draw(st.integers(1, 9_000)), draw(st.integers(0, 900)), units(5_000))
        for symbol in draw(st.lists(st.sampled_from(SYMBOLS), unique=True, max_size=3))
        for day in draw(st.sampled_from([[DAY], [YESTERDAY], [YESTERDAY, DAY]]))
    }
    cash = draw(st.integers(0, 3_000_000)) * 100 * draw(st.sampled_from([1, 1, 97]))
    policy = RiskPolicy(
        single_order_cap=draw(st.sampled_from([units(200_000), units(10**9), units(3_000)])),
        symbol_nav_cap=draw(st.sampled_from([Fraction(12, 100), Fraction(1)])),
    )
    return Market(known, rows), book_of(cash, lots), policy


@QUICK
@given(worlds())
def test_every_member_of_the_universe_has_features_and_rules(world):
    market, book, policy = world
    seen = observe(market, book, policy=policy).values
    universe = seen["universe"]
    assert universe == sorted(set(universe))
    assert set(seen["features"]) == set(seen["market_rules"]) == set(universe)
    held = set(book.quantities())
    # What is held and known today is there whatever it costs; what is not known is named.
    assert held & set(market.known) <= set(universe)
    assert seen["data_quality"]["daily_bars"]["missing_symbols"] == sorted(held - set(market.known))
    assert {position["symbol"] for position in seen["positions"]} == held
    for symbol in set(universe) - held:
        reference = market.known[symbol]
        smallest = reference.pre_close * max(reference.min_buy_qty, reference.lot_size)
        assert smallest <= units(seen["account"]["nav"]) * policy.symbol_nav_cap
        assert reference.limits_known


@QUICK
@given(worlds())
def test_the_largest_buy_is_affordable_and_one_step_more_is_not(world):
    market, book, policy = world
    cash = book.cash_free
    for symbol, rules in observe(market, book, policy=policy).values["market_rules"].items():
        reference, most = market.known[symbol], rules["max_buy_qty"]
        price = reference.pre_close

        def costs(qty: int, reference: Reference = reference) -> int:
            place = Exchange(reference.symbol[-2:])
            return upper_bound(FEES, qty, reference.pre_close, DAY, place)

        tradable = reference.trading_status in ("normal", "delisting_period")
        if not tradable or reference.problems:
            assert most == 0
            assert rules["max_sell_qty"] == 0
            continue
        assert rules["max_sell_qty"] == book.sellable(symbol, DAY, t_plus_one=reference.t_plus_one)
        least, step = reference.min_buy_qty, reference.qty_step
        following = most + step if most else least
        if most:
            assert most >= least
            assert (most - least) % step == 0
            assert costs(most) <= cash
            assert most <= reference.max_limit_qty
            assert most * price <= policy.single_order_cap
        assert (
            costs(following) > cash
            or following > reference.max_limit_qty
            or following * price > policy.single_order_cap
        )


@QUICK
@given(worlds())
def test_money_adds_up_and_is_never_a_float(world):
    market, book, policy = world
    seen = observe(market, book, policy=policy).values
    account = seen["account"]
    values = [units(p["market_value"]) for p in seen["positions"] if "market_value" in p]
    assert units(account["cash"]) == book.cash_free + book.cash_frozen
    assert units(account["available_cash"]) == book.cash_free
    assert units(account["nav"]) == units(account["cash"]) + sum(values)
    for position in seen["positions"]:
        lots = book.lots(position["symbol"])
        assert position["qty"] == sum(lot["qty"] for lot in position["lots"])
        assert position["qty"] == sum(lot.qty for lot in lots)
        assert 0 <= position["sellable_qty"] <= position["qty"]
        if "market_value" in position:
            gain = units(position["market_value"]) - sum(lot.cost for lot in lots)
            assert units(position["unrealized_pnl"]) == gain
    statistics = {"features", "market"}
    for name, part in seen.items():
        if name not in statistics:
            assert not [
                path for path, _ in floats_in(part, name) if not path.endswith("weight_nav")
            ]


def floats_in(value: Any, path: str) -> list[tuple[str, float]]:
    if isinstance(value, float):
        return [(path, value)]
    if isinstance(value, Mapping):
        items = [(f"{path}.{name}", item) for name, item in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [(f"{path}.{index}", item) for index, item in enumerate(value)]
    else:
        return []
    return [found for where, item in items for found in floats_in(item, where)]


@QUICK
@given(worlds())
def test_the_same_facts_give_the_same_hash(world):
    market, book, policy = world
    seen = observe(market, book, policy=policy)
    again = observe(market, book.copy(), policy=policy)
    assert again.body == seen.body
    assert seen.content_hash == sha256_hex(seen.body) == sha256_hex(canonical(seen.values))
    # Read back from the store it is the same observation.
    assert canonical(json.loads(seen.body)) == seen.body
    moved = Market(dict(reversed(market.known.items())), market.rows)
    assert observe(moved, book, policy=policy).body == seen.body


def test_a_holding_without_a_row_today_counts_at_its_last_price():
    book = book_of(units("1000"), {("600009.SH", YESTERDAY): (500, 0, units(5_000))})
    seen = observe(Market({}), book, last={"600009.SH": units(8)}).values
    assert seen["account"]["nav"] == "5000.00"
    (position,) = seen["positions"]
    assert (position["market_value"], position["unrealized_pnl"]) == ("4000.00", "-1000.00")
    assert seen["universe"] == []
    assert seen["data_quality"]["daily_bars"]["missing_symbols"] == ["600009.SH"]


def test_an_observation_by_hand():
    market = Market(
        {"600001.SH": sample_reference(), "600002.SH": sample_reference("600002.SH")},
        {"600001.SH": {"last": "10.00", "ret_20d": 0.25}},
    )
    book = book_of(units("100000"), {("600001.SH", YESTERDAY): (700, 300, units(9_500))})
    plan = {"stop_price": "9.00", "take_profit": []}
    order = sample_order(4, symbol="600002.SH", qty=200)
    seen = observe(market, book, orders=(order,), plans={"600001.SH": plan}).values
    assert seen["generated_at"] == "2023-06-01T01:16:00.000Z"
    assert seen["valid_ttl_ms"] == TTL_MS
    assert seen["clock"] == {
        "trading_day": "2023-06-01",
        "phase": "open_auction",
        "seconds_to_phase_end": 240,
        "cancelable_until": "2023-06-01T01:20:00.000Z",
    }
    assert seen["account"] == {
        "account_id": "sandbox",
        "nav": "110000.00",
        "cash": "100000.00",
        "available_cash": "100000.00",
        "frozen_cash": "0.00",
        "risk_posture": "normal",
        "orders_today": 3,
        "orders_per_day": 200,
    }
    assert seen["positions"] == [
        {
            "symbol": "600001.SH",
            "qty": 1_000,
            "sellable_qty": 700,
            "lots": [{"qty": 1_000, "bought_on": "2023-05-31"}],
            "avg_price": "9.50",
            "days_held": 1,
            "exit_plan": plan,
            "market_value": "10000.00",
            "unrealized_pnl": "500.00",
            "weight_nav": 0.0909,
        }
    ]
    (shown,) = seen["open_orders"]
    assert (shown["price"], shown["qty"], shown["status"]) == ("10.00", 200, "created")
    assert seen["features"] == {"600001.SH": {"last": "10.00", "ret_20d": 0.25}, "600002.SH": {}}
    assert seen["market_rules"]["600002.SH"] == {
        "tick_size": "0.01",
        "lot_size": 100,
        "min_buy_qty": 100,
        "qty_step": 100,
        "limit_up": "11.00",
        "limit_down": "9.00",
        "t_plus_one": True,
        "trading_status": "normal",
        "max_order_qty": 1_000_000,
        # 99,000 and 25.74 of fees; 100,000 would need 26 more than there is.
        "max_buy_qty": 9_900,
        "max_sell_qty": 0,
    }
    assert seen["news"] == []


@pytest.mark.parametrize("price", ["0.01", "3.33", "10.00", "1688.88"])
@pytest.mark.parametrize("step", [1, 100])
def test_the_largest_buy_around_every_edge_of_cash(price, step):
    least = 200 if step == 1 else 100
    reference = sample_reference(
        pre_close=units(price), min_buy_qty=least, qty_step=step, limit_up=None, limit_down=None
    )
    policy = RiskPolicy(single_order_cap=units(10**10), symbol_nav_cap=Fraction(10**9))
    for qty in (least, least + step, 50 * least, 990_000):
        exact = upper_bound(FEES, qty, units(price), DAY, Exchange.SH)
        for cash, expected in ((exact, qty), (exact - 1, qty - step), (exact + 1, qty)):
            seen = observe(Market({"600001.SH": reference}), book_of(cash, {}), policy=policy)
            most = seen.values["market_rules"]["600001.SH"]["max_buy_qty"]
            # Rounding of fees to the fen can make the next step cost no more than this one.
            room = upper_bound(FEES, expected + step, units(price), DAY, Exchange.SH) <= cash
            assert most >= (expected if expected >= least else 0)
            assert most == (expected if expected >= least else 0) or room
